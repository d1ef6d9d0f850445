"""Other Python clients: httpx-sse, AG-UI's own models, and frameworks that speak OpenAI."""

from __future__ import annotations

import asyncio
import json
import typing as t

import httpx
import pytest
from httpx_sse import aconnect_sse
from httpx_sse import connect_sse

from tests.clients.stories import joined
from tests.clients.stories import text_of
from tests.lazy import LazyModule
from tests.protocols.stories import STORIES

if t.TYPE_CHECKING:
    import langchain_openai
    import openai
    import pydantic
    import pydantic_ai
    from ag_ui import core as ag_ui
else:
    ag_ui = LazyModule("ag_ui.core")
    langchain_openai = LazyModule("langchain_openai")
    openai = LazyModule("openai")
    pydantic = LazyModule("pydantic")
    pydantic_ai = LazyModule("pydantic_ai")

TELLING = ["text", "reasoning", "sources-data", "files", "steps", "odd"]


@pytest.mark.parametrize("story", STORIES)
def test_httpx_sse_reads_the_native_protocol(url: str, story: str) -> None:
    with (
        httpx.Client() as client,
        connect_sse(client, "GET", f"{url}/tell?prompt={story}") as source,
    ):
        events = list(source.iter_sse())
    assert all(event.data for event in events)
    messages = [json.loads(event.data) for event in events if event.event == "message"]
    assert joined("".join(m.get("text", "") for m in messages)) == joined(text_of(story))
    assert [m["action"] for m in messages if "action" in m] == ["terminate"]


def test_httpx_sse_reads_asynchronously_and_resumes(url: str) -> None:
    async def read() -> tuple[list[str], list[str]]:
        async with httpx.AsyncClient() as client:
            async with aconnect_sse(
                client, "POST", f"{url}/tell", json={"prompt": "text"}
            ) as source:
                events = [event async for event in source.aiter_sse()]
            headers = {"Last-Event-ID": events[1].id}
            async with aconnect_sse(client, "GET", f"{url}/tell", headers=headers) as source:
                rest = [event async for event in source.aiter_sse()]
        return [event.data for event in events], [event.data for event in rest]

    events, rest = asyncio.run(read())
    assert rest == events[2:]


@pytest.mark.parametrize("story", STORIES)
def test_ag_ui_events_are_valid_by_its_own_models(url: str, story: str) -> None:
    asked = ag_ui.RunAgentInput(
        thread_id="t1",
        run_id="u1",
        messages=[ag_ui.UserMessage(id="1", role="user", content=story)],
    ).model_dump(by_alias=True, exclude_none=True, mode="json")
    adapter: pydantic.TypeAdapter[t.Any] = pydantic.TypeAdapter(ag_ui.Event)
    with (
        httpx.Client() as client,
        connect_sse(client, "POST", f"{url}/tell/ag-ui", json=asked) as source,
    ):
        events = [adapter.validate_json(event.data, strict=True) for event in source.iter_sse()]
    text = "".join(event.delta for event in events if event.type == "TEXT_MESSAGE_CONTENT")
    assert joined(text) == joined(text_of(story))
    assert (events[0].thread_id, events[0].run_id) == ("t1", "u1")
    assert [event.type for event in events][-1] in ("RUN_FINISHED", "RUN_ERROR")


async def with_agent(url: str, model: str, use: t.Callable[[pydantic_ai.Agent], t.Any]) -> t.Any:
    from pydantic_ai.models import openai as models
    from pydantic_ai.providers.openai import OpenAIProvider

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        kind = getattr(models, model)
        return await use(
            pydantic_ai.Agent(kind("tell", provider=OpenAIProvider(openai_client=client)))
        )


# The output of an agent is only the last text part; earlier ones are in its messages.
LAST = {"reasoning": "Yes.", "files": "done.", "steps": "second"}


@pytest.mark.parametrize("story", TELLING)
@pytest.mark.parametrize("model", ["OpenAIChatModel", "OpenAIResponsesModel"])
def test_a_pydantic_ai_agent_runs_on_a_provider(url: str, model: str, story: str) -> None:
    async def run(agent: pydantic_ai.Agent) -> tuple[str, str]:
        async with agent.run_stream(story) as streamed:
            await streamed.get_output()
            parts = [part for message in streamed.all_messages() for part in message.parts]
            told = [getattr(part, "content", "") for part in parts]
        return "".join(map(str, told)), (await agent.run(story)).output

    streamed, whole = asyncio.run(with_agent(url, model, run))
    expected = joined(LAST.get(story, text_of(story)))
    assert streamed.endswith(expected)
    assert joined(whole).endswith(expected)


@pytest.mark.parametrize("story", ["refused", "failed"])
@pytest.mark.parametrize("model", ["OpenAIChatModel", "OpenAIResponsesModel"])
def test_a_pydantic_ai_agent_raises_on_a_failure(url: str, model: str, story: str) -> None:
    async def run(agent: pydantic_ai.Agent) -> None:
        async with agent.run_stream(story) as streamed:
            await streamed.get_output()

    with pytest.raises((pydantic_ai.exceptions.AgentRunError, openai.APIError)):
        asyncio.run(with_agent(url, model, run))


@pytest.mark.parametrize("responses", [False, True])
def test_langchain_raises_on_a_failure_in_mid_answer(url: str, responses: bool) -> None:
    chat = langchain_openai.ChatOpenAI(
        model="tell",
        base_url=f"{url}/v1",
        api_key="none",  # type: ignore[arg-type]
        use_responses_api=responses,
    )
    with pytest.raises(openai.APIError, match="The model did not answer"):
        list(chat.stream("failed"))


@pytest.mark.parametrize("story", TELLING)
def test_langchain_runs_on_a_provider(url: str, story: str) -> None:
    chat = langchain_openai.ChatOpenAI(model="tell", base_url=f"{url}/v1", api_key="none")  # type: ignore[arg-type]
    assert joined("".join(str(chunk.text) for chunk in chat.stream(story))) == joined(
        text_of(story)
    )
    assert joined(str(chat.invoke(story).text)) == joined(text_of(story))


def test_langchain_calls_the_tools_a_provider_asks_for(url: str) -> None:
    chat = langchain_openai.ChatOpenAI(model="tell", base_url=f"{url}/v1", api_key="none")  # type: ignore[arg-type]
    calls = chat.invoke("pending-tool").tool_calls
    assert [(call["name"], call["args"]) for call in calls] == [("confirm", {"amount": 5})]
