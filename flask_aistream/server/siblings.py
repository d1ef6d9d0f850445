"""Whether other processes may serve the same application, by what can be seen of the server.

A run in the memory of one process cannot be resumed or stopped through another. No server tells an
application how many processes it has, so each is recognised by the modules it leaves and asked in its own way.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.server.gunicorn import find_worker


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What a process can see of the server that runs it.

    :param modules: ``sys.modules``.
    :param argv: The command line; children of :mod:`multiprocessing` have their parent's.
    :param environ: Environment variables.
    :param spawned: Whether :mod:`multiprocessing` started the process.
    :param gunicorn_workers: As its worker is configured; ``None`` where there is none.
    """

    modules: Mapping[str, t.Any]
    argv: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    spawned: bool = False
    gunicorn_workers: int | None = None

    @classmethod
    def of_this_process(cls) -> ProcessFacts:
        worker = find_worker()
        return cls(
            sys.modules,
            sys.argv,
            os.environ,
            multiprocessing.parent_process() is not None,
            int(worker.cfg.workers) if worker is not None else None,
        )

    def started_by(self, program: str) -> bool:
        """Whether the command line is this program's, and not one that embeds it."""
        return bool(self.argv) and program in os.path.basename(os.path.dirname(self.argv[0])) + (
            os.path.basename(self.argv[0])
        )

    def option(self, *names: str) -> str | None:
        """The value of an option on the command line, as ``-w 2``, ``-w2`` or ``--workers=2``."""
        for number, word in enumerate(self.argv):
            for name in names:
                if word == name:
                    return self.argv[number + 1] if number + 1 < len(self.argv) else ""
                if word.startswith(f"{name}=" if name.startswith("--") else name):
                    return word[len(name) :].lstrip("=")
        return None


Count = int | None
"""Number of processes; ``None``: it cannot be seen, and may be more than one."""


def may_have_siblings(facts: ProcessFacts | None = None) -> bool:
    """Whether more than one process may serve this application."""
    facts = facts or ProcessFacts.of_this_process()
    counts = [count(facts) for server, count in SERVERS.items() if server in facts.modules]
    return any(count is None or count > 1 for count in counts)


def gunicorn_count(facts: ProcessFacts) -> Count:
    if facts.gunicorn_workers is not None:
        return facts.gunicorn_workers
    # The arbiter itself (--preload), or a worker that replaced the signal handler it is found by.
    if facts.option("-c", "--config") is not None or "GUNICORN_CMD_ARGS" in facts.environ:
        return None
    return number(facts.option("-w", "--workers") or facts.environ.get("WEB_CONCURRENCY"))


def uwsgi_count(facts: ProcessFacts) -> Count:
    return t.cast(Count, getattr(facts.modules["uwsgi"], "numproc", None))


def mod_wsgi_count(facts: ProcessFacts) -> Count:
    return t.cast(Count, getattr(facts.modules["mod_wsgi"], "maximum_processes", None))


def uvicorn_count(facts: ProcessFacts) -> Count:
    if not facts.spawned:
        return 1  # Several workers, or --reload, are children.
    if not facts.started_by("uvicorn"):
        return None
    if "--reload" in facts.argv:
        return 1
    return number(facts.option("--workers") or facts.environ.get("WEB_CONCURRENCY"))


def hypercorn_count(facts: ProcessFacts) -> Count:
    if not facts.spawned:
        return 1
    if not facts.started_by("hypercorn") or facts.option("-c", "--config") is not None:
        return None
    return number(facts.option("-w", "--workers"))


def granian_count(facts: ProcessFacts) -> Count:
    if not facts.spawned:
        return 1
    if not facts.started_by("granian"):
        return None
    return number(facts.option("--workers") or facts.environ.get("GRANIAN_WORKERS"))


def number(value: str | None) -> Count:
    """A number of processes as it was given; one if it was not."""
    if value is None:
        return 1
    return int(value) if value.isdecimal() else None


SERVERS: Mapping[str, Callable[[ProcessFacts], Count]] = {
    "gunicorn.arbiter": gunicorn_count,
    "uwsgi": uwsgi_count,
    "mod_wsgi": mod_wsgi_count,
    "uvicorn": uvicorn_count,
    "hypercorn": hypercorn_count,
    "granian": granian_count,
}
"""By the module that only its processes have, or that tells how it was started. waitress and the development
server have one process each."""
