"""Raw bytes on sockets: whatever arrives, the server answers or closes, and goes on."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import strategies as st

from tests.security.baseline import Attacked
from tests.security.examples import tried
from tests.security.values import LATIN

pytestmark = [pytest.mark.server, pytest.mark.timeout(3600)]

TARGETS = st.sampled_from(
    [
        b"/ai/chat",
        b"/ai/chat/ai-sdk",
        b"/ai/runs/x/events",
        b"/ai/v1/responses",
        b"http://a/ai/chat",
        b"*",
        b"/ai/%",
        b"/ai/chat?prompt=%ff%00",
        b"//ai/chat",
        b"/ai/\xff",
    ]
)
LINES = st.one_of(
    st.sampled_from(
        [
            b"Content-Length: 5",
            b"Content-Length: -1",
            b"Content-Length: 5, 5",
            b"Content-Length: 99999999999999999999",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding : chunked",
            b"Expect: 100-continue",
            b"Upgrade: websocket",
            b"Connection: close",
            b"Last-Event-ID: \xff:1",
            b"Host: a\r\nHost: b",
            b" folded: x",
            b"Sec-WebSocket-Key: AA==",
        ]
    ),
    LATIN.map(lambda text: text.encode("latin-1")),
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\n",
            b"ffffffffffffffff\r\n",
            b"5;x=" + b"y" * 3000,
            b"GET /ai/health HTTP/1.1\r\n\r\n",
        ]
    ),
)
REQUESTS = st.builds(
    lambda method, target, version, lines, body: (
        b" ".join([method, target, version]) + b"\r\n" + b"\r\n".join([*lines, b"", body])
    ),
    st.sampled_from([b"GET", b"POST", b"DELETE", b"OPTIONS", b"get", b"", b"\0", b"X" * 300]),
    TARGETS,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"", b"ICY"]),
    st.lists(LINES, max_size=4),
    BODIES,
)


def test_no_bytes_on_a_socket_harm_the_server(attacked: Attacked) -> None:
    answers: set[bytes] = set()

    @tried(1 / 10, st.lists(st.one_of(REQUESTS, st.binary(max_size=200)), min_size=1, max_size=3))
    def send(parts: list[bytes]) -> None:
        here = socket.create_connection(("127.0.0.1", attacked.server.port), 10)
        with here, contextlib.suppress(OSError):  # The server may close it at any time.
            for part in parts:
                here.sendall(part)
            here.shutdown(socket.SHUT_WR)
            answers.add(here.recv(12)[9:12])

    with attacked.attack():
        send()
    assert not [answer for answer in answers if answer.startswith(b"5")], answers
