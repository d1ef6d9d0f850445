"""The runs that the live view lists: those in the store, so that every worker lists the same ones."""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections.abc import Callable
from collections.abc import Collection

from flask_aistream.core.events import Usage
from flask_aistream.core.fold import merged
from flask_aistream.core.run import Run
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import RunUnreadable
from flask_aistream.runs.ended import summary_of
from flask_aistream.runs.runner import Runner
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.timing.timer import Timer
from flask_aistream.timing.timer import TimerHandle

LISTED = 100
"""Most runs of one listing, the newest first."""

NAMED = 100
"""Most runs that a request may name."""

OPENED = 100
"""Most runs of a shared store that one listing opens for the first time; further ones wait for the next listing."""

FRESH_SECONDS = 0.5
"""Listings within this time share what was read from the store: many viewers cost as much as two."""

IDLE_SECONDS = 5.0
"""After this time without a listing, the logs of other processes' runs are released."""

LAST_EVENTS = 16
"""Providers report usage at the end of their answer. Whole answers are not read for a list."""

Visible = Callable[[Run], "bool | None"]
"""Whether a run may be listed: ``None`` hides it, ``True`` says that it is the caller's own."""

Row = dict[str, t.Any]


def visible_to(
    namespace: str, caller: str | None, operates: bool, named: Collection[str]
) -> Visible:
    """
    :param named: Ids of runs that the caller knows. An anonymous run is its reader's by its id, so it is listed to
        those only who have that.
    """
    known = frozenset(list(named)[:NAMED])

    def visible(run: Run) -> bool | None:
        if run.namespace != namespace:
            return None
        own = run.owner == caller if run.owner is not None else run.id in known
        return True if own else (False if operates else None)

    return visible


class LiveRuns:
    """The runs of a store, as rows. Any thread or greenlet may call it.

    :param clock: Seconds since the epoch, as in ``Run.created``.
    """

    def __init__(
        self, store: Store, runner: Runner, timer: Timer, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._runner = runner
        self._timer = timer
        self._clock = clock
        self._live: dict[str, Log] = {}
        self._ended: dict[str, tuple[Run, Row]] = {}
        self._rows: list[tuple[Run, Row]] = []
        self._unread = 0
        self._read_at = 0.0
        self._release: TimerHandle | None = None

    def listing(self, visible: Visible) -> dict[str, t.Any]:
        """The newest runs that are visible, the running ones first.

        :returns: ``runs``; ``unread``, the number of runs that the next listings will have; and ``now``, the server's
            time in seconds since the epoch.
        :raises StoreUnavailable: The store does not answer.
        """
        now = self._clock()
        if not 0 <= now - self._read_at < FRESH_SECONDS:
            self._read(now)
        found = [
            {**row, "own": own, "owner": None if own else run.owner}
            for run, row in self._rows
            if (own := visible(run)) is not None
        ]
        found.sort(key=lambda row: (row["ended"], -row["created"]))
        return {"runs": found[:LISTED], "unread": self._unread, "now": now}

    def _read(self, now: float) -> None:
        ids = self._store.all_runs()
        live: dict[str, Log] = {}
        ended: dict[str, tuple[Run, Row]] = {}
        new = [run_id for run_id in ids if run_id not in self._live and run_id not in self._ended]
        unread = new[OPENED:] if self._store.shared else []
        for run_id in set(ids).difference(unread):
            if run_id in self._ended:
                ended[run_id] = self._ended[run_id]
                continue
            with contextlib.suppress(RunNotFound, RunUnreadable):  # Dropped in between.
                log = self._store.open(run_id)
                if log.ended:
                    ended[run_id] = (log.run, ended_row(log))
                else:  # Kept, so that the next listing reads only what was appended meanwhile.
                    live[run_id] = log
        self._live, self._ended, self._unread, self._read_at = live, ended, len(unread), now
        self._rows = [(log.run, self._live_row(log)) for log in live.values()] + list(
            ended.values()
        )
        self._release_later()

    def _live_row(self, log: Log) -> Row:
        readers = self._runner.readers(log.run.id)
        elsewhere = log.followed() if log.owned and self._store.shared else None
        return {
            **common_row(log),
            "tokens": max(log.tail, 0),
            "seconds": None,
            "readers": readers,
            "elsewhere": elsewhere,
        }

    def _release_later(self) -> None:
        if self._release is not None:
            self._release.cancel()
        self._release = self._timer.call_later(IDLE_SECONDS, self._live.clear)


def ended_row(log: Log) -> Row:
    usage = last_usage(log)
    counted = None if usage is None else usage.output_tokens
    at = None if log.terminal is None else log.terminal.at
    return {
        **common_row(log),
        "tokens": max(log.tail - 1, 0) if counted is None else counted,
        "seconds": None if at is None else max(at - log.run.created, 0.0),
        "readers": 0,
        "elsewhere": None,
    }


def common_row(log: Log) -> Row:
    return {**summary_of(log), "ended": log.ended, "last": log.tail}


def last_usage(log: Log) -> Usage | None:
    usage: Usage | None = None
    for event in log.read(max(log.tail - LAST_EVENTS, -1)).events:
        if isinstance(event, Usage):
            usage = merged(usage, event)
    return usage
