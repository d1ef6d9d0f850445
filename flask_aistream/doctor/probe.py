"""Measure a public URL: stream through it, post to it, and ask the process behind it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
import typing as t
from urllib.parse import SplitResult
from urllib.parse import urlsplit

from flask_aistream.doctor.subject import Site
from flask_aistream.doctor.subject import Timing
from flask_aistream.web.diagnosis import FRAMES
from flask_aistream.web.diagnosis import HEADER

ANSWER_SECONDS = 30.0
"""Longest wait for an answer that is not a stream."""

FAILURES = (OSError, http.client.HTTPException)


class Refused(Exception):
    """The URL cannot be examined; the message is a sentence."""


def examine(url: str, token: str | None, *, silence: float, body: int, origin: str | None) -> Site:
    """Measure everything at a URL.

    :param token: Proves to the process that it may tell; ``None`` without a ``SECRET_KEY``.
    :param silence: Seconds of silence that a stream has to survive; 0 skips this.
    :param body: Bytes of the largest request body to try.
    """
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Site(url, problem=f"{url!r} is not an http or https URL.")
    target = Target(parts, token or "")
    try:
        process = target.process()
        return Site(
            url,
            process,
            target.timing(silence),
            target.largest_body(body),
            protocols_of(parts),
            target.allowed_origin(origin),
            target.operated_by_strangers(),
        )
    except Refused as refusal:
        return Site(url, problem=str(refusal))
    except FAILURES as error:
        return Site(url, problem=f"{url} does not answer: {error or type(error).__name__}.")


class Target:
    """The routes of one blueprint that the command asks."""

    def __init__(self, parts: SplitResult, token: str) -> None:
        self._parts = parts
        self._token = token

    def process(self) -> dict[str, t.Any]:
        """
        :raises Refused: There is no blueprint, or the process does not trust the token.
        """
        answer = self._ask("GET", "/health/process")
        if answer.status == 200:
            return t.cast("dict[str, t.Any]", json.loads(answer.read()))
        if self._ask("GET", "/health").status in (200, 503):
            if not self._token:
                raise Refused(
                    "The application has no SECRET_KEY, so the process behind the URL cannot know that this command may "
                    "ask it. Set one, the same for both, and restart the server."
                )
            raise Refused(
                "The process behind the URL tells nothing about itself: it needs the SECRET_KEY that this command "
                "has. Set the same SECRET_KEY for both."
            )
        raise Refused(
            f"{self._parts.geturl()}/health/process answered {answer.status}; expected the URL below which an "
            "AIStream is registered."
        )

    def timing(self, silence: float) -> Timing:
        """Read the test stream, and note when each frame arrives."""
        began = time.monotonic()
        response = self._ask("GET", f"/health/stream?silence={silence}", silence + ANSWER_SECONDS)
        seconds: list[float] = []
        rest = b""
        with contextlib.suppress(*FAILURES):
            while data := response.read1():
                *frames, rest = (rest + data).split(b"\n\n")
                seconds += [time.monotonic() - began] * len(frames)
        complete = len(seconds) > FRAMES
        ended = time.monotonic() - began
        cut = None if complete or len(seconds) < FRAMES else ended - seconds[-1]
        return Timing(tuple(seconds), response.headers.get("Content-Encoding", ""), cut)

    def largest_body(self, most: int) -> int | None:
        """Bytes of the largest of three bodies that arrives: ``most``, half a megabyte, or one byte.

        :returns: ``None`` if not even the last one arrives: a POST is refused for another reason than its size.
        """
        for size in (most, min(most, 512 * 1024), 1):
            with contextlib.suppress(*FAILURES):
                response = self._ask("POST", "/health/body", body=b" " * size)
                if response.status == 200 and json.loads(response.read())["bytes"] == size:
                    return size
        return None

    def allowed_origin(self, origin: str | None) -> str | None:
        if origin is None:
            return None
        response = self._ask("GET", "/health", headers={"Origin": origin})
        return response.headers.get("Access-Control-Allow-Origin")

    def operated_by_strangers(self) -> bool:
        response = self._ask("GET", "/playground/api/runs")
        body = response.read()
        return response.status == 200 and bool(json.loads(body)["operator"])

    def _ask(
        self,
        method: str,
        path: str,
        seconds: float = ANSWER_SECONDS,
        body: bytes | None = None,
        headers: t.Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        connection = kind(t.cast(str, self._parts.hostname), self._parts.port, timeout=seconds)
        # A browser's headers: a proxy that compresses does so only where the client accepts it.
        sent = {HEADER: self._token, "Accept-Encoding": "gzip, br, zstd", "Connection": "close"}
        connection.request(method, self._parts.path + path, body, {**sent, **(headers or {})})
        return connection.getresponse()


def protocols_of(parts: SplitResult) -> frozenset[str] | None:
    """The HTTP versions that a server offers to a browser; ``None`` without TLS."""
    if parts.scheme != "https":
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    host = t.cast(str, parts.hostname)
    with (
        socket.create_connection((host, parts.port or 443), timeout=ANSWER_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        chosen = secured.selected_alpn_protocol()
    return frozenset({chosen or "http/1.1"})
