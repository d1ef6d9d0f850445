"""HTML fragments, for htmx 2 and 4 and whatever else swaps them in.

What belongs into the answer (text, links, images, a failure) comes in unnamed events: the only ones that
htmx 4 swaps, and ``sse-swap="message"`` in htmx 2. Everything else has a name. The last event is
``done``: both versions would otherwise reconnect for ever, also on 204.

Source: npm ``htmx.org`` 2.0.11 with ``htmx-ext-sse`` 2.2.4, ``htmx.org`` 4.0.1 with its ``hx-sse``.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core import events as ev
from flask_aistream.core.unicode import valid
from flask_aistream.protocols import native
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import fault
from flask_aistream.protocols.wire import dumps
from flask_aistream.sse.encode import encode
from flask_aistream.sse.frame import Frame

Render = Callable[[ev.Event], str | None]

# The event type of each event that does not belong into the answer.
NAMES: dict[type, str] = {**native.NAMES, ev.RunStarted: "run"}
IN_ANSWER = (str, ev.SourceUrl, ev.SourceDocument, ev.File)
DONE = "done"

# htmx 4 drops a fragment that is only white space, unless there is an element in it.
BLANK = re.compile(r"[\s\ufeff]+")

REFERENCES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&#x27;",
        "\r": "&#13;",
        "\n": "&#10;",
    }
)

# A link is made of nothing else: `javascript:` would run.
LINKS = ("http://", "https://")
IMAGES = (*LINKS, "data:image/")


class HTMLEncoder:
    """Stateless. ``options["render"]`` is asked first, with each event: it returns HTML, or ``None`` to
    leave it to us; ``""`` shows nothing."""

    def __init__(self, context: EncoderContext) -> None:
        self._run = context.run
        self._render: Render = context.options.get("render", nothing)

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        ours = self._render is nothing
        frames = [
            # By hand: a fragment of ours is one line, and Frame + encode cost five times as much.
            f"id: {self._run}:{number}\ndata: {words(event)}\n\n"
            if ours and type(event) is str
            else self._frames(number, event)
            for number, event in enumerate(events, first)
        ]
        return "".join(frames).encode()

    def gap(self, first: int) -> bytes:
        return encode(Frame(str(first), "gap", f"{self._run}:{first - 1}")).encode()

    def _frames(self, number: int, event: ev.Event) -> str:
        id = f"{self._run}:{number}"
        html = self._render(event)
        if html is None:
            html = fragment(event)
        if isinstance(event, ev.TERMINAL):
            # The id rides on the last frame of the record: who saw only the first gets both again.
            shown = encode(Frame(valid(html))) if html else ""
            return shown + encode(Frame(reason(event), DONE, id))
        name = None if isinstance(event, IN_ANSWER) else NAMES[type(event)]
        return encode(Frame(valid(html), name, id))


def nothing(event: ev.Event) -> None:
    return None


def fragment(event: ev.Event) -> str:
    """An event as HTML. Safe to put into a page: nothing in it is markup but ours."""
    match event:
        case str():
            return words(event)
        case ev.Reasoning():
            return escaped(event.text)
        case ev.ToolCallStarted() | ev.ToolCall():
            return f'<code data-tool="{escaped(event.id)}">{escaped(event.name)}</code>'
        case ev.ToolCallArguments():
            return escaped(event.delta)
        case ev.ToolResult():
            return f'<code data-tool="{escaped(event.id)}">{escaped(dumps(event.result))}</code>'
        case ev.ToolError():
            return f'<em data-tool="{escaped(event.id)}">{escaped(event.message)}</em>'
        case ev.SourceUrl():
            return source(event)
        case ev.SourceDocument():
            return f"<cite>{escaped(event.title)}</cite>"
        case ev.File():
            return file(event)
        case ev.Data():
            value = escaped(dumps(event.value))
            return f'<data data-name="{escaped(event.name)}" value="{value}"></data>'
        case ev.Usage():
            return "" if event.total_tokens is None else str(event.total_tokens)
        case ev.StepStarted() | ev.StepFinished():
            return escaped(event.name)
        case ev.RunStarted():
            return escaped(event.run)
        case _:
            return failure(event)


def words(text: str) -> str:
    safe = escaped(text)
    return f"<span>{safe}</span>" if BLANK.fullmatch(text) else safe


def escaped(text: str) -> str:
    # Line ends as references: an event stream knows them only as ends of lines of its own.
    return valid(text).translate(REFERENCES)


def source(event: ev.SourceUrl) -> str:
    title = escaped(event.title or event.url)
    if not event.url.lower().startswith(LINKS):
        return f"<cite>{title}</cite>"
    return f'<a href="{escaped(event.url)}" rel="noopener noreferrer">{title}</a>'


def file(event: ev.File) -> str:
    if event.media_type.startswith("image/") and event.url.lower().startswith(IMAGES):
        return f'<img src="{escaped(event.url)}" alt="">'
    if event.url.lower().startswith(LINKS):
        return f'<a href="{escaped(event.url)}" rel="noopener noreferrer">{escaped(event.media_type)}</a>'
    return f"<cite>{escaped(event.media_type)}</cite>"


def failure(event: ev.Terminal) -> str:
    wrong = fault(event)
    if wrong is None or isinstance(event, ev.Stopped):
        return ""
    return f'<p role="alert" data-code="{escaped(wrong.code)}">{escaped(wrong.message)}</p>'


def reason(event: ev.Terminal) -> str:
    if isinstance(event, ev.Finished):
        return event.reason
    return "error" if isinstance(event, ev.Failed) else t.cast(ev.Failed, fault(event)).code


def error(code: str, message: str, status: int) -> str:
    return f'<p role="alert" data-code="{escaped(code)}">{escaped(message)}</p>'


HTML = WireProtocol(
    name="html",
    path="/<provider>/html",
    methods=("GET", "POST"),
    forms=True,
    read=native.read,
    encoder=HTMLEncoder,
    error=error,
    error_type="text/html; charset=utf-8",
    resumable=True,
    again=True,
)
