"""What a provider may return, yield and raise, and the outcome of its run."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
import sys
import threading
import time
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.codec import to_json
from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.table import MODULES
from flask_aistream.runs.call import Provider
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.pump import CLOCK_INTERVAL
from flask_aistream.runs.pump import YIELD_SECONDS
from flask_aistream.runs.pump import Pump
from flask_aistream.stores.base import Log
from flask_aistream.stores.limits import UNLIMITED
from flask_aistream.stores.memory import MemoryLog
from tests.doubles import ManualClock
from tests.runs.support import REQUEST
from tests.runs.support import call_of
from tests.runs.support import events_of
from tests.runs.support import new_log
from tests.runs.support import run_of

SECRET = "sk-secret"


class Enum(str):
    """A subclass of ``str``."""


class Unknown:
    pass


class Mine(ev.Data):
    """An event of a class that no protocol encodes."""


class Async:
    """An object that is an ``async def`` when called."""

    async def __call__(self, request: ChatRequest) -> str:
        return "a"


def yields(*chunks: t.Any) -> Provider:
    def provider(request: ChatRequest) -> Iterator[t.Any]:
        yield from chunks

    return provider


def yields_async(*chunks: t.Any) -> Provider:
    async def provider(request: ChatRequest) -> AsyncIterator[t.Any]:
        for chunk in chunks:
            yield chunk

    return provider


async def returns_text(request: ChatRequest) -> str:
    return "a"


async def returns_generator(request: ChatRequest) -> t.Any:
    return yields_async("a", "b")(request)


async def returns_nothing(request: ChatRequest) -> None:
    await asyncio.sleep(0)


def returns(value: t.Any) -> Provider:
    return lambda request: value


def hidden(provider: Provider) -> Provider:
    """Behind a function that is not async itself."""

    def plain(request: ChatRequest) -> t.Any:
        return provider(request)

    return plain


END = ev.Finished()

ANSWERS = [
    pytest.param(yields("a", "b"), ["a", "b"], END, id="generator"),
    pytest.param(yields(), [], END, id="empty generator"),
    pytest.param(yields(""), [""], END, id="an empty token is a token"),
    pytest.param(yields(Enum("a")), ["a"], END, id="subclass of str"),
    pytest.param(yields(ev.Reasoning("hm"), "a"), [ev.Reasoning("hm"), "a"], END, id="events"),
    pytest.param(returns("a"), ["a"], END, id="string"),
    pytest.param(returns(""), [""], END, id="empty string"),
    pytest.param(returns(None), [], END, id="nothing"),
    pytest.param(returns(["a", "b"]), ["a", "b"], END, id="list"),
    pytest.param(returns([]), [], END, id="empty list"),
    pytest.param(lambda request: iter(["a", "b"]), ["a", "b"], END, id="iterator"),
    pytest.param(returns(ev.Usage(1, 2)), [ev.Usage(1, 2)], END, id="event"),
    pytest.param(yields_async("a", "b"), ["a", "b"], END, id="async generator"),
    pytest.param(hidden(yields_async("a")), ["a"], END, id="function of an async generator"),
    pytest.param(returns_text, ["a"], END, id="coroutine"),
    pytest.param(hidden(returns_text), ["a"], END, id="function of a coroutine"),
    pytest.param(returns_generator, ["a", "b"], END, id="coroutine of an async generator"),
    pytest.param(returns_nothing, [], END, id="coroutine of nothing"),
    pytest.param(Async(), ["a"], END, id="object with an async __call__"),
    pytest.param(
        yields("a", ev.Finished("length"), ev.Usage(1, 2)),
        ["a", ev.Usage(1, 2)],
        ev.Finished("length"),
        id="events after Finished are kept",
    ),
    pytest.param(
        yields(ev.Finished("length"), ev.Finished("stop")), [], END, id="the last Finished counts"
    ),
    pytest.param(
        yields("a", ev.Failed("mine", "Sorry."), "b"),
        ["a"],
        ev.Failed("mine", "Sorry."),
        id="a yielded Failed ends the run",
    ),
    pytest.param(
        yields("a", ev.Stopped("application"), "b"),
        ["a"],
        ev.Stopped("application"),
        id="a yielded Stopped ends the run",
    ),
]


@pytest.mark.parametrize(("provider", "events", "terminal"), ANSWERS)
def test_every_kind_of_return_value_is_an_answer(
    provider: Provider, events: list[ev.Event], terminal: ev.Terminal
) -> None:
    log = new_log()
    assert drive(provider, log) == terminal
    assert events_of(log) == events


@pytest.mark.parametrize(
    ("provider", "is_async"),
    [
        (yields("a"), False),
        (returns("a"), False),
        (yields_async("a"), True),
        (returns_text, True),
        (Async(), True),
        (hidden(returns_text), False),
    ],
)
def test_an_async_def_is_recognised_before_it_is_called(provider: Provider, is_async: bool) -> None:
    assert pump_of(provider, new_log()).is_async is is_async


def raises_at_once(error: BaseException) -> Provider:
    def provider(request: ChatRequest) -> t.Any:
        raise error

    return provider


def raises_before(error: BaseException) -> Provider:
    def provider(request: ChatRequest) -> Iterator[str]:
        if error:
            raise error
        yield "never"

    return provider


def raises_midway(error: BaseException) -> Provider:
    def provider(request: ChatRequest) -> Iterator[str]:
        yield "a"
        raise error

    return provider


def raises_in_finally(error: BaseException) -> Provider:
    def provider(request: ChatRequest) -> Iterator[str]:
        try:
            yield "a"
        finally:
            raise error

    return provider


def raises_midway_async(error: BaseException) -> Provider:
    async def provider(request: ChatRequest) -> AsyncIterator[str]:
        yield "a"
        raise error

    return provider


def raises_in_coroutine(error: BaseException) -> Provider:
    async def provider(request: ChatRequest) -> str:
        raise error

    return provider


PLACES = [
    (raises_at_once, []),
    (raises_before, []),
    (raises_midway, ["a"]),
    (raises_in_finally, ["a"]),
    (raises_midway_async, ["a"]),
    (raises_in_coroutine, []),
]


@pytest.mark.parametrize(("place", "events"), PLACES)
@pytest.mark.parametrize(
    "error", [ValueError(SECRET), ConnectionError(SECRET), StopIteration(SECRET)]
)
def test_the_text_of_an_exception_is_only_in_the_server_log(
    place: Callable[[BaseException], Provider],
    events: list[ev.Event],
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = new_log()
    terminal = drive(place(error), log)
    assert isinstance(terminal, ev.Failed)
    assert (terminal.code, terminal.status) == ("provider_error", 500)
    assert SECRET not in terminal.message
    assert log.run.id[:8] in terminal.message
    assert events_of(log) == events
    assert SECRET in caplog.text
    assert f"Run {log.run.id[:8]}" in caplog.text


@pytest.mark.parametrize(("place", "events"), PLACES)
def test_a_provider_error_keeps_its_code_message_and_status(
    place: Callable[[BaseException], Provider], events: list[ev.Event]
) -> None:
    log = new_log()
    error = ProviderError("quota", "No more today.", status=429)
    assert drive(place(error), log) == ev.Failed("quota", "No more today.", 429)
    assert events_of(log) == events


class Fault(enum.Enum):
    QUOTA = "quota"


def fails_wrongly(request: ChatRequest) -> Iterator[t.Any]:
    yield ev.Failed("upstream", t.cast(str, ValueError(SECRET)))


def raises_wrongly(request: ChatRequest) -> t.NoReturn:
    raise ProviderError(t.cast(str, Fault.QUOTA), "No more today.")


@pytest.mark.parametrize("provider", [fails_wrongly, raises_wrongly])
def test_a_failure_can_always_be_stored(provider: Provider) -> None:
    terminal = drive(provider, new_log())
    assert isinstance(terminal, ev.Failed)
    json.dumps(to_json(terminal))
    assert SECRET not in terminal.message


@pytest.mark.parametrize("provider", [returns(None), returns_nothing], ids=["sync", "async"])
def test_a_provider_that_returns_none_is_logged(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    assert drive(provider, new_log()) == END
    assert "Did it forget to yield?" in caplog.text


@pytest.mark.parametrize("make", [yields, yields_async])
@pytest.mark.parametrize(
    "chunk",
    [Unknown(), 42, None, b"a", ["a"], object, Mine("mood", 1), ev.RunStarted("r", "chat")],
)
def test_an_unknown_chunk_fails_the_run_with_a_message_that_names_its_type(
    make: Callable[..., Provider], chunk: t.Any
) -> None:
    log = new_log()
    terminal = drive(make("a", chunk, "b"), log)
    assert isinstance(terminal, ev.Failed)
    assert terminal.code == "chunk_unknown"
    assert type(chunk).__qualname__ in terminal.message
    assert events_of(log) == ["a"]


# The provider's generator is closed, and not advanced once the run has ended.


class Watched:
    """A provider that records how it is used.

    :param meanwhile: Called after each pull.
    """

    def __init__(self, meanwhile: Callable[[int], None] = lambda count: None) -> None:
        self.pulled = 0
        self.closed = False
        self._meanwhile = meanwhile

    def __call__(self, request: ChatRequest) -> Iterator[str]:
        try:
            while self.pulled < 100:
                self.pulled += 1
                self._meanwhile(self.pulled)
                yield "x"
        finally:
            self.closed = True


class WatchedAsync(Watched):
    def __call__(self, request: ChatRequest) -> t.Any:
        return self._play()

    async def _play(self) -> AsyncIterator[str]:
        for chunk in super().__call__(REQUEST):
            yield chunk


@pytest.mark.parametrize("kind", [Watched, WatchedAsync])
def test_a_provider_is_not_advanced_after_the_end(kind: type[Watched]) -> None:
    log = new_log()

    def end_after_three(count: int) -> None:
        if count == 3:
            log.end(ev.Stopped())

    provider = kind(end_after_three)
    drive(provider, log)
    assert provider.pulled == 3
    assert provider.closed
    assert events_of(log) == ["x", "x", ev.Stopped()]


class Rejecting(MemoryLog):
    """Accepts one token, and rejects the next one, as if another caller were ending the run."""

    def append(self, event: ev.Event) -> None:
        if self.tail == 0:
            raise LogEnded
        super().append(event)


@pytest.mark.parametrize("make", [yields, yields_async])
def test_a_provider_whose_write_was_rejected_has_not_finished(
    make: Callable[..., Provider],
) -> None:
    log = Rejecting(run_of(), (), UNLIMITED, time.monotonic, threading.Lock())
    assert drive(make("a", "b"), log) == ev.Interrupted("killed")


class Guessing:
    """An adapter that, as some do, emits events at the end, with a guessed finish reason."""

    def __init__(self, accounting: Accounting) -> None: ...

    def events(self, chunk: t.Any) -> Sequence[ev.Event]:
        return ["b"]

    incomplete = False

    def close(self) -> Sequence[ev.Event]:
        return ["c", ev.Finished("other")]


def test_an_adapter_whose_last_write_was_rejected_has_not_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODULES, __name__, Guessing)
    log = Rejecting(run_of(), (), UNLIMITED, time.monotonic, threading.Lock())
    assert drive(yields(Unknown()), log) == ev.Interrupted("killed")


def test_a_provider_that_swallows_generator_exit_ends_nevertheless() -> None:
    log = new_log()

    def provider(request: ChatRequest) -> Iterator[str]:
        yield "a"
        log.end(ev.Stopped())
        try:
            yield "b"
        except GeneratorExit:
            yield "not yet"

    drive(provider, log)
    assert events_of(log) == ["a", ev.Stopped()]


def test_an_exception_after_a_stop_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = new_log()

    def provider(request: ChatRequest) -> Iterator[str]:
        yield "a"
        log.end(ev.Stopped())
        raise ConnectionError("the connection was cut")

    drive(provider, log)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_returned_stream_is_closed() -> None:
    class Stream:
        closed = 0

        def __iter__(self) -> Iterator[str]:
            return iter("ab")

        def close(self) -> None:
            self.closed += 1

    stream = Stream()
    log = new_log()
    assert drive(returns(stream), log) == END
    assert events_of(log) == ["a", "b"]
    assert stream.closed == 1


def test_a_provider_that_never_blocks_yields_control() -> None:
    yields_seen: list[int] = []
    log = new_log()
    clock = ManualClock()

    def provider(request: ChatRequest) -> Iterator[str]:
        for _ in range(100 * CLOCK_INTERVAL):
            clock.advance(YIELD_SECONDS / CLOCK_INTERVAL / 8)
            yield "x"

    pump = pump_of(provider, log, clock=clock)
    pump.run(lambda: yields_seen.append(len(events_of(log))))
    assert len(yields_seen) == 12


def test_a_short_provider_does_not_yield_control() -> None:
    pump = pump_of(yields(*["x"] * 100), new_log(), clock=ManualClock())
    pump.run(lambda: pytest.fail("control was yielded"))


def test_an_async_provider_that_never_awaits_yields_control() -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def main() -> None:
        other = asyncio.create_task(beat())
        clock = ManualClock()

        async def provider(request: ChatRequest) -> AsyncIterator[str]:
            for _ in range(30 * CLOCK_INTERVAL):
                clock.advance(YIELD_SECONDS / CLOCK_INTERVAL)
                yield "x"

        pump = pump_of(provider, new_log(), clock=clock)
        await pump.run_async(lambda: asyncio.sleep(0))
        other.cancel()

    asyncio.run(main())
    assert beats >= 3


@pytest.mark.parametrize(
    "provider", [yields("a"), yields_async("a"), returns_text, raises_midway(ValueError())]
)
def test_all_code_of_a_provider_runs_in_its_context(provider: Provider) -> None:
    inside = 0
    entered: list[bool] = []

    @contextlib.contextmanager
    def context_factory() -> Iterator[None]:
        nonlocal inside
        inside += 1
        yield
        inside -= 1

    def watched(request: ChatRequest) -> t.Any:
        entered.append(inside > 0)
        return provider(request)

    drive_pump(Pump(ProviderCall(watched, REQUEST, context_factory), new_log()))
    assert entered == [True]
    assert inside == 0


def test_the_time_of_the_first_event_is_recorded() -> None:
    clock = ManualClock()

    def provider(request: ChatRequest) -> Iterator[str]:
        for text in "ab":
            clock.advance(7)
            yield text

    pump, start = pump_of(provider, new_log(), clock=clock), clock()
    assert pump.first_at is None
    drive_pump(pump)
    assert pump.first_at == start + 7


def test_a_cancelled_async_provider_cleans_up() -> None:
    cleaned: list[bool] = []

    async def provider(request: ChatRequest) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # Clean-up may await.
            cleaned.append(True)

    async def main() -> None:
        task = asyncio.create_task(pump_of(provider, log).run_async(lambda: asyncio.sleep(0)))
        while not events_of(log):
            await asyncio.sleep(0)
        task.cancel()
        # Before Python 3.11 a task does not know that it was cancelled, so the run ends as failed.
        knows = sys.version_info >= (3, 11)
        with pytest.raises(asyncio.CancelledError) if knows else contextlib.nullcontext():
            await task

    log = new_log()
    asyncio.run(main())
    assert cleaned == [True]


def pump_of(provider: Provider, log: Log, *, clock: Callable[[], float] = time.monotonic) -> Pump:
    return Pump(call_of(provider), log, clock)


def drive(provider: Provider, log: Log) -> ev.Terminal:
    return drive_pump(pump_of(provider, log))


def drive_pump(pump: Pump) -> ev.Terminal:
    """As the launcher does: on a loop from the start, or for an asynchronous return value."""
    result: t.Any = None if pump.is_async else pump.run(lambda: None)
    if isinstance(result, ev.TERMINAL):
        return result
    return asyncio.run(pump.run_async(lambda: asyncio.sleep(0), result))
