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
from flask_aistream.core.unicode import well_formed
from flask_aistream.protocols import native
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.endings import failure_of
from flask_aistream.protocols.wire import dumps
from flask_aistream.sse.encode import encode
from flask_aistream.sse.frame import Frame

Render = Callable[[ev.Event], str | None]

# The event type of each event that does not belong into the answer.
EVENT_NAMES: dict[type, str] = {**native.EVENT_NAMES, ev.RunStarted: "run"}
IN_ANSWER = (str, ev.SourceUrl, ev.SourceDocument, ev.File)
DONE = "done"

# htmx 4 drops a fragment that is only white space, unless there is an element in it.
BLANK = re.compile(r"[\s\ufeff]+")

CHARACTER_REFERENCES = str.maketrans(
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
LINK_SCHEMES = ("http://", "https://")
IMAGE_SCHEMES = (*LINK_SCHEMES, "data:image/")


class HTMLEncoder:
    """Stateless. ``options["render"]`` is asked first, with each event: it returns HTML, or ``None`` to
    leave it to us; ``""`` shows nothing."""

    def __init__(self, context: EncoderContext) -> None:
        self._run = context.run
        self._render: Render = context.options.get("render", render_default)

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        default = self._render is render_default
        frames = [
            # By hand: a fragment of ours is one line, and Frame + encode cost five times as much.
            f"id: {self._run}:{number}\ndata: {text_fragment(event)}\n\n"
            if default and type(event) is str
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
            shown = encode(Frame(well_formed(html))) if html else ""
            return shown + encode(Frame(end_reason(event), DONE, id))
        name = None if isinstance(event, IN_ANSWER) else EVENT_NAMES[type(event)]
        return encode(Frame(well_formed(html), name, id))


def render_default(event: ev.Event) -> None:
    return None


def fragment(event: ev.Event) -> str:
    """An event as HTML. Safe to put into a page: nothing in it is markup but ours."""
    match event:
        case str():
            return text_fragment(event)
        case ev.Reasoning():
            return escape(event.text)
        case ev.ToolCallStarted() | ev.ToolCall():
            return f'<code data-tool="{escape(event.id)}">{escape(event.name)}</code>'
        case ev.ToolCallArguments():
            return escape(event.delta)
        case ev.ToolResult():
            return f'<code data-tool="{escape(event.id)}">{escape(dumps(event.result))}</code>'
        case ev.ToolError():
            return f'<em data-tool="{escape(event.id)}">{escape(event.message)}</em>'
        case ev.SourceUrl():
            return source_fragment(event)
        case ev.SourceDocument():
            return f"<cite>{escape(event.title)}</cite>"
        case ev.File():
            return file_fragment(event)
        case ev.Data():
            value = escape(dumps(event.value))
            return f'<data data-name="{escape(event.name)}" value="{value}"></data>'
        case ev.Usage():
            return "" if event.total_tokens is None else str(event.total_tokens)
        case ev.StepStarted() | ev.StepFinished():
            return escape(event.name)
        case ev.RunStarted():
            return escape(event.run)
        case _:
            return failure_fragment(event)


def text_fragment(text: str) -> str:
    safe = escape(text)
    return f"<span>{safe}</span>" if BLANK.fullmatch(text) else safe


def escape(text: str) -> str:
    # Line ends as references: an event stream knows them only as ends of lines of its own.
    return well_formed(text).translate(CHARACTER_REFERENCES)


def source_fragment(event: ev.SourceUrl) -> str:
    title = escape(event.title or event.url)
    if not event.url.lower().startswith(LINK_SCHEMES):
        return f"<cite>{title}</cite>"
    return f'<a href="{escape(event.url)}" rel="noopener noreferrer">{title}</a>'


def file_fragment(event: ev.File) -> str:
    if event.media_type.startswith("image/") and event.url.lower().startswith(IMAGE_SCHEMES):
        return f'<img src="{escape(event.url)}" alt="">'
    if event.url.lower().startswith(LINK_SCHEMES):
        return f'<a href="{escape(event.url)}" rel="noopener noreferrer">{escape(event.media_type)}</a>'
    return f"<cite>{escape(event.media_type)}</cite>"


def failure_fragment(event: ev.Terminal) -> str:
    failure = failure_of(event)
    if failure is None or isinstance(event, ev.Stopped):
        return ""
    return f'<p role="alert" data-code="{escape(failure.code)}">{escape(failure.message)}</p>'


def end_reason(event: ev.Terminal) -> str:
    if isinstance(event, ev.Finished):
        return event.reason
    return "error" if isinstance(event, ev.Failed) else t.cast(ev.Failed, failure_of(event)).code


def error(code: str, message: str, status: int) -> str:
    return f'<p role="alert" data-code="{escape(code)}">{escape(message)}</p>'


HTML = WireProtocol(
    name="html",
    path="/<provider>/html",
    methods=("GET", "POST"),
    accepts_forms=True,
    read=native.read,
    encoder=HTMLEncoder,
    error=error,
    error_type="text/html; charset=utf-8",
    resumable=True,
    repeat_last=True,
)
