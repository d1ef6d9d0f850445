"""A process that has finished many runs holds no more than one that has finished a few.

In small; ``make bench-memory`` measures the memory of a patched worker after ten thousand runs.
"""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream.stores.shared import store as shared_store
from flask_aistream.testing import StreamClient
from flask_aistream.timing import timer
from flask_aistream.web.extension import install
from tests.web.conftest import MakeApp

RUNS = 150


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_finished_runs_do_not_grow_the_process(
    make_app: MakeApp, ai: AIStream, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Timers that were cancelled are cleared away when there are a thousand, which is more than we look for.
    monkeypatch.setattr(timer, "PURGE_SIZE", 16)
    monkeypatch.setattr(shared_store, "REMEMBER_RUNS", 16)
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/runs.sqlite"
    ai.provider(name="chat")(lambda request: iter("abc"))
    app = make_app(store=url, retain_runs=10)
    finish(app, 50)
    before = objects()
    # What comes and goes is gone at one time or another.
    grown: list[int] = []
    while len(grown) < 8 and (not grown or min(grown) > RUNS // 2):
        finish(app, RUNS)
        grown.append(objects() - before)
    install(app).process.store.close()
    assert min(grown) <= RUNS // 2


def test_ends_that_are_kept_for_a_rollback_are_limited_in_bytes(
    make_app: MakeApp, ai: AIStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_store, "REMEMBER_BYTES", 20_000)
    ai.provider(name="chat")(lambda request: iter("abc"))
    app = make_app(store=f"sqlite:///{tmp_path}/runs.sqlite")
    store = install(app).process.store
    for number in range(10):
        body = {"prompt": "?", "request_id": str(number), "notes": "x" * 4000}
        assert StreamClient(app).read("/ai/chat", json=body).text == "abc"
    assert isinstance(store, shared_store.SharedStore)
    kept = store.remembered().values()
    assert 1 <= len(kept) <= 4
    assert sum(len(ended.log.run.request) for ended in kept) <= 20_000
    store.close()


def finish(app: Flask, runs: int) -> None:
    streams = StreamClient(app)
    for number in range(runs):
        assert (
            streams.read("/ai/chat", json={"prompt": "?", "request_id": str(number)}).text == "abc"
        )
    install(app).process.store.sweep()


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())
