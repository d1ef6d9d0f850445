"""Run what a provider returned to its end, as the pump does, in one thread."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import typing as t

from flask_aistream.core.events import Event
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Deferred
from flask_aistream.providers.results import Result
from flask_aistream.providers.results import Sync
from flask_aistream.providers.results import classify
from flask_aistream.providers.table import Chunks


class Drained:
    """
    :param chunks: As the provider gave them.
    :param events: What they say, up to the error if there was one.
    """

    def __init__(self) -> None:
        self.chunks: list[t.Any] = []
        self.events: list[Event] = []
        self._translate = Chunks()

    def take(self, chunk: t.Any) -> None:
        self.chunks.append(chunk)
        self.events += self._translate.events(chunk)

    def end(self) -> None:
        self.events += self._translate.close()


def drain(result: t.Any, into: Drained | None = None) -> Drained:
    """
    :raises Exception: What the provider, its SDK or an adapter raised; ``into`` has what came before.
    """
    drained = into or Drained()
    reader = classify(result)
    if isinstance(reader, Sync):
        try:
            for chunk in reader.chunks:
                drained.take(chunk)
        finally:
            reader.close()
    else:
        loop().run_until_complete(adrain(reader, drained))
    drained.end()
    return drained


async def adrain(reader: Result, drained: Drained) -> None:
    if isinstance(reader, Deferred):
        reader = classify(await reader.awaitable, awaited=True)
    if isinstance(reader, Deferred):
        await adrain(reader, drained)
    elif isinstance(reader, Async):
        try:
            async for chunk in reader.chunks:
                drained.take(chunk)
        finally:
            await reader.aclose()
    else:
        try:
            for chunk in reader.chunks:
                drained.take(chunk)
        finally:
            reader.close()


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    """One for all, as in a server process: SDKs keep connections of theirs on it."""
    return asyncio.new_event_loop()


def close_loop() -> None:
    """Let what SDKs left open, and the garbage collector found while nothing ran, end there first."""
    loop().run_until_complete(finalized())
    loop().close()
    loop.cache_clear()


async def finalized() -> None:
    await asyncio.sleep(0)  # The finalizers of generators wait for the loop, then become tasks.
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=5)


def leave_after(last: str, result: t.Any, over: threading.Event) -> str:
    """Read until the text ends with ``last``, then leave, as a run that is stopped does.

    :param over: Waited for (some seconds at most) afterwards, with the loop still running: what an SDK
        left open is finalized there.
    :returns: The text that was read.
    """
    return loop().run_until_complete(aleave_after(last, classify(result), over))


async def aleave_after(last: str, reader: Result, over: threading.Event) -> str:
    translate, said = Chunks(), ""

    def heard(chunk: t.Any) -> str:
        return "".join(it for it in translate.events(chunk) if isinstance(it, str))

    while isinstance(reader, Deferred):
        reader = classify(await reader.awaitable, awaited=True)
    if isinstance(reader, Sync):
        while not said.endswith(last):
            said += heard(next(reader.chunks))
        reader.close()
    else:
        while not said.endswith(last):
            said += heard(await reader.chunks.__anext__())
        await reader.aclose()
    del reader
    deadline = time.monotonic() + 5
    while not over.is_set() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return said
