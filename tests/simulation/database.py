"""A database in memory that behaves like a SQLite file or a Redis server, and an engine over it.

Every change makes a new state, so that a transaction, a savepoint and an earlier backup are references.
Like SQLite: rounds are atomic, and other processes poll. Like Redis: every call takes effect at once, other
processes run in between, and news are pushed.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from flask_aistream.core.events import TERMINAL
from flask_aistream.core.events import Event
from flask_aistream.core.run import Run
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import UNCONDITIONAL
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.shared.engine import Batch
from flask_aistream.stores.shared.engine import End
from flask_aistream.stores.shared.engine import Listener
from flask_aistream.stores.shared.engine import Name
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.engine import Snapshot
from flask_aistream.stores.shared.engine import choose

if t.TYPE_CHECKING:
    from tests.simulation.world import SimProcess

WATCH_SECONDS = 1.0


class Outage(Exception):
    """The driver reports that the database is unavailable."""


@dataclass(frozen=True, slots=True)
class Row:
    run: Run
    process: str
    epoch: int
    first: int
    events: tuple[Event, ...]
    no: int
    token: str | None = None
    ended_at: float = 0.0
    outbox: str | None = None
    deliveries: int = 0
    evicted: bool = False

    @property
    def next(self) -> int:
        return self.first + len(self.events)


@dataclass(frozen=True, slots=True)
class State:
    version: int
    runs: dict[str, Row]
    names: dict[tuple[str, str], str]
    beats: dict[str, tuple[int, float]]
    entered: frozenset[str]  # Processes that recovery looks at.
    followers: frozenset[tuple[str, str]]
    notices: frozenset[tuple[str, str]]


EMPTY = State(0, {}, {}, {}, frozenset(), frozenset(), frozenset())


class Database:
    """
    :param kind: ``"sqlite"`` or ``"redis"``.
    :ivar appended: Processes that have appended, by run and epoch.
    :ivar dropped: Runs that a sweep has dropped.
    :ivar unlisted: Processes that were evicted from the set of processes.
    :ivar history: Every state that was durable, and since when.
    """

    def __init__(self, kind: str, max_runs: int, clock: Callable[[], float]) -> None:
        self.kind = kind
        self.max_runs = max_runs
        self.state = EMPTY
        self.history: list[tuple[float, State]] = []
        self._clock = clock
        self.engines: dict[str, SimEngine] = {}
        self.appended: dict[tuple[str, int], set[str]] = {}
        self.dropped: set[str] = set()
        self.unlisted: set[str] = set()
        self.no = 0

    @property
    def atomic(self) -> bool:
        return self.kind == "sqlite"

    def change(self, **fields: t.Any) -> None:
        self.state = replace(self.state, version=self.state.version + 1, **fields)
        if not self.atomic:
            self.commit()

    def commit(self) -> None:
        self.history.append((self._clock(), self.state))

    def put(self, row: Row) -> None:
        self.change(runs={**self.state.runs, row.run.id: row})

    def push(self, row: Row, segment: Segment) -> None:
        if not self.atomic:
            for engine in self.engines.values():
                engine.push(row.run.id, segment)

    def notify(self, process: str, run_id: str, by: str) -> None:
        """Tell an owner that another process has changed its run."""
        if process in ("", by):
            return
        if self.atomic:
            self.change(notices=self.state.notices | {(process, run_id)})
        elif process in self.engines:
            self.engines[process].push_stale(run_id)

    def is_unknown(self, process: str) -> bool:
        """Whether an eviction has made a process unknown to all that live, before it has entered itself again."""
        known = self.state.entered.union(*(engine._known for engine in self.engines.values()))
        return process in self.unlisted and process not in known

    def roll_back(self, seconds: float) -> None:
        """Replace the state by the one of some seconds ago."""
        before = self._clock() - seconds
        backup = next((state for at, state in reversed(self.history) if at <= before), EMPTY)
        self.state = replace(backup, version=self.state.version + 1)
        self.commit()  # A later rollback may go back to this state.
        for engine in self.engines.values():
            engine.on_rolled_back()

    def evict(self, kind: str, name: str) -> None:
        state = self.state
        if kind == "record" and name in state.runs:
            self.put(replace(state.runs[name], evicted=True))
        elif kind == "names":
            self.change(names={key: run for key, run in state.names.items() if run != name})
        elif kind == "processes":
            self.unlisted |= state.entered
            self.change(entered=frozenset())
        elif kind == "beats":
            self.change(beats={})


class SimEngine:
    """
    :param process: Says when it is killed, paused or cut off, and lets others run.
    """

    native = True

    def __init__(self, database: Database, process: SimProcess) -> None:
        self.following = self.indexes = self.outbox = self.retention = self
        self._db = database
        self._process = process
        self._name = process.name
        self._listener: Listener | None = None
        self._nesting = 0
        self._followed: dict[str, int] = {}
        self._own: set[str] = set()
        self._version = -1
        self._seen: dict[str, tuple[t.Any, float]] = {}
        self._seen_at = -100.0
        self._dead: list[str] = []
        self._claimants: set[str] = set()
        self._known: set[str] = set()
        self._rolled_back = False
        database.engines[self._name] = self

    # Faults.

    def is_outage(self, error: Exception) -> bool:
        return isinstance(error, Outage)

    def _call(self, *, writes: bool = True) -> None:
        """At the beginning of every call."""
        self._process.on_call(writes)

    # The contract.

    def open(self, listener: Listener | None) -> None:
        self._call()
        self._listener = listener
        self._version = -1
        if listener is not None and not self._db.atomic:
            listener.stale(None)  # What was pushed during an outage is lost.

    def close(self) -> None: ...

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        before, own = self._db.state, set(self._own)
        self._nesting += 1
        try:
            if self._nesting == 1:
                self._call()
            yield
            if self._nesting == 1:
                self._process.on_commit()
        except BaseException:
            if self._db.atomic:
                version = self._db.state.version
                self._db.state = replace(before, version=version + 1)
                self._own = own if self._nesting > 1 else set()
            raise
        finally:
            self._nesting -= 1
        if self._nesting == 0:
            self._db.commit()
            self._process.after_commit()

    def create(
        self,
        run: Run,
        batch: Batch,
        conditions: Conditions = UNCONDITIONAL,
    ) -> str:
        self._call()
        state = self._db.state
        if run.id in state.runs:
            self._own.add(run.id)
            return run.id
        winner = state.names.get(("key", run.key or ""))
        if winner in state.runs and not state.runs[winner].evicted and not conditions.take_key:
            return winner
        limit = conditions.owner_limit
        if limit is not None and run.owner and len(self._living(run)) >= limit:
            raise TooManyRuns(limit)
        self._insert(run, batch)
        return run.id

    def restore(self, run: Run, batch: Batch) -> bool:
        self._call()
        row = self._db.state.runs.get(run.id)
        if (
            row is not None
            and not row.evicted
            and (row.token is not None or row.epoch > batch.epoch)
        ):
            return False
        self._insert(run, batch, row.no if row is not None else None)
        return True

    def assign(self, run_id: str, epoch: int, *, adopt: bool) -> bool:
        self._call()
        row = self._row(run_id)
        if row is None or row.token is not None:
            return False
        owner, following = (self._name, epoch + 1) if adopt else ("", epoch)
        if (row.process, row.epoch) != (owner, following):
            if row.epoch != epoch or (not adopt and row.process != self._name):
                return False
            self._db.put(replace(row, process=owner, epoch=following))
            self._db.notify(row.process, run_id, self._name)
            self._db.change(notices=self._db.state.notices - {(owner, run_id)})
            if adopt:
                self._process.world.on_adopted(row.process)
        if adopt:
            self._own.add(run_id)
            self._beat()
        else:
            self._own.discard(run_id)
        return True

    def append(self, batches: Sequence[Batch]) -> Collection[str]:
        refused = []
        for batch in batches:
            self._call()
            row = self._row(batch.run)
            if (
                row is None
                or row.token is not None
                or row.epoch != batch.epoch
                or row.next != batch.first
            ):
                refused.append(batch.run)
                continue
            events = tuple(decode(batch.data))
            self._note(batch.run, batch.epoch)
            cut = max(batch.keep - row.first, 0)
            row = replace(row, events=(row.events + events)[cut:], first=row.first + cut)
            self._db.put(row)
            self._db.push(row, Segment(batch.first, list(events)))
        return refused

    def end(self, end: End) -> bool | None:
        self._call()
        row = self._row(end.run)
        if row is None:
            return None
        if row.token is not None or end.epoch not in (None, row.epoch):
            return row.token == end.token
        if end.log is not None and row.next != end.number:
            return None
        number = end.number if end.log is not None else max(end.number, row.next)
        events = (*row.events, *decode(end.data))
        first = number + 1 - len(events)  # Where a reader has seen more, what is lost stays lost.
        outbox = end.claimant(self._name)
        if outbox and not self._db.atomic:
            self._beat()
            row = self._db.state.runs[end.run]
        row = replace(
            row,
            events=events,
            first=first,
            token=end.token,
            outbox=outbox,
            ended_at=self._process.now,
        )
        self._db.put(row)
        self._own.discard(end.run)
        self._db.push(row, Segment(number, [end.terminal]))
        self._db.notify(row.process, end.run, self._name)
        return True

    def load(self, run_id: str, after: int) -> Snapshot | None:
        self._call(writes=False)
        row = self._row(run_id)
        if row is None:
            return None
        if row.process and row.token is None:
            self._known.add(row.process)
        segment = Segment(row.first, list(row.events)).after(after)
        return Snapshot(row.run, [segment] if segment.events else [], row.epoch)

    def follow(self, run_ids: Collection[str]) -> None:
        self._call()
        for run_id in [it for it in self._followed if it not in run_ids]:
            del self._followed[run_id]
        followers = {it for it in self._db.state.followers if it[1] != self._name}
        self._db.change(followers=frozenset(followers | {(it, self._name) for it in run_ids}))
        for run_id in sorted(run_ids):
            if run_id not in self._followed:
                self._followed[run_id] = 0
                assert self._listener
                self._listener.stale(run_id)

    def followed(self, run_id: str) -> bool:
        self._call(writes=False)
        return any(run == run_id for run, _ in self._db.state.followers)

    def poll(self) -> None:
        if not self._db.atomic or self._listener is None:
            return
        self._call(writes=False)
        state = self._db.state
        if state.version == self._version:
            return
        self._version = state.version
        for run_id, seen in list(self._followed.items()):
            row = self._row(run_id)
            if row is not None and row.next > seen:
                self._followed[run_id] = row.next
                segment = Segment(row.first, list(row.events)).after(seen - 1)
                self._listener.arrived(run_id, [segment])
        mine = sorted(run for process, run in state.notices if process == self._name)
        for run_id in mine:
            self._own.discard(run_id)
            self._listener.stale(run_id)
        if mine:
            kept = frozenset(it for it in state.notices if it[0] != self._name)
            self._db.change(notices=kept)

    @property
    def rest(self) -> float | None:
        if not self._db.atomic:
            return None
        return 0.01 if self._followed else 0.2 if self._own else None

    def find(self, kind: Name, value: str) -> list[str]:
        self._call(writes=False)
        value.encode()
        if kind == "all":
            return list(self._db.state.runs)
        if kind in ("chat-runs", "chat-live"):
            rows = sorted(self._db.state.runs.values(), key=lambda row: row.no)
            own = [row for row in rows if row.run.chat == value]
            return [row.run.id for row in own if kind == "chat-runs" or row.token is None]
        found = self._db.state.names.get((kind, value))
        return [found] if found and self._row(found) else []

    def drop(self, run_id: str) -> bool:
        self._call()
        row = self._row(run_id)
        if row is not None and row.token is not None and row.outbox is None:
            self._db.put(replace(row, evicted=True))
            row = None
        return row is None

    def leave_chat(self, chat: str, run_id: str) -> None:
        self._call()
        names = self._db.state.names
        if names.get(("chat", chat)) == run_id:
            self._db.change(names={key: it for key, it in names.items() if key != ("chat", chat)})

    def heartbeat(self, runs: Collection[Run]) -> None:
        self._call()
        self._beat()
        if self._rolled_back and self._listener:
            self._rolled_back = False
            self._own.clear()
            self._listener.stale(None)
        for run in runs:
            row = self._row(run.id)
            if row is not None and row.token is None and run.key:
                names = self._db.state.names
                self._db.change(names={("key", run.key): run.id, **names})

    def ended(self, run_ids: Collection[str]) -> dict[str, bool]:
        self._call(writes=False)
        rows = {run_id: self._row(run_id) for run_id in run_ids}
        return {run_id: row.token is not None for run_id, row in rows.items() if row}

    def orphans(self) -> list[tuple[str, int]]:
        self._call(writes=False)
        self._dead = self._find_dead()
        rows = sorted(self._db.state.runs.values(), key=lambda row: row.no)
        return [
            (row.run.id, row.epoch)
            for row in rows
            if row.token is None and not row.evicted and row.process in (*self._dead, "")
        ]

    def claim(self, busy: Collection[str]) -> list[OutboxRow]:
        self._call()
        rows = sorted(self._db.state.runs.values(), key=lambda row: row.no)
        outbox = [
            OutboxRow(row.run.id, row.deliveries + 1, row.outbox)
            for row in rows
            if row.outbox is not None and not row.evicted
        ]
        now, beats = self._process.now, self._db.state.beats
        dead = [it for it in self._dead if self._db.atomic or beats.get(it, (0, 0.0))[1] <= now]
        claimable = {"", self._name, *dead}
        self._claimants = {row.claimant for row in outbox} - claimable
        chosen = choose([row for row in outbox if row.claimant in claimable], busy)
        if chosen and not self._db.atomic:
            self._beat()
        for run_id, attempt, _ in chosen:
            row = self._db.state.runs[run_id]
            self._db.put(replace(row, outbox=self._name, deliveries=attempt))
        return chosen

    def delivered(self, run_id: str) -> None:
        self._call()
        row = self._row(run_id)
        if row is not None and row.outbox == self._name:
            self._db.put(replace(row, outbox=None))

    def undelivered(self, run_ids: Collection[str]) -> Collection[str]:
        self._call(writes=False)
        rows = {run_id: self._row(run_id) for run_id in run_ids}
        return {run_id for run_id, row in rows.items() if row and row.outbox is not None}

    def sweep(self) -> bool:
        self._call()
        rows = [it for it in self._db.state.runs.values() if it.token is not None and not it.outbox]
        rows.sort(key=lambda row: row.ended_at)
        for row in rows[: max(len(rows) - self._db.max_runs, 0)]:
            runs = {
                run_id: it for run_id, it in self._db.state.runs.items() if run_id != row.run.id
            }
            names = {key: it for key, it in self._db.state.names.items() if it != row.run.id}
            self._db.change(runs=runs, names=names)
            self._db.dropped.add(row.run.id)
        return False

    # What the database sends.

    def push(self, run_id: str, segment: Segment) -> None:
        if run_id in self._followed and self._listener and self._process.reachable:
            self._listener.arrived(run_id, [segment])

    def push_stale(self, run_id: str) -> None:
        if self._listener and self._process.reachable:
            self._listener.stale(run_id)

    def on_rolled_back(self) -> None:
        """A file is seen to be rolled back by its count of heartbeats; a restarted server drops connections."""
        self._rolled_back = True
        self._followed = dict.fromkeys(self._followed, 0)
        if not self._db.atomic and self._listener:
            self._listener.stale(None)

    def _row(self, run_id: str) -> Row | None:
        row = self._db.state.runs.get(run_id)
        return None if row is None or row.evicted else row

    def _living(self, run: Run) -> list[str]:
        rows = self._db.state.runs.values()
        return [it.run.id for it in rows if it.token is None and it.run.account == run.account]

    def _insert(self, run: Run, batch: Batch, no: int | None = None) -> None:
        process = self._name if batch.epoch else ""
        self._db.no += 1
        events = tuple(decode(batch.data))
        row = Row(run, process, batch.epoch, batch.first, events, no or self._db.no)
        names = dict(self._db.state.names)
        if run.key:
            names.setdefault(("key", run.key), run.id)
        if run.chat:
            names["chat", run.chat] = run.id
        self._db.change(runs={**self._db.state.runs, run.id: row}, names=names)
        self._db.push(row, Segment(batch.first, list(events)))
        if process:
            self._note(run.id, batch.epoch)
            self._own.add(run.id)
            self._beat()

    def _note(self, run_id: str, epoch: int) -> None:
        self._db.appended.setdefault((run_id, epoch), set()).add(self._name)

    def _beat(self) -> None:
        state = self._db.state
        count, _ = state.beats.get(self._name, (0, 0.0))
        expires = self._process.now + DEAD_SECONDS - WATCH_SECONDS
        self._db.change(
            beats={**state.beats, self._name: (count + 1, expires)},
            entered=state.entered | {self._name},
        )

    def _find_dead(self) -> list[str]:
        now, state = self._process.now, self._db.state
        if now - self._seen_at > DEAD_SECONDS / 2:
            self._seen.clear()
        self._seen_at = now
        if self._db.atomic:
            needed = {row.process for row in state.runs.values() if row.token is None}
            needed |= {row.outbox for row in state.runs.values() if row.outbox}
            signs = {
                it: state.beats.get(it, (0, 0.0))[0] for it in needed if it not in ("", self._name)
            }
            patience = DEAD_SECONDS
        else:
            self._known |= state.entered
            names = (self._known | self._claimants) - {self._name}
            signs = {it: 0 for it in names if state.beats.get(it, (0, 0.0))[1] <= now}
            patience = WATCH_SECONDS
        self._seen = {
            it: self._seen[it] if self._seen.get(it, (None,))[0] == sign else (sign, now)
            for it, sign in sorted(signs.items())
        }
        return [it for it, (_, since) in self._seen.items() if now - since >= patience]


def is_terminal(event: Event) -> bool:
    return isinstance(event, TERMINAL)
