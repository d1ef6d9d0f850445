"""Strings and events of this package: nothing to translate."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence
from dataclasses import replace

from flask_aistream.core.events import Data
from flask_aistream.core.events import Event
from flask_aistream.core.events import Finished
from flask_aistream.core.events import ToolApproval
from flask_aistream.core.events import ToolCall
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.values import to_json_value


class TextAdapter:
    """
    :ivar unanswered: Ids of tool calls without a result.
    :ivar finished: The provider has yielded ``Finished`` itself.
    """

    incomplete = False

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self.unanswered: set[str] = set()
        self.awaits_approval = False
        self.finished = False

    def events(self, chunk: t.Any) -> Sequence[Event]:
        # A subclass of str (Markup, a str enum) is text, but only str itself is a text event.
        if isinstance(chunk, str):
            return (str(chunk),)
        match chunk:
            case Usage():  # Sums are the provider's own task, as far as it knows the run.
                return (self._accounting.since_restart(chunk),)
            case Data():
                return (replace(chunk, value=to_json_value(chunk.value)),)
            case ToolCall() | ToolApproval():
                self.unanswered.add(chunk.id)
                self.awaits_approval = self.awaits_approval or isinstance(chunk, ToolApproval)
                return (replace(chunk, arguments=to_json_value(chunk.arguments)),)
            case ToolResult():
                self.unanswered.discard(chunk.id)
                return (replace(chunk, result=to_json_value(chunk.result)),)
            case ToolError():
                self.unanswered.discard(chunk.id)
            case Finished():
                self.finished = True
        return (chunk,)

    def done(self) -> Sequence[Event]:
        return ()

    def close(self) -> Sequence[Event]:
        return ()
