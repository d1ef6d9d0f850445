"""A store that fails while runs are going on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.server.servers import wait_for
from tests.stores.redis_server import RedisServer
from tests.workers.conftest import Connect
from tests.workers.conftest import Serve
from tests.workers.workers import Line

pytestmark = pytest.mark.server

StartRedis = Callable[..., RedisServer]

COUNT = {"prompt": "?", "n": 400, "pause": 0.01}
WHOLE = "".join(f"{number} " for number in range(400))


@pytest.mark.nightly
def test_runs_fail_and_starts_are_refused_while_redis_is_gone(
    serve: Serve, connect: Connect, start_redis: StartRedis
) -> None:
    redis = start_redis()
    config = {"APP_AISTREAM_STORE": redis.url, "APP_AISTREAM_STORE_SECONDS": 1}
    server = serve("gevent", 2, **config)
    here, there = server.pids()
    talking = connect(server, here).stream("/ai/count", COUNT)
    silent = connect(server, here).stream("/ai/silent", {"prompt": "?"})
    talking.text("5 ")
    silent.text("Well,")
    redis.stop()
    gone = time.monotonic()
    for line in (talking, silent):
        line.text()
        assert line.failure()["code"] == "store_unavailable"
        assert server.wait_fact("closed", line.run)["at"] - gone < 3
    assert time.monotonic() - gone < 3
    wait_for(lambda: start_on(connect(server, there)) == 503, "a refusal")
    redis.start()
    wait_for(lambda: start_on(connect(server, there)) == 200, "a start")
    for line in (talking, silent):
        server.wait_fact("ended", line.run)
        assert [it["outcome"] for it in server.facts("ended", line.run)] == ["Failed"]


def test_a_worker_that_is_replaced_while_redis_is_gone_does_not_take_the_service_along(
    serve: Serve, connect: Connect, start_redis: StartRedis
) -> None:
    redis = start_redis()
    server = serve("gevent", 2, APP_AISTREAM_STORE=redis.url, APP_AISTREAM_STORE_SECONDS=1)
    old = server.pids()
    redis.stop()
    server.kill(old[0])
    wait_for(lambda: set(server.pids()) - set(old), "a new worker")
    new = next(iter(set(server.pids()) - set(old)))
    assert start_on(connect(server, new)) == 503
    redis.start()
    wait_for(lambda: start_on(connect(server, new)) == 200, "a start")


def start_on(line: Line) -> int:
    line.stream("/ai/say", {"prompt": "?", "texts": []}).text()
    return line.status
