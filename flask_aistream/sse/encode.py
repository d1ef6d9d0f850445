"""Frames → text of an event stream."""

from __future__ import annotations

import re

from flask_aistream.sse.frame import Frame

# The format has three line ends. str.splitlines() has eight more (U+2028, U+0085 …) and would split a
# model's text within a line.
LINE_END = re.compile("\r\n|\r|\n")

# One LF only. A blank line would dispatch an empty event in clients that saw an `id:` before, and some of
# them fail on it (openai-python, httpx-sse, fetch-event-source).
HEARTBEAT = b": ping\n"


def encode(frame: Frame) -> str:
    """The block of ``frame`` with its final blank line. Lines end with LF."""
    lines = []
    if frame.retry is not None:
        lines.append(f"retry: {frame.retry}")
    if frame.id is not None:
        lines.append(f"id: {frame.id}")
    if frame.event is not None:
        lines.append(f"event: {frame.event}")
    if frame.data is not None:
        lines += [f"data: {line}" for line in LINE_END.split(frame.data)]
    return "\n".join([*lines, "", ""])
