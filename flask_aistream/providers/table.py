"""Every SDK whose chunks are understood: by the module of their classes, or the keys of their dicts."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import EVENTS
from flask_aistream.core.events import Event
from flask_aistream.core.events import RunStarted
from flask_aistream.errors import ChunkUnknown
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.anthropic import AnthropicAdapter
from flask_aistream.providers.base import Adapter
from flask_aistream.providers.google import GoogleAdapter
from flask_aistream.providers.langchain import LangChainAdapter
from flask_aistream.providers.ollama import OllamaAdapter
from flask_aistream.providers.openai_chat import ChatAdapter
from flask_aistream.providers.openai_responses import ResponsesAdapter
from flask_aistream.providers.plain import readable
from flask_aistream.providers.pydantic_ai import PydanticAIAdapter
from flask_aistream.providers.text import TextAdapter
from flask_aistream.providers.ui_events import AGUIAdapter
from flask_aistream.providers.ui_events import AISDKAdapter

Factory = Callable[[Accounting], Adapter]

# No class made of one of them: protocols know each event by its class. And a run starts only once.
SAYABLE = frozenset(EVENTS) - {RunStarted}

# The module of a class or one above it; the longest that fits counts. Streams and clients live beside
# the chunks in most packages, so a whole package is named only where that cannot confuse.
MODULES: dict[str, Factory] = {
    "ag_ui": AGUIAdapter,
    "anthropic.lib.streaming._types": AnthropicAdapter,
    "anthropic.lib.streaming._beta_types": AnthropicAdapter,
    "anthropic.types": AnthropicAdapter,
    "google.genai.types": GoogleAdapter,
    "langchain_core.messages": LangChainAdapter,
    "langchain_core.outputs": LangChainAdapter,
    "litellm.types.llms": ResponsesAdapter,
    "litellm.types.utils": ChatAdapter,
    "ollama._types": OllamaAdapter,
    "openai.lib.streaming.chat._events": ChatAdapter,
    "openai.lib.streaming.responses._events": ResponsesAdapter,
    "openai.types": ChatAdapter,
    "openai.types.responses": ResponsesAdapter,
    "pydantic_ai.messages": PydanticAIAdapter,
    "pydantic_ai.run": PydanticAIAdapter,
    "pydantic_ai.ui.vercel_ai": AISDKAdapter,
}

# What each dict must have; the first row that fits counts. The adapters of OpenAI and Anthropic are
# given objects, the others read dicts as they are.
SHAPES: tuple[tuple[Callable[[dict[t.Any, t.Any]], bool], Factory, bool], ...] = (
    (lambda it: "event" in it and "data" in it, LangChainAdapter, False),
    (lambda it: "type" in it and "ns" in it and "data" in it, LangChainAdapter, False),
    (lambda it: "done" in it and ("message" in it or "response" in it), OllamaAdapter, False),
    (lambda it: "choices" in it, ChatAdapter, True),
    (lambda it: it.get("object") == "response", ResponsesAdapter, True),
    (lambda it: str(it.get("type")).startswith("response."), ResponsesAdapter, True),
    (
        lambda it: str(it.get("type")).startswith(("message", "content_block")),
        AnthropicAdapter,
        True,
    ),
)


class Chunks:
    """Translates what one provider yields, whatever mix of SDKs it comes from.

    A chunk is recognised by its class; which adapter serves a class is looked up once per run. Only plain
    dicts are looked at one by one.

    :param accounting: Of the run.
    """

    def __init__(self, accounting: Accounting | None = None) -> None:
        self._accounting = accounting or Accounting()
        self._by_type: dict[type, Adapter] = {}
        self._by_factory: dict[Factory, Adapter] = {}

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """What ``chunk`` says.

        :raises ChunkUnknown: No adapter understands its class, or a dict's keys.
        :raises ProviderError: The chunk says that the model failed.
        """
        adapter = self._by_type.get(type(chunk))
        if adapter is None:
            if factory := factory_of(chunk):
                adapter = self._by_type[type(chunk)] = self._adapter(factory)
            else:
                return self._by_shape(chunk)
        return adapter.events(chunk)

    def close(self) -> Sequence[Event]:
        """What is still open when the provider has ended."""
        return [event for adapter in self._by_factory.values() for event in adapter.close()]

    def _by_shape(self, chunk: t.Any) -> Sequence[Event]:
        if isinstance(chunk, tuple) and chunk:  # LangGraph
            return self._adapter(LangChainAdapter).events(chunk)
        if isinstance(chunk, dict):
            for fits, factory, translate in SHAPES:
                if fits(chunk):
                    return self._adapter(factory).events(readable(chunk) if translate else chunk)
        raise ChunkUnknown(chunk)

    def _adapter(self, factory: Factory) -> Adapter:
        if factory not in self._by_factory:
            self._by_factory[factory] = factory(self._accounting)
        return self._by_factory[factory]


def is_chunk(value: t.Any) -> bool:
    """Whether ``value`` is one thing said rather than a stream; pydantic's models can be iterated."""
    return isinstance(value, dict | bytes) or factory_of(value) is not None


def factory_of(chunk: t.Any) -> Factory | None:
    """The adapter for a chunk's class; ``None`` if that does not tell."""
    kind = type(chunk)
    if kind in SAYABLE or issubclass(kind, str):
        return TextAdapter
    for base in kind.__mro__:
        module = base.__module__
        while module:
            if module in MODULES:
                return MODULES[module]
            module = module.rpartition(".")[0]
    # Most vendors' own SDKs copy OpenAI's chunks under other names.
    return ChatAdapter if hasattr(chunk, "choices") else None
