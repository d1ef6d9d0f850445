"""Several processes over one database, in one thread, on a manual clock, from a seed.

Every process has the real writer, logs, recovery, announcer and termination. Its threads are greenlets; the
scheduler picks the next one at random, so the same seed runs the same schedule. A *plan* is a list of
operations: what clients do, and faults. Leaving some of them out gives a smaller schedule.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import nullcontext

import greenlet

from flask_aistream.core import events as ev
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import StoreUnavailable
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.policy import RunPolicy
from flask_aistream.runs.runner import Runner
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.shared.replica import ReplicaLog
from flask_aistream.stores.shared.store import SharedStore
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from tests.simulation.database import Database
from tests.simulation.database import Outage
from tests.simulation.database import Row
from tests.simulation.database import SimEngine

PATIENCE = 5.0
MAX_DELIVERIES = 3
MAX_RUNS = (50, 50, 2)
RECOVER_SECONDS = (0.5, 1.0, 1.2)
SWEEP_SECONDS = 5.0
SETTLE_SECONDS = 30.0
"""After the last fault, every run ends and every end is delivered within this time."""

QUIET_SECONDS = 4.0
"""Longer than it takes to find a process dead."""

ASSERT_SECONDS = 4.0
"""Time after a rollback within which the ends are asserted again."""

STEP_SECONDS = 0.5
"""The clock never skips more."""

SLOW_SECONDS = (0.0, 0.0, 0.005, 0.02)

MAX_STEPS = 60_000


class Violation(AssertionError):
    """An invariant does not hold."""


class Op(t.NamedTuple):
    """
    :param at: Seconds after the beginning.
    """

    at: float
    kind: str
    a: int
    b: int
    c: int


class AssertedEnd(t.NamedTuple):
    """An end that a rollback took back, and that the process which wrote it writes again.

    :param length: Number of records of the run.
    :param since: Time of the rollback.
    """

    process: SimProcess
    length: int
    since: float


class ReportedEnd(t.NamedTuple):
    """An end that a call has reported to its caller."""

    process: SimProcess
    terminal: ev.Terminal


class Actor:
    """A thread of a process."""

    def __init__(self, process: SimProcess, work: Callable[[], None]) -> None:
        self.process = process
        self.ready = True
        self.until = 0.0  # While it sleeps.
        self.error: BaseException | None = None
        self._work: Callable[[], None] | None = work
        self._greenlet = greenlet.greenlet(self._run, process.world.scheduler)

    @property
    def alive(self) -> bool:
        return self._work is not None

    def interrupt(self) -> None:
        if self.alive:
            self.error = greenlet.GreenletExit()
            self.ready = True

    def resume(self) -> None:
        """Called by the scheduler."""
        self.ready = False
        self.process.world.current = self
        if self.error is not None and self._greenlet:
            error, self.error = self.error, None
            self._greenlet.throw(error)
        elif self.error is not None:
            self._work = None  # It has not begun.
            self.process.actors.remove(self)
        else:
            self._greenlet.switch()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._greenlet.throw(greenlet.GreenletExit())

    def _run(self) -> None:
        try:
            if self._work is not None:
                self._work()
        except greenlet.GreenletExit:
            pass
        except SystemExit:
            self.process.world.kill(self.process)
        finally:
            self._work = None
            self.ready = False
            if self in self.process.actors:
                self.process.actors.remove(self)


class SimWaiter:
    def __init__(self, world: World) -> None:
        self._world = world
        self._woken = False
        self._actor: Actor | None = None

    def wait(self) -> None:
        while not self._woken:
            self._actor = self._world.current
            self._world.switch()
        self._woken = False
        self._actor = None

    def wake(self) -> None:
        self._woken = True
        if self._actor is not None:
            self._actor.ready = True


class SimAlarm:
    def __init__(self, process: SimProcess, callback: Callable[[], None]) -> None:
        self.due: float | None = None
        self._process = process
        self.callback = callback
        process.alarms.append(self)

    def set(self, delay: float) -> None:
        self.due = self._process.now + delay

    def ring(self) -> None:
        self.due = None
        self.callback()


class SimLog(ReplicaLog):
    """Reports the runs that this process says it has ended or released."""

    def end(self, terminal: ev.Terminal, *, epoch: int | None = None, claim: bool = False) -> bool:
        ended = super().end(terminal, epoch=epoch, claim=claim)
        if ended:
            t.cast(SimProcess, self._process).on_ended(self, terminal, epoch)
        return ended

    def release(self) -> bool:
        epoch = self.write_epoch
        released = super().release()
        if released:
            t.cast(SimProcess, self._process).released.add((self.run.id, epoch))
        return released


class SimStore(SharedStore):
    def _log(self, run: Run, epoch: int) -> ReplicaLog:
        return SimLog(self, self.writer, self.process, self._limits, run, epoch)


class SimProcess:
    """A process, and the concurrency of its code.

    :ivar doubtful: Others may have taken it for dead.
    :ivar oversleeps: While it is paused: another process that adopts one of its runs wakes it.
    :ivar released: Runs that it has released, and in which epoch.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.paused_until = 0.0
        self.cut_until = 0.0
        self.die_in: int | None = None
        self.lose_in: int | None = None
        self.listening = True
        self.doubtful = False
        self.oversleeps = False
        self.released: set[tuple[str, int]] = set()
        self.actors: list[Actor] = []
        self.alarms: list[SimAlarm] = []
        self.home: list[Callable[[], None]] = []
        self.home_at: float | None = None
        self.engine = SimEngine(world.database, self)
        self.store = SimStore(
            self.engine,
            self,  # type: ignore[arg-type]
            patience=PATIENCE,
            limits=Limits(max_runs=world.database.max_runs),
            clock=world.clock,
            ticks=world.clock,
        )
        self.writer = self.store.writer
        self.writer_due = 0.0
        timer = Timer(self, FlushInterval(0.0, clock=world.clock), world.clock)  # type: ignore[arg-type]
        self.runner = Runner(
            self.store,
            self,  # type: ignore[arg-type]
            timer,
            RunPolicy(max_restarts=2, max_deliveries=MAX_DELIVERIES),
            self,
            resolve=world.resolve,
            clock=world.clock,
        )
        self.spawn(self._write)
        self.spawn(self._recover)
        self.spawn(self._sweep)

    @property
    def now(self) -> float:
        return self.world.now

    @property
    def running(self) -> bool:
        return self.alive and self.paused_until <= self.now

    @property
    def hindered(self) -> bool:
        return not (self.running and self.reachable) or self.world.full_until > self.now

    @property
    def reachable(self) -> bool:
        return self.alive and self.cut_until <= self.now

    # The contract of concurrency.

    def spawn(self, work: Callable[[], None]) -> Actor:
        self.actors.append(Actor(self, work))
        return self.actors[-1]

    spawn_thread = spawn

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.home.append(callback)

    def waiter(self) -> SimWaiter:
        return SimWaiter(self.world)

    def alarm(self, callback: Callable[[], None], /) -> SimAlarm:
        return SimAlarm(self, callback)

    def lock(self) -> AbstractContextManager[object]:
        return threading.Lock()

    def yield_control(self) -> None:
        self.world.sleep(0.0)

    def asyncio_loop(self) -> t.NoReturn:
        raise NotImplementedError

    # Receivers of run_ended.

    def run_ended(self, ended: RunEnded) -> None:
        self.world.deliver(self, ended)

    # What it says of the ends of runs.

    def on_ended(self, log: SimLog, terminal: ev.Terminal, epoch: int | None) -> None:
        run_id = log.run.id
        if log.degraded:
            self.world.pending[run_id] = ReportedEnd(self, terminal)
        elif (run_id, epoch) in self.released:
            self.world.violation = f"{self.name} has ended {run_id}, which it had released"
        else:
            self.world.on_ended(self, run_id, terminal, epoch)

    # Faults of the way to the database.

    def on_call(self, writes: bool) -> None:
        if self.die_in is not None:
            self.die_in -= 1
            if self.die_in < 0:
                self.world.kill(self)
                self.world.switch()
        if not self.reachable:
            raise Outage("the network is cut")
        if (writes or self.world.away) and self.world.full_until > self.now:
            raise Outage("the disk is full")
        if not self.world.database.atomic and self.world.random.random() < 0.3:
            self.world.sleep(0.0)

    def on_commit(self) -> None:
        if self.die_in is not None and self.die_in == 0:
            self.world.kill(self)
            self.world.switch()

    def after_commit(self) -> None:
        if self.lose_in is not None:
            self.lose_in -= 1
            if self.lose_in < 0:
                self.lose_in = None
                raise Outage("the answer is lost")

    def call_home(self) -> None:
        self.home_at = None
        self.home.pop(0)()

    # Its own loops.

    def _write(self) -> None:
        writer = self.writer
        while True:
            writer.step(self.now)
            self.writer_due = self.now + (writer._tick if writer._tick is not None else 1e9)
            while not writer.inbox.qsize() and self.now < self.writer_due:
                self.world.idle()

    def _recover(self) -> None:
        while True:
            self.world.sleep(self.world.random.choice(RECOVER_SECONDS))
            try:
                self.runner.recover()
            except StoreUnavailable:
                pass

    def _sweep(self) -> None:
        while True:
            self.world.sleep(SWEEP_SECONDS)
            try:
                self.store.sweep()
            except StoreUnavailable:
                pass


class World:
    """
    :param plan: What happens, in the order of time.
    """

    def __init__(self, seed: int, kind: str, plan: t.Sequence[Op]) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.database = Database(kind, self.random.choice(MAX_RUNS), self.clock)
        self.full_until = 0.0
        self.away = False  # And nothing can be read either.
        self.current: Actor | None = None
        self.closed = False
        self.names = 0
        self.processes: list[SimProcess] = []
        self.runs: list[str] = []
        self.keys: dict[str, set[str]] = {}
        self.seen: dict[str, dict[int, t.Any]] = {}
        self.ends: dict[str, ev.Event] = {}
        self.delivered: dict[str, int] = {}
        self.called: dict[str, int] = {}
        self.crashes: dict[str, int] = {}
        # Runs that a client has stopped, and the process that has said so.
        self.stopped: dict[str, SimProcess] = {}
        # Runs of which a fault has taken what nothing can bring back: rolled back, evicted, degraded.
        self.excused: set[str] = set()
        # Runs that may be delivered again: a process was lost, or counted as dead, in their delivery.
        self.repeatable: set[str] = set()
        self.asserted: dict[str, AssertedEnd] = {}
        # Runs that the database may have in an earlier state, or not at all.
        self.altered: set[str] = set()
        # Ends in the database, and those that are still to be written, which readers of their process have.
        self.enders: dict[str, ReportedEnd] = {}
        self.pending: dict[str, ReportedEnd] = {}
        self.readers: list[Reader] = []
        self.receiver: dict[str, str] = {}
        self.steps = 0
        self.violation: str | None = None
        self.trace: list[str] = []
        self._graveyard: list[Actor] = []
        self._plan = list(plan)
        # Seconds by which a writer, or the thread that takes its answers, is late on average.
        self._slow_writer = self.random.choice(SLOW_SECONDS)
        self._slow_home = self.random.choice(SLOW_SECONDS)
        self.scheduler = greenlet.getcurrent()
        for _ in range(3):
            self.boot()

    def clock(self) -> float:
        return self.now

    # For actors.

    def switch(self) -> None:
        """Let the scheduler go on; the actor is resumed when it is ready."""
        if self.closed:
            raise greenlet.GreenletExit
        self.scheduler.switch()

    def sleep(self, seconds: float) -> None:
        actor = self.current
        assert actor is not None
        actor.until = self.now + seconds
        actor.ready = True
        self.switch()
        while self.now < actor.until:
            actor.ready = True
            self.switch()

    def idle(self) -> None:
        """A writer without work."""
        self.switch()

    # The schedule.

    def run(self) -> None:
        """
        :raises Violation: An invariant does not hold.
        """
        try:
            started = self.now
            for op in self._plan:
                self._run_until(started + op.at)
                getattr(self, f"do_{op.kind}")(op)
            self._end_faults()
            self._settle()
        finally:
            self._close()

    def _close(self) -> None:
        """End all threads: what a suspended greenlet refers to is never freed."""
        self.closed = True
        for actor in [
            *self._graveyard,
            *(it for process in self.processes for it in process.actors),
        ]:
            actor.close()

    def _settle(self) -> None:
        end = self.now + SETTLE_SECONDS
        # One schedule in ten runs on for the whole time: what comes late, or again, comes then.
        early = self.random.random() < 0.9
        while self.now < end:
            self._run_until(self.now + QUIET_SECONDS)
            if early and not self.crashes and not self._unsettled():
                return
        unsettled = self._unsettled()
        if unsettled:
            raise Violation(unsettled)

    def _unsettled(self) -> str | None:
        try:
            self._check_settled()
        except Violation as error:
            return str(error)
        return None

    def _run_until(self, end: float) -> None:
        chance = self.random.random
        while self.now < end:
            self.steps += 1
            if self.violation is not None:
                raise Violation(self.violation)
            if self.steps > MAX_STEPS:
                raise Violation(f"nothing settles: {self.steps} steps")
            choices, due = self._choices()
            if not choices:
                self.now = min(end, due)
                continue
            choices[int(chance() * len(choices))]()
            if chance() < 0.2:
                self.now += chance() * 0.004

    def _choices(self) -> tuple[list[Callable[[], None]], float]:
        """
        :returns: What can happen now; the time at which more can happen.
        """
        now = self.now
        due = now + STEP_SECONDS
        choices: list[Callable[[], None]] = []
        for process in self.processes:
            if process.paused_until > now:
                due = min(due, process.paused_until)
                continue
            writing = process.actors[0]
            if not writing.ready:
                if now >= process.writer_due or process.writer.inbox.qsize():
                    writing.ready = True
                    writing.until = now + self._delay(self._slow_writer)
                elif process.writer_due < due:
                    due = process.writer_due
            if process.home:
                if process.home_at is None:
                    process.home_at = now + self._delay(self._slow_home)
                if process.home_at <= now:
                    choices.append(process.call_home)
                elif process.home_at < due:
                    due = process.home_at
            for alarm in process.alarms:
                if alarm.due is not None:
                    if alarm.due <= now:
                        choices.append(alarm.ring)
                    elif alarm.due < due:
                        due = alarm.due
            for actor in process.actors:
                if actor.ready:
                    if actor.until <= now:
                        choices.append(actor.resume)
                    elif actor.until < due:
                        due = actor.until
        return choices, due

    def _delay(self, mean: float) -> float:
        return self.random.expovariate(1 / mean) if mean else 0.0

    # What clients do.

    def boot(self) -> SimProcess:
        self.names += 1
        process = SimProcess(self, f"p{self.names}")
        self.processes.append(process)
        return process

    def pick(self, number: int) -> SimProcess:
        return self.processes[number % len(self.processes)]

    def do_start(self, op: Op) -> None:
        process = self.pick(op.a)
        key = f"key{op.b % 7}" if op.b % 3 == 0 else None
        run_id = f"run{len(self.runs)}"
        self.runs.append(run_id)
        request = {"tokens": op.c % 12, "restart": op.b % 2 == 0}
        named = {"owner": "ann", "key": key, "chat": f"chat{op.a}", "request": json.dumps(request)}
        run = Run(run_id, "chat", 0.0, **named)  # type: ignore[arg-type]

        def start() -> None:
            try:
                log, new = process.runner.start(run, self.resolve(run))
            except AIStreamError:
                return
            if new and key:
                self.keys.setdefault(key, set()).add(run_id)
            self._read(process, log.run.id)

        process.spawn(start)

    def do_read(self, op: Op) -> None:
        if self.runs:
            self._read(self.pick(op.a), self.runs[op.b % len(self.runs)])

    def do_leave(self, op: Op) -> None:
        if self.readers:
            self.readers[op.a % len(self.readers)].left = True

    def do_stop(self, op: Op) -> None:
        if not self.runs:
            return
        process, run_id = self.pick(op.a), self.runs[op.b % len(self.runs)]

        def stop() -> None:
            try:
                stopped = process.runner.stop(process.store.open(run_id), "client")
            except AIStreamError:
                return
            if stopped and not process.doubtful:
                self.stopped[run_id] = process
            if stopped and run_id in self.asserted:  # Before its end was asserted.
                del self.asserted[run_id]

        process.spawn(stop)

    def do_malformed(self, op: Op) -> None:
        process = self.pick(op.a)

        def ask() -> None:
            try:
                process.store.latest("\ud800")
            except (UnicodeEncodeError, AIStreamError):
                return
            raise Violation("a malformed job was done")

        process.spawn(ask)

    def _read(self, process: SimProcess, run_id: str) -> None:
        reader = Reader(self, process, run_id)
        self.readers.append(reader)
        process.spawn(reader.read)

    # Faults.

    def do_kill(self, op: Op) -> None:
        process = self.pick(op.a)
        if op.b % 2:
            process.die_in = op.c % 6  # Before, in or after a commit.
        else:
            self.kill(process)

    def kill(self, process: SimProcess) -> None:
        if not process.alive:
            return
        process.alive = False
        self.repeatable |= process.store._claimed
        self._graveyard += process.actors
        self.processes.remove(process)
        self.database.engines.pop(process.name, None)
        self.boot()

    def do_pause(self, op: Op) -> None:
        process, seconds = self.pick(op.a), (0.5, 2.0, 4.0, 8.0)[op.b % 4]
        if op.c % 2:  # An owner, until another process is the owner.
            owners = [it for it in self.processes if it.runner.count]
            process, seconds = (owners or self.processes)[op.a % len(owners or self.processes)], 8.0
            process.oversleeps = True
        process.paused_until = self.now + seconds
        process.doubtful = True
        self._hinder(process)
        if seconds >= 2.0:
            self.repeatable |= process.store._claimed
            rows = self.database.state.runs.items()
            self.repeatable |= {run_id for run_id, row in rows if row.outbox == process.name}

    def on_adopted(self, before: str) -> None:
        """A process that was taken for dead goes on at the moment in which it is not the owner any more."""
        for process in self.processes:
            if process.name == before and process.oversleeps:
                process.paused_until, process.oversleeps = self.now, False

    def do_cut(self, op: Op) -> None:
        process, seconds = self.pick(op.a), (0.2, 1.0, 4.0, 9.0)[op.b % 4]
        process.cut_until = self.now + seconds
        process.doubtful = True
        self._hinder(process)
        if seconds >= PATIENCE - 1.5:
            self._excuse_all()

    def do_lose(self, op: Op) -> None:
        self.pick(op.a).lose_in = op.b % 4

    def do_full(self, op: Op) -> None:
        seconds = (0.5, 2.0, 8.0)[op.a % 3]
        self.full_until = max(self.full_until, self.now + seconds)
        self.away = op.b % 2 == 0
        if self.full_until - self.now >= PATIENCE - 1.5:
            self._excuse_all()
        self._hinder()

    def do_jump(self, op: Op) -> None:
        self.now += (1.0, 3.5, 10.0)[op.a % 3]
        self._hinder()
        self._doubt_all()
        self._excuse_all()

    def do_exit(self, op: Op) -> None:
        """A process is told to exit: it gives up its runs, or ends them."""
        process = self.pick(op.a)

        def leave() -> None:
            process.runner.drain()
            process.runner.interrupt_all("shutdown", 0.0)
            self.kill(process)

        process.spawn(leave)

    def do_roll_back(self, op: Op) -> None:
        before = self.database.state.runs
        self._excuse_all()
        self.altered.update(self.runs)
        self._doubt_all()
        self.database.roll_back((0.05, 0.3, 1.0, 3.0)[op.a % 4])
        after = self.database.state.runs
        known = {run_id: row.next for run_id, row in before.items() if row.token is not None}
        known |= {run_id: it.length for run_id, it in self.asserted.items()}
        self.asserted = {
            run_id: AssertedEnd(process, length, self.now)
            for run_id, length in known.items()
            if run_id in after and (process := self._asserter(before.get(run_id), run_id))
        }

    def _asserter(self, row: Row | None, run_id: str) -> SimProcess | None:
        """The process that writes the end of a run again.

        :param row: Before the rollback. After an earlier one, the run may have ended twice; either end may be written.
        """
        holders = [it for it in self.processes if run_id in it.store._ended]
        if len(holders) != 1 or holders[0].hindered:
            return None
        _, ended = holders[0].store._ended[run_id]
        return holders[0] if row is None or row.token in (None, ended.end.token) else None

    def _hinder(self, process: SimProcess | None = None) -> None:
        """A process (``None``: each of them) cannot assert the ends that a rollback has just taken back."""
        for run_id, it in list(self.asserted.items()):
            if process in (None, it.process) and self.now - it.since < ASSERT_SECONDS:
                del self.asserted[run_id]

    def do_evict(self, op: Op) -> None:
        if self.database.atomic or not self.runs:
            return
        kind = ("record", "names", "processes", "beats")[op.a % 4]
        run_id = self.runs[op.b % len(self.runs)]
        self._doubt_all()
        if kind in ("record", "names"):
            self.excused.add(run_id)
            self.altered.add(run_id)
        self.database.evict(kind, run_id)

    def do_receiver(self, op: Op) -> None:
        if self.runs:
            run_id = f"run{op.a % (len(self.runs) + 3)}"
            self.receiver[run_id] = ("raise", "timeout", "hang", "crash", "exit", "crash once")[
                op.b % 6
            ]

    def _doubt_all(self) -> None:
        for process in self.processes:
            process.doubtful = True

    def _excuse_all(self) -> None:
        self.excused.update(self.runs)

    def _end_faults(self) -> None:
        self._slow_writer = self._slow_home = 0.0  # A full disk stays full until its time is over.
        for process in self.processes:
            process.paused_until = process.cut_until = 0.0
            process.die_in = process.lose_in = None

    # What the application does.

    def resolve(self, run: Run) -> ProviderCall:
        request = json.loads(run.request)

        def provider(chat: ChatRequest) -> t.Iterator[str]:
            for number in range(len(chat.so_far.split()), request["tokens"]):
                # Several at once, or one after a while.
                self.sleep(self.random.choice((0.0, 0.0, self.random.random() * 0.4)))
                yield f"{number} "
            self.sleep(self.random.choice((0.0, self.random.random())))

        return ProviderCall(provider, ChatRequest("", []), nullcontext, request["restart"])

    def deliver(self, process: SimProcess, ended: RunEnded) -> None:
        run_id = ended.run.id
        awake = self.now - process.paused_until
        if awake < max(RECOVER_SECONDS):  # Others may still take it for dead.
            self.repeatable.add(run_id)
        self.called[run_id] = self.called.get(run_id, 0) + 1
        how = self.receiver.get(run_id)
        if how == "crash" or (how == "crash once" and run_id not in self.crashes):
            self.crashes[run_id] = self.crashes.get(run_id, 0) + 1
            if self.crashes[run_id] > MAX_DELIVERIES and run_id not in self.excused:
                # Raised by the scheduler: what a receiver raises is logged.
                self.violation = f"{run_id} was delivered {self.crashes[run_id]} times to a crash"
            self.kill(process)
            self.switch()
        if how == "hang":
            self.sleep(3.0)
        self.delivered[run_id] = self.delivered.get(run_id, 0) + 1
        if how == "raise":
            raise ValueError("receiver")
        if how == "timeout":
            raise ReceiverTimeout
        if how == "exit":
            raise SystemExit

    # Invariants.

    def observe(self, run_id: str, number: int, event: ev.Event) -> None:
        """A reader got a record."""
        seen = self.seen.setdefault(run_id, {})
        if seen.setdefault(number, event) != event and run_id not in self.excused:
            raise Violation(f"{run_id}:{number} was {seen[number]!r} and is {event!r}")
        end = self.ends.setdefault(run_id, event) if isinstance(event, ev.TERMINAL) else event
        if end != event and run_id not in self.excused:
            raise Violation(f"{run_id} has ended as {end!r} and as {event!r}")

    def check_durable(self, run_id: str, number: int) -> None:
        """A reader got a record: a crash at this moment must not take it back."""
        row = self.database.state.runs.get(run_id)
        known = row is not None and row.next > number
        if not known and run_id not in self.excused | self.database.dropped:
            raise Violation(f"a reader got {run_id}:{number}, which the database does not have")

    def on_ended(
        self, process: SimProcess, run_id: str, terminal: ev.Terminal, epoch: int | None
    ) -> None:
        """A call of this process says that it has ended a run in the database."""
        if run_id in self.altered | self.database.dropped:
            return
        row = self.database.state.runs[run_id]
        if run_id in self.enders:
            self.violation = (
                f"{self.enders[run_id].process.name} and {process.name} have ended {run_id}"
            )
        elif row.events[-1] != terminal:
            self.violation = f"{process.name} has ended {run_id} as {terminal!r}: {row.events}"
        elif epoch not in (None, row.epoch):
            self.violation = f"{process.name} has ended {run_id} of epoch {row.epoch} in {epoch}"
        self.enders[run_id] = ReportedEnd(process, terminal)

    def _check_settled(self) -> None:
        state = self.database.state
        for (run_id, epoch), names in self.database.appended.items():
            if len(names) > 1 and run_id not in self.excused:
                raise Violation(f"{sorted(names)} have appended to {run_id} in epoch {epoch}")
        for key, runs in self.keys.items():
            if len(runs) > 1 and not runs & (self.excused | self.database.dropped):
                raise Violation(f"{key} has started {sorted(runs)}")
        for run_id, row in state.runs.items():
            if row.evicted:
                continue
            if row.token is None and self.database.is_unknown(row.process):
                continue  # It ends once a client asks for it.
            if row.token is None:
                raise Violation(f"{run_id} of {row.process!r} has not ended")
            if sum(isinstance(event, ev.TERMINAL) for event in row.events) != 1:
                raise Violation(f"{run_id} has not one end: {row.events}")
            if not isinstance(row.events[-1], ev.TERMINAL):
                raise Violation(f"{run_id} goes on after its end: {row.events}")
            end = self.asserted.get(run_id)
            if end is not None and end.process.alive and row.next != end.length:
                raise Violation(f"{run_id} had ended, came back to life and is {row.events}")
            stopper = self.stopped.get(run_id)
            kept = stopper is None or not stopper.alive or stopper.doubtful
            if not kept and not isinstance(row.events[-1], ev.Stopped):
                raise Violation(f"{run_id} was stopped and has ended as {row.events[-1]!r}")
            if run_id not in self.excused:
                for number, event in self.seen.get(run_id, {}).items():
                    if number >= row.first and row.events[number - row.first] != event:
                        raise Violation(
                            f"a reader got {run_id}:{number} as {event!r}: {row.events}"
                        )
            self._check_pending(run_id, row.events[-1])
            self._check_delivered(run_id)
        for run_id, count in self.delivered.items():
            if count > 1 and run_id not in self.excused | self.repeatable:
                raise Violation(f"{run_id} was delivered {count} times")
        for reader in self.readers:
            if reader.process.alive and not (reader.done or reader.left):
                raise Violation(
                    f"a reader of {reader.run_id} in {reader.process.name} waits for ever"
                )
        for process in self.processes:
            if process.store._own or process.store._claimed or len(process.store._ended) > 256:
                raise Violation(
                    f"{process.name} keeps {process.store._own} {process.store._claimed}"
                )
            if process.runner.count:
                raise Violation(f"{process.name} works on {process.runner._active_runs}")

    def _check_pending(self, run_id: str, terminal: ev.Event) -> None:
        """The end that a process has accepted in an outage is written, unless a client has stopped the run in another
        process, or that has taken this one for dead."""
        pending = self.pending.get(run_id)
        if pending is None or run_id in self.altered or isinstance(terminal, ev.Stopped):
            return
        process = pending.process
        if process.alive and not process.doubtful and terminal != pending.terminal:
            raise Violation(f"{run_id} was to end as {pending.terminal!r} and has as {terminal!r}")

    def _check_delivered(self, run_id: str) -> None:
        crashes = self.crashes.get(run_id, 0)
        if self.receiver.get(run_id) == "crash" and crashes:
            if crashes < MAX_DELIVERIES and run_id not in self.excused | self.repeatable:
                raise Violation(f"the end of {run_id} was given up after {crashes} crashes")
        elif not self.delivered.get(run_id):
            raise Violation(f"the end of {run_id} was not delivered")


class ReceiverTimeout(BaseException):
    """As gevent's, which is no ``Exception``."""


class Reader:
    """A connection: reads a run to its end, in one process."""

    def __init__(self, world: World, process: SimProcess, run_id: str) -> None:
        self.world = world
        self.process = process
        self.run_id = run_id
        self.done = False
        self.left = False

    def read(self) -> None:
        try:
            log = self.process.store.open(self.run_id)
        except AIStreamError:
            self.done = True
            return
        self.process.runner.attach(self.run_id)
        number = -1
        waiter = self.process.waiter()
        while not self.left:
            page = log.read(number)
            if page.first != number + 1 and self.run_id not in self.world.excused:
                raise Violation(f"a reader of {self.run_id} after {number} got {page.first}")
            for at, event in page.records():
                self.world.observe(self.run_id, at, event)
            if page.events and not log.degraded:
                self.world.check_durable(self.run_id, page.last)
            number = page.last if page.events else number
            if page.ended:
                break
            try:
                log.notify(number, waiter.wake)
            except StoreUnavailable:
                break
            waiter.wait()
        self.done = True
        log.forget(waiter.wake)
