"""Run the external suites and write ``docs/reference/conformance.md``: ``make conformance``, ``SUITES=folder`` for those
that are repositories."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.suites import CLIENT_SUITES
from tests.conformance.suites import REGISTERED
from tests.conformance.suites import REPOSITORIES
from tests.conformance.suites import ROOT
from tests.conformance.suites import Result
from tests.conformance.suites import repository_of

PAGE = ROOT / "docs" / "reference" / "conformance.md"

HEAD = """# Conformance

What external suites find. `make conformance` runs them and writes this page. Those of package registries also run in CI,
with the newest versions of Python packages. Those that exist only as repositories run from clones in the folder
`SUITES`; nothing of them is part of this repository.

Measured on {date}.

| suite | version | passed | failed | not applicable | reason |
|---|---|--:|--:|--:|---|
"""

TAIL = """
Responses over WebSocket are not offered. `POST /v1/responses/compact` answers 404 in OpenAI's error format.
"""


def main() -> int:
    rows = list(results())
    page = HEAD.format(date=datetime.date.today().isoformat()) + "".join(map(row, rows)) + TAIL
    PAGE.write_text(page, "utf-8")
    return int(any(result is not None and result.failed for _, _, result, _ in rows))


Row = tuple[str, str, Result | None, str]


def results() -> Iterator[Row]:
    """Name, version and result of each suite; ``None`` with the reason if it was not run."""
    with tempfile.TemporaryDirectory() as name:
        for suite in REGISTERED:
            result = suite.run(Path(name))
            yield suite.name, suite.version(), result, result.reason
        for remote in REPOSITORIES:
            repository, reason = repository_of(remote)
            if repository is None:
                print(f"{remote.name}: {reason}", file=sys.stderr)
                yield remote.name, "–", None, reason
                continue
            result = remote.run(repository, Path(name))
            yield remote.name, commit_of(repository), result, result.reason
    for title, reason in CLIENT_SUITES.items():
        yield title, "–", None, f"not applicable: {reason}"


def commit_of(repository: Path) -> str:
    command = ["git", "-C", str(repository), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def row(it: Row) -> str:
    name, version, result, reason = it
    counts = (result.passed, result.failed, result.skipped) if result else ("–", "–", "–")
    return f"| {' | '.join(map(str, (name, version, *counts, reason)))} |\n"


if __name__ == "__main__":
    raise SystemExit(main())
