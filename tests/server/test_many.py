"""Many streams at once on one worker."""

from __future__ import annotations

import asyncio
import json

import pytest

from flask_aistream.sse.decode import Decoder
from tests.server.conftest import Serve
from tests.server.wire import text_of

STREAMS = 1000
TOKENS = 20
PLACES = ("--worker-connections", "2000")

pytestmark = [pytest.mark.server, pytest.mark.load, pytest.mark.timeout(90)]


@pytest.mark.parametrize(
    "provider", ["together", pytest.param("together-async", marks=pytest.mark.nightly)]
)
def test_a_thousand_streams_get_every_token_once_and_in_order(serve: Serve, provider: str) -> None:
    server = serve("gevent", options=PLACES, APP_AISTREAM_MAX_ANONYMOUS_RUNS=None)
    reader = ManyReaders(server.port, provider)
    texts = asyncio.run(reader.read(STREAMS))
    assert texts == ["".join(f"{n} " for n in range(TOKENS))] * STREAMS
    assert reader.most_open == STREAMS


class ManyReaders:
    """Reads many streams of one server at once."""

    def __init__(self, port: int, provider: str) -> None:
        self._port = port
        body = json.dumps({"prompt": "?", "n": TOKENS, "runs": STREAMS}).encode()
        head = f"POST /ai/{provider} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._open = 0
        self.most_open = 0

    async def read(self, streams: int) -> list[str]:
        return await asyncio.gather(*(self._one() for _ in range(streams)))

    async def _one(self) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._request)
        await reader.readuntil(b"\r\n\r\n")
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        decoder = Decoder()
        texts: list[str] = []
        while data := await reader.read(65536):
            texts += map(text_of, decoder.feed(data))
        self._open -= 1
        writer.close()
        return "".join(texts)
