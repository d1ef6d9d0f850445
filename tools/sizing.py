"""The page about sizing, with the figures of ``docs/reference/benchmarks.md``."""

from __future__ import annotations

import re
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "docs" / "reference" / "benchmarks.md"

FIGURES = {
    "memory": "memory, paced: CPU µs per token",
    "sqlite": "sqlite, paced: CPU µs per token",
    "redis": "redis, paced: CPU µs per token",
    "live": "G0, CPU of a paced token: KiB per live stream",
    "idle": "C, idle streams: KiB each of 10,000",
    "held": "B, paced streams: streams held",
    "event": "run of 10,000 tokens: bytes held per token",
    "reader": "E, fan-out: paced, CPU µs per delivery",
}
"""Name in the page → row of the benchmarks, of which the first column is ours."""

RATE = 50
"""Tokens per second of a stream in these rows."""

SHARE = 0.6
"""Of a core, that the streams of the example take."""

PAGE = """\
# Sizing

How many streams a machine holds, and which settings follow. The figures are those of the [benchmarks](../reference/benchmarks.md):
{measured}. Other machines differ; `make bench` measures yours.

<!-- Made by `make reference-pages` from tools/sizing.py and docs/reference/benchmarks.md. Change it there. -->

## What a stream costs

| | takes |
|---|---|
| a token that is delivered by itself, runs in memory | {memory} µs of CPU |
| the same, runs in SQLite | {sqlite} µs |
| the same, runs in Redis | {redis} µs, and Redis's own time |
| a token for each further reader of the same run | {reader} µs |
| an open stream that is silent | {idle} KiB |
| an open stream at {rate} tokens per second | {live} KiB |
| an event that a log keeps, in a run of 10,000 short texts that repeat (each is kept once) | {event} bytes |

These are streams whose provider costs nothing. A real provider adds the work of its SDK: return the raw response
(see [Providers](../howto/providers.md)), because parsed chunks cost several times more than the delivery.

## CPU

A worker computes on one core, and delivers `core / (time per token × tokens per second)` streams:

| runs in | tokens per second of a stream | streams of one core at {share:.0%} |
|---|---|---|
{table}

In the benchmark, one core held {held} streams of {rate} tokens per second, in memory, with 99 % of the tokens at most 50 ms late.
Beyond that, a worker does not fail: it writes less often and more at once, up to `AISTREAM_FLUSH_BUSY_SECONDS`, so all
streams are slightly late.

Users read more than they ask. If an answer takes 20 s and a user asks once in two minutes, one of six users has an open
stream: 1,000 users at the same time are about 170 streams.

## Memory

10,000 silent streams take {idle_mib:.0f} MiB, beside the application itself. `AISTREAM_STORE_BYTES` limits what runs in memory
may take; ended runs are kept for `AISTREAM_RETAIN_SECONDS` (600).

## Settings that follow

| setting | value |
|---|---|
| workers | as many as cores: [`flask_aistream.gunicorn_conf`](../deploy.md#gunicorn) does that |
| `--worker-connections` (gevent) | the streams of a worker, and as many again for other requests |
| `--threads` (gthread) | two per stream: one for the response and one for the run |
| open files (`ulimit -n`, `LimitNOFILE`) | two per stream, its client's and the model's, and a hundred |
| `AISTREAM_MAX_CONNECTIONS` | below `--worker-connections`, so that Stop and other pages find a place |
| `AISTREAM_MAX_RUNS` | as many runs as the model's quota and the memory allow |
| database pool | none per stream with `release_db=True`; otherwise one per run that has queried: see [Databases](../howto/extensions.md#database-connections) |
| `maxmemory` of Redis | above `AISTREAM_STORE_BYTES`, with `maxmemory-policy noeviction` |
| the proxy | two connections per stream: nginx's `worker_connections` |

Then let [`flask aistream doctor`](../howto/command-line.md#doctor) look at the result, and watch
[`aistream_loop_late_seconds`](../howto/telemetry.md#prometheus): while it stays below 5 ms, a worker keeps up.
"""


def sizing_page() -> str:
    text = BENCHMARKS.read_text(encoding="utf-8")
    values = {name: figure(text, label) for name, label in FIGURES.items()}
    numbers = {name: float(value.replace(",", "")) for name, value in values.items()}
    return PAGE.format(
        **values,
        measured=measured(text),
        rate=RATE,
        share=SHARE,
        idle_mib=numbers["idle"] * 10_000 / 1024,
        table="\n".join(rows(numbers)),
    )


def figure(text: str, label: str) -> str:
    """The first number in a row, as it is written."""
    found = re.search(rf"^\| {re.escape(label)} \| ([\d.,]+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(
            f"docs/reference/benchmarks.md has no row {label!r}, which tools/sizing.py quotes."
        )
    return found[1]


def measured(text: str) -> str:
    """When and where the benchmarks were measured, as their page says it."""
    found = re.search(r"Measured (on .*?), medians", text)
    return found[1] if found else "see there"


def rows(numbers: dict[str, float]) -> list[str]:
    return [
        f"| {store} | {rate} | {SHARE * 1e6 / (numbers[store] * rate):,.0f} |"
        for store in ("memory", "sqlite", "redis")
        for rate in (20, RATE)
    ]
