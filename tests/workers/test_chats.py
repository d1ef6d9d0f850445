"""Several clients in one conversation: all of them, and the stored history, end with the same transcript.

Each script is random: three clients ask, regenerate, edit, stop, leave and read one chat, on any worker. The test prints
the seed of a script that fails. ``CHATS_SEED`` runs that one, ``CHATS_SCRIPTS`` sets the number of nightly ones.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from flask_aistream.sse.decode import Decoder
from tests.server.servers import wait_for
from tests.server.wire import text_of
from tests.workers.conftest import Serve
from tests.workers.workers import Workers

pytestmark = pytest.mark.server

APP = "tests.workers.chats_app:create_app()"
CLIENTS, STEPS, AT_ONCE = 3, 4, 4
BY_DAY, NIGHTLY = 2, int(os.environ.get("CHATS_SCRIPTS", "200"))
MANY = [pytest.mark.nightly, pytest.mark.timeout(3600)]
SETTINGS = [
    pytest.param(("memory", 1), id="memory-1"),
    pytest.param(("sqlite", 4), id="sqlite-4"),
    pytest.param(("redis", 4), id="redis-4"),
]


class Client:
    """One client of a chat, whose requests go to any worker.

    :ivar read: Texts of the runs that it has read to their end.
    """

    def __init__(self, server: Workers, policy: str, chat: str, number: int, seed: str) -> None:
        self.read: dict[str, str] = {}
        self._url = server.url
        self._policy = policy
        self._chat = chat
        self._number = number
        self._random = random.Random(f"{seed}/{number}")
        self._asked = 0
        # A connection of its own for each request, so that any worker may get it.
        self._http = httpx.Client(timeout=30, headers={"Connection": "close"})

    def play(self) -> None:
        with self._http:
            for _ in range(STEPS):
                step = self._random.choice(
                    [
                        self.ask,
                        self.ask,
                        self.ask_and_leave,
                        self.again,
                        self.edit,
                        self.stop,
                        self.follow,
                    ]
                )
                step()

    def ask(self, leave: bool = False, **body: t.Any) -> None:
        self._asked += 1
        words, pause = self._random.randrange(1, 30), self._random.choice([0, 0.001, 0.01])
        body.setdefault("prompt", f"{self._number}.{self._asked}")
        body = {"chat": self._chat, "words": words, "pause": pause, **body}
        with self._http.stream("POST", f"{self._url}/ai/{self._policy}", json=body) as response:
            if response.status_code == 200:
                self._read(response, leave)
                return
            error = json.loads(response.read())["error"]
        if response.status_code == 409:
            assert self._policy == "reject", error
            live = t.cast("re.Match[str]", re.search(r"'([\w-]{22})'", error["message"]))[1]
            self._follow(f"/ai/runs/{live}/events")
        else:  # Another client has replaced the message.
            assert (response.status_code, error["code"]) == (422, "message_unknown"), error

    def ask_and_leave(self) -> None:
        self.ask(leave=True)

    def again(self) -> None:
        self.ask(prompt=None, regenerate=True)

    def edit(self) -> None:
        asked = [it for it in self.history() if it["role"] == "user"]
        if asked:
            self.ask(edit=self._random.choice(asked)["id"])

    def stop(self) -> None:
        live = self._get(f"/ai/chats/{self._chat}").get("live")
        if live:
            assert self._http.post(self._url + live["stop"]).status_code == 200

    def follow(self) -> None:
        live = self._get(f"/ai/chats/{self._chat}").get("live")
        if live:
            self._follow(live["events"])

    def history(self) -> t.Any:
        return self._get(f"/messages/{self._chat}")

    def _follow(self, path: str) -> None:
        with self._http.stream("GET", self._url + path) as response:
            assert response.status_code == 200
            self._read(response)

    def _get(self, path: str) -> t.Any:
        response = self._http.get(self._url + path)
        assert response.status_code in (200, 404), response.text
        return response.json()

    def _read(self, response: httpx.Response, leave: bool = False) -> None:
        run, text, decoder = response.headers["AIStream-Run"], "", Decoder()
        for data in response.iter_bytes():
            for frame in decoder.feed(data):
                text += text_of(frame)
                if '"terminate"' in (frame.data or ""):
                    self.read[run] = text
            if leave:
                return
        assert run in self.read


@pytest.fixture(scope="module", params=SETTINGS)
def server(request: pytest.FixtureRequest, serve: Serve) -> Workers:
    store, workers = request.param
    return serve("gevent", workers, None if store == "memory" else store, app=APP)


@pytest.mark.parametrize(
    "scripts", [BY_DAY, pytest.param(NIGHTLY, marks=MANY)], ids=["few", "many"]
)
def test_all_clients_and_the_history_end_with_one_transcript(server: Workers, scripts: int) -> None:
    given = os.environ.get("CHATS_SEED")
    seeds = [given] if given else [str(random.randrange(10**9)) for _ in range(scripts)]
    games = [(policy, seed) for seed in seeds for policy in ("reject", "interrupt")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [it for it in pool.map(lambda game: play(server, *game), games) if it]
    assert not failures, "\n\n".join(failures)


def play(server: Workers, policy: str, seed: str) -> str | None:
    """:returns: What went wrong."""
    chat = f"{policy}-{seed}-{random.randrange(10**9)}"
    clients = [Client(server, policy, chat, number, seed) for number in range(CLIENTS)]
    errors: list[BaseException] = []

    def run(client: Client) -> None:
        try:
            client.play()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert not errors, errors
        check(server, chat, clients)
    except (AssertionError, httpx.HTTPError) as error:
        return f"CHATS_SEED={seed}, policy {policy}: {error}"
    return None


def check(server: Workers, chat: str, clients: list[Client]) -> None:
    response = httpx.get(f"{server.url}/ai/chats/{chat}")
    runs = [run["run"] for run in response.json().get("runs", [])]
    wait_for(lambda: {*runs} <= {it["run"] for it in stored_of(server, chat)}, "storing")
    stored = {it["run"]: it for it in stored_of(server, chat)}
    called = {it["run"]: it["given"] for it in server.facts("asked")}
    assert len(stored) == len(stored_of(server, chat))
    transcript: list[dict[str, t.Any]] = []
    for run in runs:
        ids = [it["id"] for it in transcript]
        if stored[run]["replaces"] is not None:
            del transcript[ids.index(stored[run]["replaces"]) :]
        added = stored[run]["added"]
        question = [it for it in added if it["role"] == "user"]
        if run in called:  # Else it was interrupted first.
            assert called[run] == contents([*transcript, *question]), f"run {run} got another past"
        transcript += added
        text = "".join(it["content"] for it in added if it["role"] == "assistant")
        assert httpx.get(f"{server.url}/ai/runs/{run}").json()["text"] == text
        for client in clients:
            assert client.read.get(run, text) == text
    assert httpx.get(f"{server.url}/messages/{chat}").json() == transcript
    assert {run for client in clients for run in client.read} <= {*runs}


def stored_of(server: Workers, chat: str) -> list[dict[str, t.Any]]:
    return [it for it in server.facts("stored") if it["chat"] == chat]


def contents(messages: list[dict[str, t.Any]]) -> list[str]:
    return [it["content"] for it in messages]
