"""Assemble tool calls from the parts that vendors stream. All of their deviations are handled in this file."""

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
from flask_aistream.core.events import ToolError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.plain import plain

INCOMPLETE = "The model's arguments for this call are not complete JSON."


@dataclass(slots=True)
class OpenCall:
    """A tool call that is not complete.

    :param id: The vendor's, or a generated one.
    :param pieces: Deltas of the JSON text.
    :param whole: Arguments given at once (JSON text or a value), used unless deltas follow.
    :param started: ``ToolCallStarted`` and all ``pieces`` were emitted.
    """

    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    whole: t.Any = None
    started: bool = False

    @property
    def complete(self) -> bool:
        return self.whole is not None or is_json("".join(self.pieces))


class Part(t.NamedTuple):
    """Part of a call, in a list of parts of several calls. Every field may be missing."""

    index: t.Any = None
    id: str | None = None
    name: str | None = None
    arguments: t.Any = None
    free_text: bool = False


class ToolCallAssembler:
    """
    :param guess: The format has no end marker for calls. A call is complete when another one begins and its arguments
        are complete JSON, or at the end of the answer. Parts may lack an index or an id, repeat or split the name,
        or change the id.
    :ivar completed: Ids of all complete calls, for SDKs that report them more than once.
    :ivar called: A call was completed since this was last reset.
    """

    def __init__(self, accounting: Accounting, *, guess: bool = False) -> None:
        self._accounting = accounting
        self._guess = guess
        self._open: dict[Hashable, OpenCall] = {}
        self._free_text: set[str] = set()
        self.completed: set[str] = set()
        self.called = False

    def parts(self, parts: Sequence[Part], group: Hashable = None) -> list[Event]:
        """Add the parts of one chunk, in which an index, an id, or only the position identifies a call.

        :param group: Key of the answer, if the chunk belongs to one of several concurrent answers.
        """
        events: list[Event] = []
        open_calls = list(self._open) if len(parts) > 1 else []
        for position, part in enumerate(parts):
            key: Hashable = (group, part.index) if part.index is not None else None
            known = self._key_of(part.id)
            if known is not None:
                key = known
            elif key is None and part.id and part.name:
                key = (group, part.id)
            elif key is None and part.name and (self._last() is None or len(parts) > 1):
                key = (group, self._accounting.call_id())
            elif key is None and position < len(open_calls):
                key = open_calls[position]
            events += self.part(key, part.id, part.name, part.arguments, free_text=part.free_text)
        return events

    def part(
        self,
        key: Hashable,
        id: str | None = None,
        name: str | None = None,
        arguments: t.Any = None,
        *,
        free_text: bool = False,
    ) -> list[Event]:
        """Add one part of a call. Only ``key`` is required.

        :param key: ``None``: the last call that began.
        :param arguments: A delta of JSON text; any other value is the complete arguments.
        :param free_text: The arguments are not JSON.
        """
        events: list[Event] = []
        if key is None:
            key = self._last()
        call = self._open.get(key)
        if call is not None and self._begins_another(call, id, name, arguments):
            if call.complete or not self._guess or not call.name:
                events += self.end(key)
            else:  # A later part may continue it by its id.
                group = key[0] if isinstance(key, tuple) else None
                self._open[(group, "id", call.id)] = self._open.pop(key)
            call = None
        if call is None:
            if self._guess:
                events += self._end_complete()
            call = self._open[key] = OpenCall(id_of(id) or self._accounting.call_id())
            if free_text:
                self._free_text.add(call.id)
        self._set_name(call, name)
        new = self._add(call, arguments)
        if call.started:
            if new:
                events.append(ToolCallArguments(call.id, new))
        elif call.name and (call.pieces or call.whole is not None or not self._guess):
            events += self._start(call)
        return events

    def fill(self, key: Hashable, arguments: t.Any) -> list[Event]:
        """Set complete arguments that follow the deltas. Ignored if there were deltas."""
        call = self._open.get(key if key is not None else self._last())
        if call is None or call.pieces or call.whole is not None or not arguments:
            return []
        return self.part(key, arguments=arguments)

    def end(self, key: Hashable, arguments: t.Any = None) -> list[Event]:
        """Complete a call. Idempotent.

        :param arguments: The complete arguments, if the format repeats them.
        """
        call = self._open.pop(key, None)
        if call is None or not call.name:
            return []
        events = self._start(call)
        text = "".join(call.pieces)
        if call.whole is not None and not text:
            whole = call.whole if isinstance(call.whole, str) else dumps(call.whole)
            events.append(ToolCallArguments(call.id, whole))
        if arguments is None:
            use_whole = call.whole is not None and not (text and is_json(text))
            arguments = call.whole if use_whole else text
        free_text = call.id in self._free_text
        return events + self._complete(call.id, call.name, arguments, free_text=free_text)

    def end_all(self, group: Hashable = None) -> list[Event]:
        """End every call, or those whose key is a tuple that begins with ``group``."""
        keys = [
            key
            for key in self._open
            if group is None or (isinstance(key, tuple) and key[0] == group)
        ]
        return [event for key in keys for event in self.end(key)]

    def end_complete(self) -> list[Event]:
        """End the calls whose arguments are complete JSON, after a stream without an end marker."""
        events = self._end_complete()
        self._open.clear()
        return events

    def whole(
        self, id: t.Any, name: str, arguments: t.Any, *, free_text: bool = False
    ) -> list[Event]:
        """Add a complete call, which may repeat the parts of an open one."""
        id = id_of(id) or self._accounting.call_id()
        started = False
        for key in [key for key, call in self._open.items() if call.id == id]:
            started = self._open.pop(key).started
        if not started and not free_text and not acceptable(arguments):
            return [ToolCallStarted(id, name), ToolError(id, INCOMPLETE)]
        return self._complete(id, name, arguments, free_text=free_text)

    def _complete(
        self, id: str, name: str, arguments: t.Any, *, free_text: bool = False
    ) -> list[Event]:
        if not free_text and not acceptable(arguments):
            return [ToolError(id, INCOMPLETE)]
        self.completed.add(id)
        self.called = True
        return [ToolCall(id, name, arguments if free_text else parsed(arguments))]

    def _begins_another(
        self, call: OpenCall, id: str | None, name: str | None, arguments: t.Any
    ) -> bool:
        """Whether a part under the key of ``call`` belongs to another call."""
        new_id = bool(id) and id != call.id
        if not self._guess:
            return new_id and bool(call.name)
        if not name or not call.name:  # Some vendors give each delta an id of its own.
            return False
        has_arguments = bool(call.pieces) or call.whole is not None
        if new_id:
            return name != call.name or not arguments or (has_arguments and call.complete)
        if id or not has_arguments:  # A piece of the name, or the name repeated.
            return False
        if call.complete:
            return name != call.name or begins_object(arguments)
        return name != call.name and begins_object(arguments)

    def _set_name(self, call: OpenCall, name: str | None) -> None:
        if not name or call.started or name == call.name:
            return
        # Either the next piece of the name, or the name so far.
        call.name = name if name.startswith(call.name) else call.name + name

    def _add(self, call: OpenCall, arguments: t.Any) -> str:
        """
        :returns: The delta to report, if the call is started.
        """
        if arguments is None or arguments == "" or arguments == {}:
            return ""
        first = not call.pieces
        if self._guess and not first and arguments == "".join(call.pieces) and call.complete:
            return ""  # Repeated.
        if not isinstance(arguments, str):
            call.whole = plain(arguments)
            return ""
        if self._guess and first and call.whole is None and is_whole(arguments):
            call.whole = arguments  # Held back: some vendors repeat it as deltas.
            return ""
        call.pieces.append(arguments)
        return arguments

    def _start(self, call: OpenCall) -> list[Event]:
        if call.started:
            return []
        call.started = True
        text = "".join(call.pieces)
        events: list[Event] = [ToolCallStarted(call.id, call.name)]
        return [*events, ToolCallArguments(call.id, text)] if text else events

    def _key_of(self, id: str | None) -> Hashable:
        return next((key for key, call in self._open.items() if id and call.id == id), None)

    def _last(self) -> Hashable:
        return next(reversed(self._open), None)

    def _end_complete(self) -> list[Event]:
        """End the calls whose arguments are complete, when another call begins. Later parts may continue the others."""
        ready = [key for key, call in self._open.items() if call.complete]
        return [event for key in ready for event in self.end(key)]


def id_of(value: t.Any) -> str:
    """An id as a string; ``""`` for a value that is not an id."""
    return str(value) if isinstance(value, str | int) and value is not True else ""


def acceptable(arguments: t.Any) -> bool:
    """Whether ``arguments`` are a value, complete JSON, or empty."""
    return not isinstance(arguments, str) or not arguments.strip() or is_json(arguments)


def parsed(arguments: t.Any) -> Json:
    """The value of a JSON text, ``{}`` for an empty one, or the text itself if it is not valid JSON."""
    if not isinstance(arguments, str):
        return plain(arguments) if arguments is not None else {}
    if not arguments.strip():
        return {}
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def begins_object(arguments: t.Any) -> bool:
    return bool(arguments) and (
        not isinstance(arguments, str) or arguments.lstrip().startswith("{")
    )


def is_whole(arguments: str) -> bool:
    text = arguments.strip()
    return text.startswith("{") and text.endswith("}") and is_json(text)


def dumps(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False)
