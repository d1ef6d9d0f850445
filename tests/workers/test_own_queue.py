"""Queues other than Celery, as ``docs/howto/celery.md`` has them, and scripts without a server."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.testing import StreamClient
from flask_aistream.web.celery import TASK
from flask_aistream.web.extension import install
from tests.server.servers import DEADLINE
from tests.server.servers import ROOT
from tests.stores.redis_server import RedisServer

pytestmark = pytest.mark.server

PAGE = ROOT / "docs" / "howto" / "celery.md"
FILE = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's files, with a Redis that is there."""
    folder = tmp_path_factory.mktemp("page")
    server = RedisServer(folder)
    for text, name in FILE.findall(PAGE.read_text("utf-8")):
        (folder / name).write_text(text.replace("6379", str(server.port)), "utf-8")
    yield folder
    server.stop()


def python(folder: Path, *command: str) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(folder), str(ROOT)))
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_script_takes_runs_from_a_queue_of_its_own(folder: Path) -> None:
    worker = python(folder, "worker.py")
    try:
        asking = python(folder, "ask.py")
        said, _ = asking.communicate(timeout=DEADLINE)
        assert said == PRINTED.search(PAGE.read_text("utf-8"))[1]  # type: ignore[index]
        assert worker.stdout
        assert worker.stdout.readline().endswith(" Finished(reason='stop')\n")
    finally:
        worker.kill()
        worker.communicate()


ALONE = """
{patch}
from flask import Flask
from flask_aistream import AIStream

ai = AIStream()

@ai.provider
def chat(request):
    yield "Hello, "
    yield request.prompt

@ai.provider(name="async")
async def chat_async(request):
    yield "Hello, "
    yield request.prompt

app = Flask("script")
app.register_blueprint(ai)
with app.app_context():
    for provider in ai.provider_names:
        run = ai.start(provider, "you", owner="me")
        print(*run.events(after=0), run.wait(10), ai.attach(run.id, owner="me").text)
"""


@pytest.mark.parametrize(
    "patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["threads", "gevent"]
)
def test_a_script_without_a_server_runs_a_provider(tmp_path: Path, patch: str) -> None:
    script = python(tmp_path, "-c", ALONE.format(patch=patch))
    said, _ = script.communicate(timeout=DEADLINE)
    line = "Hello,  you Finished(reason='stop') Finished(reason='stop') Hello, you\n"
    assert said == line * 2


def test_the_celery_of_the_page_makes_runs(folder: Path) -> None:
    app = runpy.run_path(str(folder / "app.py"))["create_app"]()
    celery = app.extensions["celery"]
    assert TASK in celery.tasks
    celery.conf.task_always_eager = True  # Here and now, instead of in a worker.
    try:
        assert StreamClient(app).read("/ai/chat", json={"prompt": "Hi"}).text == "You said: Hi"
    finally:
        install(app).process.store.close()
