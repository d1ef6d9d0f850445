"""Stores that can be maltreated: a file, a file on a disk of its own, Redis, Redis under a Sentinel."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.server.servers import DEADLINE
from tests.server.servers import free_port
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer


class Unable(Exception):
    """This machine cannot do what the fault needs."""


class Place(t.Protocol):
    """Where runs are kept.

    :ivar url: For ``AISTREAM_STORE``.
    """

    url: str

    def close(self) -> None: ...


class Memory:
    url = "memory://"

    def __init__(self, folder: Path) -> None:
        """Nothing to begin."""

    def close(self) -> None:
        """Nothing to end."""


class File:
    """An SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.sqlite"
        self.url = f"sqlite:///{self.path}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can write meanwhile."""
        with contextlib.closing(sqlite3.connect(self.path, DEADLINE, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            yield
            db.execute("ROLLBACK")

    def delete(self) -> None:
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    def close(self) -> None:
        """Somebody else's folder."""


# Tests that are killed leave no disk behind: then there is nothing more to read, too.
KEEP_MOUNTED = """
mount -t tmpfs -o size=4m tmpfs "$1" || exit 1
echo mounted
read end
umount --lazy "$1"
"""


class SmallDisk(File):
    """A file on a disk of four megabytes."""

    def __init__(self, folder: Path) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir()
        self._mount = subprocess.Popen(
            ["sh", "-c", KEEP_MOUNTED, "sh", str(self._disk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._mount.stdout is not None
        if not self._mount.stdout.readline():
            self._mount.communicate()
            raise Unable("a disk to fill cannot be mounted here; root can")
        super().__init__(self._disk)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        ballast = self._disk / "ballast"
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass
        yield
        ballast.unlink()

    def close(self) -> None:
        self._mount.communicate()
        assert self._mount.returncode == 0, f"{self._disk} is still mounted"


class Redis:
    """A server that keeps nothing when it stops."""

    options: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder, *self.options)
        self.url = self.server.url

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It is there, and says nothing."""
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        self.server.client.config_set("maxmemory", 1)
        yield
        self.server.client.config_set("maxmemory", 0)

    def clock_forth(self) -> None:
        """What a wall clock that jumps a few seconds ahead does: no heartbeat is there any more."""
        client = self.server.client
        for key in client.scan_iter():
            if 0 <= client.pttl(key) <= 10_000:
                client.delete(key)

    def close(self) -> None:
        self.server.stop()


class RedisWithLog(Redis):
    """One that writes down everything before it answers."""

    options = ("--appendonly", "yes", "--appendfsync", "always")


class Sentinel:
    """A server, its replica, and who watches both."""

    def __init__(self, folder: Path) -> None:
        self._all = [RedisServer(made(folder / "one")), RedisServer(made(folder / "two"))]
        self._master = 0
        for server in self._all:
            server.client.config_set("repl-diskless-sync-delay", 0)
        self._follow(1, 0)
        port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor runs 127.0.0.1 {self._all[0].port} 1\n"
            "sentinel down-after-milliseconds runs 300\nsentinel failover-timeout runs 2000\n"
        )
        self._watcher = subprocess.Popen(
            ["redis-server", str(config), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self._client = redis.Redis(port=port)
        wait_for(self._knows_replica, "the Sentinel to know the replica")
        self.url = f"redis+sentinel://127.0.0.1:{port}/runs/0"

    def fail_over(self) -> None:
        """The server is killed, and comes back as the replica of the other."""
        old, self._master = self._master, 1 - self._master
        self._all[old].stop()
        wait_for(lambda: self._role(self._master) == "master", "the replica to take over")
        self._all[old].start()
        self._follow(old, self._master)
        wait_for(self._knows_replica, "the Sentinel to know the replica")

    def close(self) -> None:
        self._client.close()
        self._watcher.kill()
        self._watcher.wait()
        for server in self._all:
            server.stop()

    def _follow(self, replica: int, master: int) -> None:
        self._all[replica].client.replicaof("127.0.0.1", self._all[master].port)

    def _role(self, index: int) -> str:
        try:
            return str(self._all[index].client.info("replication")["role"])
        except redis.ConnectionError:  # Whoever takes over closes all its connections.
            return "changing"

    def _knows_replica(self) -> bool:
        try:
            state: t.Any = self._client.sentinel_master("runs")
        except (redis.ConnectionError, redis.ResponseError):
            return False
        return bool(
            state["num-slaves"]
            and state["port"] == self._all[self._master].port
            and "s_down" not in state["flags"]
            and self._all[1 - self._master].client.info("replication").get("master_link_status")
            == "up"
        )


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


PLACES: dict[str, t.Callable[[Path], Place]] = {
    "memory": Memory,
    "sqlite": File,
    "sqlite-disk": SmallDisk,
    "redis": Redis,
    "redis-aof": RedisWithLog,
    "redis-sentinel": Sentinel,
}

__all__ = ["PLACES", "File", "Place", "Redis", "Sentinel", "SmallDisk", "Unable"]
