"""Streams of every server, over a real socket."""

from __future__ import annotations

import json
import secrets
import typing as t

import pytest

from tests.server.conftest import Serve
from tests.server.servers import wait_for
from tests.server.wire import Stream
from tests.server.wire import call
from tests.server.wire import end_of
from tests.server.wire import text_of

pytestmark = pytest.mark.server

ODD = [
    "",
    "\n",
    "\r\n",
    "a\u2028b\u0085c",
    "日本語",
    "👩🏽‍🚀",
    " x ",
    "data: y\n\n",
    "\t",
    "z" * 100_000,
]


def test_a_run_streams_from_its_first_event_to_its_end(serve: Serve, kind: str) -> None:
    server = serve(kind)
    text, frames = Stream(server.url, "/ai/say", {"prompt": "?", "texts": ODD}).rest()
    assert text == "".join(ODD)
    assert end_of(frames) == "stop"
    assert [frame.event for frame in frames].count("run") == 1


def test_ids_count_gapless_from_zero(serve: Serve, kind: str) -> None:
    stream = Stream(serve(kind).url, "/ai/count", {"prompt": "?", "n": 300})
    _, frames = stream.rest()
    assert [frame.id for frame in frames] == [f"{stream.run}:{n}" for n in range(302)]


def test_the_headers_are_those_of_an_event_stream(serve: Serve, kind: str) -> None:
    stream = Stream(serve(kind).url, "/ai/say?prompt=x", {"prompt": "?", "texts": []})
    headers = stream.response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-store, no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in headers


@pytest.mark.parametrize("provider", ["count", "count-async"])
def test_a_slow_provider_is_read_token_by_token(serve: Serve, kind: str, provider: str) -> None:
    stream = Stream(serve(kind).url, f"/ai/{provider}", {"prompt": "?", "n": 5, "pause": 0.05})
    text, frames = stream.rest()
    assert (text, end_of(frames)) == ("0 1 2 3 4 ", "stop")


@pytest.mark.parametrize("provider", ["count", "count-async"])
def test_a_provider_that_never_waits_does_not_starve_others(
    serve: Serve, kind: str, provider: str
) -> None:
    server = serve(kind)
    busy = Stream(server.url, f"/ai/{provider}", {"prompt": "?", "n": 60_000})
    status, _ = call(server.url, "/ai/health")
    assert status == 200
    text, frames = busy.rest()
    assert text == "".join(f"{n} " for n in range(60_000))
    assert end_of(frames) == "stop"


def test_heartbeats_keep_a_silent_stream_open(serve: Serve, kind: str) -> None:
    server = serve(kind, APP_AISTREAM_HEARTBEAT_SECONDS=0.1, APP_AISTREAM_COMMIT_SECONDS=0.05)
    stream = Stream(server.url, "/ai/mute", {"prompt": "?"})
    heard = b""
    while heard.count(b": ping\n") < 3:
        heard += stream.response.read1()
    assert b'event: run\ndata: {"run"' in heard
    assert b": ping\n\n" not in heard
    stream.leave()
    assert call(server.url, f"/ai/runs/{stream.run}/stop", {})[1]["stopped"] is True


def test_async_providers_run_side_by_side(serve: Serve, kind: str) -> None:
    server = serve(kind)
    asked = {"prompt": "?", "n": 20, "pause": 0.02}
    streams = [Stream(server.url, "/ai/count-async", asked) for _ in range(8)]
    texts = [stream.rest()[0] for stream in streams]
    assert texts == ["".join(f"{n} " for n in range(20))] * 8


def test_a_failure_before_the_first_token_is_an_http_error(serve: Serve, kind: str) -> None:
    server = serve(kind)
    status, answer = call(server.url, "/ai/fails-early", {"prompt": "?"})
    assert status == 500
    assert answer["error"]["code"] == "provider_error"
    assert "hunter2" not in json.dumps(answer)


def test_a_failure_in_mid_stream_is_sent_as_frames(serve: Serve, kind: str) -> None:
    server = serve(kind)
    stream = Stream(server.url, "/ai/fails-late", {"prompt": "?"})
    text, frames = stream.rest()
    assert (text, end_of(frames)) == ("so far ", "error")
    assert failure_of(frames)["code"] == "provider_error"
    assert b"hunter2" not in stream.raw
    assert "hunter2" in server.output()
    assert server.wait_fact("ended", stream.run)["outcome"] == "Failed"


def failure_of(frames: list[t.Any]) -> t.Any:
    return next(json.loads(frame.data) for frame in frames if frame.event == "failure")


class TestResuming:
    def test_the_starting_url_resumes_at_the_last_event_id(self, serve: Serve, kind: str) -> None:
        server = serve(kind)
        url = "/ai/count?prompt=x&n=40&pause=0.01"
        first = Stream(server.url, url)
        read = first.until("9 ")
        cursor = first.cursor
        first.reset()
        second = Stream(server.url, url, Last_Event_ID=cursor)
        rest, frames = second.rest()
        assert second.run == first.run
        assert read + rest == "".join(f"{n} " for n in range(40))
        assert end_of(frames) == "stop"
        assert len(server.facts("called", first.run)) == 1

    @pytest.mark.parametrize("where", ["header", "query", "body"])
    def test_resuming_at_any_record_repeats_and_loses_nothing(
        self, serve: Serve, kind: str, where: str
    ) -> None:
        server = serve(kind)
        first = Stream(server.url, "/ai/count", {"prompt": "?", "n": 7})
        _, frames = first.rest()
        for number, frame in enumerate(frames[:-1]):
            assert frame.id is not None
            text, rest = self.resumed(server.url, where, frame.id).rest()
            assert rest[0].id == f"{first.run}:{number + 1}"
            assert text == "".join(map(text_of, frames[number + 1 :]))

    def test_after_the_end_there_is_nothing_left_to_say(self, serve: Serve, kind: str) -> None:
        server = serve(kind)
        first = Stream(server.url, "/ai/count", {"prompt": "?", "n": 3})
        _, frames = first.rest()
        last = frames[-1].id
        assert last is not None
        again = Stream(server.url, "/ai/count?prompt=x", Last_Event_ID=last)
        assert (again.status, again.response.read()) == (204, b"")

    @pytest.mark.parametrize("reads", [True, False])
    def test_a_chat_has_nothing_to_resume_once_its_answer_was_acknowledged(
        self, serve: Serve, kind: str, reads: bool
    ) -> None:
        server, chat = serve(kind), secrets.token_hex(16)
        path = "/ai/count/ai-sdk"
        stream = Stream(server.url, path, {"id": chat, "prompt": "?", "n": 600}, receives=4096)
        if reads:
            stream.response.read()
        else:
            server.wait_fact("closed", stream.run)
            wait_for(
                lambda: call(server.url, f"/ai/runs/{stream.run}")[1]["status"] == "finished", "it"
            )
            stream.reset()
        again = f"{path}/{chat}/stream"
        if reads:
            wait_for(lambda: Stream(server.url, again).status == 204, "the acknowledgement")
        else:
            assert Stream(server.url, again).status == 200

    @staticmethod
    def resumed(url: str, where: str, cursor: str) -> Stream:
        if where == "header":
            return Stream(url, "/ai/count?prompt=x", Last_Event_ID=cursor)
        if where == "query":
            return Stream(url, f"/ai/count?prompt=x&last_event_id={cursor}")
        return Stream(url, "/ai/count", {"last_event_id": cursor})


def test_a_retried_start_attaches_to_the_run_it_started(serve: Serve, kind: str) -> None:
    server = serve(kind)
    asked = {"prompt": "?", "n": 30, "pause": 0.01}
    first = Stream(server.url, "/ai/count", asked, Idempotency_Key=f"a-long-enough-key-{kind}")
    first.until("3 ")
    first.reset()
    second = Stream(server.url, "/ai/count", asked, Idempotency_Key=f"a-long-enough-key-{kind}")
    text, _ = second.rest()
    assert second.run == first.run
    assert text == "".join(f"{n} " for n in range(30))
    assert len(server.facts("called", first.run)) == 1


def test_readers_of_one_run_read_the_same(serve: Serve, kind: str) -> None:
    server = serve(kind)
    first = Stream(server.url, "/ai/count", {"prompt": "?", "n": 50, "pause": 0.005})
    others = [Stream(server.url, f"/ai/runs/{first.run}/events") for _ in range(5)]
    texts = {stream.rest()[0] for stream in (first, *others)}
    assert texts == {"".join(f"{n} " for n in range(50))}
