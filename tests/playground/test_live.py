"""The listing of runs: the same in all processes, and bounded in what it costs."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from flask_aistream.core.events import Finished
from flask_aistream.core.events import RunStarted
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.testing import StreamClient
from flask_aistream.web.playground import live
from flask_aistream.web.playground.live import LiveRuns
from tests.cli.conftest import make_app

START = 1_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class OneTimer:
    """Keeps the last callback, for the test to call."""

    def __init__(self) -> None:
        self.callback: Callable[[], None] = lambda: None

    def call_later(self, delay: float, callback: Callable[[], None]) -> OneTimer:
        self.callback = callback
        return self

    def cancel(self) -> None:
        self.callback = lambda: None


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.shared = False

    def open(self, run_id: str) -> t.Any:
        self.opened.append(run_id)
        return super().open(run_id)


class NoReaders:
    def readers(self, run_id: str) -> int:
        return 0


class Board:
    """A store with runs in it, and their listing."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.clock = Clock()
        self.timer = OneTimer()
        runner, timer = t.cast(t.Any, NoReaders()), t.cast(t.Any, self.timer)
        self.live = LiveRuns(self.store, runner, timer, self.clock)

    def add(self, *events: t.Any) -> str:
        run = Run(new_run_id(), "chat", self.clock.now)
        self.store.create(run, [RunStarted(run.id, "chat"), *events])
        return run.id

    def end(self, run_id: str) -> None:
        log = MemoryStore.open(self.store, run_id)
        log.end(Finished(at=self.clock.now))

    def rows(self) -> list[dict[str, t.Any]]:
        self.clock.now += 1
        self.store.opened.clear()
        return t.cast("list[dict[str, t.Any]]", self.listing()["runs"])

    def listing(self) -> dict[str, t.Any]:
        return self.live.listing(lambda run: True)


@pytest.fixture
def board() -> Board:
    return Board()


def test_running_runs_come_first_and_then_the_newest(board: Board) -> None:
    old = board.add("a")
    board.clock.now += 10
    new = board.add("a")
    board.clock.now += 10
    ended = board.add("a", "b")
    board.end(ended)
    assert [row["run"] for row in board.rows()] == [new, old, ended]


def test_an_ended_run_is_read_once(board: Board) -> None:
    ended = board.add("a", "b")
    board.end(ended)
    (row,) = board.rows()
    assert (row["tokens"], row["seconds"], row["status"]) == (2, 0.0, "finished")
    assert board.store.opened == [ended]
    assert board.rows() == [row]
    assert board.store.opened == []


def test_viewers_share_what_was_just_read(board: Board) -> None:
    board.add("a")
    board.listing()
    board.clock.now += live.FRESH_SECONDS / 2
    board.listing()
    assert len(board.store.opened) == 1


def test_a_full_shared_store_is_read_in_steps(board: Board) -> None:
    board.store.shared = True
    total = live.OPENED + 30
    for _ in range(total):
        board.end(board.add("a"))
    first = board.listing()
    assert (len(first["runs"]), first["unread"]) == (live.LISTED, 30)
    board.rows()
    assert len(board.store.opened) == 30
    assert board.listing()["unread"] == 0


def test_a_dropped_run_leaves_the_list(board: Board) -> None:
    ended = board.add("a")
    board.end(ended)
    board.rows()
    assert board.store.drop(ended)
    assert board.rows() == []


def test_without_viewers_the_logs_are_released(board: Board) -> None:
    board.add("a")
    board.rows()
    assert board.live._live
    board.timer.callback()
    assert not board.live._live
    assert len(board.rows()) == 1


def test_it_lists_what_the_command_line_lists(tmp_path: t.Any) -> None:
    """Both read the shared store, from any process."""
    import json

    from flask_aistream.cli.group import group

    store = f"sqlite:///{tmp_path}/runs.sqlite"
    serving = make_app(AISTREAM_STORE=store)
    streams = StreamClient(serving)
    streams.read("/ai/chat", json={"prompt": "Hi"})
    streams.read("/ai/broken", json={"prompt": "Hi"})
    watching = make_app(AISTREAM_STORE=store)
    watching.debug = True
    with streams.open("/ai/slow", json={"prompt": "Hi"}) as stream:
        next(stream)
        next(stream)
        listing = watching.test_client().get("/ai/playground/api/runs").get_json()
        command = watching.test_cli_runner().invoke(group, ["runs", "--json"])
        serving.config["GATE"].set()
        [*stream]
    found = {row["run"]: (row["provider"], row["status"]) for row in listing["runs"]}
    printed = {it["run"]: (it["provider"], it["status"]) for it in json.loads(command.stdout)}
    assert found == printed
    assert sorted(status for _, status in found.values()) == ["failed", "finished", "running"]
