"""``python -m tests.faults``: every row, printed as a table; ``--page`` writes it into the docs, ``--soak``
goes on at random for ``SOAK_SECONDS``."""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from tests.faults.play import HEAD
from tests.faults.play import RULE
from tests.faults.play import Row
from tests.faults.play import insist
from tests.faults.play import line
from tests.faults.rows import ROWS
from tests.faults.scene import Scenes
from tests.faults.scene import Setting
from tests.faults.stores import Unable
from tests.faults.storm import storm

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"
SOAK_SECONDS = 3600.0

STALE_AFTER = 20
"""Rows of the soak after which everything is started anew."""

ABOUT = """\
# Faults

The behavior of runs and readers under faults. Every fault was injected into real processes: gunicorn with several
workers, SQLite or Redis, in some rows nginx in front, and a proxy of the test suite as the network. Every second run has
two readers. Each reader checks the number and text of every token, and resumes by `Last-Event-ID` when its connection
ends. In rows with `chromium`, the reader is `aistream.js` on a page.

- *Lost*, *twice* and *out of order* count the tokens of all readers, compared with the text in `run_ended`.
- *Longest gap* is the longest time between two tokens of a reader. It includes the fault itself if a store or the network
  is down, the restart of the service, the 3 s after which a process counts as dead, the 3 s after which a reader gives up
  a silent connection, and with a million tokens the speed of the reader, which is written in Python.
- *Ends* are the terminal events that readers received: `stop` for a complete run, `interrupted` for a lost process, `error`
  for a provider that failed or a store that was unavailable for longer than `AISTREAM_STORE_SECONDS` (3 here), `stopped`
  for a stopped run.
- *Lost* is 0 if the store survives the fault. A Redis that restarts empty has lost the ended runs; their owners write running
  runs again. A clock that is set forward by more than `AISTREAM_RETAIN_SECONDS` expires ended runs.
- *Not terminal* counts readers without a terminal event. `run_ended` *not once* counts runs whose `run_ended` was delivered
  twice or never. Delivery is at least once, normally once: if a process is killed during a delivery, another process
  delivers again ([details](../concepts/runs.md#delivery-of-run_ended)).

"""

REPEAT = """
## Reproduce

`make faults` runs every row and writes this page; `make faults ARGS="hup kill"` runs rows by their names in
`tests/faults/rows.py`. Some rows are part of `make test`. `make soak` runs random rows for an hour (`SOAK_SECONDS=600 make
soak` for ten minutes) and prints the seed that repeats the sequence (`SOAK_SEED`).
"""

Case = tuple[Row, Setting]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of rows; all if none is given")
    parser.add_argument("--store", help="only on this one")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--soak", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Not without ending what it started.
    cases = [
        (row, setting)
        for row in ROWS
        for setting in (*row.settings, *row.more)
        if row.name in (given.names or (row.name,)) and given.store in (None, setting.store)
    ]
    print(HEAD, RULE, sep="\n")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        scenes = Scenes(Path(folder))
        try:
            told = [
                one(scenes, row, setting)
                for row, setting in (at_random(scenes, cases) if given.soak else cases)
            ]
        finally:
            scenes.close()
    if given.page:
        write(PAGE, [says for says, _ in told if says], bool(given.names))
    return int(any(wrong for _, wrong in told))


def at_random(scenes: Scenes, cases: list[Case]) -> Iterator[Case]:
    """Until the time is over."""
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(10**9))
    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS") or SOAK_SECONDS)
    print(f"SOAK_SEED={seed}", file=sys.stderr)
    chance = random.Random(seed)
    count = 0
    while time.monotonic() < until:
        row, setting = chance.choice(cases)
        if row.way is storm:
            row = replace(row, way=partial(storm, seed=chance.randrange(10**9)))
        yield row, setting
        count += 1
        if count % STALE_AFTER == 0:
            scenes.clear()


def one(scenes: Scenes, row: Row, setting: Setting) -> tuple[str, bool]:
    """:returns: The line of the table, and whether something is wrong."""
    try:
        told = insist(row, setting, scenes.take(setting))
    except Unable as error:
        print(f"{row.says}, {setting.name}: not done, since {error}.", file=sys.stderr)
        return "", False
    except AssertionError as error:
        print(f"{row.says}, {setting.name}: {error}", file=sys.stderr)
        scenes.drop(setting)
        return "", True
    finally:
        if row.ruins:
            scenes.drop(setting)
    print(line(told), flush=True)
    wrong = told.complaints()
    for says in (*wrong, *told.notes) if wrong else ():
        print("   ", says, file=sys.stderr, flush=True)
    return line(told), bool(wrong)


def write(page: Path, lines: list[str], some: bool) -> None:
    """
    :param some: These are not all of them: the others stay as they are.
    """
    if some:
        new = {subject(says): says for says in lines}
        old = [
            it for it in page.read_text("utf-8").splitlines() if it.count("|") == HEAD.count("|")
        ]
        lines = [new.pop(subject(says), says) for says in old[2:]] + list(new.values())
    versions = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    measured = f"Measured on {date.today().isoformat()} with {versions}, on which other programs ran too.\n\n"
    page.write_text(ABOUT + measured + "\n".join([HEAD, RULE, *lines]) + "\n" + REPEAT, "utf-8")


def subject(says: str) -> tuple[str, ...]:
    """What a line is about: fault, store and worker."""
    return tuple(says.split(" | ")[:3])


if __name__ == "__main__":
    sys.exit(main())
