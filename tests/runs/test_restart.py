"""A run whose owner is lost continues in another process, if its provider supports that."""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.runs.call import Provider
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.restart import CUT_OFF
from flask_aistream.runs.restart import history_of
from flask_aistream.stores.base import Log
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.stores.sqlite import SqliteEngine
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from tests.doubles import ManualClock
from tests.runs.support import RunnerHarness
from tests.runs.support import ThreadsOnManualTime
from tests.runs.support import active_run
from tests.runs.support import call_of
from tests.runs.support import new_log
from tests.runs.support import until
from tests.stores.contract import follow
from tests.stores.shared import Stores
from tests.stores.shared import stores_over

END = ev.Finished()

# Events of the lost call → events that close it.
CUTS: dict[str, tuple[list[ev.Event], list[ev.Event]]] = {
    "nothing": ([], []),
    "text": (["a", "b"], []),
    "reasoning": ([ev.Reasoning("Hm")], []),
    "an announced call": (
        [ev.ToolCallStarted("c", "clock")],
        [ev.ToolCall("c", "clock", {}), ev.ToolError("c", CUT_OFF)],
    ),
    "half of the arguments": (
        [ev.ToolCallStarted("c", "clock"), ev.ToolCallArguments("c", '{"zo')],
        [ev.ToolCall("c", "clock", '{"zo'), ev.ToolError("c", CUT_OFF)],
    ),
    "an unanswered call": ([ev.ToolCall("c", "clock", {})], [ev.ToolError("c", CUT_OFF)]),
    "an answered call": ([ev.ToolCall("c", "clock", {}), ev.ToolResult("c", 12)], []),
    "a failed call": ([ev.ToolCall("c", "clock", {}), ev.ToolError("c", "No.")], []),
    "a step": (
        [ev.StepStarted("one"), ev.StepFinished("one"), ev.StepStarted("two")],
        [ev.StepFinished("two")],
    ),
    "a finished step": ([ev.StepStarted("one"), ev.StepFinished("one")], []),
}


@pytest.mark.parametrize("cut", CUTS)
def test_open_parts_of_the_lost_call_are_closed(cut: str) -> None:
    events, closing = CUTS[cut]
    log = new_log()
    for event in events:
        log.append(event)
    history = history_of(log)
    assert history is not None
    assert history.closing == closing
    assert history.text == "".join(event for event in events if isinstance(event, str))


def test_a_log_whose_beginning_was_trimmed_has_no_history() -> None:
    log = new_log(MemoryStore(Limits(max_events=10)))
    for number in range(20):
        log.append(str(number))
    assert history_of(log) is None


class Processes:
    """Runners over one store, as if each were in a process of its own."""

    def __init__(self, clock: ManualClock, stores: Stores) -> None:
        self.provider: Provider | None = None
        self._clock = clock
        self._stores = stores
        self._made = 0

    def make(self, **limits: t.Any) -> RunnerHarness:
        self._made += 1
        store = t.cast(t.Any, self._stores.make(name=f"process-{self._made}"))
        limits = {"max_restarts": 2, **limits}
        concurrency = ThreadsOnManualTime(self._clock)
        return RunnerHarness(self._clock, concurrency, store, resolve=self._resolve, **limits)

    def start(self, harness: RunnerHarness, provider: Provider, **fields: t.Any) -> Log:
        self.provider = provider
        fields = {"created": time.time(), "request": "{}", **fields}
        run = Run(new_run_id(), "chat", **fields)
        request = ChatRequest("Hi", [], run=run.id)
        return harness.runner.start(run, call_of(provider, request))[0]

    def _resolve(self, run: Run) -> ProviderCall:
        request = ChatRequest("Hi", [], run=run.id)
        return ProviderCall(
            self.provider or Script(), request, nullcontext, self.provider is not None
        )


@pytest.fixture
def processes(clock: ManualClock, tmp_path: Path) -> Iterator[Processes]:
    def engine(name: str, **options: t.Any) -> SqliteEngine:
        return SqliteEngine(str(tmp_path / "runs.sqlite"), name, **options)

    with stores_over(engine) as stores:
        yield Processes(clock, stores)


def leave(harness: RunnerHarness) -> None:
    harness.runner.drain()
    harness.runner.interrupt_all("drain", 0)


def continuing(*steps: t.Any) -> Script:
    """Plays one list of steps per call."""

    class Continuing(Script):
        def __call__(self, request: ChatRequest) -> Iterator[t.Any]:
            self.requests.append(request)
            self._steps = steps[request.restarts]
            return self._play()

    return Continuing()


def test_readers_in_all_processes_see_one_continuous_stream(processes: Processes) -> None:
    here, there = processes.make(), processes.make()
    gate = Gate()
    script = continuing(["Hel", gate], ["lo"])
    log = processes.start(here, script)
    gate.wait_reached()
    elsewhere = there.store.open(log.run.id)
    until(lambda: log.read(-1).last == 1)
    leave(here)
    assert (here.ends.received, log.ended) == ([], False)
    there.runner.recover()
    told = follow(log)
    assert told == follow(elsewhere) == [ev.RunStarted(log.run.id, "chat"), "Hel", "lo", END]
    assert [(it.so_far, it.restarts) for it in script.requests] == [("", 0), ("Hel", 1)]
    (ended,) = there.ends.wait()
    assert (ended.text, ended.status, here.ends.received) == ("Hello", "finished", [])
    there.runner.recover()
    assert len(there.ends.received) == 1


def test_the_end_of_a_lost_call_does_not_remove_the_run_adopted_again(processes: Processes) -> None:
    here, there = processes.make(), processes.make()
    gates, cleaned = [Gate(), Gate()], threading.Event()

    def provider(request: ChatRequest) -> Iterator[str]:
        yield str(request.restarts)
        try:
            gates[bool(request.restarts)].pass_through()
        except BaseException:
            if request.restarts:
                raise
            cleaned.wait(DEADLINE)
        yield "late"

    log = processes.start(here, provider)
    gates[0].wait_reached()
    until(lambda: log.read(-1).last == 1)
    first = active_run(here, log)
    heir = there.store.adopt(log.run.id, 1)
    assert heir is not None
    until(lambda: here.runner.count == 0, "the loss")
    assert heir.release()
    here.runner.recover()
    gates[1].wait_reached()
    cleaned.set()
    until(lambda: not first.working, "the end of the first call")
    assert here.runner.count == 1
    assert here.runner.stop(log, "client")
    until(lambda: here.runner.count == 0 and not any(it.alive for it in here.spawned), "the stop")
    assert follow(log)[1:] == ["0", "2", ev.Stopped()]


def test_an_open_tool_call_is_closed_before_the_provider_continues(processes: Processes) -> None:
    here, there = processes.make(), processes.make()
    gate = Gate()
    chunk = ev.Usage(10, 2)
    script = continuing(
        [ev.ToolCallStarted("c", "clock"), chunk, gate], ["Noon.", ev.Usage(output_tokens=5)]
    )
    log = processes.start(here, script)
    gate.wait_reached()
    leave(here)
    there.runner.recover()
    (ended,) = there.ends.wait()
    assert list(there.store.open(log.run.id).read(0).events) == [
        ev.ToolCallStarted("c", "clock"),
        ev.Usage(10, 2),
        ev.ToolCall("c", "clock", {}),
        ev.ToolError("c", CUT_OFF),
        "Noon.",
        ev.Usage(None, 7),
        END,
    ]
    assert ended.usage == ev.Usage(10, 7)


def test_a_run_is_restarted_up_to_the_limit(processes: Processes) -> None:
    gates = [Gate() for _ in range(3)]
    script = continuing(*([f"{number} ", gate] for number, gate in enumerate(gates)))
    process = processes.make()
    log = processes.start(process, script)
    for restarts, gate in enumerate(gates):
        gate.wait_reached()
        leave(process)
        last, process = process, processes.make()
        process.runner.recover()
        assert last.ends.received == [] or restarts == 2
    (ended,) = last.ends.wait()
    assert (ended.outcome, ended.text) == (ev.Interrupted("drain"), "0 1 2 ")
    assert process.ends.received == []
    assert process.store.open(log.run.id).ended


def provider_removed(processes: Processes, log: Log) -> dict[str, t.Any]:
    processes.provider = None
    return {}


def restart_limit_reached(processes: Processes, log: Log) -> dict[str, t.Any]:
    return {"max_restarts": 0}


def time_limit_reached(processes: Processes, log: Log) -> dict[str, t.Any]:
    return {"run_seconds": 10}


@pytest.mark.parametrize(
    "change",
    [provider_removed, restart_limit_reached, time_limit_reached],
    ids=lambda it: it.__name__,
)
def test_a_lost_run_that_must_not_restart_is_interrupted(
    processes: Processes, change: Callable[[Processes, Log], dict[str, t.Any]]
) -> None:
    here, gate = processes.make(), Gate()
    log = processes.start(here, Script("a", gate), created=time.time() - 60)
    gate.wait_reached()
    leave(here)
    there = processes.make(**change(processes, log))
    there.runner.recover()
    (ended,) = there.ends.wait()
    assert (ended.outcome, ended.text) == (ev.Interrupted("owner-lost"), "a")


def test_a_leaving_process_restarts_no_runs(processes: Processes) -> None:
    here, there, third = (processes.make() for _ in range(3))
    gate = Gate()
    log = processes.start(here, continuing(["a", gate], ["b"]))
    gate.wait_reached()
    leave(here)
    there.runner.drain()
    there.runner.recover()
    assert not there.store.open(log.run.id).ended
    third.runner.recover()
    assert [ended.text for ended in third.ends.wait()] == ["ab"]


def test_a_draining_process_interrupts_a_run_that_must_not_restart(processes: Processes) -> None:
    here, gate = processes.make(), Gate()
    processes.start(here, Script("a", gate), request="")
    gate.wait_reached()
    leave(here)
    assert [ended.outcome for ended in here.ends.received] == [ev.Interrupted("drain")]


@pytest.mark.parametrize(
    "steps", [["a"], ["a", RuntimeError("broken")]], ids=["finished", "failed"]
)
def test_an_ended_run_is_not_restarted(
    processes: Processes, steps: list[t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = processes.make(), processes.make()
    script = Script(*steps)
    processes.start(here, script)
    here.ends.wait()
    leave(here)
    there.runner.recover()
    assert (len(script.requests), there.ends.received) == (1, [])


def test_a_reader_that_stayed_connected_keeps_a_restarted_run_alive(
    processes: Processes, clock: ManualClock
) -> None:
    here, there = processes.make(), processes.make(detach_seconds=30)
    gates = [Gate(), Gate()]
    log = processes.start(here, continuing(["a", gates[0]], ["b", gates[1], "c"]))
    there.runner.attach(log.run.id)
    gates[0].wait_reached()
    leave(here)
    there.runner.recover()
    gates[1].wait_reached()
    clock.advance(100)
    assert not there.store.open(log.run.id).ended
    there.runner.detach(log.run.id)
    clock.advance(31)
    (ended,) = there.ends.wait()
    assert (ended.outcome, ended.text) == (ev.Stopped("detach"), "ab")
