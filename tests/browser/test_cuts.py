"""Many answers through a network that keeps breaking, from a real server to a page."""

from __future__ import annotations

import functools
import itertools
import os
import random
import typing as t
from collections import Counter
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from flask_aistream.core import events as ev
from flask_aistream.core.cursor import Cursor
from tests.browser.conftest import Page
from tests.browser.cutter import Asked
from tests.browser.cutter import Cut
from tests.browser.cutter import Cutter
from tests.browser.scripted import DEADLINE
from tests.browser.scripted import Log
from tests.browser.tales import texts_of
from tests.server.servers import Server
from tests.server.servers import wait_for

pytestmark = pytest.mark.server

BY_DAY, NIGHTLY = 24, 80
MOST_CUTS = 5
PAUSES = (0, 0, 0.001, 0.01)
"""Seconds between two tokens: an answer that is there at once, and one that is still being made."""

AT_ONCE = 25
"""More than the six connections that a browser opens to one host: many of them wait to come back."""

LONGEST = 90
"""Seconds; it takes 10 on an idle machine. A plain EventSource waits 3 s each time, until it has
read how long to wait."""

READ = """
document.body.hidden = true; // Fonts for all of it would have to be found, at each token.
const shown = () => document.body.appendChild(document.createElement("p"));

const ways = {
  async stream(name, pause) {
    const out = shown();
    const options = { headers: { "X-Tale": name }, retry: { max: 0.1 } };
    const run = ai.stream("/ai/tale", { prompt: "?", tale: name, pause }, options);
    for await (const event of run) if (event.type === "text") out.textContent += event.text;
    return [out.textContent, run.text === out.textContent && run.status];
  },
  plain: (name, pause) => new Promise((resolve) => {
    const out = shown();
    const asked = new URLSearchParams({ prompt: "?", tale: name, pause, request_id: `tale-of-${name}`.padEnd(16, "-") });
    const source = new EventSource(`/ai/tale?${asked}`);
    source.addEventListener("message", (evt) => {
      const payload = JSON.parse(evt.data);
      if (payload.action === "terminate") {
        source.close();
        resolve([out.textContent, "finished"]);
      } else out.textContent += payload.text;
    });
  }),
};

const todo = args[0];
const told = {};
const work = async () => {
  for (let tale; (tale = todo.shift()); ) told[tale.name] = await ways[tale.way](tale.name, tale.pause);
};
await Promise.all(Array.from({ length: args[1] }, work));
return told;
"""


class Tale(t.NamedTuple):
    name: str
    way: str
    pause: float


class Breaking:
    """When each tale is cut: how many times, after which part of what is left, and how."""

    def __init__(self, tales: list[Tale], chance: random.Random) -> None:
        self.planned = {tale.name: chance.randint(1, MOST_CUTS) for tale in tales}
        self.made: Counter[str] = Counter()
        self.hows: Counter[Cut] = Counter()
        self.names: dict[str, str] = {}
        self._left = {
            name: deque((chance.random(), chance.choice([*Cut])) for _ in range(cuts))
            for name, cuts in self.planned.items()
        }

    def __call__(self, asked: Asked, head: int) -> tuple[int, Cut] | None:
        name = asked.query.get("tale") or asked.headers.get("X-Tale")
        if name is None or not self._left[name]:
            return None
        part, how = self._left[name].popleft()
        # Framing comes on top, so this is always less than the whole response.
        cursor = asked.headers.get("Last-Event-ID")
        rest = sizes_of(name)[Cursor.parse(cursor).number + 1 if cursor else 0]
        size = int(part * (head + rest))
        if size < head and how is Cut.FIN and "tale" in asked.query:
            # Over plain HTTP, browsers take what came of a head for all of it, and an EventSource
            # gives up for good when no Content-Type is among it. No server can do anything about it.
            how = Cut.RST
        self.made[name] += 1
        self.hows[how] += 1
        return size, how


@functools.cache
def sizes_of(name: str) -> list[int]:
    """Bytes of a tale's frames from each record on."""
    log = Log(*texts_of(name), ev.Finished(), run="r" * 22)
    sizes = [len(log.frames(number, number + 1)) for number in range(len(log.events))]
    return [*itertools.accumulate(reversed(sizes))][::-1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    facts = tmp_path / "facts.jsonl"
    app = "tests.browser.app:create_app()"
    server = Server("gevent", facts, app=app, APP_AISTREAM_RETRY_SECONDS=0.01)
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
def patient(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, which lets scripts run for longer."""
    browser.set_script_timeout(LONGEST)
    yield browser
    browser.set_script_timeout(DEADLINE)


@pytest.mark.timeout(LONGEST + 10)
@pytest.mark.parametrize("runs", [BY_DAY, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_the_page_shows_every_text_exactly_however_often_its_connection_breaks(
    patient: webdriver.Chrome, server: Server, runs: int
) -> None:
    seed = int(os.environ.get("CUTS_SEED") or random.randrange(1_000_000))
    print(f"CUTS_SEED={seed}")
    chance = random.Random(seed)
    tales = [
        Tale(f"{seed}.{number}", ("stream", "plain")[number % 2], chance.choice(PAUSES))
        for number in range(runs)
    ]
    breaking = Breaking(tales, chance)
    cutter = Cutter(server.port, breaking)
    page = Page(patient, f"{cutter.url}/page")
    page.open()
    told = page.run(READ, [tale._asdict() for tale in tales], AT_ONCE)
    cutter.close()
    print(f"{sum(breaking.made.values())} cuts: {breaking.hows}")

    texts = {tale.name: "".join(texts_of(tale.name)) for tale in tales}
    assert [name for name in texts if told[name] != [texts[name], "finished"]] == []
    assert breaking.made == breaking.planned
    wait_for(lambda: len(server.facts("ended")) >= runs, "the end of every run")
    called = {fact["tale"]: fact["run"] for fact in server.facts("called")}
    assert Counter(fact["tale"] for fact in server.facts("called")) == Counter([*texts])
    ended = {fact["run"]: fact for fact in server.facts("ended")}
    assert len(server.facts("ended")) == len(ended) == runs
    assert {fact["outcome"] for fact in ended.values()} == {"Finished"}
    assert [name for name in texts if ended[called[name]]["text"] != texts[name]] == []
