"""The writer of a process: everything that talks to the database, one round at a time.

Jobs and logs with new records come in through one queue, in order. A round takes all of them: the new
records of each log become one batch, all batches one append. :meth:`Writer.step` does one round and can be
called by a test; a thread or greenlet does nothing but call it. It begins a round as soon as there is work,
but not sooner than :func:`pause_after` the last one: under load this forms the batches, and without load
no caller waits.

Where the engine is native, the thread is an OS thread beside gevent's hub. It touches nothing that is
patched; its effects are called on the hub.
"""

from __future__ import annotations

import _queue
import contextlib
import logging
import math
import queue
import time
import typing as t
from collections import deque
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from functools import partial

from flask_aistream.core.run import Run
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.shared.engine import BEAT_SECONDS
from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Repaired
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.timing.concurrency import Spawner
from flask_aistream.timing.concurrency import Waiter

logger = logging.getLogger("flask_aistream")

ROUND_SECONDS = 0.004
MAX_ROUND_SECONDS = 0.016
PAUSE_FACTOR = 16
"""Pause after a round, in durations of the round, within the two limits above."""

HEAL_SECONDS = 2.0
"""Between two checks that the database still has everything that this process has written of its runs."""

ALERT_SECONDS = DEAD_SECONDS
"""After a rollback, a process sends heartbeats for so long though it has no runs: if another rollback takes back what
it has written again, other processes must not count it as dead before the next check."""

ASLEEP_SECONDS = DEAD_SECONDS - 2 * BEAT_SECONDS
"""A pause between two rounds after which other processes may have counted this one as dead."""

RETRY_SECONDS = 0.05

KEPT_DURATIONS = 2048
"""Durations of rounds that are kept until they are taken: those of 8 s, at one round per ``ROUND_SECONDS``."""

QUIET_SECONDS = 1.0
"""An outage of this length is not reported; after it, callers fail at once instead of waiting."""

R = t.TypeVar("R")
Effect = Callable[[], None]


class Writable(t.Protocol):
    """A log of this process, as the writer sees it. Every method but the last two is called by the writer."""

    run: Run
    forgotten: bool

    def hand_over(self) -> Batch | None:
        """The records that are not durable; ``None``: this process must not append to the run any more."""

    def acknowledge(self) -> None:
        """What was handed over is durable."""

    def restore(self, engine: Engine) -> bool: ...
    def final_snapshot(self) -> Snapshot: ...

    def publish(self) -> None:
        """Show readers what is durable."""

    def fence(self, snapshot: Snapshot) -> None:
        """Another process has ended the run or owns it."""


class RestorableEnd(t.Protocol):
    """The end of a run that this process has written, and writes again if the database was rolled back."""

    def assert_end(self, engine: Engine) -> None:
        """Write the run and its end again."""


class Runs(t.Protocol):
    """The runs of this process, as the writer needs them."""

    def living(self) -> Collection[Writable]: ...

    def remembered(self) -> Mapping[str, RestorableEnd]:
        """The ends that this process has written lately, by run id."""

    def busy(self) -> bool:
        """Whether other processes have to know that this one lives."""

    def on_unavailable(self) -> None:
        """The database has been unavailable for too long. Called where greenlets live."""


class Job(t.Generic[R]):
    """One request to the engine.

    :param work: It may be done again after an outage.
    :param effect: Called with the answer where greenlets live, before the caller is woken.
    :param waiter: Of the caller; ``None``: no caller waits, and the job is kept until it could be done.
    :param compensation: Done later if the caller gave up: ``work`` may have taken effect all the same.
    """

    def __init__(
        self,
        work: Callable[[Engine], R],
        effect: Callable[[R], None] | None = None,
        waiter: Waiter | None = None,
        compensation: Job[t.Any] | None = None,
    ) -> None:
        self.work = work
        self.effect = effect
        self.waiter = waiter
        self.compensation = compensation
        self.done = False
        self.error: Exception | None = None
        self.value: R

    def run(self, engine: Engine) -> None:
        """
        :raises Exception: The database is unavailable. Any other error is this job's own.
        """
        try:
            try:
                self._attempt(engine)
            except Repaired:
                self._attempt(engine)
        except Exception as error:
            if engine.is_outage(error):
                raise
            self.error = error

    def _attempt(self, engine: Engine) -> None:
        with engine.transaction():
            self.value, self.error = self.work(engine), None

    def finish(self) -> None:
        try:
            if self.error is None and self.effect is not None:
                self.effect(self.value)
        except Exception as error:
            self.error = error
            raise
        finally:
            self._wake()

    def fail(self, error: Exception) -> None:
        self.error = error
        self._wake()

    def _wake(self) -> None:
        self.done = True
        if self.waiter is not None:
            self.waiter.wake()


class Writer:
    """
    :param listener: See ``Engine.open``.
    :param patience: Seconds the database may be unavailable; then ``Runs.on_unavailable`` is called.
    :ivar inbox: Takes jobs, and logs that have new records.
    :ivar unavailable: Callers fail at once.
    :ivar durations: Seconds in which the database has committed each of the newest rounds. Any thread may pop them.
    """

    def __init__(
        self,
        engine: Engine,
        process: Spawner,
        listener: t.Any,
        runs: Runs,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unavailable = False
        self.durations: deque[float] = deque(maxlen=KEPT_DURATIONS)
        self._engine = engine
        self._process = process
        self._listener = listener
        self._runs = runs
        self._patience = patience
        self._clock = clock
        # Under gevent the patched queue is for greenlets, and the one below it for OS threads.
        make: t.Any = _queue.SimpleQueue if engine.native else queue.SimpleQueue
        # An attribute, not a method around it: this is called once a token.
        self.inbox = make()
        self._wakeup = make()
        self._items: list[t.Any] = []
        self._jobs: list[Job[t.Any]] = []
        self._dirty: dict[Writable, None] = {}
        self._opened = False
        self._closed = False
        self._reported = False
        self._slept = False
        self._failing_since: float | None = None
        self._round_at = clock()
        self._pause = ROUND_SECONDS
        self._beat_at = self._healed_at = -math.inf
        self._polled_at = self._alert_until = -math.inf
        self._tick: float | None = None

    def start(self) -> None:
        (self._process.spawn_thread if self._engine.native else self._process.spawn)(self._serve)

    def ask(
        self,
        work: Callable[[Engine], R],
        effect: Callable[[R], None] | None = None,
        compensation: Job[t.Any] | None = None,
    ) -> R:
        """Have the engine do something, after all appends so far, and wait for the answer.

        :raises StoreUnavailable: The database is unavailable.
        """
        return self.answer(self.post(work, effect, compensation))

    def post(
        self,
        work: Callable[[Engine], R],
        effect: Callable[[R], None] | None = None,
        compensation: Job[t.Any] | None = None,
    ) -> Job[R]:
        """The first half of :meth:`ask`: queue a job. Never blocks.

        :raises StoreUnavailable: The database is unavailable.
        """
        if self.unavailable or self._closed:
            raise StoreUnavailable
        job = Job(work, effect, self._process.waiter(), compensation)
        self._put(job)
        return job

    def answer(self, job: Job[R]) -> R:
        """The second half of :meth:`ask`: wait for the answer to a job of :meth:`post`.

        :raises StoreUnavailable: The database is unavailable.
        """
        assert job.waiter is not None
        try:
            while not job.done:
                job.waiter.wait()
        except BaseException:  # A time limit of the caller, perhaps.
            if job.compensation is not None:
                self._put(job.compensation)
            raise
        if job.error is not None:
            raise job.error
        return job.value

    def submit(
        self, work: Callable[[Engine], R], effect: Callable[[R], None] | None = None
    ) -> None:
        """Have the engine do something as soon as it can, and do not wait."""
        self._put(Job(work, effect))

    def flush_now(self) -> None:
        """Begin the next round at once: a caller waits for it."""
        self._wakeup.put(None)

    def heal(self) -> None:
        """Check soon whether the database has everything that it should have: it may be an earlier state now."""
        self._healed_at = -math.inf
        self.submit(lambda engine: None)

    def close(self) -> None:
        """Write pending records, and end the writer."""
        with contextlib.suppress(StoreUnavailable):
            self.ask(lambda engine: None)
        self._closed = True
        self.submit(lambda engine: None)

    def step(self, now: float) -> None:
        """Do one round with all jobs received so far.

        :param now: By the writer's clock.
        """
        self._take()
        try:
            effects = self._round(now)
        except Exception as error:
            if not self._engine.is_outage(error):
                self._log(partial(logger.error, "The store failed", exc_info=error))
            self._on_unavailable(now, str(error) or type(error).__name__)
        else:
            self._on_available(now)
            if effects:
                self._process.call_soon_threadsafe(partial(self._run_all, effects))

    def _put(self, job: Job[t.Any]) -> None:
        self.inbox.put(job)
        self.flush_now()

    def _serve(self) -> None:
        while not self._closed:
            self._wait()
            self.step(self._clock())
        with contextlib.suppress(Exception):
            self._engine.close()

    def _wait(self) -> None:
        """Sleep until there is work and the last round is over for long enough, or for a tick."""
        try:
            self._items = [self.inbox.get(timeout=self._tick)]
        except queue.Empty:
            return
        rest = self._round_at + self._pause - self._clock()
        if rest > 0:
            with contextlib.suppress(queue.Empty):
                self._wakeup.get(timeout=rest)

    def _take(self) -> None:
        for _ in range(self._wakeup.qsize()):
            self._wakeup.get()
        items, self._items = self._items, []
        items += [self.inbox.get() for _ in range(self.inbox.qsize())]
        for item in items:
            if type(item) is Job:
                self._jobs.append(item)
            else:
                self._dirty[item] = None

    def _round(self, now: float) -> list[Effect]:
        # During an outage a round takes as long as the driver needs to notice it.
        self._slept |= self._failing_since is None and now - self._round_at > ASLEEP_SECONDS
        self._round_at = now
        if not self._opened:
            self._engine.open(self._listener)
            self._opened = True
        if now - self._polled_at >= (self._engine.following.rest or 0):
            self._engine.following.poll()
            self._polled_at = now
        busy = self._is_busy(now)
        beat = busy and now - self._beat_at >= BEAT_SECONDS
        heal = (beat or self._idly_healing(busy)) and now - self._healed_at >= HEAL_SECONDS
        fenced: dict[Writable, Snapshot] = {}
        if beat or heal or self._dirty or self._jobs:
            began = self._clock()
            with self._engine.transaction():
                if self._slept:
                    fenced = self._fence_forgotten()
                if beat:
                    runs = [log.run for log in self._runs.living()] if heal else ()
                    self._isolate(lambda engine: engine.heartbeat(runs))
                fenced |= self._append()
                for job in self._jobs:
                    job.run(self._engine)
                if heal:
                    self._isolate(self._heal)
            self.durations.append(self._clock() - began)
            if beat:
                self._beat_at = now
            if heal:
                self._healed_at = now
        self._slept = False
        return self._done(fenced)

    def _is_busy(self, now: float) -> bool:
        return self._runs.busy() or now < self._alert_until

    def _idly_healing(self, busy: bool) -> bool:
        """Without living runs, a process sends no heartbeat, but still watches over the ends it has written."""
        return not busy and bool(self._runs.remembered())

    def _fence_forgotten(self) -> dict[Writable, Snapshot]:
        """This process has slept for so long that it counted as dead. A run that is gone now was not lost, and
        is not to be written again: another process has ended it, and dropped it later."""
        own = {log.run.id: log for log in self._runs.living()}
        known = self._engine.ended(own) if own else {}
        gone = [log for run_id, log in own.items() if run_id not in known]
        for log in gone:
            log.forgotten = True
        return {log: log.final_snapshot() for log in gone}

    def _append(self) -> dict[Writable, Snapshot]:
        """Append all batches.

        :returns: The runs that another process has ended or adopted, as they are.
        """
        batches = {log: log.hand_over() for log in self._dirty}
        given = [batch for batch in batches.values() if batch is not None]
        refused = self._refused(given) if given else set()
        fenced: dict[Writable, Snapshot] = {}
        for log, batch in batches.items():
            if batch is None:
                del self._dirty[log]
            elif log.run.id in refused and (snapshot := self._reconcile(log, batch)):
                fenced[log] = snapshot
                log.forgotten = True  # Until it is fenced, it must not be taken for lost.
        return fenced

    def _refused(self, batches: list[Batch]) -> set[str]:
        """:returns: Ids of runs whose batch was refused, or cannot be appended for a reason of its own."""
        try:
            with self._engine.transaction():
                return set(self._engine.append(batches))
        except Exception as error:
            if self._engine.is_outage(error):
                raise
            if len(batches) == 1:
                return {batches[0].run}
        return {run_id for batch in batches for run_id in self._refused([batch])}

    def _isolate(self, work: Callable[[Engine], object]) -> None:
        """An error of its own stops no other part of the round."""
        job = Job(work)
        job.run(self._engine)
        if job.error is not None:
            self._log(partial(logger.error, "The store failed", exc_info=job.error))

    def _reconcile(self, log: Writable, batch: Batch) -> Snapshot | None:
        """A batch was refused: the run has ended or has another owner (then it is returned), an attempt before
        an outage has written some of it, or the database has lost records. Unless it was the first, the
        whole run is written again: this process still has it."""
        try:
            if log.restore(self._engine):
                return None
            snapshot = self._engine.load(batch.run, batch.first - 1)
        except Exception as error:
            if self._engine.is_outage(error):
                raise
            return log.final_snapshot()
        if snapshot is None or not (snapshot.ended or snapshot.epoch > batch.epoch):
            # It has ended, and the database has dropped it.
            return log.final_snapshot()
        return snapshot

    def _heal(self, engine: Engine) -> None:
        """Write again what the database has lost in silence."""
        own = {log.run.id: log for log in self._runs.living()}
        over = self._runs.remembered()
        known = engine.ended([*own, *over]) if own or over else {}
        for run_id, log in own.items():
            if run_id not in known:
                log.restore(engine)
        for run_id, end in over.items():
            if known.get(run_id) is False:
                end.assert_end(engine)
                self._alert_until = self._round_at + ALERT_SECONDS

    def _done(self, fenced: dict[Writable, Snapshot]) -> list[Effect]:
        effects: list[Effect] = [partial(log.fence, it) for log, it in fenced.items()]
        durable = [log for log in self._dirty if log not in fenced]
        for log in durable:
            log.acknowledge()
        if durable:
            effects.append(partial(publish_all, durable))
        effects.extend(job.finish for job in self._jobs)
        self._dirty.clear()
        self._jobs.clear()
        return effects

    def _on_unavailable(self, now: float, cause: str) -> None:
        """Everything is kept, and tried again."""
        self._opened = False
        self._tick = self._pause = RETRY_SECONDS
        if self._failing_since is None:
            self._failing_since = now
        seconds = now - self._failing_since
        self.unavailable = self.unavailable or seconds > min(QUIET_SECONDS, self._patience)
        if seconds > self._patience:
            asked = [job for job in self._jobs if job.waiter is not None]
            self._jobs = [job for job in self._jobs if job.waiter is None] + compensations(asked)
            effects: list[Effect] = [
                *(partial(job.fail, StoreUnavailable(cause)) for job in asked),
                self._runs.on_unavailable,
            ]
            if not self._reported:
                self._log(lambda: logger.error("The store does not answer: %s", cause))
            self._reported = True
            self._process.call_soon_threadsafe(partial(self._run_all, effects))

    def _on_available(self, now: float) -> None:
        if self._reported:
            self._log(lambda: logger.warning("The store answers again."))
        self._failing_since = None
        self.unavailable = self._reported = False
        self._pause = pause_after(self._clock() - now)
        busy = self._is_busy(now)
        idle = HEAL_SECONDS if self._idly_healing(busy) else None
        ticks = (self._engine.following.rest, BEAT_SECONDS if busy else idle)
        self._tick = min((tick for tick in ticks if tick), default=None)

    def _run_all(self, effects: list[Effect]) -> None:
        for effect in effects:
            try:
                effect()
            except Exception as error:  # The callers after this one would wait for ever.
                failed = partial(logger.error, "An answer of the store was lost", exc_info=error)
                self._log(failed)

    def _log(self, write: Effect) -> None:
        # Logging may wait for a lock: neither an OS thread beside gevent nor the hub may do that.
        def begin() -> None:
            with contextlib.suppress(RuntimeError):  # No thread can be started.
                self._process.spawn(write)

        self._process.call_soon_threadsafe(begin)


def pause_after(took: float) -> float:
    """Seconds from the beginning of a round to that of the next.

    :param took: Seconds of the round. Fewer and larger rounds cost less where many runs write much, or the
        machine is busy.
    """
    return min(max(took * PAUSE_FACTOR, ROUND_SECONDS), MAX_ROUND_SECONDS)


def compensations(failed: list[Job[t.Any]]) -> list[Job[t.Any]]:
    return [job.compensation for job in failed if job.compensation is not None]


def publish_all(logs: list[Writable]) -> None:
    for log in logs:
        log.publish()
