"""The faults."""

from __future__ import annotations

import signal
import time
import typing as t
from collections.abc import Sequence
from dataclasses import replace

from tests.faults.client import Reader
from tests.faults.play import Row
from tests.faults.scene import Scene
from tests.faults.scene import Setting
from tests.faults.stores import File
from tests.faults.stores import Redis
from tests.faults.stores import Sentinel
from tests.faults.stores import SmallDisk
from tests.server.servers import wait_for

MEMORY = Setting("memory", workers=1)
SQLITE = Setting("sqlite")
REDIS = Setting("redis")
SHARED = (SQLITE, REDIS)
ALL = (MEMORY, SQLITE, REDIS)
THREADS = (Setting("sqlite", "gthread", 2), Setting("redis", "gthread", 2))
FRONT = (Setting("redis", front="nginx"),)
FEW_REQUESTS = ("--max-requests", "60", "--max-requests-jitter", "20")

# Longer than a leaving worker keeps its readers.
LONG: t.Any = {"runs": 8, "n": 150, "pause": 0.03}

FAILED = frozenset({"error"})
STORE_AWAY = FAILED
STOPPED = frozenset({"stopped"})
MAY_BE_CUT = frozenset({"stop", "interrupted"})


def nothing(scene: Scene, readers: Sequence[Reader]) -> None:
    """For comparison."""


def kill_owner(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.signal_worker(scene.owner(readers[0]), signal.SIGKILL)


def end_worker(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.signal_worker(scene.owner(readers[0]), signal.SIGTERM)


def end_service(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.restart()


def hup(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.hup()


def hup_twice(scene: Scene, readers: Sequence[Reader]) -> None:
    old = scene.service.workers()
    scene.hup()
    wait_for(lambda: bool(scene.service.workers() - old), "a new worker")
    scene.hup()


def ask_often(scene: Scene, readers: Sequence[Reader]) -> None:
    """Until every worker has had its requests."""
    workers = scene.service.workers()
    scene.leaving |= workers

    def renewed() -> bool:
        scene.healthy()
        return not workers & scene.service.workers()

    wait_for(renewed, "new workers", 20)


def restart_redis(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, Redis)
    scene.store.restart()


def fail_over(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, Sentinel)
    scene.store.fail_over()


def stop_redis(scene: Scene, readers: Sequence[Reader]) -> None:
    """For less than ``AISTREAM_STORE_SECONDS``."""
    assert isinstance(scene.store, Redis)
    with scene.store.stopped():
        time.sleep(1.5)


def stop_redis_long(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, Redis)
    with scene.store.stopped():
        time.sleep(10)


def fill_store(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, (Redis, SmallDisk))
    with scene.store.full():
        time.sleep(1.5)


def fill_store_long(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, (Redis, SmallDisk))
    with scene.store.full():
        time.sleep(6)


def lock_file(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, File)
    with scene.store.locked():
        time.sleep(2)


def delete_file(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, File)
    scene.store.delete()


def clock_forth(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.clock.write_text("7200")


def clock_back(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.clock.write_text("-7200")


def redis_clock_forth(scene: Scene, readers: Sequence[Reader]) -> None:
    assert isinstance(scene.store, Redis)
    scene.store.clock_forth()


def reset(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.reset()


def cut(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.cut()


def half_close(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.half_close()


def stall(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.stall()
    time.sleep(1)
    scene.proxy.flow()


def lose(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.lose()


def delay(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.delay = 0.3


def stop_all(scene: Scene, readers: Sequence[Reader]) -> None:
    for reader in {reader.run: reader for reader in readers}.values():
        scene.stop_run(reader)


ROWS = (
    Row("nothing", "none, for comparison", nothing, more=(*ALL, *THREADS), gap=1.0),
    # Processes.
    Row("kill", "`kill -9` of an owner", kill_owner, (*SHARED, THREADS[0]), (THREADS[1], *FRONT),
        ends=MAY_BE_CUT, must=frozenset({"interrupted"})),
    Row("term-worker", "TERM of a worker", end_worker, (SQLITE,), (REDIS, *THREADS), **LONG,
        gap=1.0),
    Row("term-service", "TERM of the service, started again", end_service, SHARED, THREADS),
    Row("hup", "HUP", hup, (*SHARED, THREADS[0]), (THREADS[1], *FRONT), **LONG, gap=1.0),
    Row("hup-memory", "HUP", hup, (MEMORY,), gap=1.0),
    Row("hup-hup", "HUP in the middle of a HUP", hup_twice, (REDIS,), (SQLITE, *THREADS), **LONG,
        gap=1.0),
    Row("max-requests", "`max_requests`", ask_often, (replace(SQLITE, options=FEW_REQUESTS),),
        (replace(REDIS, options=FEW_REQUESTS),), gap=1.0),
    # Stores.
    Row("redis-empty", "Redis restarted, empty", restart_redis, (REDIS,), (THREADS[1],)),
    Row("redis-aof", "Redis restarted, with its log", restart_redis, (Setting("redis-aof"),)),
    Row("redis-stopped", "Redis stopped for 1.5 s", stop_redis, (REDIS,), (THREADS[1],)),
    Row("redis-stopped-long", "Redis stopped for 10 s", stop_redis_long, more=(REDIS,), n=350,
        ends=STORE_AWAY),
    Row("redis-full", "Redis out of memory for 1.5 s", fill_store, (REDIS,), n=100),
    Row("redis-full-long", "Redis out of memory for 6 s", fill_store_long, more=(REDIS,), n=350,
        ends=STORE_AWAY),
    Row("redis-failover", "failover by Sentinel", fail_over, (Setting("redis-sentinel"),), n=100),
    Row("redis-clock", "the clock of Redis two hours forth", redis_clock_forth, (REDIS,)),
    Row("sqlite-locked", "file locked for 2 s", lock_file, (SQLITE,), (THREADS[0],), n=100),
    Row("sqlite-full", "disk full for 1.5 s", fill_store, (Setting("sqlite-disk"),), n=100),
    Row("sqlite-full-long", "disk full for 6 s", fill_store_long, more=(Setting("sqlite-disk"),),
        n=350, ends=STORE_AWAY),
    Row("sqlite-deleted", "file deleted", delete_file, more=(SQLITE,), ruins=True, outlived=False),
    Row("clock-forth", "clock two hours forth", clock_forth, SHARED, (MEMORY,)),
    Row("clock-back", "clock two hours back", clock_back, SHARED, (MEMORY,)),
    # Connections.
    Row("reset", "all connections reset", reset, ALL, THREADS),
    Row("cut", "all connections closed", cut, (REDIS, *FRONT), (MEMORY, SQLITE)),
    Row("half-closed", "all connections half-closed", half_close, (REDIS,), (MEMORY, SQLITE)),
    Row("stalled", "nothing passes for a second", stall, (SQLITE,), (MEMORY, REDIS, *THREADS)),
    Row("gone", "gone without a packet", lose, (REDIS,), (MEMORY, SQLITE, *THREADS), n=100),
    Row("delayed", "everything 0.3 s late", delay, more=ALL),
    # Providers.
    Row("raises-before", "provider raises before the first token", nothing, SHARED,
        (MEMORY, *THREADS), provider="raises-before", n=0, ends=FAILED),
    Row("raises-within", "provider raises in the middle", nothing, SHARED, (MEMORY, *THREADS),
        provider="raises-within", n=30, ends=FAILED),
    Row("raises-finally", "provider raises in `finally`", nothing, SHARED, (MEMORY, *THREADS),
        provider="raises-finally", n=30, ends=FAILED),
    Row("stubborn", "provider swallows `GeneratorExit`, and is stopped", stop_all, SHARED,
        (MEMORY, *THREADS), provider="stubborn", ends=STOPPED),
    Row("blocks", "provider blocks for ever, and is stopped", stop_all, SHARED,
        (MEMORY, *THREADS), provider="blocks", n=15, ends=STOPPED),
    Row("flood", "provider yields 1 M tokens as fast as it can", nothing, more=(*ALL, *THREADS),
        runs=1, n=1_000_000, pause=0),
    Row("flood-short", "provider yields 100,000 tokens as fast as it can", nothing, SHARED,
        runs=1, n=100_000, pause=0),
)  # fmt: skip
