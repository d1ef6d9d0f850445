"""A client that reads streams of the native protocol through Flask's test client."""

from __future__ import annotations

import json
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

from flask import Flask
from werkzeug.test import TestResponse

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.protocols.native_decode import decode_event
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from flask_aistream.testing.script import DEADLINE
from flask_aistream.web.extension import install


class StreamClient:
    """Requests streams of the native protocol from an application.

    ::

        def test_the_answer_is_polite(app):
            answer = StreamClient(app).read("/ai/chat", json={"prompt": "Hello"})
            assert answer.text.endswith("Anything else?")

    :param seconds: Longest wait for one event. After it the run is stopped and the test fails.
    :param client: For ``app.test_client()``: ``user=…``, for example, of Flask-Login's ``FlaskLoginClient``.
    :ivar client: The Flask client, to log in or to set cookies.
    """

    def __init__(self, app: Flask, seconds: float = DEADLINE, **client: t.Any) -> None:
        self._app = app
        self.client = app.test_client(**client)
        self._seconds = seconds

    def open(self, path: str, **request: t.Any) -> Stream:
        """Send a request and read nothing yet. The method is ``POST`` with ``json``, else ``GET``.

        :param request: As for ``FlaskClient.open``: ``json``, ``query_string``, ``headers`` …
        """
        request.setdefault("method", "POST" if "json" in request else "GET")
        response = self.client.open(path, **request)
        return Stream(
            response,
            lambda: self._stop(response),
            self._seconds,
            lambda: self._exception(response),
        )

    def read(self, path: str, **request: t.Any) -> Stream:
        """Send a request and read the stream to its end.

        :raises AssertionError: The stream was silent for too long; the message lists its events.
        """
        with self.open(path, **request) as stream:
            for _ in stream:
                pass
        return stream

    def _exception(self, response: TestResponse) -> BaseException | None:
        return install(self._app).exceptions.get(response.headers.get("AIStream-Run", ""))

    def _stop(self, response: TestResponse) -> None:
        process = install(self._app).process
        process.runner.stop(process.store.open(response.headers["AIStream-Run"]), "application")


class Stream:
    """One response, read event by event.

    Iterating waits for the next event. Leaving the ``with`` block closes the connection, as a client
    that disconnects does.

    :ivar response: Status and headers; also the body where the answer is no event stream.
    :ivar frames: The frames received, in order.
    :ivar events: The events in them. The protocol does not carry ``Stopped.by`` and ``Interrupted.cause``:
        both have their defaults here.
    """

    def __init__(
        self,
        response: TestResponse,
        stop: Callable[[], None],
        seconds: float,
        exception: Callable[[], BaseException | None] = lambda: None,
    ) -> None:
        self._exception = exception
        self.response = response
        self.frames: list[Frame] = []
        self.events: list[ev.Event] = []
        self._stop = stop
        self._seconds = seconds
        self._expired = False
        self._decoder = Decoder()
        self._iterator = self._read() if response.mimetype == "text/event-stream" else iter(())

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[ev.Event]:
        return self

    def __next__(self) -> ev.Event:
        # Flask's contexts bind a response to the thread that opened it, so a reader thread with a timeout
        # is not possible. Stopping the run unblocks this thread instead.
        timer = threading.Timer(self._seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            event = next(self._iterator)
        finally:
            timer.cancel()
            if self._expired:
                raise AssertionError(f"Nothing came for {self._seconds} s after {self.events!r}.")
        self.events.append(event)
        return event

    def close(self) -> None:
        self.response.close()

    @property
    def exception(self) -> BaseException | None:
        """What the provider raised, if it raised after the first event and ``app.testing`` is set."""
        return self._exception()

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.response.headers["AIStream-Run"]

    @property
    def last_event_id(self) -> str:
        """Value for the ``Last-Event-ID`` header of a request that resumes here."""
        return self._decoder.last_event_id

    @property
    def message(self) -> Fold:
        """The fold of all events so far."""
        return Fold(self.events)

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def outcome(self) -> ev.Terminal | None:
        """The terminal event; ``None`` if the stream has not sent one."""
        return self.message.terminal

    def _read(self) -> Iterator[ev.Event]:
        failure: dict[str, str] = {}
        for data in self.response.iter_encoded():
            for frame in self._decoder.feed(data):
                self.frames.append(frame)
                if frame.event == "failure":
                    failure = json.loads(frame.data or "")
                elif frame.data is not None and (event := decode_event(frame, failure)) is not None:
                    yield event

    def _expire(self) -> None:
        self._expired = True
        self._stop()
