"""The lean transport behaves like the SDK's own: errors, retries, pool, proxies, TLS."""

from __future__ import annotations

import gzip
import ssl
import threading
import typing as t

import pytest

from flask_aistream.core import events as ev
from flask_aistream.upstream import http_client
from flask_aistream.upstream.transport import MAX_ERROR
from flask_aistream.upstream.transport import transport_class
from tests.lazy import LazyModule
from tests.providers.outcomes import outcome_of
from tests.upstream.scripted import Script
from tests.upstream.scripted import Scripted
from tests.upstream.scripted import event_stream

if t.TYPE_CHECKING:
    import openai
else:
    openai = LazyModule("openai")

ASKED: dict[str, t.Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Say it."}],
    "stream": True,
}


def chunk(content: str | None, finish: str | None = None) -> dict[str, t.Any]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


HELLO = event_stream([chunk("Hel"), chunk("lo"), chunk(None, "stop")], done=True)


def client_of(url: str, retries: int = 0, **options: t.Any) -> openai.OpenAI:
    made = http_client(**options)
    return openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=retries, http_client=made)


def ask(client: openai.OpenAI) -> t.Any:
    return outcome_of(
        lambda request: client.chat.completions.with_streaming_response.create(**ASKED)
    )


def test_an_answer_comes_through_raw_and_parsed() -> None:
    with Scripted(Script(HELLO)) as server, client_of(server.url) as client:
        raw = ask(client)
        parsed = outcome_of(lambda request: client.chat.completions.create(**ASKED))

    assert raw == parsed
    assert (raw.fold.text, raw.terminal) == ("Hello", ev.Finished("stop"))
    assert server.requests == [ASKED, ASKED]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "AuthenticationError"),
        (429, "RateLimitError"),
        (400, "BadRequestError"),
        (503, "InternalServerError"),
    ],
)
def test_an_error_status_is_the_sdks_own_error(status: int, error: str) -> None:
    script = Script([b"{}"], "application/json", status=status, length=True)
    with (
        Scripted(script) as server,
        client_of(server.url) as client,
        pytest.raises(getattr(openai, error)),
    ):
        client.chat.completions.create(**ASKED)


def test_the_sdk_retries_what_it_retries_over_its_own_transport() -> None:
    away = Script([b"{}"], status=503, headers={"Retry-After": "0"}, length=True)
    with Scripted(away, Script(HELLO)) as server, client_of(server.url, retries=1) as client:
        assert ask(client).fold.text == "Hello"
        assert len(server.requests) == 2


def test_a_refused_connection_is_a_connection_error() -> None:
    with client_of("http://127.0.0.1:9") as client:
        with pytest.raises(openai.APIConnectionError) as raised:
            client.models.list()
        assert not isinstance(raised.value, openai.APITimeoutError)
        assert ask(client).code == "upstream_unavailable"


@pytest.mark.parametrize("before", [[], HELLO[:1]], ids=["before the answer", "in the middle"])
def test_silence_beyond_the_read_timeout_is_a_timeout(before: list[bytes]) -> None:
    leave = threading.Event()
    script = Script([*before, lambda: leave.wait(5)])
    with Scripted(script) as server, client_of(server.url, timeout=0.2) as client:
        outcome = ask(client)
        leave.set()

    assert outcome.code == "upstream_timeout"


def cut() -> t.NoReturn:
    raise OSError("cut")


def test_a_cut_connection_is_unavailable() -> None:
    with Scripted(Script([HELLO[0], cut])) as server, client_of(server.url) as client:
        outcome = ask(client)

    assert (outcome.fold.text, outcome.code) == ("Hel", "upstream_unavailable")


def test_a_connection_is_used_again_after_a_complete_answer() -> None:
    with Scripted(Script(HELLO)) as server, client_of(server.url) as client:
        completions = client.chat.completions.with_streaming_response
        for _ in range(3):
            with completions.create(**ASKED) as response:
                assert b"[DONE]" in response.read()

    assert len(server.connections) == 1


def test_an_answer_that_is_left_closes_its_connection() -> None:
    more = threading.Event()
    endless = [HELLO[0]] * 10_000
    with Scripted(Script([HELLO[0], lambda: more.wait(5), *endless])) as server:
        with client_of(server.url) as client:
            completions = client.chat.completions.with_streaming_response
            with completions.create(**ASKED) as response:
                next(iter(response.iter_bytes()))
        more.set()
        assert server.gone.wait(5)


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scripted(Script(HELLO)) as proxy, Scripted(Script(HELLO)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with client_of("http://model.invalid") as client:
            assert ask(client).fold.text == "Hello"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with client_of(server.url) as client:
            assert ask(client).fold.text == "Hello"

    assert (len(proxy.requests), len(server.requests)) == (1, 1)


def test_certificates_are_verified_unless_that_is_switched_off() -> None:
    import httpx2

    def context_of(verify: t.Any) -> ssl.SSLContext:
        made = transport_class(httpx2)(connections=1, verify=verify, cert=None, proxy=None)
        pool: t.Any = made._pool.connection_from_url("https://127.0.0.1:1")
        connection = pool._get_conn()
        return t.cast(ssl.SSLContext, connection.cert_reqs)

    assert str(context_of(True)) == "CERT_REQUIRED"
    assert str(context_of(False)) == "CERT_NONE"


BOMB = gzip.compress(b"x" * 50_000_000)
LARGE_ERRORS = {
    "long": Script([b"x" * 65536] * 400, "text/html", status=500),
    "long, of a known length": Script([b"x" * 20_000_000], status=500, length=True),
    "compressed": Script([BOMB], status=500, headers={"Content-Encoding": "gzip"}),
    "no gzip": Script([b"garbage"], status=500, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("body", LARGE_ERRORS)
def test_only_the_beginning_of_an_errors_body_is_read(body: str) -> None:
    with Scripted(LARGE_ERRORS[body]) as server, client_of(server.url) as client:
        with pytest.raises(openai.APIError) as raised:
            client.chat.completions.create(**ASKED)
        outcome = ask(client)

    assert outcome.code == "upstream_unavailable"
    response = getattr(raised.value, "response", None)
    assert response is None or len(response.content) <= MAX_ERROR
