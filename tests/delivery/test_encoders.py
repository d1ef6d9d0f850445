"""Encoders that the readers of one run share."""

from __future__ import annotations

import gc
import threading

from flask_aistream.delivery.encoders import SharedEncoder
from flask_aistream.delivery.encoders import SharedEncoders
from tests.delivery.test_body import PlainEncoder


def test_a_page_is_encoded_once_for_all_readers() -> None:
    plain = PlainEncoder()
    shared = SharedEncoder(plain)
    assert [shared.encode(1, ["a", "b"]) for _ in range(3)] == [b"<1 a><2 b>"] * 3
    assert plain.calls == 1


def test_readers_at_different_positions_receive_their_own_pages() -> None:
    shared = SharedEncoder(PlainEncoder())
    pages = [(1, ["a", "b"]), (1, ["a"]), (2, ["b"]), (1, ["a", "b"])]
    assert [shared.encode(first, events) for first, events in pages] == [
        b"<1 a><2 b>",
        b"<1 a>",
        b"<2 b>",
        b"<1 a><2 b>",
    ]


def test_an_encoder_is_shared_until_its_last_reader_releases_it() -> None:
    encoders = SharedEncoders(threading.Lock())
    one, same = encoders.get("run", PlainEncoder), encoders.get("run", PlainEncoder)
    assert one is same
    assert encoders.get("other", PlainEncoder) is not one
    del one, same
    gc.collect()
    assert len(encoders._encoders) == 0
