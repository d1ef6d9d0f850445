"""Every workload, in the order in which they are measured and reported."""

from __future__ import annotations

from benchmarks.workloads.alone import ALONE
from benchmarks.workloads.capacity import CAPACITY
from benchmarks.workloads.end_to_end import END_TO_END
from benchmarks.workloads.fanout import FANOUT
from benchmarks.workloads.first import FIRST
from benchmarks.workloads.flat import FLAT
from benchmarks.workloads.flat import TICK
from benchmarks.workloads.freed import FREED
from benchmarks.workloads.growth import GROWTH
from benchmarks.workloads.idle import IDLE
from benchmarks.workloads.mixed import MIXED
from benchmarks.workloads.paced import PACED
from benchmarks.workloads.protocols import PROTOCOL
from benchmarks.workloads.stores import STORES

WORKLOADS = (
    FLAT,
    TICK,
    PACED,
    CAPACITY,
    IDLE,
    FIRST,
    FANOUT,
    FREED,
    MIXED,
    GROWTH,
    STORES,
    PROTOCOL,
    ALONE,
    END_TO_END,
)
