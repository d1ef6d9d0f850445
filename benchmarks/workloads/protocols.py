"""I. CPU of each wire protocol for the same tokens."""

from __future__ import annotations

import json
import typing as t
import urllib.error
import urllib.request
from dataclasses import dataclass

from benchmarks.load import load
from benchmarks.process import Running
from benchmarks.process import running
from benchmarks.servers.table import Server
from benchmarks.workloads.base import Metric
from benchmarks.workloads.base import Scale
from benchmarks.workloads.base import Values
from benchmarks.workloads.base import Workload

STREAMS = 32
TRIAL = 1_000
MOST_TOKENS = 20_000
STEP = 1_000
"""The tokens' numbers begin again after so many: a protocol that ends with the whole text once more
goes on counting where its deltas ended."""
MODES = ("flat", "tick")

SAID = {"role": "user", "content": "x"}


@dataclass(frozen=True, slots=True)
class Asking:
    """The request for a stream in one protocol.

    :param body: Fields of the request besides those of the plan.
    :param repeats: How often the whole text comes again at the end.
    """

    name: str
    title: str
    path: str
    body: dict[str, t.Any]
    repeats: int = 0


PROTOCOLS = (
    Asking("native", "native", "/ai/stream", {"prompt": "x"}),
    Asking(
        "ai_sdk",
        "AI SDK",
        "/ai/stream/ai-sdk",
        {"messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "x"}]}]},
    ),
    Asking(
        "openai_chat",
        "OpenAI chat",
        "/ai/v1/chat/completions",
        {"model": "stream", "stream": True, "messages": [SAID]},
    ),
    Asking(
        "openai_responses",
        "OpenAI responses",
        "/ai/v1/responses",
        {"model": "stream", "stream": True, "input": "x"},
        repeats=4,
    ),
    Asking("ag_ui", "AG-UI", "/ai/stream/ag-ui", {"messages": [{"id": "m", **SAID}]}),
)


def measure(server: Server, scale: Scale) -> Values:
    with running(server) as there:
        spoken = [asking for asking in PROTOCOLS if speaks(there, asking)]
        return {
            f"{asking.name}_{mode}": speed(there, asking, mode, scale)
            for mode in MODES
            for asking in spoken
        }


def speaks(there: Running, asking: Asking) -> bool:
    url = f"http://127.0.0.1:{there.port}{asking.path}"
    head = {"Content-Type": "application/json"}
    data = body(asking, "flat", 1).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, head)) as answer:
            return bool(answer.read())
    except urllib.error.HTTPError as refused:
        if refused.code in (404, 405):
            return False
        raise


def speed(there: Running, asking: Asking, mode: str, scale: Scale) -> float:
    cpu_each = spend(there, asking, mode, TRIAL) / (STREAMS * TRIAL)
    wanted = round(scale.cpu_seconds / cpu_each / STREAMS / STEP) * STEP
    tokens = min(max(wanted, TRIAL), MOST_TOKENS)
    return STREAMS * tokens / spend(there, asking, mode, tokens) / 1000


def spend(there: Running, asking: Asking, mode: str, tokens: int) -> float:
    before = there.cpu()
    sent = body(asking, mode, tokens)
    load(there, asking.path, streams=STREAMS, tokens=tokens * (1 + asking.repeats), body=sent)
    return max(there.cpu() - before, 0.01)


def body(asking: Asking, mode: str, tokens: int) -> str:
    return json.dumps({**asking.body, "mode": mode, "n": tokens})


PROTOCOL = Workload(
    "protocols",
    "I, wire protocols",
    f"{STREAMS} streams at once of the same tokens, in each wire protocol.",
    tuple(
        Metric(
            f"{asking.name}_{mode}", f"{asking.title}, {mode}: k tokens per CPU-second", "more", 0
        )
        for mode in MODES
        for asking in PROTOCOLS
    ),
    measure,
)
