"""The same readers as ``aistream.js`` on a page in Chromium."""

from __future__ import annotations

import re
import time
import typing as t
from collections.abc import Sequence
from itertools import pairwise

from tests.browser.conftest import Page
from tests.chromium import start_chromium
from tests.faults.client import Reader
from tests.faults.said import token

MOST = 3
"""Runs at once, every other one read twice: browsers open six connections to one server."""

FRESH_SECONDS = 0.05

BEGIN = """
window.told ??= [];
const options = { retry: { attempts: 100, base: 0.1, max: 0.3 }, silence: 3 };
for (const ask of args[0]) {
  const run = ask.run
    ? ai.attach(`/ai/runs/${ask.run}/events`, options)
    : ai.stream(`/ai/${ask.provider}`, ask.body, options);
  const it = { texts: [], gap: 0, reason: null, code: "", over: false };
  let last = null;
  run.on("text", ({ text }) => {
    const now = performance.now();
    if (last !== null) it.gap = Math.max(it.gap, (now - last) / 1000);
    last = now;
    it.texts.push(text);
  });
  run.done.then(({ reason, error }) => Object.assign(it, { reason, code: error?.code ?? "", over: true }));
  told.push({ run, it });
}
return told.length;
"""
ASK = "return told.map(({ run, it }) => ({ ...it, run: run.id ?? '' }));"

NO_END = ("connection_lost", "run_not_found", "unknown")
"""Codes and reasons that tell of a run of which no terminal event has come."""


class PageReader(Reader):
    """One run on the page, as it was seen last."""

    def __init__(self, provider: str, body: dict[str, t.Any]) -> None:
        super().__init__(lambda: 0, provider, body)

    def update(self, said: dict[str, t.Any]) -> None:
        numbers = [int(match[0]) for text in said["texts"] if (match := re.match(r"\d+", text))]
        known = set(numbers)
        self.run, self.over, self.gap, self.code = (
            said[name] for name in ("run", "over", "gap", "code")
        )
        self.tokens = len(said["texts"])
        self.missing = set(range(max(numbers, default=-1))) - known
        self.duplicated = len(numbers) - len(known)
        self.disordered = sum(a > b for a, b in pairwise(numbers)) + sum(
            text != token(number) for text, number in zip(said["texts"], numbers, strict=True)
        )
        self.reason = None if {said["code"], said["reason"]} & set(NO_END) else said["reason"]


class Pages:
    """A crowd of which every reader is a run on one page."""

    def __init__(self) -> None:
        self._driver = start_chromium()
        self._page: Page | None = None
        self._readers: list[PageReader] = []

    def open(self, port: int) -> None:
        self._page = Page(self._driver, f"http://127.0.0.1:{port}/page")
        self._page.open()

    def start(self, count: int, provider: str, **params: t.Any) -> list[Reader]:
        bodies = [{"prompt": "?", **params} for _ in range(count)]
        return self._begin([(PageReader(provider, body), "") for body in bodies])

    def follow(self, runs: Sequence[str]) -> list[Reader]:
        return self._begin([(PageReader("", {}), run) for run in runs])

    def leave(self) -> None:
        if self._readers and self._page is not None:
            self._page.open()
        self._readers.clear()

    def refresh(self) -> None:
        """See what the page shows now."""
        assert self._page is not None
        for reader, said in zip(self._readers, self._page.run(ASK), strict=True):
            reader.update(said)
        time.sleep(FRESH_SECONDS)

    def close(self) -> None:
        self._driver.quit()

    def _begin(self, readers: list[tuple[PageReader, str]]) -> list[Reader]:
        assert self._page is not None
        asks = [
            {"run": run, "provider": reader.provider, "body": reader.body}
            for reader, run in readers
        ]
        self._page.run(BEGIN, asks)
        self._readers += [reader for reader, _ in readers]
        return [reader for reader, _ in readers]
