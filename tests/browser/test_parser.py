"""``EventStreamParser`` reads what the WHATWG says, however the bytes are cut."""

from __future__ import annotations

import typing as t

import pytest

from flask_aistream.sse.decode import Decoder
from tests.browser.conftest import Page

Frames = list[tuple[str, str, str | None]]

STREAMS: list[t.Any] = [
    pytest.param(b"data: a\n\n", [("message", "a", None)], id="LF"),
    pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", "a", None), ("message", "b", None)], id="CRLF"),
    pytest.param(b"data: a\r\rdata: b\r\r", [("message", "a", None), ("message", "b", None)], id="CR"),
    pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", [("message", x, None) for x in "abc"], id="mixed ends"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [("message", "a", None)], id="one BOM is dropped"),
    pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [("message", "b", None)], id="only one BOM is"),
    pytest.param(b": ping\n", [], id="a comment is nothing"),
    pytest.param(b"data: a\n: ping\ndata: b\n\n", [("message", "a\nb", None)], id="a comment inside a block"),
    pytest.param(b"id: 1\ndata: a\n\n: ping\n\n", [("message", "a", "1")], id="a comment with a blank line"),
    pytest.param(b"data:a\ndata:  b\ndata\n\n", [("message", "a\n b\n", None)], id="one space is dropped"),
    pytest.param(b"data\n\n", [("message", "", None)], id="no colon: an empty value"),
    pytest.param(b"data:\n\n", [("message", "", None)], id="an empty data line dispatches"),
    pytest.param(b"event: x\n\ndata: a\n\n", [("message", "a", None)], id="a block without data is no event"),
    pytest.param(b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a", None), ("message", "b", None)], id="the type does not last"),
    pytest.param(b"event:\ndata: a\n\n", [("message", "a", None)], id="an empty type is message"),
    pytest.param(b"id: 7\ndata: a\n\n", [("message", "a", "7")], id="id"),
    pytest.param(b"id: a\0b\ndata: a\n\n", [("message", "a", None)], id="an id with U+0000 is ignored"),
    pytest.param(b"id\ndata: a\n\n", [("message", "a", "")], id="an empty id"),
    pytest.param(b"Data: a\n data: b\nfoo: c\ndata: d\n\n", [("message", "d", None)], id="unknown fields"),
    pytest.param(b"data: a\n\ndata: b", [("message", "a", None)], id="an unfinished block is dropped"),
    pytest.param(b"data: a\n\ndata: b\n", [("message", "a", None)], id="so is one without its blank line"),
    pytest.param("data: 漢字 🙂 \u2028\u0085\x0b\x0c\n\n".encode(), [("message", "漢字 🙂 \u2028\u0085\x0b\x0c", None)], id="only LF, CR and CRLF end lines"),
    pytest.param(b"data: a\xffb\n\n", [("message", "a\ufffdb", None)], id="wrong UTF-8 is replaced"),
]  # fmt: skip

# Every way to cut the bytes in two, in three with an empty piece, and into single bytes.
PARSE = """
const bytes = Uint8Array.from(args[0]);
const parse = (cuts) => {
  const parser = new ai.EventStreamParser();
  const frames = [];
  [...cuts, bytes.length].reduce((from, to) => (frames.push(...parser.feed(bytes.slice(from, to))), to), 0);
  return frames.map(({ event, data, id }) => [event, data, id ?? null]);
};
const ways = [[...bytes.keys()]];
for (let at = 0; at <= bytes.length; at++) ways.push([at], [at, at]);
return ways.map(parse);
"""


@pytest.mark.parametrize(("data", "expected"), STREAMS)
def test_these_bytes_are_these_frames_however_they_are_cut(
    blank: Page, data: bytes, expected: Frames
) -> None:
    for frames in blank.run(PARSE, list(data)):
        assert frames == [list(frame) for frame in expected]


@pytest.mark.parametrize(("data", "expected"), STREAMS)
def test_the_server_s_decoder_agrees(data: bytes, expected: Frames) -> None:
    frames = [
        (f.event or "message", f.data, f.id) for f in Decoder().feed(data) if f.data is not None
    ]
    assert frames == expected


RETRIES = [
    ("2500", 2500),
    ("0", 0),
    ("-1", None),
    ("1.5", None),
    ("1e3", None),
    ("", None),
    ("٣", None),
]


@pytest.mark.parametrize(("value", "expected"), RETRIES)
def test_a_reconnection_time_is_ascii_digits(blank: Page, value: str, expected: int | None) -> None:
    retry = """
    const parser = new ai.EventStreamParser();
    parser.feed(new TextEncoder().encode(`retry: ${args[0]}\\n\\n`));
    return parser.retry;
    """
    assert blank.run(retry, value) == expected


def test_an_id_counts_without_data_and_lasts(blank: Page) -> None:
    ids = """
    const parser = new ai.EventStreamParser();
    const feed = (text) => (parser.feed(new TextEncoder().encode(text)), parser.lastEventId);
    return [feed("id: 1\\n"), feed("\\n"), feed("data: a\\n\\n"), feed("id:\\n\\n")];
    """
    assert blank.run(ids) == ["", "1", "1", ""]


def test_a_megabyte_in_one_line_is_read_in_linear_time(blank: Page) -> None:
    """In pieces of 100 bytes; searching the line again at each piece would take minutes."""
    read = """
    const parser = new ai.EventStreamParser();
    const bytes = new TextEncoder().encode(`data: ${"x".repeat(1e6)}\\n\\n`);
    const frames = [];
    for (let at = 0; at < bytes.length; at += 100) frames.push(...parser.feed(bytes.slice(at, at + 100)));
    return frames.map(({ data }) => data.length);
    """
    assert blank.run(read) == [1_000_000]
