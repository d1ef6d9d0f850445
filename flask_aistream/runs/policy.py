"""The limits of runs."""

from __future__ import annotations

from dataclasses import dataclass

PARALLEL, REJECT, INTERRUPT = CHAT_POLICIES = ("parallel", "reject", "interrupt")
"""What happens to a request while its chat has a live run: both run, it is rejected, or it interrupts the live run."""


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """Limits that hold for every run of a process. ``None`` means unlimited.

    :param detach_seconds: A run without readers is stopped after this time; ``0`` stops it at once.
    :param run_seconds: Maximum duration of a run.
    :param max_runs: Maximum number of concurrent runs in this process.
    :param max_runs_per_owner: Maximum number of concurrent runs of one owner, in all processes.
    :param max_restarts: How often a run may be restarted after its process was lost.
    :param max_deliveries: How often the end of a run is delivered, if each delivery crashes its process.
    """

    detach_seconds: float | None = None
    run_seconds: float | None = None
    max_runs: int | None = None
    max_runs_per_owner: int | None = None
    max_restarts: int = 0
    max_deliveries: int = 5
