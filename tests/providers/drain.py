"""Run what a provider returned to its end, as the pump does, in one thread."""

from __future__ import annotations

import asyncio
import functools
import typing as t

from flask_aistream.core.events import Event
from flask_aistream.providers.results import Async
from flask_aistream.providers.results import Later
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
    if isinstance(reader, Later):
        reader = classify(await reader.awaitable, awaited=True)
    if isinstance(reader, Later):
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
