"""What can be done to a scene; ``readers`` are in the middle of their runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from collections.abc import Sequence

from tests.faults.client import Reader
from tests.faults.scene import Scene
from tests.faults.stores import File
from tests.faults.stores import Redis
from tests.faults.stores import Sentinel
from tests.faults.stores import SmallDisk
from tests.server.servers import wait_for

Inject = Callable[[Scene, Sequence[Reader]], None]


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


def clock_shakes(scene: Scene, readers: Sequence[Reader]) -> None:
    """By much less than ``AISTREAM_RETAIN_SECONDS``: what has ended is not old now."""
    scene.clock.write_text("120" if scene.clock.read_text() != "120" else "-120")


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


def stall_long(scene: Scene, readers: Sequence[Reader]) -> None:
    """For longer than ``AISTREAM_SEND_SECONDS``."""
    scene.proxy.stall()
    time.sleep(4)
    scene.proxy.flow()


def lose(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.lose()


def delay(scene: Scene, readers: Sequence[Reader]) -> None:
    scene.proxy.delay = 0.3


def stop_all(scene: Scene, readers: Sequence[Reader]) -> None:
    for reader in {reader.run: reader for reader in readers}.values():
        scene.stop_run(reader)
