"""What a page keeps of runs that are over."""

from __future__ import annotations

import typing as t

import pytest
from selenium import webdriver

from tests.browser.conftest import Page

WORK = """
const encoder = new TextEncoder();
const frame = (run, n, data) => `id: ${run}:${n}\\n${n ? "" : "event: run\\n"}data: ${JSON.stringify(data)}\\n\\n`;
const body = (run, isWhole) => {
  let text = frame(run, 0, { run, provider: "chat", events: `/ai/runs/${run}/events`, stop: `/ai/runs/${run}/stop` });
  for (let n = 1; n < 50; n++) text += frame(run, n, { text: "a token " });
  return text + (isWhole ? frame(run, 50, { action: "terminate", reason: "stop" }) : "");
};
const answer = (text, type) => new Response(text, { headers: { "Content-Type": type } });
let started = 0;
const fetch = async (url, { signal }) => {
  if (url.endsWith("/stop")) return answer('{"status":"stopped"}', "application/json");
  const run = `r${++started}`;
  if (started % 3 === 0) return answer(body(run, true), "text/event-stream");
  const open = new ReadableStream({
    start(it) {
      it.enqueue(encoder.encode(body(run, false)));
      signal.addEventListener("abort", () => it.error(signal.reason));
    },
  });
  return answer(open, "text/event-stream");
};
const host = document.body.appendChild(document.createElement("main"));
window.work = async (count) => {
  for (let n = 0; n < count; n++) {
    const element = host.appendChild(document.createElement("ai-stream"));
    element.setAttribute("src", "/ai/chat");
    element.options = { fetch, persist: "memory" };
    const run = element.ask("Hi");
    run.on("status", () => {});
    for await (const event of run) {
      if (run.text.length < 300) continue;
      if (started % 3 === 1) run.stop();
      if (started % 3 === 2) run.detach();
    }
    element.remove();
  }
};
"""

WARM_UP = 200
RUNS = 600
MOST_BYTES = 600_000
"""Of 600 runs, most of it compiled code; runs that are kept would have 3,200,000."""


def heap(browser: webdriver.Chrome) -> int:
    browser.execute_cdp_cmd("HeapProfiler.enable", {})
    browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    return int(t.cast(t.Any, browser.execute_cdp_cmd("Runtime.getHeapUsage", {}))["usedSize"])


@pytest.mark.nightly
def test_six_hundred_runs_leave_nothing_behind(blank: Page) -> None:
    """Finished, stopped and left ones, each in an element that is removed."""
    blank.run(WORK + f"await work({WARM_UP});")
    before = heap(blank.browser)
    blank.run(f"await work({RUNS})")
    grown = heap(blank.browser) - before
    print(f"{RUNS} runs: {grown} bytes")
    assert grown < MOST_BYTES
