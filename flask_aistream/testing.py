"""What applications need to test their own streams.

A test never sleeps: a ``Script`` says when a provider goes on, a ``ManualClock`` when time does, and
a ``StreamClient`` reads a stream to its end, or fails in a sentence where it has none.
"""

from __future__ import annotations

import json
import threading
import typing as t
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import MISSING
from dataclasses import fields

from flask import Flask
from werkzeug.test import TestResponse

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.core.request import ChatRequest
from flask_aistream.protocols.native import NAMES
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from flask_aistream.web.extension import install

if t.TYPE_CHECKING:
    import asyncio

DEADLINE = 10.0
"""Seconds after which something that should have happened will not. Only a failing test waits so long."""


class StreamClient:
    """Asks an application for streams of the native protocol, as Flask's test client does.

    ::

        def test_the_answer_is_polite(app):
            answer = StreamClient(app).read("/ai/chat", json={"prompt": "Hello"})
            assert answer.text.endswith("Anything else?")

    :param seconds: A stream that has not ended after so long has its run stopped, and the test fails.
    """

    def __init__(self, app: Flask, seconds: float = DEADLINE) -> None:
        self._app = app
        self._client = app.test_client()
        self._seconds = seconds

    def open(self, path: str, **request: t.Any) -> Stream:
        """Ask for a stream and read nothing yet. ``POST`` where there is ``json``, else ``GET``.

        :param request: As for ``FlaskClient.open``: ``json``, ``query_string``, ``headers`` …
        """
        request.setdefault("method", "POST" if "json" in request else "GET")
        response = self._client.open(path, **request)
        return Stream(response, lambda: self._stop(response), self._seconds)

    def read(self, path: str, **request: t.Any) -> Stream:
        """Ask for a stream and read it to its end.

        :raises AssertionError: It did not end in time; the message holds what came.
        """
        with self.open(path, **request) as stream:
            for _ in stream:
                pass
        return stream

    def _stop(self, response: TestResponse) -> None:
        process = install(self._app).process
        process.runner.stop(process.store.open(response.headers["AIStream-Run"]), "application")


class Stream:
    """One response, read event by event.

    Iterating waits for the next event. Leaving the ``with`` block closes the connection, as a client
    does that goes away.

    :ivar response: Status and headers; of anything but an event stream also the body.
    :ivar frames: As they came.
    :ivar events: What the frames said. ``Stopped.by`` and ``Interrupted.cause`` do not travel.
    """

    def __init__(self, response: TestResponse, stop: Callable[[], None], seconds: float) -> None:
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
        # The thread that opened a response must read it: its contexts belong there. So a stream that
        # hangs is not left alone but ended, which every stream can be.
        alarm = threading.Timer(self._seconds, self._expire)
        alarm.daemon = True
        alarm.start()
        try:
            event = next(self._iterator)
        finally:
            alarm.cancel()
            if self._expired:
                raise AssertionError(f"Nothing came for {self._seconds} s after {self.events!r}.")
        self.events.append(event)
        return event

    def close(self) -> None:
        self.response.close()

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.response.headers["AIStream-Run"]

    @property
    def last_event_id(self) -> str:
        """What a client that comes back sends as ``Last-Event-ID``."""
        return self._decoder.last_event_id

    @property
    def message(self) -> Fold:
        """Everything said so far, as one message."""
        return Fold(self.events)

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def outcome(self) -> ev.Terminal | None:
        """How the run ended; ``None``: the stream did not say."""
        return self.message.terminal

    def _read(self) -> Iterator[ev.Event]:
        failure: dict[str, str] = {}
        for data in self.response.iter_encoded():
            for frame in self._decoder.feed(data):
                self.frames.append(frame)
                if frame.event == "failure":
                    failure = json.loads(frame.data or "")
                elif frame.data is not None and (event := event_of(frame, failure)) is not None:
                    yield event

    def _expire(self) -> None:
        self._expired = True
        self._stop()


KINDS = {name: kind for kind, name in NAMES.items()}


def event_of(frame: Frame, failure: dict[str, str]) -> ev.Event | None:
    """What a frame of the native protocol says; ``None`` for one that is no event (a gap)."""
    value = json.loads(frame.data or "")
    if frame.event is None:
        return terminal_of(value["reason"], failure) if "action" in value else value["text"]
    kind = KINDS.get(frame.event)
    if kind is None:
        return None
    # A field without a default that is not there was null.
    given = {
        field.name: value.get(field.name)
        for field in fields(kind)
        if field.name in value or field.default is MISSING
    }
    return t.cast(ev.Event, kind(**given))


def terminal_of(reason: t.Any, failure: dict[str, str]) -> ev.Terminal:
    match reason:
        case "error":
            return ev.Failed(failure["code"], failure["message"])
        case "stopped":
            return ev.Stopped()
        case "interrupted":
            return ev.Interrupted()
        case _:
            return ev.Finished(reason)


class Gate:
    """Where a script waits until the test opens it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def wait_reached(self, seconds: float = DEADLINE) -> None:
        """Return once a provider waits here.

        :raises AssertionError: None came.
        """
        assert self._reached.wait(seconds), f"No provider came to this gate within {seconds} s."

    def pass_through(self, seconds: float = DEADLINE) -> None:
        """What a provider does here.

        :raises AssertionError: Nobody opened it.
        """
        self._reached.set()
        # In short waits: under threads, nothing interrupts a long one.
        for _ in range(int(seconds / 0.01)):
            if self._opened.wait(0.01):
                return
        raise AssertionError(f"Nobody opened the gate within {seconds} s.")


class Script:
    """A provider that says what it is told to.

    ::

        gate = Gate()
        script = Script("Hel", gate, "lo")
        ai.provider(script, name="chat")

    :param steps: In order: an exception is raised, a ``Gate`` is waited at, a function is called, and
        everything else is yielded.
    :ivar requests: What it was called with, each time.
    """

    def __init__(self, *steps: t.Any) -> None:
        self.requests: list[ChatRequest] = []
        self._steps = steps
        self._closed = threading.Semaphore(0)

    def __call__(self, request: ChatRequest) -> Iterator[t.Any]:
        self.requests.append(request)
        return self._play()

    def wait_closed(self, seconds: float = DEADLINE) -> None:
        """Return once a call of the provider is over: at its end, or because it was closed.

        :raises AssertionError: It is still going on.
        """
        assert self._closed.acquire(timeout=seconds), f"The provider still works after {seconds} s."

    def _play(self) -> Iterator[t.Any]:
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Gate):
                    step.pass_through()
                elif callable(step):
                    step()
                else:
                    yield step
        finally:
            self._closed.release()


class ManualClock:
    """Time that passes when it is told to. Call it for the time.

    :param now: Where it begins, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._alarms: list[ManualAlarm] = []

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. What falls due meanwhile happens in its order, each at its own time."""
        end = self._now + seconds
        while (alarm := self._next()) is not None and alarm.due <= end:
            self._ring(alarm)
        self._now = end

    def skip(self) -> bool:
        """Go to the next time something is due.

        :returns: False where nothing is.
        """
        alarm = self._next()
        if alarm is not None:
            self._ring(alarm)
        return alarm is not None

    def alarm(self, ring: Callable[[], object]) -> ManualAlarm:
        """An alarm that rings by this clock."""
        self._alarms.append(ManualAlarm(self, ring))
        return self._alarms[-1]

    def _next(self) -> ManualAlarm | None:
        due = [alarm for alarm in self._alarms if alarm.due < NEVER]
        return min(due, key=lambda alarm: alarm.due, default=None)

    def _ring(self, alarm: ManualAlarm) -> None:
        self._now = max(self._now, alarm.due)
        alarm.due = NEVER
        alarm.ring()


NEVER = float("inf")


class ManualAlarm:
    def __init__(self, clock: ManualClock, ring: Callable[[], object]) -> None:
        self.due = NEVER
        self.ring = ring
        self._clock = clock

    def set(self, delay: float) -> None:
        self.due = self._clock() + delay


class ManualConcurrency:
    """Does several things at once, one after the other, in the thread of the test.

    What is spawned runs when the test says ``run()``, or when a reader would otherwise sleep; when
    there is nothing to run either, time moves on to the next alarm.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._tasks: deque[ManualTask] = deque()

    def run(self) -> None:
        """Run what was spawned, and what that spawns, until nothing is left."""
        while self._tasks:
            self._tasks.popleft().run()

    def spawn(self, work: Callable[[], None]) -> ManualTask:
        self._tasks.append(ManualTask(work))
        return self._tasks[-1]

    def spawn_thread(self, work: Callable[[], None]) -> None:
        self.spawn(work)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()

    def waiter(self) -> ManualWaiter:
        return ManualWaiter(self)

    def alarm(self, ring: Callable[[], None]) -> ManualAlarm:
        return self.clock.alarm(ring)

    def lock(self) -> AbstractContextManager[object]:
        return threading.Lock()

    def yield_control(self) -> None:
        """Nobody else is there."""

    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        raise NotImplementedError("An async provider needs a real loop: test it through the app.")


class ManualTask:
    """:ivar interrupted: Somebody wanted to end it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.alive = True
        self.interrupted = False
        self._work = work

    def run(self) -> None:
        try:
            if not self.interrupted:
                self._work()
        finally:
            self.alive = False

    def interrupt(self) -> None:
        self.interrupted = True


class ManualWaiter:
    """:ivar wakes: How often it was woken."""

    def __init__(self, concurrency: ManualConcurrency) -> None:
        self.wakes = 0
        self._woken = False
        self._concurrency = concurrency

    def wait(self) -> None:
        """Sleep until woken.

        :raises AssertionError: Nothing is left that could ever wake it.
        """
        self._concurrency.run()
        while not self._woken:
            assert self._concurrency.clock.skip(), "A reader sleeps and nothing will ever wake it."
            self._concurrency.run()
        self._woken = False

    def wake(self) -> None:
        self.wakes += 1
        self._woken = True
