"""``python -m tests.faults [name …]``: every row, as a table."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import typing as t
from pathlib import Path

from tests.faults.play import HEAD
from tests.faults.play import RULE
from tests.faults.play import insist
from tests.faults.play import line
from tests.faults.rows import ROWS
from tests.faults.scene import Scenes
from tests.faults.stores import Unable


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--store", default="")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Not without ending what it started.
    wrong = 0
    print(HEAD, RULE, sep="\n")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        scenes = Scenes(Path(folder))
        try:
            for row in ROWS:
                if given.names and row.name not in given.names:
                    continue
                for setting in (*row.settings, *row.more):
                    if given.store and setting.store != given.store:
                        continue
                    wrong += one(scenes, row, setting)
        finally:
            scenes.close()
    return min(wrong, 1)


def one(scenes: Scenes, row: t.Any, setting: t.Any) -> int:
    try:
        told = insist(row, setting, scenes.take(setting))
    except Unable as error:
        print(f"| {row.says} | {setting.store} | not done: {error} |")
        return 0
    finally:
        if row.ruins:
            scenes.drop(setting)
    print(line(told), flush=True)
    for complaint in (*told.complaints(), *told.notes[:5]):
        print("    ", complaint, file=sys.stderr)
    return len(told.complaints())


if __name__ == "__main__":
    sys.exit(main())
