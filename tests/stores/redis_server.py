"""Real Redis servers, on ports of their own: one alone, a pair watched by a Sentinel, a cluster."""

from __future__ import annotations

import shutil
import signal
import subprocess
import typing as t
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from flask_aistream.stores.redis.client import redis_client
from tests.certificate import make_certificate
from tests.server.servers import free_port
from tests.server.servers import wait_for

MISSING = (
    "redis-server is not installed, so the Redis store cannot be tested. "
    "Install it, on Debian with `apt-get install redis-server`."
)


class RedisServer:
    """
    :param options: As on its command line.
    :param url: Where it is found, in which ``{port}`` is filled in.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str | None = None,
        program: str = "redis-server",
        url: str = "redis://{login}127.0.0.1:{port}/0",
    ) -> None:
        found = shutil.which(program)
        if found is None:
            pytest.fail(MISSING, pytrace=False)
        self.port = free_port()
        login = f":{quote(password, safe='')}@" if password else ""
        self.url = url.format(port=self.port, login=login)
        self._command = [
            *(found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", str(folder), "--loglevel", "warning", "--daemonize", "no"),
            *("--databases", "1000"),  # Each service of a test has its own.
            *(("--requirepass", password) if password else ()),
            *(option.format(port=self.port) for option in options),
        ]
        self.client = redis_client(self.url)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(self._ready, "redis-server to answer")

    def stop(self) -> None:
        self.client.close()
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """It accepts connections, and says nothing any more."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        self.client.flushall()

    def _ready(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


class Pair:
    """A primary, its replica, and the Sentinel that makes the replica the primary when need be."""

    SERVICE = "main"

    def __init__(self, folder: Path) -> None:
        fast = ("--repl-diskless-sync-delay", "0")
        self.primary = RedisServer(folder, *fast)
        self.replica = RedisServer(
            folder, *fast, "--replicaof", "127.0.0.1 " + str(self.primary.port)
        )
        wait_for(self.in_step, "the replica to follow")
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {self.SERVICE} 400\n"
            f"sentinel failover-timeout {self.SERVICE} 2000\n"
        )
        program = t.cast(str, shutil.which("redis-server"))
        self.port = free_port()
        self._sentinel = subprocess.Popen(
            [program, str(config), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{self.SERVICE}"
        self.client = redis_client(self.url)
        wait_for(self.knows_all, "the Sentinel to know both")

    def part(self) -> None:
        """From now on nothing reaches the replica."""
        self.primary.client.acl_setuser("default", enabled=True, commands=["-psync", "-sync"])
        self.primary.client.client_kill_filter(_type="replica")
        wait_for(lambda: not self.primary.client.info()["connected_slaves"], "the replica to leave")

    def in_step(self) -> bool:
        return bool(self.replica.client.info("replication").get("master_link_status") == "up")

    def knows_all(self) -> bool:
        try:
            with redis.Redis(port=self.port, decode_responses=True) as sentinel:
                return bool(sentinel.sentinel_slaves(self.SERVICE))
        except redis.RedisError:
            return False

    def empty(self) -> None:
        self.client.flushall()

    def stop(self) -> None:
        self._sentinel.kill()
        self._sentinel.wait()
        self.client.close()
        self.replica.stop()
        self.primary.stop()


class Cluster:
    """Three primaries that share the keys."""

    SLOTS = 16384

    def __init__(self, folder: Path) -> None:
        # The usual number of a bus, the port plus 10,000, may be too large for a port.
        buses = [free_port() for _ in range(3)]
        self.nodes = [cluster_node(folder, bus) for bus in buses]
        first, *others = (node.client for node in self.nodes)
        for number, node in enumerate(self.nodes):
            first_slot, end = (self.SLOTS * n // 3 for n in (number, number + 1))
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", first_slot, end - 1)
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node, bus in zip(self.nodes[1:], buses[1:], strict=True):
            first.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        wait_for(lambda: all(map(whole, (first, *others))), "the cluster to be whole")
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port}"
        self.client = redis_client(self.url)

    def empty(self) -> None:
        for node in self.nodes:
            node.empty()

    def stop(self) -> None:
        self.client.close()
        for node in self.nodes:
            node.stop()


def cluster_node(folder: Path, bus: int) -> RedisServer:
    mine = ("--cluster-config-file", f"nodes-{bus}.conf", "--cluster-port", str(bus))
    return RedisServer(folder, "--cluster-enabled", "yes", *mine)


def whole(node: t.Any) -> bool:
    about = node.cluster("info")
    return (about["cluster_state"], about["cluster_known_nodes"]) == ("ok", "3")


def certificate(folder: Path) -> Iterable[str]:
    """Options of a server that speaks TLS with a certificate of its own."""
    cert, key = make_certificate(folder)
    yield from ("--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no")
    yield from ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
