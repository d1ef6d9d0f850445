"""Provider → log: every way a provider can behave, and how its run ends then."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
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
    """A kind of string that is no plain one."""


class Unknown:
    pass


class Mine(ev.Data):
    """An event that no protocol knows."""


class Async:
    """An object that is an ``async def`` when called."""

    async def __call__(self, request: ChatRequest) -> str:
        return "a"


def says(*chunks: t.Any) -> Provider:
    def provider(request: ChatRequest) -> Iterator[t.Any]:
        yield from chunks

    return provider


def says_async(*chunks: t.Any) -> Provider:
    async def provider(request: ChatRequest) -> AsyncIterator[t.Any]:
        for chunk in chunks:
            yield chunk

    return provider


async def returns_text(request: ChatRequest) -> str:
    return "a"


async def returns_generator(request: ChatRequest) -> t.Any:
    return says_async("a", "b")(request)


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
    pytest.param(says("a", "b"), ["a", "b"], END, id="generator"),
    pytest.param(says(), [], END, id="empty generator"),
    pytest.param(says(""), [""], END, id="an empty token is a token"),
    pytest.param(says(Enum("a")), ["a"], END, id="a kind of string"),
    pytest.param(says(ev.Reasoning("hm"), "a"), [ev.Reasoning("hm"), "a"], END, id="events"),
    pytest.param(returns("a"), ["a"], END, id="string"),
    pytest.param(returns(""), [""], END, id="empty string"),
    pytest.param(returns(None), [], END, id="nothing"),
    pytest.param(returns(["a", "b"]), ["a", "b"], END, id="list"),
    pytest.param(returns([]), [], END, id="empty list"),
    pytest.param(lambda request: iter(["a", "b"]), ["a", "b"], END, id="iterator"),
    pytest.param(returns(ev.Usage(1, 2)), [ev.Usage(1, 2)], END, id="event"),
    pytest.param(says_async("a", "b"), ["a", "b"], END, id="async generator"),
    pytest.param(hidden(says_async("a")), ["a"], END, id="function of an async generator"),
    pytest.param(returns_text, ["a"], END, id="coroutine"),
    pytest.param(hidden(returns_text), ["a"], END, id="function of a coroutine"),
    pytest.param(returns_generator, ["a", "b"], END, id="coroutine of an async generator"),
    pytest.param(returns_nothing, [], END, id="coroutine of nothing"),
    pytest.param(Async(), ["a"], END, id="object with an async __call__"),
    pytest.param(
        says("a", ev.Finished("length"), ev.Usage(1, 2)),
        ["a", ev.Usage(1, 2)],
        ev.Finished("length"),
        id="what follows the reason is not lost",
    ),
    pytest.param(
        says(ev.Finished("length"), ev.Finished("stop")), [], END, id="the last reason counts"
    ),
    pytest.param(
        says("a", ev.Failed("mine", "Sorry."), "b"),
        ["a"],
        ev.Failed("mine", "Sorry."),
        id="a failure said is the end",
    ),
    pytest.param(
        says("a", ev.Stopped("application"), "b"),
        ["a"],
        ev.Stopped("application"),
        id="a stop said is the end",
    ),
]


@pytest.mark.parametrize(("provider", "events", "terminal"), ANSWERS)
def test_whatever_a_provider_returns_is_an_answer(
    provider: Provider, events: list[ev.Event], terminal: ev.Terminal
) -> None:
    log = new_log()
    assert drive(provider, log) == terminal
    assert events_of(log) == events


@pytest.mark.parametrize(
    ("provider", "is_async"),
    [
        (says("a"), False),
        (returns("a"), False),
        (says_async("a"), True),
        (returns_text, True),
        (Async(), True),
        (hidden(returns_text), False),
    ],
)
def test_an_async_def_is_known_before_it_is_called(provider: Provider, is_async: bool) -> None:
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
def test_what_an_exception_says_is_for_the_log_only(
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
    assert log.run.id in terminal.message
    assert events_of(log) == events
    assert SECRET in caplog.text
    assert log.run.id in caplog.text


@pytest.mark.parametrize(("place", "events"), PLACES)
def test_a_provider_may_fail_in_its_own_words(
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
def test_a_failure_is_always_one_that_can_be_kept(provider: Provider) -> None:
    terminal = drive(provider, new_log())
    assert isinstance(terminal, ev.Failed)
    json.dumps(to_json(terminal))
    assert SECRET not in terminal.message


@pytest.mark.parametrize("provider", [returns(None), returns_nothing], ids=["sync", "async"])
def test_who_has_forgotten_to_yield_is_told_in_the_log(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    assert drive(provider, new_log()) == END
    assert "Did it forget to yield?" in caplog.text


@pytest.mark.parametrize("say", [says, says_async])
@pytest.mark.parametrize(
    "chunk",
    [Unknown(), 42, None, b"a", ["a"], object, Mine("mood", 1), ev.RunStarted("r", "chat")],
)
def test_a_chunk_nobody_knows_fails_the_run_in_a_sentence_naming_its_type(
    say: Callable[..., Provider], chunk: t.Any
) -> None:
    log = new_log()
    terminal = drive(say("a", chunk, "b"), log)
    assert isinstance(terminal, ev.Failed)
    assert terminal.code == "chunk_unknown"
    assert type(chunk).__qualname__ in terminal.message
    assert events_of(log) == ["a"]


# The provider's generator is closed, and not pulled again once the run has ended.


class Watched:
    """A provider that notes what is done to it.

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
def test_a_provider_is_not_pulled_again_after_the_end(kind: type[Watched]) -> None:
    log = new_log()

    def end_after_three(count: int) -> None:
        if count == 3:
            log.end(ev.Stopped())

    provider = kind(end_after_three)
    drive(provider, log)
    assert provider.pulled == 3
    assert provider.closed
    assert events_of(log) == ["x", "x", ev.Stopped()]


class Refusing(MemoryLog):
    """Takes one token; then somebody else is about to end it."""

    def append(self, event: ev.Event) -> None:
        if self.tail == 0:
            raise LogEnded
        super().append(event)


@pytest.mark.parametrize("say", [says, says_async])
def test_who_could_not_say_all_has_not_finished(say: Callable[..., Provider]) -> None:
    log = Refusing(run_of(), (), UNLIMITED, time.monotonic, threading.Lock())
    assert drive(say("a", "b"), log) == ev.Interrupted("killed")


class Guessing:
    """An adapter that, as some do, has something left to say at the end, and guesses why it is one."""

    def __init__(self, accounting: Accounting) -> None: ...

    def events(self, chunk: t.Any) -> Sequence[ev.Event]:
        return ["b"]

    def close(self) -> Sequence[ev.Event]:
        return ["c", ev.Finished("other")]


def test_who_could_not_say_what_was_left_has_not_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODULES, __name__, Guessing)
    log = Refusing(run_of(), (), UNLIMITED, time.monotonic, threading.Lock())
    assert drive(says(Unknown()), log) == ev.Interrupted("killed")


def test_a_provider_that_swallows_its_closing_ends_all_the_same() -> None:
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


def test_what_an_sdk_complains_of_after_a_stop_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = new_log()

    def provider(request: ChatRequest) -> Iterator[str]:
        yield "a"
        log.end(ev.Stopped())
        raise ConnectionError("the connection was cut")

    drive(provider, log)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_stream_that_can_be_closed_is_closed() -> None:
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


def test_a_provider_that_never_waits_lets_others_run() -> None:
    breaths: list[int] = []
    log = new_log()
    clock = ManualClock()

    def provider(request: ChatRequest) -> Iterator[str]:
        for _ in range(100 * CLOCK_INTERVAL):
            clock.advance(YIELD_SECONDS / CLOCK_INTERVAL / 8)
            yield "x"

    pump = pump_of(provider, log, clock=clock)
    pump.run(lambda: breaths.append(len(events_of(log))))
    assert len(breaths) == 12


def test_a_provider_that_waits_by_itself_need_not_let_others_run() -> None:
    pump = pump_of(says(*["x"] * 100), new_log(), clock=ManualClock())
    pump.run(lambda: pytest.fail("a turn was given away"))


def test_an_async_provider_that_never_waits_lets_others_run() -> None:
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
    "provider", [says("a"), says_async("a"), returns_text, raises_midway(ValueError())]
)
def test_all_of_a_provider_runs_in_its_surroundings(provider: Provider) -> None:
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


def test_the_time_of_the_first_thing_said_is_noted() -> None:
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
            await asyncio.sleep(0)  # Cleaning up may wait.
            cleaned.append(True)

    async def main() -> None:
        task = asyncio.create_task(pump_of(provider, log).run_async(lambda: asyncio.sleep(0)))
        while not events_of(log):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    log = new_log()
    asyncio.run(main())
    assert cleaned == [True]


def pump_of(provider: Provider, log: Log, *, clock: Callable[[], float] = time.monotonic) -> Pump:
    return Pump(call_of(provider), log, clock)


def drive(provider: Provider, log: Log) -> ev.Terminal:
    return drive_pump(pump_of(provider, log))


def drive_pump(pump: Pump) -> ev.Terminal:
    """As the runner does: on a loop from the start, or once something async came back."""
    result: t.Any = None if pump.is_async else pump.run(lambda: None)
    if isinstance(result, ev.TERMINAL):
        return result
    return asyncio.run(pump.run_async(lambda: asyncio.sleep(0), result))
