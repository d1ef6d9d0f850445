"""Every parser of something that a stranger sends: it accepts it or raises its own error, and nothing else."""

from __future__ import annotations

import itertools
import json
import typing as t
from urllib.parse import parse_qsl
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask import request
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from flask_aistream import AIStream
from flask_aistream.core.cursor import Cursor
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import FrameError
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.sse.decode import Decoder
from flask_aistream.sse.frame import Frame
from flask_aistream.web import cors
from flask_aistream.web import form
from flask_aistream.web import json_body
from flask_aistream.web import names
from flask_aistream.web import parse
from flask_aistream.web.extension import extension
from tests.security import values
from tests.security.examples import tried

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"data: a", b"id: r:1", b"retry: 9", b"event: x", b"", b":", b"data", b"\xef\xbb\xbf"]
        ),
        st.binary(max_size=12),
    ),
    max_size=12,
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n"])


@tried(1 / 16, LINES, ENDS, st.lists(st.integers(0, 80), max_size=4))
def test_an_event_stream_means_the_same_however_it_is_cut(
    lines: list[bytes], end: bytes, cuts: list[int]
) -> None:
    stream = end.join(lines)
    places = [0, *sorted(cuts), len(stream)]
    parts = [stream[first:last] for first, last in itertools.pairwise(places)]
    assert frames_of(parts, 100) == frames_of([stream], 100)


def frames_of(parts: list[bytes], most: int) -> list[Frame] | None:
    decoder = Decoder(most)
    try:
        return [frame for part in parts for frame in decoder.feed(part)]
    except FrameError:
        return None


TEXTS_OF_JSON = st.one_of(
    values.JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
    st.text('[]{}",:\\ 0e-+.nullNaN', max_size=60).map(str.encode),
)


@tried(1 / 8, TEXTS_OF_JSON, st.integers(1, 6), st.integers(1, 12))
def test_a_json_body_is_what_python_reads_or_is_refused(data: bytes, depth: int, most: int) -> None:
    try:
        value = json_body.loads(data, depth=depth, values=most)
    except RequestError:
        return
    assert value == json.loads(data.decode("utf-8-sig"))
    assert depth_of(value) <= depth
    assert count_of(value) <= most


FORMS = st.one_of(
    st.text("a&=+%0AfG é\r\n", max_size=40),
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4).map(urlencode),
)


@tried(1 / 16, FORMS)
def test_a_form_is_what_python_reads(text: str) -> None:
    wanted = parse_qsl(text, keep_blank_values=True, errors="replace")
    assert form.parse_urlencoded(text.encode()) == MultiDict(wanted)


def depth_of(value: t.Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, (dict, list)) else 0


def count_of(value: t.Any) -> int:
    """Values that a text becomes, as the limit counts them."""
    inner = value.values() if isinstance(value, dict) else value
    return 1 + sum(map(count_of, inner)) if isinstance(value, (dict, list)) else 1


@tried(1 / 32, values.CURSORS)
def test_a_cursor_is_its_text_or_is_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except CursorInvalid as error:
        assert len(str(error)) < 1500
    else:
        assert Cursor.parse(str(cursor)) == cursor


@tried(1 / 40, st.one_of(st.none(), values.LATIN, st.text()))
def test_an_idempotency_key_is_taken_unchanged_or_is_refused(key: str | None) -> None:
    try:
        assert parse.checked_key(key) == (key or None)
    except RequestError as error:
        assert error.status == 400


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_protocols_reader_accepts_or_refuses(protocol: WireProtocol) -> None:
    @tried(1 / 24, values.BODIES)
    def read(body: dict[str, t.Any]) -> None:
        try:
            parsed = protocol.read(body)
        except RequestError as error:
            assert error.status in (400, 422)
        else:
            assert all(isinstance(message["role"], str) for message in parsed.messages)
            parse.fingerprint(parsed)

    read()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_protocols_options_accept_or_refuse(protocol: WireProtocol) -> None:
    @tried(1 / 100, values.QUERIES)
    def options(query: dict[str, str]) -> None:
        try:
            protocol.options(query)
        except RequestError as error:
            assert error.status in (400, 422)

    options()


@pytest.fixture(scope="module")
def app() -> Flask:
    app = Flask("parsers")
    app.secret_key = "secret"
    app.config["AISTREAM_CORS_ORIGINS"] = ["http://a.test"]
    AIStream().init_app(app, url_prefix="/ai")
    return app


FORMS = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from(
            [b"--b", b"--b--", b"\r\n", b'Content-Disposition: form-data; name="prompt"']
        )
    ).map(b"".join),
)


@tried(
    1 / 16,
    values.HEADERS,
    values.QUERY_STRINGS,
    st.one_of(FORMS, TEXTS_OF_JSON),
    st.sampled_from(["GET", "POST"]),
)
def test_headers_query_and_body_are_read_or_refused(
    app: Flask, headers: dict[str, str], query: str, body: bytes, method: str
) -> None:
    with app.test_request_context(method=method, query_string=query, headers=headers, data=body):
        ext, here = extension(), request._get_current_object()  # type: ignore[attr-defined]
        settings = ext.settings
        assert names.visitor_of(here) is None
        for check in (
            lambda: cors.refuse_cross_site(settings, here),
            lambda: cors.refuse_navigation(here),
            lambda: cors.headers_for(settings.cors_origins, here),
            lambda: parse.read_cursor(here),
            lambda: parse.read_request(PROTOCOLS["html"], here, settings, ext.process.bodies),
        ):
            try:
                check()
            except (AccessDenied, RequestError) as error:
                assert error.status in (400, 403, 413, 422)
