"""A run of a server, over HTTP: the same three methods that ``RunHandle`` has."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import typing as t
import urllib.error
import urllib.request
from collections.abc import Iterator

import click

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.protocols.native_decode import decode_event
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame

SILENCE = 120.0
"""Seconds without a byte, heartbeats included, after which the connection counts as lost."""

ATTEMPTS = 5
"""Reconnections in a row without a new event before the command gives up."""

CUT = (OSError, http.client.HTTPException)


class RemoteRun:
    """A run that a server executes. It reconnects where its connection is cut.

    :param prefix: URL of the blueprint, such as ``http://127.0.0.1:8080/ai``.
    :param cursor: ``run`` or ``run:number``: read after that event; empty reads the first response.
    """

    def __init__(
        self, prefix: str, cursor: str, response: http.client.HTTPResponse | None = None
    ) -> None:
        self._prefix = prefix.rstrip("/")
        self._cursor = cursor
        self._response = response
        self._retry = 1.0

    @classmethod
    def start(cls, prefix: str, provider: str, prompt: str | None) -> RemoteRun:
        """
        :raises click.ClickException: The server does not answer, or refuses the start.
        """
        body = {} if prompt is None else {"prompt": prompt}
        response = request(f"{prefix.rstrip('/')}/{provider}", json.dumps(body).encode())
        run_id = response.headers.get("AIStream-Run")
        if run_id is None:
            raise click.ClickException(
                f"{prefix} answered without a run. Expected the URL below which an AIStream is registered."
            )
        return cls(prefix, run_id, response)

    @property
    def id(self) -> str:
        return self._cursor.partition(":")[0]

    def events(self) -> Iterator[Event]:
        """The events after the cursor; the terminal event is the last.

        :raises click.ClickException: The connection is lost for good, or the server refuses to resume.
        """
        attempts = 0
        while True:
            with contextlib.suppress(*CUT), self._connection() as response:
                for event in self._read(response):
                    attempts = 0
                    yield event
                    if isinstance(event, TERMINAL):
                        return
            attempts += 1
            if attempts > ATTEMPTS:
                raise click.ClickException(
                    f"The connection was lost. Resume the run: --resume {self._cursor}"
                )
            time.sleep(self._retry)

    def stop(self) -> bool:
        """
        :returns: Whether this call ended the run.
        :raises click.ClickException: The server does not answer, or does not know the run.
        """
        with request(f"{self._prefix}/runs/{self.id}/stop", b"") as response:
            return bool(json.load(response)["stopped"])

    def _connection(self) -> http.client.HTTPResponse:
        if self._response is not None:
            first, self._response = self._response, None
            return first
        headers = {"Last-Event-ID": self._cursor} if ":" in self._cursor else {}
        return request(f"{self._prefix}/runs/{self.id}/events", None, headers)

    def _read(self, response: http.client.HTTPResponse) -> Iterator[Event]:
        decoder, failure = Decoder(), dict[str, str]()
        while data := response.read1():
            for frame in decoder.feed(data):
                if frame.retry is not None:
                    self._retry = frame.retry / 1000
                if frame.event == "failure":
                    failure = json.loads(frame.data or "{}")
                event = event_of(frame, failure)
                if frame.id is not None:
                    self._cursor = frame.id
                if event is not None:
                    yield event


def event_of(frame: Frame, failure: dict[str, str]) -> Event | None:
    return None if frame.data is None else decode_event(frame, failure)


def request(
    url: str, body: bytes | None, headers: t.Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """
    :raises click.ClickException: The server refuses the request, with its sentence.
    :raises OSError: The server cannot be reached; a start is never repeated.
    """
    all_headers = {"Accept": "text/event-stream, application/json", **(headers or {})}
    if body is not None:
        all_headers["Content-Type"] = "application/json"
    try:
        asked = urllib.request.Request(url, body, all_headers)
        # The user of the command chooses the URL.
        response = urllib.request.urlopen(asked, timeout=SILENCE)  # nosec B310
        return t.cast(http.client.HTTPResponse, response)
    except urllib.error.HTTPError as error:
        raise click.ClickException(
            f"{url} answered {error.code}: {sentence_of(error.read(10_000))}"
        ) from None
    except ValueError as error:
        raise click.ClickException(f"{url!r} is not a URL: {error}.") from None


def sentence_of(body: bytes) -> str:
    """The message of an error in JSON; otherwise the beginning of its body."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace").strip() or "an empty body"
