"""Random fault scripts between the client and a real server, and what must hold after each.

``python -m tests.browser.soak [--runs 200] [--seed N] [engine …]`` prints a line per 40 scripts.
"""

from __future__ import annotations

import argparse
import enum
import random
import socket
import sys
import tempfile
import time
import typing as t
from collections import Counter
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.browser.conftest import Page
from tests.browser.cutter import Asked
from tests.browser.cutter import Cut
from tests.browser.cutter import Cutter
from tests.browser.engines import ENGINES
from tests.browser.tales import texts_of
from tests.network import reset
from tests.server.servers import Server
from tests.server.servers import wait_for

AT_ONCE = 5
"""Runs on the page. A sixth connection stays free, for the runs that resume."""

OUTAGE = (0.3, 1.0)
STEADY = (0.8, 2.0)
"""Seconds without the network, and with it."""

STOP_SECONDS = 2.0
"""A run may go on for so long after Stop, or after the network is back."""

ON_ITS_WAY = 0.3
"""Seconds after Stop in which a start that was sent before may still reach the provider."""

BACK_SECONDS = 1.0
"""Until a run streams again after the network is back, for 95 of 100."""

ENOUGH = 20
"""Measurements for a percentile; the median of fewer is judged."""

LONGEST = 300.0


class Fault(enum.Enum):
    """What happens to one request, besides a cut response."""

    RESET = "the connection is reset before the server is asked"
    BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    FORGED = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


Step = Fault | tuple[float, Cut] | None
"""A fault; which part of a response passes, and how it ends; or nothing."""

STEPS: tuple[Fault | Cut | None, ...] = (*Fault, *Cut, *Cut, None)


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to one run."""

    name: str
    pause: float
    think: float
    stop: float | None
    steps: tuple[Step, ...]


def script(name: str, chance: random.Random) -> Script:
    def step() -> Step:
        found = chance.choice(STEPS)
        return (chance.random(), found) if isinstance(found, Cut) else found

    return Script(
        name,
        pause=chance.choice((0.005, 0.02, 0.04)),
        think=chance.choice((0, 0, 0.3)),
        stop=chance.uniform(0, 1.5) if chance.random() < 0.5 else None,
        steps=tuple(step() for _ in range(chance.randint(0, 5))),
    )


class FaultProxy(Cutter):
    """Does to each request of a run what its script says next. Requests carry the name of their script."""

    def __init__(self, port: int, scripts: list[Script]) -> None:
        super().__init__(port, self._cut)
        self._steps = {one.name: deque(one.steps) for one in scripts}
        self._clients: set[socket.socket] = set()
        self._ways: dict[str, tuple[float, Cut]] = {}
        self.is_down = False
        self._calm_until = 0.0

    def go_down(self) -> None:
        """Reset every connection, and all to come until ``come_back``."""
        self.is_down = True
        for client in list(self._clients):
            reset(client)

    def come_back(self) -> None:
        """Pass connections again. What is measured then is not disturbed by the scripts' own faults."""
        self._calm_until = time.monotonic() + BACK_SECONDS
        self.is_down = False

    def _serve(self, client: socket.socket) -> None:
        self._clients.add(client)
        try:
            super()._serve(client)
        finally:
            self._clients.discard(client)

    def _forward(self, client: socket.socket, asked: Asked) -> bool:
        name = asked.headers.get("X-Tale")
        if self.is_down:
            reset(client)
            return False
        steps = self._steps.get(name or "") if time.monotonic() > self._calm_until else None
        step = steps.popleft() if steps else None
        if isinstance(step, tuple):
            self._ways[name or ""] = step
        elif step is Fault.RESET:
            reset(client)
            return False
        elif step is Fault.BUSY or (step is Fault.FORGED and asked.path.endswith("/events")):
            client.sendall(t.cast(bytes, step.value))
            return False
        return super()._forward(client, asked)

    def _cut(self, asked: Asked, head: int) -> tuple[int, Cut] | None:
        way = self._ways.pop(asked.headers.get("X-Tale") or "", None)
        return (int(way[0] * (head + 2000)), way[1]) if way else None


WORK = """
window.results = {};
window.back = [];
const active = new Set();
addEventListener("online", () => {
  const at = performance.now();
  for (const run of active) {
    const end = run.on("text", () => (end(), back.push((performance.now() - at) / 1000)));
  }
});
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
async function one({ name, pause, think, stop }) {
  const options = { headers: { "X-Tale": name }, silence: 1, retry: { base: 0.05, max: 1, attempts: 60 } };
  const run = ai.stream("/ai/tale", { prompt: "?", tale: name, pause, think }, options);
  active.add(run);
  let stopped = null;
  const stopping = stop === null ? null : sleep(stop).then(() => {
    const over = run.status === "finished";
    active.delete(run);
    stopped = over ? null : Date.now() / 1000;
    return run.stop();
  });
  let shown = "";
  for await (const event of run) if (event.type === "text") shown += event.text;
  active.delete(run);
  const { status, text, error } = await run.done;
  const answer = await stopping;
  results[name] = { status, text, same: shown === text, error, stopped, answer };
}
const todo = args[0];
const work = async () => { for (let next; (next = todo.shift()); ) await one(next); };
window.working = Promise.all(Array.from({ length: args[1] }, work)).then(() => (window.isDone = true));
"""

NETWORK = """
Object.defineProperty(navigator, "onLine", { value: args[0], configurable: true });
dispatchEvent(new Event(args[0] ? "online" : "offline"));
return window.isDone === true;
"""


def play(
    page: Page, proxy: FaultProxy, scripts: list[Script], chance: random.Random
) -> list[float]:
    """Run the scripts while the network comes and goes. Returns when it came back, by ``time.time``."""
    returns: list[float] = []
    begun = time.monotonic()
    page.run(WORK, [plain(one) for one in scripts], AT_ONCE)
    done = False
    while not done:
        assert time.monotonic() - begun < LONGEST, page.run("return Object.keys(results)")
        time.sleep(chance.uniform(*STEADY))
        proxy.go_down()
        page.run(NETWORK, False)
        time.sleep(chance.uniform(*OUTAGE))
        proxy.come_back()
        returns.append(time.time())
        done = page.run(NETWORK, True)
    return returns


def plain(one: Script) -> dict[str, t.Any]:
    return {"name": one.name, "pause": one.pause, "think": one.think, "stop": one.stop}


def judge(
    scripts: list[Script], told: dict[str, t.Any], server: Server, returns: list[float]
) -> list[str]:
    """What did not hold, a line each."""
    faults: list[str] = []
    to_monotonic = time.monotonic() - time.time()
    called = Counter(fact["tale"] for fact in server.facts("called"))
    starts = {fact["tale"]: fact for fact in server.facts("called")}
    ends = {fact["run"]: fact for fact in server.facts("ended")}
    for one in scripts:
        got, text = told[one.name], "".join(texts_of(one.name))

        def check(holds: bool, sentence: str, name: str = one.name, got: t.Any = got) -> None:
            if not holds:
                faults.append(f"{name}: {sentence} ({got['status']}, {got['error']})")

        check(called[one.name] <= 1, f"{called[one.name]} generations")
        check(got["same"] and text.startswith(got["text"]), "the text is not exact")
        if got["status"] == "finished":
            check(got["text"] == text, "the text is not whole")
        else:
            check(got["status"] == "stopped" and got["stopped"] is not None, "it ended otherwise")
        start = starts.get(one.name)
        if got["stopped"] is None or start is None:
            continue
        at = got["stopped"] + to_monotonic
        check(start["at"] < at + ON_ITS_WAY, "it was started after Stop")
        allowed = max([at, *(back + to_monotonic for back in returns if back < got["stopped"] + 2)])
        end = ends.get(start["run"])
        check(end is not None, "it goes on after Stop")
        if end is not None:
            check(
                end["at"] < allowed + STOP_SECONDS,
                f"it went on for {end['at'] - allowed:.1f} s after Stop",
            )
            if got["answer"] and "text" in got["answer"]:
                check(
                    end["text"] == got["answer"]["text"], "the answer to Stop is not what was said"
                )
    return faults


def soak(browser: t.Any, server: Server, count: int, seed: int) -> tuple[list[str], str]:
    """:returns: What did not hold, and the figures."""
    chance = random.Random(seed)
    scripts = [script(f"{seed}.{10_000 + 100 * number + 50}", chance) for number in range(count)]
    proxy = FaultProxy(server.port, scripts)
    page = Page(browser, f"{proxy.url}/page")
    page.open()
    page.until("window.ai && window.until")  # WebKit's driver may return before modules have run.
    returns = play(page, proxy, scripts, chance)
    told, back = page.run("return [results, back]")
    proxy.close()
    wait_for(
        lambda: len(server.facts("ended")) >= len(server.facts("called")), "the end of every run", 5
    )
    faults = judge(scripts, told, server, returns)
    back = sorted(back)
    rank = 0.95 if len(back) >= ENOUGH else 0.5
    seconds = back[int(len(back) * rank)] if back else 0.0
    if seconds > BACK_SECONDS:
        faults.append(f"it takes {seconds:.2f} s to stream again after the network's return")
    stops = sum(one["stopped"] is not None for one in told.values())
    figures = f"{count} scripts, {stops} stops, {len(returns)} outages, back after {seconds:.2f} s ({rank:.0%} of {len(back)})"
    return faults, figures


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    config: dict[str, t.Any] = {
        "APP_AISTREAM_RETRY_SECONDS": 0.05,
        "APP_AISTREAM_HEARTBEAT_SECONDS": 0.2,
    }
    server = Server(
        "gevent", folder / "facts.jsonl", app="tests.browser.app:create_app()", **config
    )
    try:
        with suppress(AssertionError):  # A loaded machine takes longer.
            server.wait_ready()
        server.wait_ready()
        yield server
    finally:
        server.stop()


PIECE = 40
"""Scripts on one page; a piece takes about half a minute, and is reported when it ends."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("engines", nargs="*", default=[*ENGINES], choices=[[], *ENGINES])
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    asked = options.parse_args()
    failed = False
    for engine in asked.engines:
        for done in range(0, asked.runs, PIECE):
            seed = asked.seed + done
            with (
                tempfile.TemporaryDirectory() as folder,
                serving(Path(folder)) as server,
                ENGINES[engine]() as browser,
            ):
                faults, figures = soak(browser, server, min(PIECE, asked.runs - done), seed)
            line = f"{engine}, seed {seed}: {figures}; {len(faults)} faults"
            print(line, *faults, sep="\n  ", flush=True)
            failed = failed or bool(faults)
    sys.exit(failed)


if __name__ == "__main__":
    main()
