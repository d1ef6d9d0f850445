"""The faults."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from tests.faults import inject
from tests.faults.play import Row
from tests.faults.scene import Setting
from tests.faults.storm import storm

MEMORY = Setting("memory", workers=1)
SQLITE = Setting("sqlite")
REDIS = Setting("redis")
AOF = Setting("redis-aof")
SHARED = (SQLITE, REDIS)
ALL = (MEMORY, SQLITE, REDIS)
THREADS = (Setting("sqlite", "gthread", 2), Setting("redis", "gthread", 2))
PAGES = (Setting("sqlite", client="chromium"),)
FRONT = (Setting("redis", front="nginx"),)
IMPATIENT = {"SEND_SECONDS": 1.5}
HURRY = ("--graceful-timeout", "4")
FEW_REQUESTS = ("--max-requests", "60", "--max-requests-jitter", "20")

# Longer than a leaving worker keeps its readers.
LONG: t.Any = {"runs": 8, "n": 150, "pause": 0.03}

FAILED = frozenset({"error"})
STORE_AWAY = FAILED
STOPPED = frozenset({"stopped"})
ANYHOW = frozenset({"stop", "stopped", "interrupted", "error"})
MAY_BE_CUT = frozenset({"stop", "interrupted"})


ROWS = (
    Row("nothing", "none (baseline)", inject.nothing, more=(*ALL, *THREADS), gap=1.0),
    # Processes.
    Row("kill", "`kill -9` of an owner", inject.kill_owner,
        more=(*SHARED, *THREADS, *PAGES, *FRONT),
        ends=MAY_BE_CUT, must=frozenset({"interrupted"})),
    Row("kill-restart", "`kill -9` of an owner, `restart=True`", inject.kill_owner,
        more=(*SHARED, *THREADS), provider="goes-on", n=150),
    Row("term-worker", "TERM of a worker", inject.end_worker, more=(*SHARED, *THREADS), **LONG,
        gap=1.0),
    Row("term-service", "TERM of the service, then a new start", inject.end_service,
        more=(*SHARED, *THREADS)),
    Row("term-too-long", "TERM of the service, runs exceed the graceful timeout", inject.end_service,
        more=(replace(SQLITE, options=HURRY), replace(REDIS, options=HURRY)), **LONG, ends=MAY_BE_CUT,
        must=frozenset({"interrupted"})),
    Row("hup", "HUP", inject.hup, more=(*SHARED, *THREADS, *FRONT, *PAGES), **LONG, gap=1.0),
    Row("hup-memory", "HUP", inject.hup, more=(MEMORY,), gap=1.0),
    Row("hup-hup", "HUP during a HUP", inject.hup_twice, more=(*SHARED, *THREADS), **LONG,
        gap=1.0),
    Row("max-requests", "`max_requests`", inject.ask_often,
        more=(replace(SQLITE, options=FEW_REQUESTS), replace(REDIS, options=FEW_REQUESTS)), gap=1.0),
    # Stores.
    Row("redis-empty", "Redis restarted, empty", inject.restart_redis, (REDIS,), (THREADS[1],)),
    Row("redis-aof", "Redis restarted, with AOF", inject.restart_redis, more=(AOF,)),
    Row("redis-stopped", "Redis stopped for 1.5 s", inject.stop_redis, more=(REDIS, THREADS[1])),
    Row("redis-stopped-long", "Redis stopped for 10 s", inject.stop_redis_long, more=(REDIS,), n=350,
        ends=STORE_AWAY),
    Row("redis-full", "Redis out of memory for 1.5 s", inject.fill_store, more=(REDIS,), n=100),
    Row("redis-full-long", "Redis out of memory for 6 s", inject.fill_store_long, more=(REDIS,), n=350,
        ends=STORE_AWAY),
    Row("redis-failover", "failover by Sentinel", inject.fail_over, more=(Setting("redis-sentinel"),), n=100),
    Row("redis-clock", "clock of Redis 2 h forward", inject.redis_clock_forth, (REDIS,)),
    Row("sqlite-locked", "file locked for 2 s", inject.lock_file, (SQLITE,), (THREADS[0],), n=100),
    Row("sqlite-full", "disk full for 1.5 s", inject.fill_store, more=(Setting("sqlite-disk"),), n=100),
    Row("sqlite-full-long", "disk full for 6 s", inject.fill_store_long, more=(Setting("sqlite-disk"),),
        n=350, ends=STORE_AWAY),
    Row("sqlite-deleted", "file deleted", inject.delete_file, more=(SQLITE,), ruins=True, outlived=False),
    Row("clock-forth", "clock 2 h forward", inject.clock_forth, (SQLITE,), (MEMORY, REDIS)),
    Row("clock-back", "clock 2 h back", inject.clock_back, (SQLITE,), (MEMORY, REDIS)),
    # Connections.
    Row("reset", "all connections reset", inject.reset, (SQLITE,),
        (MEMORY, REDIS, *PAGES, *THREADS)),
    Row("cut", "all connections closed", inject.cut, (REDIS,), (MEMORY, SQLITE, *FRONT)),
    Row("half-closed", "all connections half-closed", inject.half_close, more=ALL),
    Row("stalled", "network stalled for 1 s", inject.stall, (SQLITE,), (MEMORY, REDIS, *THREADS)),
    Row("stalled-long", "network stalled for longer than `AISTREAM_SEND_SECONDS`", inject.stall_long,
        more=tuple(replace(it, config=IMPATIENT) for it in ALL), runs=2, n=100_000, pause=0),
    Row("gone", "network drops all packets silently", inject.lose, (REDIS,), (MEMORY, SQLITE, *THREADS, *PAGES), n=100),
    Row("delayed", "network delay of 0.3 s", inject.delay, more=ALL),
    # Providers.
    Row("raises-before", "provider raises before the first token", inject.nothing,
        more=(*ALL, *THREADS), provider="raises-before", n=0, ends=FAILED),
    Row("raises-within", "provider raises in mid-stream", inject.nothing, more=(*ALL, *THREADS),
        provider="raises-within", n=30, ends=FAILED),
    Row("raises-finally", "provider raises in `finally`", inject.nothing,
        more=(*ALL, *THREADS), provider="raises-finally", n=30, ends=FAILED),
    Row("stubborn", "provider catches `GeneratorExit` on a stop", inject.stop_all,
        more=(*ALL, *THREADS), provider="stubborn", n=600, ends=STOPPED),  # One is stopped after the other.
    Row("blocks", "provider blocks forever and is stopped", inject.stop_all,
        more=(*ALL, *THREADS), provider="blocks", n=15, ends=STOPPED),
    Row("flood", "provider yields 1 M tokens without waiting", inject.nothing, more=ALL,
        runs=1, n=1_000_000, pause=0),
    Row("flood-short", "provider yields 100,000 tokens without waiting", inject.nothing, (SQLITE,), (REDIS,),
        runs=1, n=100_000, pause=0),
    # Everything.
    Row("storm", "40 runs, random providers and faults", more=(SQLITE, AOF), runs=40, ends=ANYHOW,
        way=storm),
    Row("storm-long", "500 runs, random providers and faults", more=(*SHARED, AOF, *THREADS),
        runs=500, ends=ANYHOW, way=storm),
)  # fmt: skip
