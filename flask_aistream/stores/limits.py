"""How much a store keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a store keeps; ``None``: any amount.

    :param retain: Seconds of a finished run.
    :param max_runs: Finished runs, the latest ones.
    :param max_events: Of one run.
    :param log_bytes: Of one run's events, approximately and as JSON.
    :param store_bytes: Of everything, as of the last sweep.
    """

    retain: float | None = None
    max_runs: int | None = None
    max_events: int | None = None
    log_bytes: int | None = None
    store_bytes: int | None = None


UNLIMITED = Limits()
