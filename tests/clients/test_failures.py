"""Every client sees a failure as one, and none calls the provider twice."""

from __future__ import annotations

import asyncio
import inspect
import typing as t
from collections.abc import Callable

import httpx
import pytest

from tests.clients.conftest import Node
from tests.lazy import LazyModule

if t.TYPE_CHECKING:
    import agents
    import langchain_openai
    import openai
    import pydantic_ai
    from pydantic_ai.models import openai as openai_models
    from pydantic_ai.providers import openai as openai_providers
else:
    agents = LazyModule("agents")
    langchain_openai = LazyModule("langchain_openai")
    openai = LazyModule("openai")
    pydantic_ai = LazyModule("pydantic_ai")
    openai_models = LazyModule("pydantic_ai.models.openai")
    openai_providers = LazyModule("pydantic_ai.providers.openai")

FAILURES = [
    *(f"raises-{place}" for place in ("first", "slow", "thinking", "later")),
    *(f"429-{place}" for place in ("first", "slow", "thinking", "later")),
    *("interrupted-first", "interrupted-later", "503-first", "418-first", "409-later", "401-slow"),
]
"""What the provider does, and when: at first, after the response has begun, after reasoning, or after some text."""

MODEL = "broken"


Ask = Callable[[str], t.Any]


class SDKs(t.NamedTuple):
    """OpenAI's two clients, which the other Python clients are built on."""

    sync: openai.OpenAI
    asynchronous: openai.AsyncOpenAI


def openai_python(sdks: SDKs, kind: str, way: str) -> Ask:
    client = sdks.sync

    def ask(prompt: str) -> t.Any:
        messages: t.Any = [{"role": "user", "content": prompt}]
        if way == "helper":
            helper = (
                client.chat.completions.stream(model=MODEL, messages=messages)
                if kind == "chat"
                else client.responses.stream(model=MODEL, input=prompt)
            )
            with helper as events:
                return list(events)
        stream = way == "streaming"
        answer: t.Any = (
            client.chat.completions.create(model=MODEL, messages=messages, stream=stream)
            if kind == "chat"
            else client.responses.create(model=MODEL, input=prompt, stream=stream)
        )
        return list(answer) if stream else answer

    return ask


def langchain(sdks: SDKs, kind: str, way: str) -> Ask:
    chat = langchain_openai.ChatOpenAI(
        model=MODEL,
        base_url=str(sdks.sync.base_url),
        api_key="none",  # type: ignore[arg-type]
        use_responses_api=kind == "responses",
    )
    return (lambda prompt: list(chat.stream(prompt))) if way == "streaming" else chat.invoke


def pydantic_agent(sdks: SDKs, kind: str, way: str) -> Ask:
    client = sdks.asynchronous
    models = (openai_models.OpenAIChatModel, openai_models.OpenAIResponsesModel)
    provider = openai_providers.OpenAIProvider(openai_client=client)
    agent = pydantic_ai.Agent(models[kind == "responses"](MODEL, provider=provider))

    async def ask(prompt: str) -> None:
        if way == "whole":
            await agent.run(prompt)
            return
        async with agent.run_stream(prompt) as streamed:
            await streamed.get_output()

    return ask


def openai_agents(sdks: SDKs, kind: str, way: str) -> Ask:
    client = sdks.asynchronous
    model = agents.OpenAIChatCompletionsModel if kind == "chat" else agents.OpenAIResponsesModel
    agents.set_tracing_disabled(True)
    agent = agents.Agent(name="one", model=model(MODEL, client))

    async def ask(prompt: str) -> None:
        if way == "whole":
            await agents.Runner.run(agent, prompt)
            return
        async for _ in agents.Runner.run_streamed(agent, prompt).stream_events():
            pass

    return ask


Client = Callable[[SDKs, str, str], Ask]
CLIENTS = [
    *(
        pytest.param(
            client, kind, way, marks=() if client is openai_python else pytest.mark.nightly
        )
        for client in (openai_python, langchain, pydantic_agent, openai_agents)
        for kind in ("chat", "responses")
        for way in ("whole", "streaming")
    ),
    pytest.param(openai_python, "chat", "helper"),
    pytest.param(openai_python, "responses", "helper"),
]


def calls(url: str) -> dict[str, int]:
    answer = httpx.get(url.removesuffix("/ai") + "/calls")
    return t.cast("dict[str, int]", answer.json())


@pytest.mark.parametrize(("client", "kind", "way"), CLIENTS)
def test_a_python_client_sees_every_failure_and_asks_once(
    url: str, client: Client, kind: str, way: str
) -> None:
    prompts = [f"{failure} {client.__name__} {kind} {way}" for failure in FAILURES]

    async def outcomes() -> list[str]:
        options: t.Any = {"base_url": f"{url}/v1", "api_key": "none"}
        with openai.OpenAI(**options) as sync:
            async with openai.AsyncOpenAI(**options) as asynchronous:
                ask = client(SDKs(sync, asynchronous), kind, way)
                return [await outcome(ask, prompt) for prompt in prompts]

    outcome_of = dict(zip(prompts, asyncio.run(outcomes()), strict=True))
    counted = calls(url)
    assert outcome_of == dict.fromkeys(prompts, "failed")
    assert {prompt: counted.get(prompt) for prompt in prompts} == dict.fromkeys(prompts, 1)


async def outcome(ask: Ask, prompt: str) -> str:
    try:
        answer = ask(prompt)
        if inspect.isawaitable(answer):
            await answer
    except Exception:  # Each client has its own.
        return "failed"
    return "complete"


def test_javascript_clients_see_every_failure_and_ask_once(url: str, node: Node) -> None:
    outcomes = node("failures", failures=FAILURES)
    counted = calls(url)
    assert {prompt for prompt, outcome in outcomes.items() if outcome == "complete"} == set()
    assert {prompt: counted.get(prompt) for prompt in outcomes} == dict.fromkeys(outcomes, 1)
