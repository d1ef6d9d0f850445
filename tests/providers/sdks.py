"""Every SDK, called in every way its documentation shows, at the local upstream.

The code runs with the newest and with the lowest supported version of each SDK; what only one of them
has says so by ``Call.exists``. Nothing is imported before a call is made.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from tests.providers.expected import COUNTS
from tests.providers.expected import Carries

MESSAGES: list[t.Any] = [{"role": "user", "content": "Say it."}]
ALL = Carries()


@dataclass(frozen=True)
class Call:
    """One way of asking a model.

    :param ask: Given the upstream's address and a model, what a provider would return.
    :param without: Stories that the SDK itself does not tell, or not that they break off, and why.
    :param leaves: Who stops reading stops the vendor.
    :param streams: Chunks arrive while the model still speaks.
    :param exists: Whether the installed version of the SDK has it.
    """

    name: str
    ask: Callable[[str, str], t.Any]
    carries: Carries = ALL
    without: Mapping[str, str] = field(default_factory=dict)
    leaves: bool = True
    streams: bool = True
    exists: Callable[[], bool] = lambda: True


def installed(distribution: str) -> tuple[int, ...]:
    """The version that is here, ``()`` for none."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(number) for number in version.split(".")[:2])


@functools.cache
def client_of(sdk: str, kind: str, url: str) -> t.Any:
    """Making a client costs more than all it is used for here."""
    make = getattr(importlib.import_module(sdk), kind)
    return make(base_url=url, api_key="none", max_retries=0)


def openai_client(url: str, kind: str = "OpenAI") -> t.Any:
    return client_of("openai", kind, f"{url}/v1")


def openai_chat() -> Iterator[Call]:
    client = openai_client

    def stream(url: str, model: str) -> t.Iterator[t.Any]:
        usage = {"extra_body": {"stream_options": {"include_usage": True}}}
        yield from client(url).chat.completions.create(
            model=model, messages=MESSAGES, stream=True, **usage
        )

    async def astream(url: str, model: str) -> t.AsyncIterator[t.Any]:
        openai = client(url, "AsyncOpenAI")
        asked = {"model": model, "messages": MESSAGES, "stream": True}
        async for chunk in await openai.chat.completions.create(**asked):
            yield chunk

    def returned(url: str, model: str) -> t.Any:
        return client(url).chat.completions.create(model=model, messages=MESSAGES, stream=True)

    def whole(url: str, model: str) -> t.Any:
        return client(url).chat.completions.create(model=model, messages=MESSAGES)

    def helper(url: str, model: str) -> t.Any:
        chat = client(url).chat.completions
        return chat.stream(model=model, messages=MESSAGES, stream_options={"include_usage": True})

    async def ahelper(url: str, model: str) -> t.AsyncIterator[t.Any]:
        asked = {"stream_options": {"include_usage": True}}
        chat = client(url, "AsyncOpenAI").chat.completions
        async with chat.stream(model=model, messages=MESSAGES, **asked) as events:
            async for event in events:
                yield event

    unasked = ALL.but(usage=frozenset())
    yield Call("stream", stream)
    yield Call("async", astream, unasked)
    yield Call("stream returned", returned, unasked)
    yield Call("whole", whole, streams=False)

    def has_helper() -> bool:
        return hasattr(type(client("http://x").chat.completions), "stream")

    yield Call(".stream()", helper, exists=has_helper)
    yield Call("async .stream()", ahelper, exists=has_helper)


def openai_responses() -> Iterator[Call]:
    client = openai_client

    def stream(url: str, model: str) -> t.Any:
        return client(url).responses.create(model=model, input="Say it.", stream=True)

    async def astream(url: str, model: str) -> t.AsyncIterator[t.Any]:
        responses = client(url, "AsyncOpenAI").responses
        async for event in await responses.create(model=model, input="Say it.", stream=True):
            yield event

    def whole(url: str, model: str) -> t.Any:
        return client(url).responses.create(model=model, input="Say it.")

    def helper(url: str, model: str) -> t.Any:
        return client(url).responses.stream(model=model, input="Say it.")

    if installed("openai") < (1, 66):
        return
    hosted = ALL.but(image_tool="image_generation")
    yield Call("stream", stream, hosted)
    yield Call("async", astream, hosted)
    yield Call("whole", whole, hosted, streams=False)
    if installed("openai") >= (1, 70):  # Before, the helper itself stumbles over news.
        yield Call(".stream()", helper, hosted)


def anthropic() -> Iterator[Call]:
    asked: t.Any = {"messages": MESSAGES, "max_tokens": 100}

    def client(url: str, kind: str = "Anthropic") -> t.Any:
        return client_of("anthropic", kind, url)

    def stream(url: str, model: str) -> t.Any:
        return client(url).messages.create(model=model, stream=True, **asked)

    async def astream(url: str, model: str) -> t.AsyncIterator[t.Any]:
        messages = client(url, "AsyncAnthropic").messages
        async for event in await messages.create(model=model, stream=True, **asked):
            yield event

    def whole(url: str, model: str) -> t.Any:
        return client(url).messages.create(model=model, **asked)

    def helper(url: str, model: str) -> t.Any:
        return client(url).messages.stream(model=model, **asked)

    async def ahelper(url: str, model: str) -> t.AsyncIterator[t.Any]:
        messages = client(url, "AsyncAnthropic").messages
        async with messages.stream(model=model, **asked) as events:
            async for event in events:
                yield event

    carries = ALL.but(files=False, usage=frozenset({"input", "output", "cached"}))
    yield Call("stream", stream, carries)
    yield Call("async", astream, carries)
    yield Call("whole", whole, carries, streams=False)
    yield Call(".stream()", helper, carries)
    yield Call("async .stream()", ahelper, carries)


def google_genai() -> Iterator[Call]:
    @functools.cache
    def client(url: str) -> t.Any:
        from google import genai

        return genai.Client(api_key="none", http_options={"base_url": url})

    def stream(url: str, model: str) -> t.Iterator[t.Any]:
        yield from client(url).models.generate_content_stream(model=model, contents="Say it.")

    async def astream(url: str, model: str) -> t.AsyncIterator[t.Any]:
        models = client(url).aio.models
        async for chunk in await models.generate_content_stream(model=model, contents="Say it."):
            yield chunk

    def whole(url: str, model: str) -> t.Any:
        return client(url).models.generate_content(model=model, contents="Say it.")

    knows_thoughts = installed("google-genai") >= (1, 8)
    carries = ALL.but(usage=COUNTS if knows_thoughts else COUNTS - {"reasoning"})
    without = {}
    if installed("google-genai") < (3, 0):
        without["error-middle"] = "google-genai takes an error for an empty response before 3.0"
    if (1, 0) < installed("google-genai") < (3, 4):
        without["odd"] = "google-genai cuts lines at U+2028 before 3.4, which needs Python 3.11"
    yield Call("stream", stream, carries, without)
    yield Call("async", astream, carries, without)
    yield Call("whole", whole, carries, streams=False)


def litellm() -> Iterator[Call]:
    @functools.cache
    def lite() -> t.Any:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else it fetches one when imported.
        import litellm

        litellm.suppress_debug_info = True
        return litellm

    usage = {"stream_options": {"include_usage": True}}

    def asked(url: str, model: str) -> dict[str, t.Any]:
        where = {"api_base": f"{url}/v1", "api_key": "none", "num_retries": 0, "max_retries": 0}
        return {"model": f"openai/{model}", "messages": MESSAGES, **where}

    def stream(url: str, model: str) -> t.Any:
        return lite().completion(stream=True, **usage, **asked(url, model))

    def astream(url: str, model: str) -> t.Any:
        return lite().acompletion(stream=True, **usage, **asked(url, model))

    def whole(url: str, model: str) -> t.Any:
        return lite().completion(**asked(url, model))

    def claude(url: str, model: str) -> t.Any:
        where = {"model": f"anthropic/{model}", "api_base": url}
        return lite().completion(stream=True, **usage, **(asked(url, model) | where))

    carries = ALL.but(files=installed("litellm") >= (1, 80))
    # Before, asynchronous streams were left open, too.
    sound = installed("litellm") >= (1, 100)
    cut = {} if sound else {"cut": "litellm takes a cut connection for the end before 1.100"}
    yield Call("stream", stream, carries)
    yield Call("async", astream, carries, cut, leaves=sound)
    yield Call("whole", whole, carries, streams=False)
    # It counts Claude's thoughts itself, otherwise than Claude does.
    mapped = ALL.but(files=False, sources=False, usage=COUNTS - {"reasoning"})
    odd = {"odd": "litellm cuts Claude's lines at U+0085"}
    empty = {"empty": "litellm counts a token of Claude's where there is none"}
    yield Call("Claude", claude, mapped, odd | empty)


def ollama() -> Iterator[Call]:
    @functools.cache
    def client(kind: str, url: str) -> t.Any:
        return getattr(importlib.import_module("ollama"), kind)(host=url)

    def stream(url: str, model: str) -> t.Any:
        return client("Client", url).chat(model=model, messages=MESSAGES, stream=True)

    def astream(url: str, model: str) -> t.Any:
        return client("AsyncClient", url).chat(model=model, messages=MESSAGES, stream=True)

    def whole(url: str, model: str) -> t.Any:
        return client("Client", url).chat(model=model, messages=MESSAGES)

    def generate(url: str, model: str) -> t.Any:
        return client("Client", url).generate(model=model, prompt="Say it.", stream=True)

    carries = ALL.but(
        reasoning=installed("ollama")[:2] < (0, 4) or installed("ollama") >= (0, 5),
        sources=False,
        files=False,
        content_filter=False,
        usage=frozenset({"input", "output"}),
    )
    yield Call("chat", stream, carries)
    yield Call("async chat", astream, carries)
    yield Call("chat, whole", whole, carries, streams=False)
    yield Call("generate", generate, carries.but(tools=False))


# ChatOpenAI leaves out what is not in OpenAI's own Chat Completions.
CHAT_OPENAI = ALL.but(
    reasoning=False,
    sources=False,
    files=False,
    usage=COUNTS if installed("langchain-openai") >= (0, 3) else frozenset({"input", "output"}),
)


def chat(url: str, model: str, **more: t.Any) -> t.Any:
    from langchain_openai import ChatOpenAI

    where: dict[str, t.Any] = {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}
    return ChatOpenAI(model=model, stream_usage=True, **where, **more)


def langchain() -> Iterator[Call]:
    def stream(url: str, model: str) -> t.Any:
        return chat(url, model).stream("Say it.")

    def astream(url: str, model: str) -> t.Any:
        return chat(url, model).astream("Say it.")

    def events(url: str, model: str) -> t.Any:
        return chat(url, model).astream_events("Say it.", version="v2")

    def whole(url: str, model: str) -> t.Any:
        return chat(url, model).invoke("Say it.")

    def responses(url: str, model: str) -> t.Any:
        return chat(url, model, use_responses_api=True).stream("Say it.")

    yield Call("stream", stream, CHAT_OPENAI)
    yield Call("astream", astream, CHAT_OPENAI)
    yield Call("astream_events", events, CHAT_OPENAI)
    yield Call("invoke", whole, CHAT_OPENAI, streams=False)

    def has_responses() -> bool:
        from langchain_openai import ChatOpenAI

        return "use_responses_api" in ChatOpenAI.model_fields

    yield Call("Responses", responses, exists=has_responses)


def langgraph() -> Iterator[Call]:
    said = {"messages": [("user", "Say it.")]}

    def graph(url: str, model: str) -> t.Any:
        return graph_of(chat(url, model)).stream(said, stream_mode="messages")

    def modes(url: str, model: str) -> t.Any:
        asked = ["messages", "updates", "custom"]
        return agraph_of(chat(url, model)).astream(said, stream_mode=asked)

    without = {}
    if installed("langgraph") < (1, 0):
        without["error-middle"] = (
            "langgraph tells an error ahead of what was said before it before 1.0"
        )
    # A synchronous graph waits for its nodes, which work in threads of their own.
    yield Call("messages", graph, CHAT_OPENAI, without, leaves=False)
    yield Call("several modes", modes, CHAT_OPENAI, without)


def graph_of(model: t.Any) -> t.Any:
    """The smallest graph: one node that asks the model."""

    def ask(state: t.Any) -> t.Any:
        return {"messages": [model.invoke(state["messages"])]}

    return one_node(ask)


def agraph_of(model: t.Any) -> t.Any:
    from langchain_core.runnables import RunnableConfig

    # Before Python 3.11 a task does not inherit what tells the model to stream.
    async def ask(state: t.Any, config: RunnableConfig) -> t.Any:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    # Some versions look the annotation's name up where a module would have imported it.
    ask.__annotations__["config"] = RunnableConfig
    return one_node(ask)


def one_node(ask: t.Any) -> t.Any:
    from langgraph.graph import END
    from langgraph.graph import START
    from langgraph.graph import MessagesState
    from langgraph.graph import StateGraph

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile()


def pydantic_ai() -> Iterator[Call]:
    @functools.cache
    def provider(url: str) -> t.Any:
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIProvider(openai_client=openai_client(url, "AsyncOpenAI"))

    def agent(url: str, model: str) -> t.Any:
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.tools import DeferredToolRequests

        asks: t.Any = [str, DeferredToolRequests]
        return Agent(OpenAIChatModel(model, provider=provider(url)), output_type=asks)

    def events(url: str, model: str) -> t.Any:
        return with_tools(agent(url, model)).run_stream_events("Say it.")

    def whole(url: str, model: str) -> t.Any:
        return with_tools(agent(url, model)).run("Say it.")

    carries = ALL.but(sources=installed("pydantic-ai-slim") >= (2, 61), files=False)

    def sdk(url: str, model: str) -> t.Any:
        from pydantic_ai.ui.vercel_ai import VercelAIAdapter as Adapter

        message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Say it."}]}
        body = {"trigger": "submit-message", "id": "chat", "messages": [message]}
        run = Adapter.build_run_input(json.dumps(body).encode())
        return Adapter(agent=with_tools(agent(url, model)), run_input=run).run_stream()

    def ag_ui(url: str, model: str) -> t.Any:
        from pydantic_ai.ui.ag_ui import AGUIAdapter as Adapter

        body: dict[str, t.Any] = {
            "threadId": "t",
            "runId": "r",
            "state": {},
            "tools": [],
            "context": [],
        }
        body |= {"messages": [{"id": "1", "role": "user", "content": "Say it."}]}
        run = Adapter.build_run_input(json.dumps(body | {"forwardedProps": {}}).encode())
        return Adapter(agent=with_tools(agent(url, model)), run_input=run).run_stream()

    # Before 2.0 a run went on when nobody read it any more.
    goes_on = installed("pydantic-ai-slim") < (2, 0)
    empty = {"empty": "pydantic-ai asks again where a model says nothing"}
    yield Call("run_stream_events", events, carries, empty, leaves=not goes_on)
    yield Call("run", whole, carries, empty, streams=False)
    # The words of a user interface have no usage, AG-UI's no reasons and sources either.
    if installed("pydantic-ai-slim") >= (2, 40):
        worded = carries.but(usage=frozenset())
        yield Call("UI: AI SDK", sdk, worded, empty)
        if installed("ag-ui-protocol"):
            less = worded.but(sources=False, finish=False)
            yield Call("UI: AG-UI", ag_ui, less, empty)


def with_tools(agent: t.Any) -> t.Any:
    """Tools that the application, not the agent, would run: the run ends with the calls."""
    from pydantic_ai.exceptions import CallDeferred

    def weather(city: str) -> str:
        raise CallDeferred

    def time(zone: str) -> str:
        raise CallDeferred

    def now() -> str:
        raise CallDeferred

    for tool in (weather, time, now):
        agent.tool_plain(tool)
    return agent


SDKS: dict[str, tuple[str, Callable[[], Iterator[Call]]]] = {
    "openai-chat": ("openai", openai_chat),
    "openai-responses": ("openai", openai_responses),
    "anthropic": ("anthropic", anthropic),
    "google-genai": ("google-genai", google_genai),
    "litellm": ("litellm", litellm),
    "ollama": ("ollama", ollama),
    "langchain": ("langchain-openai", langchain),
    "langgraph": ("langgraph", langgraph),
    "pydantic-ai": ("pydantic-ai-slim", pydantic_ai),
}


def calls() -> Iterator[tuple[str, Call]]:
    """Every call of every SDK that is here, whether or not its version has it."""
    for sdk, (distribution, make) in SDKS.items():
        if installed(distribution):
            yield from ((sdk, call) for call in make())
