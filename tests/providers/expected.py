"""What a run said, in a shape that is the same however an SDK cuts it up."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from flask_aistream.core import events as ev
from flask_aistream.core.fold import merged
from tests.upstream.stories import Story

COUNTS = frozenset({"input", "output", "reasoning", "cached"})
Tool = tuple[str, t.Any]


@dataclass(frozen=True)
class Said:
    text: str = ""
    reasoning: str = ""
    tools: tuple[Tool, ...] = ()
    sources: tuple[tuple[str, str | None], ...] = ()
    files: tuple[str, ...] = ()
    usage: ev.Usage | None = None
    finish: str | None = None


@dataclass(frozen=True)
class Carries:
    """What reaches us of a story: all of it, but for what an SDK or a vendor leaves out.

    :param image_tool: Images come out of a tool, which is told too.
    :param usage: The counts of :class:`~flask_aistream.core.events.Usage` that are reported.
    """

    reasoning: bool = True
    tools: bool = True
    sources: bool = True
    files: bool = True
    content_filter: bool = True
    finish: bool = True
    image_tool: str | None = None
    usage: frozenset[str] = COUNTS

    def but(self, **lacks: t.Any) -> Carries:
        return replace(self, **lacks)

    def to_json(self) -> dict[str, t.Any]:
        return vars(self) | {"usage": sorted(self.usage)}

    @classmethod
    def from_json(cls, value: dict[str, t.Any]) -> Carries:
        return cls(**(value | {"usage": frozenset(value["usage"])}))

    def heard(self, said: Said) -> Said:
        """``said`` without the counts that are not to be relied on."""
        counts = {f"{name}_tokens": None for name in COUNTS - self.usage}
        usage = replace(said.usage, **counts) if said.usage else None
        return replace(said, usage=usage if usage != ev.Usage() else None)

    def of(self, story: Story) -> Said:
        calls: list[Tool] = [(c.name, json.loads(c.arguments or "{}")) for c in story.calls]
        calls += [(self.image_tool, {}) for _ in story.images if self.image_tool]
        counts = {f"{name}_tokens": getattr(story, f"{name}_tokens") for name in sorted(self.usage)}
        finish = story.finish if self.finish else "stop"
        if (finish == "tool-calls" and not self.tools) or (
            finish == "content-filter" and not self.content_filter
        ):
            finish = "stop"
        return Said(
            text=story.text,
            reasoning=story.thoughts if self.reasoning else "",
            tools=tuple(calls) if self.tools else (),
            sources=tuple((c.url, c.title) for c in story.citations) if self.sources else (),
            files=tuple(p.base64 for p in story.images) if self.files else (),
            usage=ev.Usage(**counts) if counts else None,
            finish=finish,
        )


@dataclass
class Listener:
    """Reads events, and holds them to the order that protocols rely on."""

    said: Said = field(default_factory=Said)
    _open: dict[str, list[str]] = field(default_factory=dict)
    _complete_ids: set[str] = field(default_factory=lambda: {""})

    def hear(self, event: ev.Event) -> None:
        said = self.said
        match event:
            case str():
                assert type(event) is str
                assert event, "an empty delta says nothing"
                self.said = replace(said, text=said.text + event)
            case ev.Reasoning():
                assert event.text
                self.said = replace(said, reasoning=said.reasoning + event.text)
            case ev.ToolCallStarted():
                assert event.id not in self._open
                self._open[event.id] = []
            case ev.ToolCallArguments():
                self._open[event.id].append(event.delta)
            case ev.ToolCall():
                self._complete(event)
            case ev.SourceUrl():
                self.said = replace(said, sources=(*said.sources, (event.url, event.title)))
            case ev.File():
                head, _, content = event.url.partition(",")
                assert head == f"data:{event.media_type};base64"
                self.said = replace(said, files=(*said.files, content))
            case ev.Usage():
                self.said = replace(said, usage=merged(said.usage, event))
            case ev.Finished():
                self.said = replace(said, finish=event.reason)
            case _:
                pass

    def _complete(self, call: ev.ToolCall) -> None:
        assert call.id not in self._complete_ids, "a call is complete once"
        self._complete_ids.add(call.id)
        pieces = "".join(self._open.pop(call.id, ()))
        assert not pieces or json.loads(pieces) == call.arguments
        self.said = replace(self.said, tools=(*self.said.tools, (call.name, call.arguments)))

    def end(self) -> Said:
        assert not self._open, "every call that was started is complete in the end"
        return self.said


def said_by(events: Iterable[ev.Event]) -> Said:
    listener = Listener()
    for event in events:
        listener.hear(event)
    return listener.end()
