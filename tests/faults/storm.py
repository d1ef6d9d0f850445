"""Many runs of all kinds, while faults of all kinds happen at random."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence

from tests.faults import inject
from tests.faults.client import Reader
from tests.faults.inject import Inject
from tests.faults.play import Row
from tests.faults.play import Told
from tests.faults.play import account
from tests.faults.play import patiently
from tests.faults.scene import Scene
from tests.faults.scene import Setting

EVERYWHERE: tuple[Inject, ...] = (
    *(inject.kill_owner, inject.end_worker, inject.hup, inject.hup_twice, inject.end_service),
    *(inject.reset, inject.cut, inject.half_close, inject.stall, inject.lose, inject.delay),
    inject.clock_shakes,
)
# Only what the store outlives: a Redis that restarts empty, or has no room, forgets runs that have ended.
AT: dict[str, tuple[Inject, ...]] = {
    "sqlite": (inject.lock_file,),
    "redis": (inject.stop_redis, inject.redis_clock_forth),
    "redis-aof": (inject.stop_redis, inject.restart_redis),
}
# Weighted; what has to be stopped comes last.
PROVIDERS = (
    ("count",) * 4 + ("goes-on",) * 3 + ("raises-within", "raises-finally", "stubborn", "blocks")
)
TO_STOP = ("stubborn", "blocks")

STARTS_SECONDS = 0.05
PAUSE_SECONDS = 0.8
"""Between two faults."""


def storm(row: Row, setting: Setting, scene: Scene, seed: int = 1) -> Told:
    scene.calm()
    before = set(scene.facts())
    chance = random.Random(seed)
    readers: list[Reader] = []
    crowd = threading.Thread(target=start_all, args=(row, scene, readers, random.Random(seed)))
    crowd.start()
    faults = (*EVERYWHERE, *AT[setting.store])
    while crowd.is_alive():
        time.sleep(chance.uniform(0, 2 * PAUSE_SECONDS))
        fault = chance.choice(faults)
        running = [reader for reader in readers if reader.run and not reader.over]
        if running:
            chance.shuffle(running)
            strike(fault, scene, running)
            scene.proxy.delay = 0.0
    crowd.join()
    wait_for_ends(scene, readers)  # On a busy machine, the faults have left no time for a stop.
    return account(Told(row, setting), scene, readers, before)


def strike(
    fault: Callable[[Scene, Sequence[Reader]], None], scene: Scene, on: list[Reader]
) -> None:
    try:
        fault(scene, on)
    except (ProcessLookupError, AssertionError):
        pass  # That worker has just left, or nothing new comes of it while something else goes on.


def start_all(row: Row, scene: Scene, readers: list[Reader], chance: random.Random) -> None:
    """Start every run at its time, stop those that have to be, and see all of them end."""
    for _ in range(row.runs):
        n, pause = chance.randrange(5, 2 * row.n), chance.choice((0, row.pause, 2 * row.pause))
        first = scene.crowd.start(1, chance.choice(PROVIDERS), n=n, pause=pause)
        readers += first
        time.sleep(chance.uniform(0, 2 * STARTS_SECONDS))
        if first[0].run and chance.random() < 0.5:
            readers += scene.crowd.follow([first[0].run])
        stop_some(scene, readers)
    wait_for_ends(scene, readers)


def wait_for_ends(scene: Scene, readers: Sequence[Reader]) -> None:
    def all_over() -> bool:
        stop_some(scene, readers)
        return all(reader.over for reader in readers)

    patiently(all_over)


def stop_some(scene: Scene, readers: Sequence[Reader]) -> None:
    for reader in readers:
        if reader.provider in TO_STOP and reader.tokens >= 5 and not reader.over:
            try:
                scene.stop_run(reader)
            except (OSError, AssertionError):
                return  # Not now; later.
