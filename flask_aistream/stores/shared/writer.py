"""The one worker of a process that talks to the database.

Tokens and requests come in through one queue, in order. A round takes all there is: every run's
tokens become one batch, all batches one write. A round begins as soon as there is something to do,
but not sooner than :func:`pause_after` the last one: under load that makes the groups, and where there
is no load nobody waits.

Where the engine is native, the worker is an OS thread beside gevent's hub. What it has to tell is
told through ``Spawner.call_soon_threadsafe``; besides its own attributes it touches nothing else.
"""

from __future__ import annotations

import _queue
import contextlib
import logging
import math
import queue
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from functools import partial

from flask_aistream.core.run import Run
from flask_aistream.errors import StoreUnavailable
from flask_aistream.stores.codec import EncodedEvent
from flask_aistream.stores.shared.engine import BEAT_SECONDS
from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import Engine
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.timing.concurrency import Spawner

logger = logging.getLogger("flask_aistream")

ROUND_SECONDS = 0.004
LONGEST_SECONDS = 0.016
SPARING = 16
"""Of the time, rounds take so small a part, unless it makes the pause between them the longest."""

HEAL_SECONDS = 2.0
"""Between two looks whether the database still has everything that this process's living runs need."""

RETRY_SECONDS = 0.05

ATTEMPTS = 9
"""At writing to a run that others end, adopt or lose meanwhile."""

# A short stumble is nobody's business; after it, who asks is told at once instead of waiting.
QUIET_SECONDS = 1.0

R = t.TypeVar("R")
Effect = Callable[[], None]


class Page(t.Protocol):
    """A log of this process, as far as the scribe knows it.

    ``written`` counts its records in the database, ``unwritten`` are those on their way: both belong
    to the scribe. It puts itself into the inbox when it has something new.
    """

    run: Run
    run_id: str
    owned: bool
    reign: int
    written: int
    unwritten: list[EncodedEvent]
    forgotten: bool

    def collect(self) -> None:
        """Add what is new to ``unwritten``."""
        ...

    def publish(self, count: int) -> None: ...
    def settle(self, found: Snapshot) -> None: ...
    def revive(self, engine: Engine) -> bool: ...
    def as_forgotten(self) -> Snapshot: ...


class Job(t.Generic[R]):
    """One request to the engine.

    :param work: What to ask. It may be done again after a fault.
    :param effect: Called at home with the answer, before whoever waits is woken.
    :param wake: ``None``: nobody waits, and it is kept until it could be done.
    :param regret: Done later, where whoever waited was told that the database is away, or waits no more:
        ``work`` may have been done all the same.
    """

    def __init__(
        self,
        work: Callable[[Engine], R],
        effect: Callable[[R], None] | None = None,
        wake: Callable[[], None] | None = None,
        regret: Job[t.Any] | None = None,
    ) -> None:
        self.work = work
        self.effect = effect
        self.wake = wake
        self.regret = regret
        self.done = False
        self.error: Exception | None = None
        self.value: R

    def run(self, engine: Engine) -> None:
        """
        :raises Exception: The database is unavailable. Any other error is this job's own.
        """
        try:
            with engine.together():
                self.value, self.error = self.work(engine), None
        except Exception as error:
            if engine.is_outage(error):
                raise
            self.error = error

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
        if self.wake is not None:
            self.wake()


class Writer:
    """Starts at once, and ends with :meth:`close`.

    :param own: The living runs of this process.
    :param count: Of the runs for whose sake this process has to show that it lives.
    :ivar inbox: Takes jobs, and pages that have something new to write, some time soon.
    :param patience: Seconds the database may be away; then ``on_away`` is called at home.
    """

    def __init__(
        self,
        engine: Engine,
        process: Spawner,
        listener: Listener,
        *,
        own: Callable[[], Collection[Page]],
        count: Callable[[], int],
        patience: float,
        on_away: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.away = False
        self._engine = engine
        self._process = process
        self._listener = listener
        self._own = own
        self._count = count
        self._patience = patience
        self._on_away = on_away
        self._clock = clock
        # Under gevent the patched queue is for greenlets, and the one below it for OS threads.
        make: t.Any = _queue.SimpleQueue if engine.native else queue.SimpleQueue
        # Its own attribute, not a method around it: this is called once a token.
        self.inbox = make()
        self._bell = make()
        self._jobs: list[Job[t.Any]] = []
        self._pages: dict[Page, None] = {}
        self._opened = False
        self._closed = False
        self._told = False
        self._slept = False
        self._fault_since: float | None = None
        self._round_at = clock()
        self._pause = ROUND_SECONDS
        self._beat_at = 0.0
        self._healed_at = -math.inf
        self._polled_at = -math.inf
        self._tick: float | None = None
        (process.spawn_thread if engine.native else process.spawn)(self._serve)

    def ask(
        self,
        work: Callable[[Engine], R],
        effect: Callable[[R], None] | None = None,
        regret: Job[t.Any] | None = None,
    ) -> R:
        """Ask the engine something, after everything said before, and wait for the answer.

        :param regret: See :class:`Job`.
        :raises StoreUnavailable: The database is away.
        """
        if self.away or self._closed:
            raise StoreUnavailable
        waiter = self._process.waiter()
        job = Job(work, effect, waiter.wake, regret)
        self._put(job)
        try:
            while not job.done:
                waiter.wait()
        except BaseException:  # A time limit, perhaps: nobody takes the answer any more.
            if regret is not None:
                self._put(regret)
            raise
        if job.error is not None:
            raise job.error
        return job.value

    def tell(self, work: Callable[[Engine], R], effect: Callable[[R], None] | None = None) -> None:
        """Ask the engine something, as soon as it can, and do not wait."""
        self._put(Job(work, effect))

    def hurry(self) -> None:
        """Begin the next round now: somebody cannot go on before it."""
        self._bell.put(None)

    def close(self) -> None:
        """Write what is left, and end."""
        with contextlib.suppress(StoreUnavailable):
            self.ask(lambda engine: None)
        self._closed = True
        self.tell(lambda engine: None)

    def _put(self, job: Job[t.Any]) -> None:
        self.inbox.put(job)
        self.hurry()

    def _serve(self) -> None:
        while not self._closed:
            self._gather()
            try:
                effects = self._round()
            except Exception as error:
                if not self._engine.is_outage(error):
                    self._log(partial(logger.error, "The store failed", exc_info=error))
                self._stumble(str(error) or type(error).__name__)
            else:
                self._recover()
                if effects:
                    self._process.call_soon_threadsafe(partial(self._run_all, effects))
        with contextlib.suppress(Exception):
            self._engine.close()

    def _gather(self) -> None:
        """Take all that has come in; sleep until something has, or until it is time to look."""
        try:
            items = [self.inbox.get(timeout=self._tick)]
        except queue.Empty:
            return
        rest = self._round_at + self._pause - self._clock()
        if rest > 0:
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=rest)
        for _ in range(self._bell.qsize()):
            self._bell.get()
        items += [self.inbox.get() for _ in range(self.inbox.qsize())]
        pages = self._pages
        for item in items:
            if type(item) is Job:
                self._jobs.append(item)
            else:
                item.collect()
                pages[item] = None

    def _round(self) -> list[Effect]:
        now = self._clock()
        # While the database is away, a round takes as long as it does.
        self._slept |= self._fault_since is None and now - self._round_at > DEAD_SECONDS
        self._round_at = now
        if not self._opened:
            self._engine.open(self._listener)
            self._opened = True
        if self._round_at - self._polled_at >= (self._engine.rest or 0):
            self._engine.poll()
            self._polled_at = self._round_at
        beat = self._count() and self._round_at - self._beat_at >= BEAT_SECONDS
        heal = beat and self._round_at - self._healed_at >= HEAL_SECONDS
        refused: dict[Page, Snapshot] = {}
        if beat or self._pages or self._jobs:
            with self._engine.together():
                if self._slept:
                    refused = self._find_forgotten()
                if beat:
                    self._engine.beat()
                refused |= self._write()
                for job in self._jobs:
                    job.run(self._engine)
                if heal:
                    self._heal()
                    self._healed_at = self._round_at
        if beat:
            self._beat_at = self._round_at
        self._slept = False
        return self._done(refused)

    def _find_forgotten(self) -> dict[Page, Snapshot]:
        """This process has slept for so long that it counted as dead. What is gone now was not lost, and is
        not to be written anew: others have ended it, told so, and swept it."""
        own = {page.run_id: page for page in self._own()}
        forgotten = [own[run_id] for run_id in self._engine.missing(own)]
        for page in forgotten:
            page.forgotten = True
            self._engine.forget(page.run_id)
        return {page: page.as_forgotten() for page in forgotten}

    def _heal(self) -> None:
        """Write again what the database has lost of this process's living runs."""
        own = {page.run_id: page for page in self._own()}
        if own:
            for run_id in self._engine.repair([page.run for page in own.values()]):
                own[run_id].revive(self._engine)

    def _done(self, refused: dict[Page, Snapshot]) -> list[Effect]:
        effects: list[Effect] = [partial(page.settle, found) for page, found in refused.items()]
        written: list[tuple[Page, int]] = []
        for page in self._pages:
            if page not in refused:
                count = len(page.unwritten)
                written.append((page, count))
                page.written += count
            page.unwritten = []
        if written:
            effects.append(partial(publish_all, written))
        effects.extend(job.finish for job in self._jobs)
        self._pages.clear()
        self._jobs.clear()
        ticks = (self._engine.rest, BEAT_SECONDS if self._count() else None)
        self._tick = min((tick for tick in ticks if tick), default=None)
        return effects

    def _write(self) -> dict[Page, Snapshot]:
        """Write every batch.

        :returns: The runs that somebody else has ended or adopted, as they are.
        """
        for page in [page for page in self._pages if not page.owned]:
            page.unwritten = []
            del self._pages[page]
        batches = [
            Batch.of(page.run_id, page.written, page.unwritten, page.reign) for page in self._pages
        ]
        refused = set(self._engine.write(batches)) if batches else set()
        settled = {page: self._resolve(page) for page in self._pages if page.run_id in refused}
        return {page: found for page, found in settled.items() if found is not None}

    def _resolve(self, page: Page) -> Snapshot | None:
        """:returns: See :meth:`_insist`. A run whose records cannot be read is written again."""
        try:
            return self._insist(page)
        except Exception as error:
            if self._engine.is_outage(error):
                raise
            return None if page.revive(self._engine) else page.as_forgotten()

    def _insist(self, page: Page) -> Snapshot | None:
        """A batch was refused: because the run has ended or has another owner (then it is returned),
        because an attempt before a fault had written some of it, or because the database has lost what
        was before it."""
        for _ in range(ATTEMPTS):
            found = self._engine.load(page.run_id, page.written - 1)
            if found is not None and (found.ended or found.epoch > page.reign):
                return found
            # This process still has everything. (Of an earlier epoch: a failover has lost the adoption.)
            if found is None or not found.size or found.epoch < page.reign:
                if page.revive(self._engine):
                    return None
                continue
            rest = page.unwritten[found.size :]
            batch = Batch.of(page.run_id, page.written + found.size, rest, page.reign)
            if not rest or not list(self._engine.write([batch])):
                return None
        # It has ended, and the database has dropped all it said.
        return page.as_forgotten()

    def _stumble(self, cause: str) -> None:
        """The database is away. What was to be done is kept, and tried again."""
        now = self._clock()
        self._opened = False
        self._tick = self._pause = RETRY_SECONDS
        if self._fault_since is None:
            self._fault_since = now
        gone = now - self._fault_since
        self.away = self.away or gone > min(QUIET_SECONDS, self._patience)
        if gone > self._patience:
            asking = [job for job in self._jobs if job.wake is not None]
            self._jobs = [job for job in self._jobs if job.wake is None] + regrets(asking)
            effects: list[Effect] = [
                *(partial(job.fail, StoreUnavailable(cause)) for job in asking),
                self._on_away,
            ]
            if not self._told:
                self._log(lambda: logger.error("The store does not answer: %s", cause))
            self._told = True
            self._process.call_soon_threadsafe(partial(self._run_all, effects))

    def _recover(self) -> None:
        if self._told:
            self._log(lambda: logger.warning("The store answers again."))
        self._fault_since = None
        self._pause = pause_after(self._clock() - self._round_at)
        self.away = self._told = False

    def _run_all(self, effects: list[Effect]) -> None:
        for effect in effects:
            try:
                effect()
            except Exception as error:  # Whoever waits for the next one would do so for ever.
                failed = partial(logger.error, "An answer of the store was lost", exc_info=error)
                self._log(failed)

    def _log(self, write: Effect) -> None:
        # Logging may wait for a lock: neither an OS thread beside gevent nor the hub may do that.
        def begin() -> None:
            with contextlib.suppress(RuntimeError):  # No thread can be started.
                self._process.spawn(write)

        self._process.call_soon_threadsafe(begin)


def pause_after(took: float) -> float:
    """Seconds from the begin of a round to that of the next.

    :param took: Seconds of the round. Where many runs say much, or the machine is busy, fewer and larger
        rounds cost less.
    """
    return min(max(took * SPARING, ROUND_SECONDS), LONGEST_SECONDS)


def regrets(failed: list[Job[t.Any]]) -> list[Job[t.Any]]:
    return [job.regret for job in failed if job.regret is not None]


def publish_all(written: list[tuple[Page, int]]) -> None:
    for page, count in written:
        page.publish(count)
