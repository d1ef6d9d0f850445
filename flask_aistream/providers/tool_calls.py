"""Tool calls whose arguments are still coming."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Hashable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.events import Event
from flask_aistream.core.events import Json
from flask_aistream.core.events import ToolCall
from flask_aistream.core.events import ToolCallArguments
from flask_aistream.core.events import ToolCallStarted
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.plain import plain


@dataclass(slots=True)
class OpenCall:
    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)


class ToolCallAssembler:
    """Puts the parts of tool calls together, by whatever key an SDK tells them apart.

    ``told`` holds the ids of all calls that were complete, for SDKs that say so more than once.

    :param guess: The SDK does not say when a call is complete. It then is when another begins and its
        arguments are whole JSON, or at the end of the answer.
    """

    def __init__(self, accounting: Accounting, *, guess: bool = False) -> None:
        self._accounting = accounting
        self._guess = guess
        self._open: dict[Hashable, OpenCall] = {}
        self.told: set[str] = set()

    def part(
        self,
        key: Hashable,
        id: str | None = None,
        name: str | None = None,
        arguments: t.Any = None,
    ) -> list[Event]:
        """A call, or more of one. Only ``key`` need be there every time.

        :param key: ``None`` means the call that was begun last.
        :param arguments: A delta of JSON text; anything else is the arguments as a whole.
        """
        said: list[Event] = []
        key = self._last() if key is None and not id else key
        call = self._open.get(key)
        if call is None or (id and id != call.id and call.name):
            if self._guess:
                said += self._complete(but=key)
            said += self.end(key)
            call = self._open[key] = OpenCall(id or self._accounting.call_id())
        if name and not call.name:
            call.name = name
            said.append(ToolCallStarted(call.id, name))
        if arguments:
            text = arguments if isinstance(arguments, str) else json.dumps(plain(arguments))
            call.pieces.append(text)
            said.append(ToolCallArguments(call.id, text))
        return said

    def end(self, key: Hashable, arguments: t.Any = None) -> list[Event]:
        """The call is complete; nothing happens if there is none, or it was already ended.

        :param arguments: Where the SDK gives them as a whole; else the deltas are joined.
        """
        call = self._open.pop(key, None)
        if call is None or not call.name:
            return []
        text = "".join(call.pieces)
        return self.whole(call.id, call.name, text if arguments is None else arguments)

    def end_all(self, group: Hashable = None) -> list[Event]:
        """Every call is complete, or those whose key is a tuple that begins with ``group``."""
        keys = [
            key
            for key in self._open
            if group is None or (isinstance(key, tuple) and key[0] == group)
        ]
        return [event for key in keys for event in self.end(key)]

    def whole(self, id: str | None, name: str, arguments: t.Any) -> list[Event]:
        """A call that comes in one piece, or whose parts are no longer needed."""
        id = id or self._accounting.call_id()
        for key in [key for key, call in self._open.items() if call.id == id]:
            del self._open[key]
        self.told.add(id)
        return [ToolCall(id, name, parsed(arguments))]

    def _last(self) -> Hashable:
        return next(reversed(self._open), 0)

    def _complete(self, but: Hashable) -> list[Event]:
        """Calls that look complete now that another begins. Vendors may still go back to others."""
        ready = [key for key, call in self._open.items() if key != but and is_json(call.pieces)]
        return [event for key in ready for event in self.end(key)]


def parsed(arguments: t.Any) -> Json:
    """The JSON a text holds, ``{}`` for none, or the text itself where the model wrote no JSON."""
    if not isinstance(arguments, str):
        return plain(arguments) if arguments is not None else {}
    if not arguments.strip():
        return {}
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def is_json(pieces: Sequence[str]) -> bool:
    try:
        json.loads("".join(pieces))
    except ValueError:
        return False
    return True
