"""What every server streams: a provider that stands in for a model, at five paces.

``flat`` never waits, ``fresh`` neither, but makes a new text for each token,
``tick`` yields to the event loop after each token, as a real stream does,
``paced`` yields token ``k`` at ``k / rate`` seconds, however late the last one was taken; tokens that are overdue
are yielded at once, as those in the socket of a model would be read at once,
``silent`` yields one token and then is silent for ``rate`` seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import typing as t
from collections.abc import AsyncIterator
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

TOKENS = [f"t{number} " for number in range(1000)]
"""The client checks the numbers, which begin again after 1000. Where a token is cheap, the texts are made once,
as the provider would otherwise be half of the measurement; where memory counts, each is made when needed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one stream.

    :param count: Tokens.
    :param rate: Tokens a second where paced; seconds of silence where silent.
    :param index: Number the client gave the stream.
    """

    mode: str = "flat"
    count: int = 1
    rate: float = 50.0
    index: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Plan:
        return cls(
            query.get("mode", "flat"),
            int(query.get("n", 1)),
            float(query.get("rate", 50)),
            int(query.get("i", 0)),
        )


class Freed:
    """When each provider was ended, by the number of its stream. CLOCK_MONOTONIC, as in the client."""

    def __init__(self) -> None:
        self.times: list[tuple[int, float]] = []

    def note(self, plan: Plan) -> None:
        if plan.mode == "silent":
            self.times.append((plan.index, time.monotonic()))


FREED = Freed()


def provider(plan: Plan) -> Iterator[str]:
    try:
        yield from PACES[plan.mode](plan)
    finally:
        FREED.note(plan)


def texts(count: int) -> Iterator[str]:
    return itertools.islice(itertools.cycle(TOKENS), count)


def fresh_texts(count: int) -> Iterator[str]:
    return (f"t{number % 1000} " for number in range(count))


def flat(plan: Plan) -> Iterator[str]:
    return texts(plan.count)


def fresh(plan: Plan) -> Iterator[str]:
    return fresh_texts(plan.count)


def tick(plan: Plan) -> Iterator[str]:
    for text in texts(plan.count):
        yield text
        time.sleep(0)


def paced(plan: Plan) -> Iterator[str]:
    start = time.monotonic()
    for number, text in enumerate(fresh_texts(plan.count)):
        rest = start + number / plan.rate - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        yield text


def silent(plan: Plan) -> Iterator[str]:
    yield TOKENS[0]
    time.sleep(plan.rate)
    yield TOKENS[1]


PACES = {"flat": flat, "fresh": fresh, "tick": tick, "paced": paced, "silent": silent}


async def async_provider(plan: Plan) -> AsyncIterator[str]:
    try:
        async for text in ASYNC_PACES[plan.mode](plan):
            yield text
    finally:
        FREED.note(plan)


async def async_flat(plan: Plan) -> AsyncIterator[str]:
    for text in texts(plan.count):
        yield text


async def async_tick(plan: Plan) -> AsyncIterator[str]:
    for text in texts(plan.count):
        yield text
        await asyncio.sleep(0)


async def async_paced(plan: Plan) -> AsyncIterator[str]:
    start = time.monotonic()
    for number, text in enumerate(fresh_texts(plan.count)):
        rest = start + number / plan.rate - time.monotonic()
        if rest > 0:
            await asyncio.sleep(rest)
        yield text


async def async_silent(plan: Plan) -> AsyncIterator[str]:
    yield TOKENS[0]
    await asyncio.sleep(plan.rate)
    yield TOKENS[1]


ASYNC_PACES: dict[str, t.Callable[[Plan], AsyncIterator[str]]] = {
    "flat": async_flat,
    "tick": async_tick,
    "paced": async_paced,
    "silent": async_silent,
}
