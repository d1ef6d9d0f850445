"""Runs are made by Celery workers, and web workers come and go."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.core import events as ev
from flask_aistream.web.celery import TASK
from tests.server.app import ai
from tests.server.servers import DEADLINE
from tests.server.servers import ROOT
from tests.server.servers import environment
from tests.server.servers import facts_in
from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer
from tests.workers.workers import Line
from tests.workers.workers import Workers

pytestmark = pytest.mark.server

BOOT_SECONDS = 45.0
"""Of a Celery worker and its children: it imports the application, Celery and Kombu, on a busy machine."""

NOTICE_SECONDS = 5.0
STOP_SECONDS = 1.0
COUNT = {"prompt": "?", "n": 300, "pause": 0.01}
WHOLE = "".join(f"{number} " for number in range(300))


class CeleryWorker:
    """A running Celery worker."""

    def __init__(self, facts: Path, config: dict[str, t.Any], *options: str) -> None:
        self._output = open(facts.with_name(f"celery{time.monotonic_ns()}.out"), "w+b")
        command = [sys.executable, "-m", "celery", "-A", "tests.workers.celery_worker", "worker"]
        self.process = subprocess.Popen(
            [*command, "--loglevel", "INFO", *options],
            cwd=ROOT,
            env=environment(facts, config),
            stdout=self._output,
            stderr=self._output,
        )

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def wait_ready(self) -> None:
        wait_for(self._ready, "the Celery worker", BOOT_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # Cold: it does not wait for runs.
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.output()
        return " ready." in self.output()


class Site:
    """A web server, a broker, and Celery workers, which share a store.

    :ivar web: gunicorn with two gevent workers.
    :ivar left: A run that was left alone.
    """

    left = ""

    def __init__(self, folder: Path, redis: RedisServer, *options: str, **config: t.Any) -> None:
        self.facts = folder / "facts.jsonl"
        self.config = config_of(redis, **config)
        self.web = Workers(
            "gevent", 2, self.facts, app="tests.workers.queued:create_app()", **self.config
        )
        self.worker = CeleryWorker(self.facts, self.config, *options)

    def line(self) -> Line:
        """A connection to whichever web worker accepts it."""
        return Line(self.web.port)

    def leave_one_alone(self) -> None:
        """Begin a run that nobody reads. Now, because to be stopped takes it some seconds."""
        with self.line() as line:
            line.stream("/ai/silent-async", {"prompt": "?"}).text("Well,")
            self.left = line.run

    def answers(self) -> bool:
        try:
            self.line().close()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def told(self, run: str) -> list[str]:
        """What ``run_ended`` said of a run, in all processes."""
        self.web.wait_fact("ended", run)
        return [it["outcome"] for it in self.web.facts("ended", run)]

    def deliver(self, ticket: str) -> None:
        """Put a ticket into the queue once more."""
        from celery import Celery

        with Celery(broker=self.config["APP_CELERY"]["broker_url"]) as celery:
            celery.send_task(TASK, [ticket])

    def stop(self) -> None:
        self.web.leave()
        self.worker.stop()
        self.web.stop()


def config_of(redis: RedisServer, broker: int = 1, **config: t.Any) -> dict[str, t.Any]:
    base = redis.url.removesuffix("/0")
    return {
        "APP_AISTREAM_STORE": f"{base}/0",
        "APP_AISTREAM_EXECUTOR": "celery",
        "APP_AISTREAM_DRAIN_SECONDS": 0.2,
        "APP_CELERY": {"broker_url": f"{base}/{broker}"},
        **config,
    }


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of our own: every process that shares a store recovers the runs of dead workers."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def site(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(
        tmp_path_factory.mktemp("site"), redis, "--concurrency", "2", APP_AISTREAM_DETACH_SECONDS=0
    )
    try:
        site.web.wait_ready()
        site.worker.wait_ready()
        site.leave_one_alone()
        yield site
    finally:
        site.stop()


def test_a_run_is_made_in_a_celery_worker(site: Site) -> None:
    with site.line() as line:
        line.stream("/ai/count", {"prompt": "?", "n": 20, "pause": 0.005})
        assert line.text() == "".join(f"{number} " for number in range(20))
        assert line.reason() == "stop"
        called, ended = (site.web.wait_fact(fact, line.run) for fact in ("called", "ended"))
        assert called["pid"] == ended["pid"] != line.pid
        assert site.told(line.run) == ["Finished"]


def test_a_run_survives_killed_web_workers(site: Site) -> None:
    with site.line() as line:
        before = line.stream("/ai/count", COUNT).text("30 ")
        for pid in site.web.pids():
            os.kill(pid, signal.SIGKILL)
        last = line.frames[-1].id
        assert last is not None
        run = line.run
    wait_for(site.answers, "a new web worker")
    with site.line() as line:
        assert before + line.stream(f"/ai/runs/{run}/events", Last_Event_ID=last).text() == WHOLE
        assert line.reason() == "stop"
    assert site.told(run) == ["Finished"]


def test_a_stop_reaches_the_celery_worker(site: Site) -> None:
    with site.line() as line, site.line() as other:
        line.stream("/ai/silent-async", {"prompt": "?"}).text("Well,")
        asked = time.monotonic()
        assert other.call(f"/ai/runs/{line.run}/stop", {})["stopped"]
        closed = site.web.wait_fact("closed", line.run)
        assert closed["at"] - asked < STOP_SECONDS
        assert closed["pid"] != other.pid
        assert (line.text(), line.reason()) == ("", "stopped")
        assert site.told(line.run) == ["Stopped"]


def test_a_task_delivered_twice_makes_one_run(site: Site) -> None:
    with site.line() as line:
        line.stream("/ai/count", {"prompt": "?", "n": 100, "pause": 0.01}).text("10 ")
        site.deliver(line.run)
        line.text()
        site.deliver(line.run)
        worker = site.worker
        wait_for(lambda: worker.output().count("'skipped'") == 2, "two tasks without work")
        assert len(site.web.facts("called", line.run)) == 1


def test_the_run_of_a_killed_celery_child_is_interrupted_or_restarted(site: Site) -> None:
    with site.line() as line, site.line() as other:
        line.stream("/ai/count", {"prompt": "?", "n": 100000, "pause": 0.01})
        other.stream("/ai/count-on", COUNT)
        texts = [line.text("9 "), other.text("9 ")]
        killed = time.monotonic()
        for run in (line.run, other.run):
            os.kill(site.web.wait_fact("called", run)["pid"], signal.SIGKILL)
        texts[0] += line.text()
        assert line.reason() == "interrupted"
        assert time.monotonic() - killed < NOTICE_SECONDS
        texts[1] += other.text()
        assert (texts[1], other.reason()) == (WHOLE, "stop")
    assert (site.told(line.run), site.told(other.run)) == (["Interrupted"], ["Finished"])
    assert site.web.facts("ended", line.run)[0]["text"] == texts[0]
    calls = [it["pid"] for it in site.web.facts("called", other.run)]
    assert len(set(calls)) == len(calls) == 2
    assert not set(calls) & set(site.web.pids())


def test_a_run_without_readers_is_stopped(site: Site) -> None:
    assert site.told(site.left) == ["Stopped"]


def test_a_celery_worker_that_is_terminated_finishes_its_run(site: Site) -> None:
    with site.line() as line:
        line.stream("/ai/count", {"prompt": "?", "n": 100, "pause": 0.01})
        begun = line.text("9 ")
        site.worker.process.send_signal(signal.SIGTERM)
        assert (begun + line.text()).endswith(" 99 ")
        assert line.reason() == "stop"
        assert site.told(line.run) == ["Finished"]
    site.worker.process.wait(DEADLINE)


@pytest.mark.nightly
def test_a_worker_that_leaves_finishes_its_runs_or_interrupts_them(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both at once: what takes time is their start.
    warm, cold = Leaving(redis, tmp_path, 2, "gevent"), Leaving(redis, tmp_path, 3, "prefork")
    try:
        for leaving in (warm, cold):
            leaving.worker.wait_ready()
        for leaving in (warm, cold):
            leaving.begin(monkeypatch)
        warm.worker.process.send_signal(signal.SIGTERM)
        cold.worker.process.send_signal(signal.SIGQUIT)
        assert warm.run.wait(DEADLINE) == ev.Finished()
        assert WHOLE.startswith(warm.run.text)
        assert warm.run.text.endswith(" 149 ")
        assert cold.run.wait(DEADLINE) == ev.Interrupted("drain")
        for leaving, outcome in ((warm, "Finished"), (cold, "Interrupted")):
            leaving.worker.process.wait(DEADLINE)  # Who has exited has told.
            told = [it["outcome"] for it in facts_in(leaving.facts, "ended", leaving.run.id)]
            assert told == [outcome]
    finally:
        for leaving in (warm, cold):
            leaving.worker.stop()


class Leaving:
    """A worker with a pool of this kind and a queue of its own, which makes a run."""

    def __init__(self, redis: RedisServer, folder: Path, broker: int, pool: str) -> None:
        self.facts = folder / f"{pool}.jsonl"
        self.config = config_of(redis, broker)
        self.worker = CeleryWorker(self.facts, self.config, "--pool", pool, "--concurrency", "2")

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in environment(self.facts, self.config).items():
            monkeypatch.setenv(name, value)
        from tests.workers.queued import create_app

        self.app = create_app()
        with self.app.app_context():
            self.run = ai.start("count", {**COUNT, "n": 150})
        wait_for(lambda: "20 " in self.run.text, "the run")
