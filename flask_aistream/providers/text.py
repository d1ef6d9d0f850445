"""Strings and events of this package: nothing to translate."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import Finished
from flask_aistream.core.events import ToolApproval
from flask_aistream.core.events import ToolCall
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.values import normalized


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
        chunk = normalized(chunk)
        match chunk:
            case Usage():  # Summing is the provider's task, except for usage before a restart.
                return (self._accounting.since_restart(chunk),)
            case ToolCall() | ToolApproval():
                self.unanswered.add(chunk.id)
                self.awaits_approval = self.awaits_approval or isinstance(chunk, ToolApproval)
            case ToolResult() | ToolError():
                self.unanswered.discard(chunk.id)
            case Finished():
                self.finished = True
        return (chunk,)

    def done(self) -> Sequence[Event]:
        return ()

    def close(self) -> Sequence[Event]:
        return ()
