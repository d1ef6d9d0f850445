"""Encoding frames, and decoding them again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_aistream.errors import FrameError
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.encode import HEARTBEAT
from flask_aistream.sse.encode import encode
from flask_aistream.sse.frame import Frame

FRAMES = [
    pytest.param(Frame("a"), "data: a\n\n", id="data"),
    pytest.param(Frame(""), "data: \n\n", id="empty data still dispatches"),
    pytest.param(Frame("a\nb\n"), "data: a\ndata: b\ndata: \n\n", id="a trailing newline survives"),
    pytest.param(Frame("a\r\nb\rc"), "data: a\ndata: b\ndata: c\n\n", id="CR and CR LF become LF"),
    pytest.param(Frame("a\u2028b\x85c"), "data: a\u2028b\x85c\n\n", id="nothing else ends a line"),
    pytest.param(Frame(id="7"), "id: 7\n\n", id="an id alone"),
    pytest.param(Frame(id=""), "id: \n\n", id="an id reset"),
    pytest.param(Frame(retry=0), "retry: 0\n\n", id="retry alone"),
    pytest.param(
        Frame("x", "add", "r:1", 5), "retry: 5\nid: r:1\nevent: add\ndata: x\n\n", id="all fields"
    ),
]


@pytest.mark.parametrize(("frame", "text"), FRAMES)
def test_a_frame_is_encoded(frame: Frame, text: str) -> None:
    assert encode(frame) == text


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
ANY_FRAME = st.builds(
    Frame,
    data=st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])),
    event=st.none() | LINE.filter(bool),
    id=st.none() | LINE,
    retry=st.none() | st.integers(0, 10**12),
)


@given(st.lists(ANY_FRAME))
def test_encoded_frames_decode_to_the_same_frames(frames: list[Frame]) -> None:
    assert Decoder().feed("".join(map(encode, frames)).encode()) == frames


BREAKING = [
    ("event", "a\nb"),
    ("event", "a\rb"),
    ("event", "\n"),
    ("event", "data\r\n\r\ndata: forged"),
    ("id", "1\n"),
    ("id", "\r1"),
    ("id", "1\0"),
    ("retry", -1),
]


@pytest.mark.parametrize(("field", "value"), BREAKING)
def test_a_frame_rejects_fields_that_would_corrupt_the_stream(field: str, value: object) -> None:
    with pytest.raises(FrameError, match=f"`{field}`.*{re.escape(repr(value))}"):
        Frame(**{"data": "x", field: value})  # type: ignore[arg-type]


def test_a_heartbeat_neither_is_a_frame_nor_ends_a_block() -> None:
    assert Decoder().feed(b"data: a\n" + HEARTBEAT + b"data: b\n\n") == [Frame("a\nb")]
    assert HEARTBEAT.count(b"\n") == 1
