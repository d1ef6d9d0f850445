"""Each of many runs is exactly one span, whatever happens to its connections and processes."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import typing as t
from collections import Counter
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextlib import closing
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import pytest

from tests.server.servers import ROOT
from tests.server.servers import environment
from tests.server.servers import free_port
from tests.server.servers import gunicorn
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer

pytestmark = [pytest.mark.server, pytest.mark.nightly, pytest.mark.timeout(400)]

CLIENTS = 16
PATIENCE = 60.0
"""Seconds for one run, and for the last spans."""

SCENES = ("read", "cut and resume", "cut and leave", "stop")
FAULTS = (OSError, http.client.HTTPException)


@dataclass
class Asked:
    """One question of a client, and what became of it."""

    number: int
    trace: str
    provider: str
    scene: str
    run: str | None = None
    cuts: int = 0
    headers: dict[str, str] = field(default_factory=dict)


def question(seed: int, number: int) -> Asked:
    chance = random.Random(f"{seed}/{number}")
    trace = f"{chance.getrandbits(128):032x}"
    asked = Asked(number, trace, chance.choice(("chat", "restarted")), chance.choice(SCENES))
    parent = f"{chance.getrandbits(64) or 1:016x}"
    asked.headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": f"{trace}-{number}",  # A short one would need a cookie.
        "traceparent": f"00-{trace}-{parent}-01",
    }
    return asked


def play(port: int, asked: Asked, chance: random.Random) -> None:
    """Ask, and lose, resume or stop the answer. A request that a killed worker leaves unanswered is repeated, under the
    same key."""
    cursor: str | None = None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            with send(connection, asked, cursor) as response:
                asked.run = asked.run or response.headers["AIStream-Run"]
                if asked.run is None or response.status == 503:
                    time.sleep(0.05)
                    continue
                cuts = asked.scene != "read" and not asked.cuts
                cursor, ended = read(response, cursor, chance.randrange(1, 15) if cuts else None)
            if ended:
                return
            if not cuts:
                continue
            asked.cuts += 1
            if asked.scene == "stop":
                stop(port, asked.run)
            if asked.scene in ("stop", "cut and leave"):
                return
        except FAULTS:
            time.sleep(0.05)
        finally:
            connection.close()


def send(
    connection: http.client.HTTPConnection, asked: Asked, cursor: str | None
) -> http.client.HTTPResponse:
    if asked.run is None:
        body = json.dumps({"prompt": str(asked.number)})
        connection.request("POST", f"/ai/{asked.provider}", body, asked.headers)
    else:
        headers = {"Last-Event-ID": cursor} if cursor else {}
        connection.request("GET", f"/ai/runs/{asked.run}/events", headers=headers)
    return connection.getresponse()


def read(
    response: http.client.HTTPResponse, cursor: str | None, most: int | None
) -> tuple[str | None, bool]:
    """Read a stream to its end, or so many of its frames.

    :returns: The cursor, and whether the run has ended.
    """
    count = 0
    while line := response.readline():
        if line.startswith(b"id: "):
            cursor = line[4:].strip().decode()
            count += 1
        if b'"action":"terminate"' in line:
            return cursor, True
        if count == most:
            break
    return cursor, response.status == 204


def stop(port: int, run: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", f"/ai/runs/{run}/stop")
        with connection.getresponse() as response:
            response.read()


class Processes:
    """The servers of a test, of which some are killed."""

    def __init__(self, folder: Path, config: dict[str, t.Any]) -> None:
        self.spans = folder / "spans.jsonl"
        self.spans.touch()
        self.killed: set[int] = set()
        self._environment = environment(
            folder / "facts",
            {"APP_SPANS": str(self.spans), "APP_AISTREAM_DETACH_SECONDS": 1, **config},
        )
        self._output = folder / "output"

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self._output, "ab") as output:
            return subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=output, stderr=output
            )

    @contextmanager
    def web(self, workers: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        port = free_port()
        command = gunicorn("gevent", "-w", str(workers))
        app = "tests.telemetry.spans_app:create_app()"
        process = self.start([part.format(port=port, app=app) for part in command])
        try:
            wait_for(lambda: answers(port), "gunicorn")
            yield port, process
        finally:
            process.terminate()
            process.wait(30)

    def celery(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "tests.telemetry.spans_worker", "worker"]
        command += ["--pool", "threads", "--concurrency", "16", "-n", f"{time.monotonic_ns()}@%h"]
        return self.start(command)

    def kill(self, pid: int) -> None:
        self.killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    def read(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in self.spans.read_text().splitlines()]


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/ai/health")
            with connection.getresponse() as response:
                return response.status == 200
        except FAULTS:
            return False


@contextmanager
def repeatedly(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Act in a thread, again and again."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ask_all(port: int, seed: int, count: int) -> list[Asked]:
    asked = [question(seed, number) for number in range(count)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda it: play(port, it, random.Random(f"{seed}/{it.number}/play")), asked))
    return asked


def check(processes: Processes, asked: list[Asked], describe: t.Callable[[str], None]) -> None:
    """Every run has one span, in the trace of the request that started it. A process that is killed while it delivers an
    end may have made the span already: then the run has one of that process, and one of the process that repeats it."""
    runs = {it.run: it for it in asked if it.run}
    assert len(runs) == len(asked)

    def of_runs() -> dict[str, list[dict[str, t.Any]]]:
        found: dict[str, list[dict[str, t.Any]]] = defaultdict(list)
        for span in processes.read():
            if span["run"]:
                found[span["run"]].append(span)
        return found

    wait_for(lambda: runs.keys() <= of_runs().keys(), "a span of every run", PATIENCE)
    found = of_runs()
    everything = {span["span"] for span in processes.read()}
    repeated = {run: spans for run, spans in found.items() if len(spans) > 1}
    of_the_killed = [run for run, spans in repeated.items() if spans[0]["pid"] in processes.killed]
    elsewhere = [run for run, it in runs.items() if any(s["trace"] != it.trace for s in found[run])]
    rootless = [run for run, spans in found.items() if any(s["parent"] is None for s in spans)]
    unexported = [
        r for r, spans in found.items() if any(s["parent"] not in everything for s in spans)
    ]
    outcomes = Counter(spans[-1]["reasons"][0] for spans in found.values())
    describe(
        f"{len(runs)} runs, {sum(map(len, found.values()))} spans, outcomes {dict(outcomes)}, {len(processes.killed)} "
        f"kills, {sum(it.cuts for it in asked)} cuts; twice: {len(repeated)}, of these by a killed process "
        f"{len(of_the_killed)}; in another trace {len(elsewhere)}, without parent {len(rootless)}, parent lost with a "
        f"killed process {len(unexported)}"
    )
    assert found.keys() == runs.keys()
    assert (elsewhere, rootless) == ([], [])
    assert sorted(repeated) == sorted(of_the_killed)
    assert len(unexported) <= len(processes.killed) * CLIENTS


@pytest.fixture
def seed() -> int:
    value = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"SEED={value}")
    return value


@pytest.fixture
def describe(capsys: pytest.CaptureFixture[str], seed: int) -> Callable[[str], None]:
    """Print a line although the test passes: it is the measurement."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text} (SEED={seed})")

    return write


def test_a_thousand_runs_are_a_thousand_spans(
    tmp_path: Path, seed: int, describe: Callable[[str], None]
) -> None:
    processes = Processes(tmp_path, {"APP_AISTREAM_STORE": f"sqlite:///{tmp_path}/runs.sqlite"})
    chance = random.Random(seed)
    with processes.web(3) as (port, server):
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")

        def kill_one() -> None:
            workers = [int(pid) for pid in children.read_text().split()]
            if len(workers) > 1:
                processes.kill(chance.choice(workers))

        with repeatedly(2.5, kill_one):
            asked = ask_all(port, seed, 1000)
        check(processes, asked, describe)


def test_runs_of_celery_workers_are_a_span_each(
    tmp_path: Path, seed: int, describe: Callable[[str], None]
) -> None:
    with ExitStack() as stack:
        redis = RedisServer(tmp_path)
        stack.callback(redis.stop)
        base = redis.url.removesuffix("/0")
        config = {
            "APP_AISTREAM_STORE": f"{base}/0",
            "APP_AISTREAM_EXECUTOR": "celery",
            "APP_CELERY": {"broker_url": f"{base}/1"},
        }
        processes = Processes(tmp_path, config)
        workers = [processes.celery(), processes.celery()]

        def end() -> None:
            for it in workers:
                it.kill()
                it.wait()

        stack.callback(end)
        port, _ = stack.enter_context(processes.web(2))

        def kill_one() -> None:
            killed = workers.pop(0)
            processes.kill(killed.pid)
            killed.wait()
            workers.append(processes.celery())

        with repeatedly(8, kill_one):
            asked = ask_all(port, seed, 200)
        check(processes, asked, describe)
