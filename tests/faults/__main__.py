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

What happens to runs and their readers when something breaks. Every fault was really injected into real
processes: gunicorn with several workers, SQLite or Redis, in some rows nginx in front of it, and a proxy of the
suite's own as the network. Every second run has two readers. Each checks the number and the text of every
token, and resumes by `Last-Event-ID` when its connection ends; in the rows with `chromium` it is `aistream.js` on a page.

- *Lost*, *twice*, *out of order* count tokens over all readers, compared with what `run_ended` said of the run.
- *Longest gap* is the longest time any reader waited between two tokens. What it is made of is the fault
  itself where a store or the network stands still, the time until the service is back, the 3 s after which a
  process is taken for dead, the 3 s after which a reader gives up a silent connection, and with a million
  tokens the reader, which is written in Python.
- *Ends* are what readers were told: `stop` is a run that said everything, `interrupted` one that lost its process,
  `error` one whose provider failed or whose store was away for longer than `AISTREAM_STORE_SECONDS` (3 here),
  `stopped` one that was stopped.
- *Lost* is 0 wherever the store outlives the fault. A Redis that comes back empty has forgotten the runs
  that had ended; those that were going on are written anew. A clock that is put forward by more than
  `AISTREAM_RETAIN_SECONDS` makes runs that have ended old, and they are forgotten.
- *Not terminal* counts readers that were told no end; `run_ended` *not once*, runs for which it was sent twice or never.
  (Where a process is killed in the very moment in which it sends it, another one has to send it again: see
  [Delivery of `run_ended`](../concepts/runs.md#delivery-of-run_ended).)

"""

REPEAT = """
## Do it again

`make faults` plays every row and writes this page; `make faults ARGS="hup kill"` plays some, by their names in
`tests/faults/rows.py`. A part of them belongs to `make test`. `make soak` plays them at random for an hour
(`SOAK_SECONDS=600 make soak` for ten minutes) and prints the seed that repeats it (`SOAK_SEED`).
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
