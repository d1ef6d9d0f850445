"""A run for the application's own code: read it, wait for it, stop it, stream it."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Mapping

from flask import Response
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import Event
from flask_aistream.core.events import Terminal
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.ended import request_of
from flask_aistream.runs.ended import status_of
from flask_aistream.stores.base import Log
from flask_aistream.web import parse
from flask_aistream.web import stream
from flask_aistream.web.extension import Extension


class RunHandle:
    """One run, whichever process executes it. ``ai.start`` and ``ai.attach`` return it.

    Any thread or greenlet of the process may use it, also outside of an application context;
    only :meth:`response` needs a request. Methods that read the store raise ``StoreUnavailable`` while it
    does not answer.

    :param rendering: Encoder options of the ``AIStream``, see ``@ai.html``.
    """

    def __init__(self, ext: Extension, log: Log, rendering: Mapping[str, t.Any]) -> None:
        self._ext = ext
        self._log = log
        self._rendering = rendering

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} of {self.run.provider!r}>"

    @property
    def id(self) -> str:
        """The id for :meth:`AIStream.attach` and the routes below ``/runs``."""
        return self.run.id

    @property
    def run(self) -> Run:
        return self._log.run

    @property
    def status(self) -> str:
        """``running`` (or ``queued``, see ``AISTREAM_EXECUTOR``), or how it ended: ``finished``,
        ``stopped``, ``failed`` or ``interrupted``."""
        return status_of(self._now())

    @property
    def request(self) -> ChatRequest:
        """What was asked, without its ``body``; see :attr:`RunEnded.request`."""
        return request_of(self.run)

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return self.message.text

    @property
    def message(self) -> Fold:
        """The answer so far; ``message.to_json()`` is the answer to ``GET /runs/<id>``."""
        return fold_of(self._now())

    def wait(self, timeout: float | None = None) -> Terminal:
        """Wait for the end. Meanwhile the run counts as read, so it is not stopped for lack of readers.

        :param timeout: In seconds; ``None`` for any.
        :returns: ``Finished``, ``Stopped``, ``Failed`` or ``Interrupted``.
        :raises TimeoutError: It has not ended by then, and continues.
        """
        log = self._now()
        if log.terminal is None:
            with self._tail(log, log.tail, timeout) as tail:
                for _ in tail:
                    pass
        if log.terminal is None:
            raise TimeoutError(f"Run {self.id} has not ended within {timeout} s.")
        return log.terminal

    def events(self, after: int = BEGINNING) -> Generator[Event, None, None]:
        """The run's events as they are appended: text as ``str``, the terminal event last.

        While it is iterated, it counts as a reader. Closing the iterator does not stop the run.

        :param after: Number of the last known event. Numbers are gapless from 0, the ``RunStarted`` event.
        :raises CursorInvalid: No event has this number yet.
        :raises RequestError: The next event was trimmed from the log (``AISTREAM_LOG_EVENTS``).
        """
        number = after
        with self._tail(self._now(), after) as tail:
            for page in tail:
                if page is None:
                    continue
                if page.first > number + 1:
                    raise RequestError(
                        f"The events before number {page.first} of run {self.id} were trimmed. "
                        f"Continue with events(after={page.first - 1}).",
                        "events_trimmed",
                        410,
                    )
                number = page.last
                yield from page.events

    def stop(self) -> bool:
        """Stop the run, whichever process executes it. Its provider is interrupted within about a second.

        :returns: Whether this call ended it; otherwise it had ended before.
        """
        return self._ext.process.runner.stop(self._now(), "application")

    def response(self, protocol: str = "native") -> Response:
        """A response that streams the run, for a view of your own to return.

        It starts at the beginning, or after the request's ``Last-Event-ID`` if that is one of this run.

        :param protocol: ``native``, ``ai-sdk``, ``openai-chat``, ``openai-responses``, ``ag-ui``, ``html``
            or ``text``.
        :raises RequestError: There is no such protocol.
        """
        wire = PROTOCOLS.get(protocol)
        if wire is None:
            raise RequestError(
                f"There is no protocol {protocol[:100]!r}. Known: {', '.join(PROTOCOLS)}.",
                "protocol_unknown",
                404,
            )
        options = {**self._rendering, **wire.options(request.args)}
        cursor = parse.read_own_cursor(request)
        if cursor is not None and cursor.run == self.id:
            return stream.resume(self._ext, self._now(), cursor, wire, options)
        with stream.admit(self._ext, self.run.owner) as slot:
            log = self._now()
            return stream.follow(self._ext, log, BEGINNING, wire, options, slot, commit=True)

    def _now(self) -> Log:
        """The log as far as the store has it. A replica of another process's log is updated only while
        it has readers."""
        try:
            return self._ext.process.store.open(self.id)
        except RunNotFound:  # Expired: this handle holds the last copy.
            return self._log

    @contextlib.contextmanager
    def _tail(self, log: Log, after: int, seconds: float | None = None) -> Iterator[Tail]:
        process = self._ext.process
        tail = Tail(
            log,
            after,
            process.waiter(),
            process.timer,
            heartbeat=None,
            flush_interval=process.flush_interval,
        )
        alarm = process.timer.call_later(seconds, tail.close) if seconds is not None else None
        process.runner.attach(self.id)
        try:
            yield tail
        finally:
            tail.close()
            if alarm is not None:
                alarm.cancel()
            process.runner.detach(self.id)
