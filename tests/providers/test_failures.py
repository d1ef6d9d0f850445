"""Exceptions of SDKs and HTTP clients, and error bodies, as failures with a code."""

from __future__ import annotations

import asyncio
import builtins
import http.client
import json
import ssl
import sys
import types
import typing as t
import urllib.error
from email.message import Message
from email.utils import formatdate

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import ProviderError
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.body import BodyReader
from flask_aistream.providers.failure import FAILURES
from flask_aistream.providers.failure import failure_of
from tests.lazy import LazyModule
from tests.providers.outcomes import outcome_of

aiohttp: t.Any = LazyModule("aiohttp")
anthropic: t.Any = LazyModule("anthropic")
genai_errors: t.Any = LazyModule("google.genai.errors")
httpx: t.Any = LazyModule("httpx")
httpx2: t.Any = LazyModule("httpx2")
ollama: t.Any = LazyModule("ollama")
openai: t.Any = LazyModule("openai")
pydantic_ai_exceptions: t.Any = LazyModule("pydantic_ai.exceptions")
requests: t.Any = LazyModule("requests")
urllib3: t.Any = LazyModule("urllib3")

NOW = 1_800_000_000.0


def of_openai(
    status: int, body: t.Any = None, headers: t.Mapping[str, str] = {}, sdk: t.Any = openai
) -> Exception:
    """As the SDK makes it of a response."""
    request = httpx2.Request("POST", "http://model/")
    response = httpx2.Response(status, json=body, headers=dict(headers), request=request)
    client = (sdk.OpenAI if sdk is openai else sdk.Anthropic)(api_key="none")
    return t.cast(Exception, client._make_status_error_from_response(response))


def of_anthropic(status: int, body: t.Any = None, headers: t.Mapping[str, str] = {}) -> Exception:
    return of_openai(status, body, headers, anthropic)


def of_google(status: int, words: str, message: str = "", details: t.Any = None) -> Exception:
    error = {"code": status, "status": words, "message": message, "details": details}
    kind = genai_errors.ServerError if status >= 500 else genai_errors.ClientError
    return t.cast(Exception, kind(status, {"error": error}))


def of_httpx(status: int, body: t.Any = None, library: t.Any = httpx) -> Exception:
    request = library.Request("POST", "http://model/")
    response = library.Response(status, json=body, request=request)
    return t.cast(Exception, library.HTTPStatusError("failed", request=request, response=response))


def of_requests(status: int, body: t.Any = None) -> Exception:
    response = requests.Response()
    response.status_code, response._content = status, json.dumps(body).encode()
    return t.cast(Exception, requests.HTTPError("failed", response=response))


def of_aiohttp(status: int, headers: t.Mapping[str, str] = {}) -> Exception:
    info: t.Any = types.SimpleNamespace(real_url="http://model/")
    return t.cast(
        Exception,
        aiohttp.ClientResponseError(info, (), status=status, headers=t.cast(t.Any, headers)),
    )


def of_urllib(status: int) -> Exception:
    return urllib.error.HTTPError("http://model/", status, "failed", Message(), None)


def timeout_of(sdk: t.Any) -> Exception:
    return t.cast(Exception, sdk.APITimeoutError(request=httpx2.Request("POST", "http://model/")))


def connection_of(sdk: t.Any) -> Exception:
    request = httpx2.Request("POST", "http://model/")
    return t.cast(Exception, sdk.APIConnectionError(message="no", request=request))


def in_stream(body: t.Any) -> Exception:
    request = httpx2.Request("POST", "http://model/")
    return t.cast(Exception, openai.APIError("failed", request=request, body=body))


def raised_from(error: BaseException, kind: t.Callable[[str], BaseException]) -> BaseException:
    made = kind("wrapped")
    made.__cause__ = error
    return made


def pool(error: type[Exception] | None = None) -> t.Any:
    return urllib3.HTTPConnectionPool("model", 1)


OPENAI_LONG = {"error": {"code": "context_length_exceeded", "message": "m", "type": "t"}}


def exceptions() -> dict[str, tuple[BaseException, str | None]]:
    """What SDKs and HTTP clients raise, and the code that it means."""
    return {
        "openai 401": (of_openai(401), "upstream_auth"),
        "openai 403": (of_openai(403), "upstream_auth"),
        "openai 404": (of_openai(404, {"error": {"code": "model_not_found"}}), "upstream_error"),
        "openai 408": (of_openai(408), "upstream_timeout"),
        "openai 409": (of_openai(409), "upstream_error"),
        "openai 413": (of_openai(413), "context_too_long"),
        "openai 422": (of_openai(422), "upstream_error"),
        "openai 429": (of_openai(429), "upstream_rate_limited"),
        "openai quota": (
            of_openai(429, {"error": {"code": "insufficient_quota"}}),
            "upstream_rate_limited",
        ),
        "openai 500": (of_openai(500), "upstream_unavailable"),
        "openai 502": (of_openai(502), "upstream_unavailable"),
        "openai 503": (of_openai(503), "upstream_unavailable"),
        "openai 504": (of_openai(504), "upstream_timeout"),
        "openai length": (of_openai(400, OPENAI_LONG), "context_too_long"),
        "openai policy": (
            of_openai(400, {"error": {"code": "content_policy_violation"}}),
            "content_refused",
        ),
        "Azure filter": (
            of_openai(
                400,
                {
                    "error": {
                        "code": "content_filter",
                        "innererror": {"code": "ResponsibleAIPolicyViolation"},
                    }
                },
            ),
            "content_refused",
        ),
        "openai timeout": (timeout_of(openai), "upstream_timeout"),
        "openai connection": (connection_of(openai), "upstream_unavailable"),
        "openai in the stream": (
            in_stream({"code": "server_error", "message": "m"}),
            "upstream_error",
        ),
        "a status in the stream": (
            in_stream({"code": 429, "message": "m"}),
            "upstream_rate_limited",
        ),
        "a status in words": (in_stream({"code": "503", "message": "m"}), "upstream_unavailable"),
        "openai validation": (
            openai.APIResponseValidationError(
                httpx2.Response(200, request=httpx2.Request("POST", "http://model/")), None
            ),
            "upstream_invalid",
        ),
        "openai filter": (openai.ContentFilterFinishReasonError(), "content_refused"),
        "openai cut": (
            openai.LengthFinishReasonError(
                completion=t.cast(t.Any, types.SimpleNamespace(usage=None))
            ),
            "upstream_incomplete",
        ),
        "anthropic 401": (of_anthropic(401), "upstream_auth"),
        "anthropic 413": (
            of_anthropic(413, {"type": "error", "error": {"type": "request_too_large"}}),
            "context_too_long",
        ),
        "anthropic 429": (of_anthropic(429), "upstream_rate_limited"),
        "anthropic 529": (
            of_anthropic(529, {"type": "error", "error": {"type": "overloaded_error"}}),
            "upstream_unavailable",
        ),
        "anthropic 400": (
            of_anthropic(
                400,
                {"type": "error", "error": {"message": "prompt is too long: 2 tokens > 1 maximum"}},
            ),
            "context_too_long",
        ),
        "anthropic limit": (
            of_anthropic(
                400, {"error": {"message": "input length and `max_tokens` exceed context limit: 3"}}
            ),
            "context_too_long",
        ),
        "anthropic overloaded in the stream": (
            of_anthropic(200, {"type": "error", "error": {"type": "overloaded_error"}}),
            "upstream_unavailable",
        ),
        "anthropic timeout": (timeout_of(anthropic), "upstream_timeout"),
        "anthropic connection": (connection_of(anthropic), "upstream_unavailable"),
        "google 400": (of_google(400, "INVALID_ARGUMENT", "Bad"), "upstream_error"),
        "google key": (
            of_google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            "upstream_auth",
        ),
        "google length": (
            of_google(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number"
            ),
            "context_too_long",
        ),
        "google 403": (of_google(403, "PERMISSION_DENIED"), "upstream_auth"),
        "google 429": (of_google(429, "RESOURCE_EXHAUSTED"), "upstream_rate_limited"),
        "google 503": (of_google(503, "UNAVAILABLE"), "upstream_unavailable"),
        "google 504": (of_google(504, "DEADLINE_EXCEEDED"), "upstream_timeout"),
        "ollama 404": (ollama.ResponseError("model 'm' not found", 404), "upstream_error"),
        "ollama 500": (
            ollama.ResponseError("llama runner terminated", 500),
            "upstream_unavailable",
        ),
        "ollama length": (
            ollama.ResponseError("the input length exceeds the context length", 500),
            "context_too_long",
        ),
        "ollama in the stream": (ollama.ResponseError("unexpected EOF"), "upstream_error"),
        "pydantic-ai 429": (
            pydantic_ai_exceptions.ModelHTTPError(429, "m", {"message": "m"}),
            "upstream_rate_limited",
        ),
        "pydantic-ai 400": (
            pydantic_ai_exceptions.ModelHTTPError(400, "m", OPENAI_LONG["error"]),
            "context_too_long",
        ),
        "pydantic-ai connection": (
            raised_from(
                connection_of(openai), lambda it: pydantic_ai_exceptions.ModelAPIError("m", it)
            ),
            "upstream_unavailable",
        ),
        "pydantic-ai fallback": (
            pydantic_ai_exceptions.FallbackExceptionGroup("all", [of_openai(401), of_openai(503)]),
            "upstream_auth",
        ),
        "pydantic-ai nothing": (
            pydantic_ai_exceptions.UnexpectedModelBehavior("Received empty model response"),
            "upstream_invalid",
        ),
        "httpx status": (of_httpx(401), "upstream_auth"),
        "httpx2 body": (of_httpx(400, OPENAI_LONG, httpx2), "context_too_long"),
        "httpx read": (httpx.ReadError("cut"), "upstream_unavailable"),
        "httpx protocol": (httpx.RemoteProtocolError("cut"), "upstream_unavailable"),
        "httpx connect": (httpx.ConnectError("refused"), "upstream_unavailable"),
        "httpx connect timeout": (httpx.ConnectTimeout("slow"), "upstream_timeout"),
        "httpx pool": (httpx.PoolTimeout("full"), "upstream_timeout"),
        "httpx proxy": (httpx.ProxyError("no"), "upstream_unavailable"),
        "httpx decoding": (httpx.DecodingError("gzip"), "upstream_invalid"),
        "httpx redirects": (httpx.TooManyRedirects("loop"), "upstream_invalid"),
        "httpx consumed": (httpx.StreamConsumed(), None),
        "requests status": (of_requests(429), "upstream_rate_limited"),
        "requests body": (of_requests(400, OPENAI_LONG), "context_too_long"),
        "requests connection": (requests.ConnectionError("no"), "upstream_unavailable"),
        "requests connect timeout": (requests.ConnectTimeout("slow"), "upstream_timeout"),
        "requests read timeout": (requests.ReadTimeout("slow"), "upstream_timeout"),
        "requests chunked": (
            requests.exceptions.ChunkedEncodingError("cut"),
            "upstream_unavailable",
        ),
        "requests decoding": (requests.exceptions.ContentDecodingError("gzip"), "upstream_invalid"),
        "requests JSON": (requests.JSONDecodeError("no", "", 0), "upstream_invalid"),
        "requests TLS": (requests.exceptions.SSLError("expired"), "upstream_unavailable"),
        "requests URL": (requests.exceptions.MissingSchema("no"), None),
        "urllib3 refused": (
            urllib3.exceptions.MaxRetryError(
                pool(), "/", urllib3.exceptions.NewConnectionError(t.cast(t.Any, None), "refused")
            ),
            "upstream_unavailable",
        ),
        "urllib3 slow": (
            urllib3.exceptions.MaxRetryError(
                pool(), "/", urllib3.exceptions.ConnectTimeoutError("slow")
            ),
            "upstream_timeout",
        ),
        "urllib3 read": (
            urllib3.exceptions.ReadTimeoutError(pool(), "/", "slow"),
            "upstream_timeout",
        ),
        "urllib3 protocol": (urllib3.exceptions.ProtocolError("cut"), "upstream_unavailable"),
        "urllib3 incomplete": (urllib3.exceptions.IncompleteRead(1, 2), "upstream_unavailable"),
        "urllib3 gzip": (urllib3.exceptions.DecodeError("gzip"), "upstream_invalid"),
        "urllib3 TLS": (urllib3.exceptions.SSLError("expired"), "upstream_unavailable"),
        "aiohttp 429": (of_aiohttp(429), "upstream_rate_limited"),
        "aiohttp disconnected": (aiohttp.ServerDisconnectedError(), "upstream_unavailable"),
        "aiohttp payload": (aiohttp.ClientPayloadError("cut"), "upstream_unavailable"),
        "aiohttp timeout": (aiohttp.ServerTimeoutError("slow"), "upstream_timeout"),
        "aiohttp socket timeout": (aiohttp.SocketTimeoutError("slow"), "upstream_timeout"),
        "aiohttp OS": (aiohttp.ClientOSError(104, "reset"), "upstream_unavailable"),
        "aiohttp type": (
            aiohttp.ContentTypeError(t.cast(t.Any, None), (), status=200),
            "upstream_invalid",
        ),
        "http.client disconnected": (
            http.client.RemoteDisconnected("gone"),
            "upstream_unavailable",
        ),
        "http.client incomplete": (http.client.IncompleteRead(b""), "upstream_unavailable"),
        "http.client status line": (http.client.BadStatusLine("x"), "upstream_invalid"),
        "http.client headers": (
            http.client.HTTPException("got more than 100 headers"),
            "upstream_invalid",
        ),
        "http.client misused": (http.client.CannotSendRequest(), None),
        "urllib 503": (of_urllib(503), "upstream_unavailable"),
        "urllib refused": (urllib.error.URLError(ConnectionRefusedError()), "upstream_unavailable"),
        "wrapped": (raised_from(of_openai(429), RuntimeError), "upstream_rate_limited"),
        "wrapped twice": (
            raised_from(raised_from(of_openai(401), ValueError), RuntimeError),
            "upstream_auth",
        ),
        "a circle": (raised_from(RuntimeError("a"), RuntimeError), None),
        "a bug": (ValueError("no"), None),
        "a bug from a bug": (raised_from(KeyError("no"), RuntimeError), None),
        "not a service's": (ConnectionRefusedError(), None),
        "an unset key": (openai.OpenAIError("The api_key client option must be set"), None),
    }


def test_an_exception_of_a_known_library_has_a_code() -> None:
    for case, (error, code) in exceptions().items():
        found = failure_of(error)
        assert (found.code if found else None) == code, case
        if found:
            assert (found.status, str(found)) == FAILURES[found.code], case


def test_an_exception_that_was_raised_from_itself_ends() -> None:
    error = RuntimeError("a")
    error.__cause__ = raised_from(error, ValueError)

    assert failure_of(error) is None


def groups() -> dict[str, tuple[list[BaseException], str]]:
    """The members of exception groups, and the code that they mean."""
    return {
        "one": ([of_openai(429)], "upstream_rate_limited"),
        "several": ([of_openai(503), of_openai(401)], "upstream_unavailable"),
        "nested": ([raised_from(of_openai(401), RuntimeError)], "upstream_auth"),
        "with a bug": ([of_openai(503), KeyError("bug")], "provider_error"),
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Exception groups came with Python 3.11.")
def test_a_group_is_the_failure_of_its_members_unless_one_is_a_bug() -> None:
    for case, (members, code) in groups().items():
        outcome = outcome_of(lambda request, members=members: group_after_text(members))
        assert (outcome.fold.text, outcome.code) == ("a", code), case


def group_after_text(members: list[BaseException]) -> t.Iterator[str]:
    yield "a"
    raise vars(builtins)["ExceptionGroup"]("several", members)


# When to ask again

RESETS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
WAITS: dict[str, tuple[t.Mapping[str, str], float | None]] = {
    "seconds": ({"retry-after": "7"}, 7),
    "a fraction": ({"Retry-After": "1.5"}, 1.5),
    "milliseconds": ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    "a date": ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
    "a date, by the server's clock": (
        {
            "retry-after": formatdate(NOW + 30, usegmt=True),
            "date": formatdate(NOW + 20, usegmt=True),
        },
        10,
    ),
    "a date in the past": ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
    "a reset": (RESETS, 360),
    "the reset of what is used up": (
        RESETS | {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "8m"},
        360,
    ),
    "the longest reset": (
        {"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "2m59.56s"},
        179.56,
    ),
    "no number": ({"retry-after": "soon"}, None),
    "negative": ({"retry-after": "-1"}, None),
    "infinite": ({"retry-after": "inf"}, None),
    "years": ({"retry-after": "99999999"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("case", WAITS)
def test_the_service_says_when_to_ask_again(case: str) -> None:
    headers, seconds = WAITS[case]
    for error in (
        of_openai(429, headers=headers),
        of_anthropic(429, headers=headers),
        of_aiohttp(429, headers),
        raised_from(of_openai(429, headers=headers), RuntimeError),
    ):
        found = failure_of(error, NOW)
        assert found is not None
        assert found.retry_after == (None if seconds is None else pytest.approx(seconds))


def test_googles_delay_is_passed_on() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]
    found = failure_of(of_google(429, "RESOURCE_EXHAUSTED", details=details))

    assert found is not None
    assert found.retry_after == 7.5


def test_only_what_passes_with_time_is_to_be_asked_again() -> None:
    found = failure_of(of_openai(400, OPENAI_LONG, RESETS | {"retry-after": "3"}))

    assert found is not None
    assert found.retry_after is None


# Bodies of error statuses, read raw

BODIES: tuple[tuple[int, t.Any, str], ...] = (
    (400, {"error": {"message": "This model's maximum context length is 9 tokens."}}, "long"),
    (400, {"object": "error", "message": "The decoder prompt (length 9) is longer than the maximum model length of 4"}, "long"),
    (400, {"error": {"type": "exceed_context_size_error", "message": "m", "code": 400}}, "long"),
    (400, {"error": "Trying to keep the first 9 tokens when context overflows: context length of 4"}, "long"),
    (400, {"error": {"message": "Please reduce the length of the messages or completion."}}, "long"),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4"}, "long"),
    (400, {"message": "Input is too long for requested model."}, "long"),
    (400, {"message": "too many tokens: total number of tokens in the prompt exceeds the limit"}, "long"),
    (400, {"error": "This model's maximum prompt length is 4 but the request contains 9"}, "long"),
    (413, {"error": {"code": "tokens_limit_reached", "message": "Max size: 4 tokens"}}, "long"),
    (400, {"code": "InvalidParameter", "message": "Range of input length should be [1, 4]"}, "long"),
    (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, "long"),
    (400, {"error": {"message": "Invalid request: Your request exceeded model token limit: 4"}}, "long"),
    (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (9) exceeds the maximum number of tokens allowed (4)."}}], "long"),
    (400, {"error": {"code": "string_above_max_length", "message": "string too long"}}, "long"),
    (400, {"error": {"code": "content_filter", "innererror": {}}}, "refused"),
    (400, {"error": {"code": "invalid_prompt", "message": "flagged as potentially violating our usage policy"}}, "refused"),
    (400, {"code": "DataInspectionFailed", "message": "m"}, "refused"),
    (400, {"error": {"message": "Content Exists Risk"}}, "refused"),
    (400, {"type": "error", "error": {"message": "Output blocked by content filtering policy"}}, "refused"),
    (403, {"error": {"code": 403, "message": "Your input was flagged"}}, "refused"),
    (403, {"code": "m", "error": "Content violates usage guidelines."}, "refused"),
    (403, {"error": {"message": "Country not supported"}}, "auth"),
    (401, {"detail": "Unauthorized"}, "auth"),
    (400, {"error": {"message": "Incorrect API key provided: xai-1"}}, "auth"),
    (413, {"error": {"code": "rate_limit_exceeded", "type": "tokens", "message": "Request too large on tokens per minute"}}, "limited"),
    (429, {"error": {"code": "insufficient_quota"}}, "limited"),
    (429, "slow down", "limited"),
    (404, {"error": {"code": "model_not_found", "message": "The model `x` does not exist"}}, "error"),
    (404, {"error": "model 'x' not found"}, "error"),
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "error"),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "error"),
    (500, {"error": {"message": "context length exceeded"}}, "long"),
    (500, {"error": {"message": "rate limit of an inner service"}}, "unavailable"),
    (502, "<html><h1>502 Bad Gateway</h1>", "unavailable"),
    (503, {"error": {"code": 503, "status": "UNAVAILABLE"}}, "unavailable"),
    (504, "", "timeout"),
    (524, "<html>", "timeout"),
    (529, {"type": "error", "error": {"type": "overloaded_error"}}, "unavailable"),
    (408, None, "timeout"),
    (400, "<html>context length", "error"),
    (301, "", "invalid"),
)  # fmt: skip
CODES = {
    "long": "context_too_long",
    "refused": "content_refused",
    "auth": "upstream_auth",
    "limited": "upstream_rate_limited",
    "error": "upstream_error",
    "unavailable": "upstream_unavailable",
    "timeout": "upstream_timeout",
    "invalid": "upstream_invalid",
}


@pytest.mark.parametrize(("status", "body", "word"), BODIES)
def test_an_error_status_has_a_code_by_its_body(status: int, body: t.Any, word: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    reader = BodyReader(status, {"Retry-After": "7"}, Accounting())

    assert reader.is_error
    with pytest.raises(ProviderError) as raised:
        reader.raise_for_status(text.encode())

    assert raised.value.code == CODES[word]
    assert raised.value.retry_after == (7 if word in ("limited", "unavailable") else None)
    assert text[:20] in str(raised.value.__cause__) or not isinstance(body, str)


# Wherever it is raised


def before(error: BaseException) -> t.Any:
    raise error


def after(error: BaseException) -> t.Iterator[str]:
    yield "a"
    raise error


async def before_async(error: BaseException) -> t.Any:
    raise error


async def after_async(error: BaseException) -> t.AsyncIterator[str]:
    yield "a"
    raise error


async def in_a_task(error: BaseException) -> t.AsyncIterator[str]:
    yield "a"
    await asyncio.gather(before_async(error), asyncio.sleep(0))


PLACES: dict[str, t.Callable[[BaseException], t.Any]] = {
    "before": before,
    "after": after,
    "before, async": before_async,
    "after, async": after_async,
    "in a task": in_a_task,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_failure_is_the_same_wherever_it_is_raised(place: str) -> None:
    error = of_openai(429, headers={"retry-after": "7"})
    outcome = outcome_of(lambda request: PLACES[place](error))

    assert outcome.terminal == ev.Failed(
        "upstream_rate_limited", FAILURES["upstream_rate_limited"][1], 429, 7
    )
    assert outcome.fold.text == ("" if place.startswith("before") else "a")


UNREADABLE = [b"data: {broken\n\n", b'data: {"a": \n\n', b"data: NaNN\n\n"]


@pytest.mark.parametrize("body", UNREADABLE)
def test_what_an_sdk_cannot_read_is_the_services_fault(body: bytes) -> None:
    from tests.upstream import memory
    from tests.upstream.scripted import Script

    memory.WIRE.script = Script([body])
    for wire in ("openai-chat", "openai-responses", "anthropic", "gemini"):
        outcome = outcome_of(lambda request, wire=wire: memory.parsed(wire))
        assert outcome.code in ("upstream_invalid", "upstream_incomplete"), wire


def test_json_that_the_application_cannot_read_is_its_own_bug() -> None:
    assert outcome_of(lambda request: json.loads("{broken")).code == "provider_error"


def test_a_tls_error_of_a_client_is_unavailable() -> None:
    assert failure_of(raised_from(ssl.SSLError("bad"), httpx.ConnectError)) is not None
