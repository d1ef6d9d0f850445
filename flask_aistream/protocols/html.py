"""HTML fragments, for htmx 2 and 4 and other clients that swap fragments in.

Text, links, images and failures are unnamed events: htmx 4 swaps no others, and htmx 2 has them as
``sse-swap="message"``. All other events are named. The last event is ``done``; without it both versions
reconnect forever, also after 204.

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

# SSE event types of the events that are not part of the answer.
EVENT_NAMES: dict[type, str] = {**native.EVENT_NAMES, ev.RunStarted: "run"}
IN_ANSWER = (str, ev.SourceUrl, ev.SourceDocument, ev.File)
DONE = "done"

# htmx 4 drops a fragment that is only white space. Inside an element it is kept.
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

# The only schemes that become links; `javascript:` would be executed.
LINK_SCHEMES = ("http://", "https://")
IMAGE_SCHEMES = (*LINK_SCHEMES, "data:image/")


class HTMLEncoder:
    """Stateless. ``options["render"]`` is called with each event first. It returns HTML; ``""`` shows nothing,
    ``None`` selects the default fragment."""

    def __init__(self, context: EncoderContext) -> None:
        self._run = context.run
        self._render: Render = context.options.get("render", render_default)

    def encode(self, first: int, events: Sequence[ev.Event]) -> bytes:
        default = self._render is render_default
        frames = [
            # Inline, since a default fragment is one line. With Frame and encode() a whole stream of 20,000
            # tokens takes 3.60 instead of 1.48 µs of CPU a token (59 %, quartiles 58 to 59; paired,
            # interleaved, median of ten).
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
            # Only the last frame has the id: a client disconnected between the two gets both again.
            alert = encode(Frame(well_formed(html))) if html else ""
            return alert + encode(Frame(end_reason(event), DONE, id))
        name = None if isinstance(event, IN_ANSWER) else EVENT_NAMES[type(event)]
        return encode(Frame(well_formed(html), name, id))


def render_default(event: ev.Event) -> None:
    return None


def fragment(event: ev.Event) -> str:
    """The default HTML of an event. All text in it is escaped."""
    match event:
        case str():
            return text_fragment(event)
        case ev.Reasoning():
            return escape(event.text)
        case ev.ToolCallStarted() | ev.ToolCall() | ev.ToolApproval():
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
    # Line ends become character references, since the event stream would split the data at them.
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


def error(code: str, message: str, status: int, reference: str) -> str:
    names = f'data-code="{escape(code)}" data-reference="{escape(reference)}"'
    return f'<p role="alert" {names}>{escape(message)}</p>'


HTML = WireProtocol(
    name="html",
    path="/<provider>/html",
    methods=("GET", "POST"),
    form={},
    read=native.read,
    encoder=HTMLEncoder,
    error=error,
    error_type="text/html; charset=utf-8",
    resumable=True,
    repeat_last=True,
)
