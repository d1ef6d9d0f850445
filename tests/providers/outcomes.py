"""Run a provider to its end, as a run does, in one thread."""

from __future__ import annotations

import asyncio
import typing as t
from contextlib import nullcontext

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.pump import Pump
from tests.runs.support import REQUEST
from tests.runs.support import events_of
from tests.runs.support import new_log


class Outcome(t.NamedTuple):
    events: list[ev.Event]
    terminal: ev.Terminal

    @property
    def fold(self) -> Fold:
        return Fold(self.events)

    @property
    def calls(self) -> list[tuple[str, t.Any]]:
        return [(it.name, it.arguments) for it in self.events if isinstance(it, ev.ToolCall)]

    @property
    def code(self) -> str:
        """Of a failure, else the name of the terminal event's class."""
        if isinstance(self.terminal, ev.Failed):
            return self.terminal.code
        return type(self.terminal).__name__


def outcome_of(provider: t.Any) -> Outcome:
    log = new_log()
    pump = Pump(ProviderCall(provider, REQUEST, nullcontext), log)
    result: t.Any = None if pump.is_async else pump.run(lambda: None)
    if not isinstance(result, ev.TERMINAL):
        result = asyncio.run(run_async(pump, result))
    pump.close_unread()
    return Outcome(events_of(log), result)


async def run_async(pump: Pump, result: t.Any) -> t.Any:
    outcome = await pump.run_async(lambda: asyncio.sleep(0), result)
    await asyncio.wait_for(pump.aread_out(), 1)
    return outcome
