"""One row: runs are started, the fault happens in the middle of them, and everything is counted."""

from __future__ import annotations

import collections
import time
import typing as t
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from tests.faults.client import Reader
from tests.faults.inject import Inject
from tests.faults.inject import nothing
from tests.faults.pages import MOST
from tests.faults.scene import Scene
from tests.faults.scene import Setting
from tests.server.servers import is_busy
from tests.server.servers import wait_for

TRIES = 3
"""For what only took too long."""

LAST_LINES = 40
"""Of what the service has said, where readers or ends are missing."""

PATIENCE = 30.0
"""Seconds after a fault in which every run has to end, and every reader has to know."""


@dataclass(frozen=True)
class Row:
    """One fault.

    :param name: Short and stable.
    :param says: What happens, for people.
    :param inject: Makes it happen.
    :param settings: To what.
    :param more: To what else, where there is more time.
    :param n: Tokens of a run, ``pause`` seconds apart.
    :param begun: Tokens that every reader has when it happens.
    :param ends: How runs may end.
    :param must: How at least one of them has to end.
    :param gap: Longest time between two tokens that is allowed, in seconds.
    :param outlived: The store outlives it, so nothing may be lost.
    :param ruins: Nothing else can be done with the scene afterwards.
    :param pending: Why it cannot hold yet.
    :param way: How it is played, where it is not in the usual way.
    """

    name: str
    says: str
    inject: Inject = nothing
    settings: tuple[Setting, ...] = ()
    more: tuple[Setting, ...] = ()
    provider: str = "count"
    runs: int = 16
    n: int = 75
    pause: float = 0.02
    begun: int = 10
    ends: frozenset[str] = frozenset({"stop"})
    must: frozenset[str] = frozenset()
    gap: float | None = None
    outlived: bool = True
    ruins: bool = False
    pending: str = ""
    way: Callable[[Row, Setting, Scene], Told] | None = None


@dataclass
class Told:
    """What one row showed."""

    row: Row
    setting: Setting
    runs: int = 0
    expected: int = 0
    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    gap: float = 0.0
    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    unended: int = 0
    miscounted: int = 0
    repeated: int = 0
    short: int = 0
    busy: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def late(self) -> bool:
        """Somebody waited too long for a token, and not for the machine."""
        return self.row.gap is not None and self.gap > self.row.gap and not self.busy

    def complaints(self) -> list[str]:
        """What should not be."""
        row = self.row
        found = [
            (self.lost and row.outlived, f"{self.lost} tokens lost"),
            (self.duplicated, f"{self.duplicated} tokens duplicated"),
            (self.disordered, f"{self.disordered} tokens out of order"),
            (self.unended, f"{self.unended} readers saw no terminal event"),
            (self.miscounted, f"run_ended not exactly once for {self.miscounted} runs"),
            (self.repeated, f"{self.repeated} runs were called twice, or not at all"),
            (self.short, f"{self.short} runs finished without having said all"),
            (set(self.ends) - row.ends, f"ended as {dict(self.ends)}, expected {set(row.ends)}"),
            (row.must - set(self.ends), f"ended as {dict(self.ends)}, none as {set(row.must)}"),
            (self.late, f"{self.gap:.3f} s between two tokens, at most {row.gap} s expected"),
        ]
        return [says for wrong, says in found if wrong]


def play(row: Row, setting: Setting, scene: Scene) -> Told:
    scene.calm()
    before = set(scene.facts())
    readers = begin(row, scene)
    row.inject(scene, readers)
    return account(Told(row, setting), scene, readers, before)


def insist(row: Row, setting: Setting, scene: Scene) -> Told:
    """The same, once more where nothing but time was lost: other programs may have wanted the machine."""
    way = row.way or play
    if setting.client:
        row = replace(row, runs=MOST)
    told = way(row, setting, scene)
    for _ in range(TRIES - 1):
        if not told.late or len(told.complaints()) > 1:
            break
        told = way(row, setting, scene)
    return told


def begin(row: Row, scene: Scene) -> list[Reader]:
    """A reader a run, and a second one for every other run."""
    first = scene.crowd.start(row.runs, row.provider, n=row.n, pause=row.pause)

    def all_of(condition: Callable[[Reader], bool], readers: Sequence[Reader]) -> bool:
        scene.crowd.refresh()
        return all(reader.over or condition(reader) for reader in readers)

    wait_for(lambda: all_of(lambda it: bool(it.run), first), "every run to have a name")
    more = scene.crowd.follow([it.run for it in first[::2] if it.run])
    readers = [*first, *more]
    wait_for(
        lambda: all_of(lambda it: it.tokens >= row.begun, readers),
        f"{row.begun} tokens for everybody",
    )
    return readers


def account(told: Told, scene: Scene, readers: Sequence[Reader], before: set[str]) -> Told:
    """Wait for all ends, and count.

    :param before: Runs in the ledger that are not of this row.
    """

    def all_over() -> bool:
        scene.crowd.refresh()
        return all(reader.over for reader in readers)

    patiently(all_over)
    patiently(lambda: all(it["ended"] for it in scene.facts().values()), 10.0)
    runs = {run: facts for run, facts in scene.facts().items() if run not in before}
    told.runs = len(runs)
    asked = {reader.run: reader.n for reader in readers if reader.n is not None}
    for run, facts in runs.items():
        # Who is killed while it tells an end may have told it, and nobody can know: it is told again.
        tellers = [it["pid"] for it in facts["ended"]]
        if len([pid for pid in tellers[:-1] if pid not in scene.killed] + tellers[-1:]) != 1:
            told.miscounted += 1
            told.notes.append(f"{run}: its end was told by {tellers}, killed were {scene.killed}")
        told.repeated += len(facts["called"]) > 1
        if len(facts["called"]) != 1 or not any(reader.run == run for reader in readers):
            told.notes.append(f"{run}: called {facts['called']}, ended {facts['ended']}")
        if any(
            it["outcome"] == "Finished" and it["tokens"] != asked.get(run) for it in facts["ended"]
        ):
            told.short += 1
            told.notes.append(f"{run}: {asked.get(run)} asked for, ended {facts['ended']}")
    told.repeated += abs(len(runs) - told.row.runs)
    for reader in readers:
        ended = runs[reader.run]["ended"] if reader.run in runs else []
        count(told, reader, ended[-1]["tokens"] if ended else reader.tokens)
    # What new workers need a tenth of a second for takes seconds where a dozen others want the processor.
    told.busy = is_busy()
    ends = [it for facts in runs.values() for it in facts["ended"]]
    said = collections.Counter(f"{it['outcome']}, {it['why']}" for it in ends)
    told.notes += [f"{count} times {says}" for says, count in said.most_common()]
    if told.unended or told.miscounted:
        told.notes.append("\n".join(scene.service.output().splitlines()[-LAST_LINES:]))
    return told


def count(told: Told, reader: Reader, kept: int | None) -> None:
    """
    :param kept: Tokens of its run, by ``run_ended``; ``None``: not those it should have.
    """
    told.expected += kept or 0
    told.lost += reader.lost + abs((kept or 0) - reader.tokens)
    told.disordered += reader.disordered + (kept is None)
    told.duplicated += reader.duplicated
    told.gap = max(told.gap, reader.gap)
    if reader.reason is None:
        told.unended += 1
    else:
        told.ends[reader.reason] += 1
    if reader.reason is None or reader.lost or kept != reader.tokens:
        told.notes.append(
            f"{reader.run}: {reader.tokens} of {kept} tokens, {reader.lost} passed over, "
            f"{reader.connections} connections, end {reader.reason} {reader.code}, "
            f"last trouble {reader.why}"
        )


def patiently(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for what should become true; that it did not is found out by counting."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


HEAD = (
    "| Fault | Store | Worker | Runs | Tokens | Lost | Twice | Out of order | Longest gap, ms "
    "| Ends | Not terminal | `run_ended` not once |"
)
RULE = "|---|---|---|--:|--:|--:|--:|--:|--:|---|--:|--:|"


def line(told: Told) -> str:
    """The row of the table."""
    setting = told.setting
    ends = ", ".join(f"{count} {reason}" for reason, count in told.ends.most_common())
    worker = f"{setting.workers} {setting.kind}"
    worker = ", ".join(filter(None, (worker, setting.front, setting.client)))
    cells: list[t.Any] = [
        *(told.row.says, setting.store, worker, told.runs, told.expected, told.lost),
        *(told.duplicated, told.disordered, round(told.gap * 1000)),
        *(ends, told.unended, told.miscounted),
    ]
    return f"| {' | '.join(map(str, cells))} |"
