"""The models that answer, each with its real SDK and a local vendor."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from example_app import create_app
from example_app.models.choose import choose
from tests.example.serving import environ_in
from tests.upstream.server import Upstream

ClientOf: t.TypeAlias = Callable[[dict[str, str]], FlaskClient]

OPENAI = {"OPENAI_API_KEY": "key"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "key"}

OFFLINE = "Offline: quotes this project's documentation"

CHOICES = [
    pytest.param({}, [OFFLINE], id="nothing set"),
    pytest.param({"OPENAI_API_KEY": ""}, [OFFLINE], id="set empty"),
    pytest.param(OPENAI, ["gpt-4o-mini at api.openai.com"], id="OpenAI's key"),
    pytest.param(
        {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_MODEL": "small"},
        ["small at 127.0.0.1"],
        id="a server that speaks OpenAI, without a key",
    ),
    pytest.param(ANTHROPIC, ["claude-haiku-4-5 at api.anthropic.com"], id="Anthropic's key"),
    pytest.param(
        ANTHROPIC | {"ANTHROPIC_MODEL": "large, small,"},
        ["large at api.anthropic.com", "small at api.anthropic.com"],
        id="two models",
    ),
    pytest.param(
        ANTHROPIC | OPENAI,
        ["gpt-4o-mini at api.openai.com", "claude-haiku-4-5 at api.anthropic.com"],
        id="both keys",
    ),
]


@pytest.fixture
def client_of(tmp_path: Path) -> ClientOf:
    """Make a client of the application that has an environment."""
    return lambda environ: create_app(environ | environ_in(tmp_path)).test_client()


@pytest.mark.parametrize(("environ", "titles"), CHOICES)
def test_the_environment_chooses_the_models(environ: dict[str, str], titles: list[str]) -> None:
    assert [model.title for model in choose(environ)] == titles


@pytest.mark.parametrize(
    ("model", "code"), [("no", "model_unknown"), (["a"], "model_unknown"), ("error-401", "upstream_auth")]
)  # fmt: skip
def test_a_request_names_its_model(
    upstream: Upstream, client_of: ClientOf, model: t.Any, code: str
) -> None:
    client = client_of(environ_of("OPENAI", upstream, "hello,error-401"))
    response = client.post("/ai/chat", json={"prompt": "Hi", "model": model})
    assert code in response.text
    assert '{"text":"Hel"}' in client.post("/ai/chat", json={"prompt": "Hi"}).text


def environ_of(vendor: str, upstream: Upstream, model: str) -> dict[str, str]:
    path = "/v1" if vendor == "OPENAI" else ""
    return {f"{vendor}_BASE_URL": upstream.url + path, f"{vendor}_MODEL": model}


def ask(client: FlaskClient) -> t.Any:
    messages = [{"role": "user", "content": "Hi"}]
    return client.post("/ai/chat", json={"messages": messages})


@pytest.mark.parametrize("vendor", ["OPENAI", "ANTHROPIC"])
def test_a_model_answers_through_its_own_sdk(
    upstream: Upstream, client_of: ClientOf, vendor: str
) -> None:
    response = ask(client_of(environ_of(vendor, upstream, "hello")))
    assert '{"text":"Hel"}' in response.text
    assert '"output_tokens":7' in response.text
    assert '{"action":"terminate","reason":"stop"}' in response.text


@pytest.mark.parametrize("vendor", ["OPENAI", "ANTHROPIC"])
@pytest.mark.parametrize(("status", "code"), [(400, "upstream_error"), (401, "upstream_auth")])
def test_a_refusal_has_a_code_and_no_details(
    upstream: Upstream, client_of: ClientOf, vendor: str, status: int, code: str
) -> None:
    response = ask(client_of(environ_of(vendor, upstream, f"error-{status}")))
    assert f'"{code}"' in response.text
    assert "on purpose" not in response.text


@pytest.mark.parametrize("vendor", ["OPENAI", "ANTHROPIC"])
def test_a_service_that_is_not_there_is_told(client_of: ClientOf, vendor: str) -> None:
    response = ask(client_of({f"{vendor}_BASE_URL": "http://127.0.0.1:1"}))
    assert '"upstream_unavailable"' in response.text


def test_anthropic_gets_the_system_text_apart_and_no_empty_turns() -> None:
    from example_app.models.anthropic_messages import split

    messages: list[dict[str, t.Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "no"},
        {"role": "user", "content": "Again"},
    ]
    assert split(messages) == (
        "Be brief.",
        [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Again"}],
    )
