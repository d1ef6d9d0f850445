"""The incremental decoder, on the examples of WHATWG HTML and on edge cases."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_aistream.errors import FrameError
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame

STREAMS = [
    pytest.param(b"data: one\n\n", [Frame("one")], id="one line"),
    pytest.param(
        b"data: YHOO\ndata: +2\ndata: 10\n\n", [Frame("YHOO\n+2\n10")], id="lines are joined by LF"
    ),
    pytest.param(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [Frame("first event", id="1"), Frame("second event", id=""), Frame(" third event")],
        id="comment, id, reset id, one space dropped",
    ),
    pytest.param(b"data\n\ndata\ndata\n\ndata:", [Frame(""), Frame("\n")], id="empty data"),
    pytest.param(b"data:test\n\ndata: test\n\n", [Frame("test")] * 2, id="the space is optional"),
    pytest.param(
        b"event: add\ndata: 1\n\nevent: \ndata: 2\n\n",
        [Frame("1", "add"), Frame("2")],
        id="an empty type is no type",
    ),
    pytest.param(b"event: a\nevent: b\ndata:\n\n", [Frame("", "b")], id="the last type counts"),
    pytest.param(b"event: lost\n\ndata: x\n\n", [Frame(None, "lost"), Frame("x")], id="type alone"),
    pytest.param(b"data: unfinished\n", [], id="a block without its blank line is dropped"),
    pytest.param(b"data: a\n\ndata: b", [Frame("a")], id="an unfinished line is dropped"),
    pytest.param(b"\n\n\n: ping\n\n\n", [], id="blank lines and comments are no frames"),
    pytest.param(
        b": ping\ndata: a\n: ping\ndata: b\n\n", [Frame("a\nb")], id="a ping inside a block"
    ),
    pytest.param(b"Data: x\nfoo: y\ndata : z\n dat: w\n\n", [], id="unknown fields are ignored"),
    pytest.param(b"data: a: b:c\n\n", [Frame("a: b:c")], id="only the first colon separates"),
    pytest.param(b"id: a\0b\ndata: x\n\n", [Frame("x")], id="an id with NUL is ignored"),
    pytest.param(b"data: a\0b\n\n", [Frame("a\0b")], id="data may hold NUL"),
    pytest.param(b"event: a\0b\ndata\n\n", [Frame("", "a\0b")], id="a type may hold NUL"),
    pytest.param(b"retry: 2500\n\n", [Frame(retry=2500)], id="retry alone"),
    pytest.param(b"retry: 0\n\n", [Frame(retry=0)], id="retry zero"),
    pytest.param(b"retry: 007\n\n", [Frame(retry=7)], id="retry is decimal"),
    *(
        pytest.param(
            b"retry: " + wrong + b"\ndata\n\n", [Frame("")], id=f"retry {wrong!r} is ignored"
        )
        for wrong in (
            b"",
            b"-1",
            b"+1",
            b"1.5",
            b"1e3",
            b"0x1",
            b" 1",
            b"1 ",
            "١".encode(),
            "²".encode(),
        )
    ),
    pytest.param(b"\xef\xbb\xbfdata: x\n\n", [Frame("x")], id="a BOM is dropped"),
    pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", [], id="a second BOM is kept"),
    pytest.param(b"data: \xef\xbb\xbfx\n\n", [Frame("\ufeffx")], id="a BOM in data is kept"),
    pytest.param(b"\n\xef\xbb\xbfdata: x\n\n", [], id="a BOM after a blank line is kept"),
    pytest.param("data: 漢字😀\n\n".encode(), [Frame("漢字😀")], id="characters of several bytes"),
    pytest.param(
        b"data: a\xffb\xc3\n\n", [Frame("a\ufffdb\ufffd")], id="invalid UTF-8 is replaced"
    ),
    pytest.param(
        "data: a\u2028b\u2029c\u0085d\x0b\x0c\x1ce\n\n".encode(),
        [Frame("a\u2028b\u2029c\u0085d\x0b\x0c\x1ce")],
        id="other separators end no line",
    ),
    pytest.param(
        b"data: a\rdata: b\r\rdata: c\r\r", [Frame("a\nb"), Frame("c")], id="CR ends a line"
    ),
    pytest.param(b"data: a\r\ndata: b\r\n\r\n", [Frame("a\nb")], id="CR LF ends one line, not two"),
    pytest.param(b"data: a\n\rdata: b\n\r", [Frame("a"), Frame("b")], id="LF CR ends two"),
    pytest.param(
        b"data: a\r\n\ndata: b\r\r\ndata: c\n\r\n",
        [Frame("a"), Frame("b"), Frame("c")],
        id="all three mixed",
    ),
    pytest.param(b"id: 1\n\n", [Frame(id="1")], id="an id alone moves the cursor silently"),
]


@pytest.mark.parametrize(("wire", "frames"), STREAMS)
def test_a_stream_decodes_to_its_frames_however_it_is_cut(wire: bytes, frames: list[Frame]) -> None:
    in_one_piece, byte_by_byte = [wire], [wire[n : n + 1] for n in range(len(wire))]
    cuts = itertools.combinations(range(len(wire) + 1), 2)
    in_three_pieces = ([wire[:a], wire[a:b], wire[b:]] for a, b in cuts)
    for pieces in (in_one_piece, byte_by_byte, *in_three_pieces):
        assert decode(pieces) == frames, pieces


ALPHABET = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"7",
        b"\xef\xbb\xbf",
        b"\xf0\x9f",
        b"\x98\x80",
    ]
)


@given(st.lists(ALPHABET, max_size=40).map(b"".join), st.data())
def test_random_bytes_decode_to_the_same_frames_however_they_are_cut(
    wire: bytes, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=6).map(sorted))
    ends = [0, *cuts, len(wire)]
    assert decode([wire[a:b] for a, b in itertools.pairwise(ends)]) == decode([wire])


def test_a_frame_is_returned_with_the_byte_that_completes_it() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: x\n") == []
    assert decoder.feed(b"\r") == [Frame("x")]  # The LF of a CRLF may never come.
    assert decoder.feed(b"\ndata: y\n\n") == [Frame("y")]


def test_the_last_id_survives_frames_without_one() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\ndata: b\n\n")
    assert decoder.last_event_id == "1"


def test_an_unfinished_block_does_not_move_the_cursor() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: lost\n")
    assert decoder.last_event_id == "1"


def test_a_reconnection_time_takes_effect_before_the_end_of_its_block() -> None:
    decoder = Decoder()
    decoder.feed(b"retry: 100\n")
    assert decoder.retry == 100


def test_a_reconnection_time_of_thousands_of_digits_is_ignored() -> None:
    # int() raises on more than 4300 digits.
    (frame,) = Decoder().feed(b"retry: " + b"9" * 5000 + b"\ndata: x\n\n")
    assert frame.data == "x"


def test_a_block_larger_than_the_limit_is_rejected() -> None:
    with pytest.raises(FrameError, match="larger than 100"):
        decode([b"data: 3456\n"] * 11, max_block=100)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_block_may_be_as_large_as_the_limit_however_it_is_cut(size: int) -> None:
    wire = b"data: 90123456789\n" * 2 + b"\n"
    chunks = [wire[start : start + size] for start in range(0, len(wire), size)]
    assert decode(chunks, max_block=34) == [Frame("90123456789\n90123456789")]


def decode(chunks: list[bytes], max_block: int = 1000) -> list[Frame]:
    decoder = Decoder(max_block)
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]
