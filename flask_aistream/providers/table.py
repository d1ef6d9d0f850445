"""The adapter for each SDK, by the module of its chunk classes."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import EVENTS
from flask_aistream.core.events import Event
from flask_aistream.core.events import RunStarted
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import ChunkUnknown
from flask_aistream.errors import ValueInvalid
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.anthropic import AnthropicAdapter
from flask_aistream.providers.base import Adapter
from flask_aistream.providers.body import ODD
from flask_aistream.providers.body import count
from flask_aistream.providers.google import GoogleAdapter
from flask_aistream.providers.langchain import INTERRUPT
from flask_aistream.providers.langchain import LangChainAdapter
from flask_aistream.providers.ollama import OllamaAdapter
from flask_aistream.providers.openai_chat import ChatAdapter
from flask_aistream.providers.openai_responses import ResponsesAdapter
from flask_aistream.providers.pydantic_ai import PydanticAIAdapter
from flask_aistream.providers.raw import is_raw
from flask_aistream.providers.text import TextAdapter
from flask_aistream.providers.ui_events import AGUIAdapter
from flask_aistream.providers.ui_events import AISDKAdapter
from flask_aistream.providers.values import normalized
from flask_aistream.providers.wires import wire_of

Factory = Callable[[Accounting], Adapter]

NO_OBJECTS = frozenset((type(None), list, int, float, bool))
"""Classes of JSON that is no object, which Stainless's SDKs yield like any other chunk."""

# No class made of one of them: protocols know each event by its class. And a run starts only once.
YIELDABLE = frozenset(EVENTS) - {RunStarted}

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


class Chunks:
    """Translates what one provider yields, in any mix of SDKs.

    The class of a chunk selects its adapter, which is looked up once per class and run. A plain dict is classified by
    its keys, each time.

    :param accounting: Token usage, cited sources and generated ids of the run.
    :ivar odd: Number of ignored chunks, by a description: those that do not match their SDK's definition.
    """

    def __init__(self, accounting: Accounting | None = None) -> None:
        self.accounting = accounting or Accounting()
        self.odd: Counter[str] = Counter()
        self._by_type: dict[type, Adapter] = {}
        self._by_factory: dict[Factory, Adapter] = {}
        self._own = TextAdapter(self.accounting)

    @property
    def incomplete(self) -> bool:
        """Whether an SDK's answer has begun, and neither its end marker nor a ``Finished`` has come."""
        return not self._own.finished and any(it.incomplete for it in self._by_factory.values())

    @property
    def never_ended(self) -> bool:
        """Whether SDKs' chunks came, and none of them was an end marker."""
        answers = [getattr(it, "answer", None) for it in self._by_factory.values()]
        return bool(answers) and all(it is not None and not it.ended for it in answers)

    @property
    def recognized(self) -> bool:
        """Whether any chunk of an SDK came."""
        return bool(self._by_factory)

    def from_stream(self, stream: t.Any) -> None:
        """The next chunks come from ``stream``; ``None``: it is not known from where."""
        self.accounting.stream = stream

    @property
    def awaits_tools(self) -> bool:
        """Whether the provider itself yielded tool calls, and no results of some."""
        return bool(self._own.unanswered)

    @property
    def awaits_approval(self) -> bool:
        """Whether the provider yielded a call that a person has to approve."""
        return self._own.awaits_approval

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """The events of ``chunk``.

        :raises ChunkUnknown: No adapter understands its class, or a dict's keys.
        :raises ProviderError: The chunk reports that the model failed.
        """
        adapter = self._by_type.get(type(chunk))
        if adapter is None:
            adapter = self._adapter_for(chunk)
            if adapter is None:
                return ()
        if adapter is self._own:
            return adapter.events(chunk)
        self._own.finished = False
        try:
            return self._checked(adapter.events(chunk))
        except ODD as error:
            if isinstance(error, AIStreamError):
                raise
            self._ignore(f"{type(error).__name__}: {error}")
            return ()

    def close(self) -> Sequence[Event]:
        """The events that complete open parts of the answer, once the provider has ended."""
        events = [event for adapter in self._by_factory.values() for event in adapter.close()]
        return self._checked(events)

    def _checked(self, events: Sequence[Event]) -> Sequence[Event]:
        """``events`` without those that an SDK's object has with fields of other types."""
        if all(type(event) is str for event in events):
            return events
        return [normal for event in events for normal in self._normalized(event)]

    def _normalized(self, event: Event) -> Sequence[Event]:
        if type(event) is str:
            return (event,)
        if type(event) not in YIELDABLE:
            self.ignore(event)
            return ()
        try:
            return (normalized(event),)
        except ValueInvalid as error:
            self._ignore(str(error))
            return ()

    def _adapter_for(self, chunk: t.Any) -> Adapter | None:
        """
        :returns: ``None`` for a chunk to be ignored.
        """
        factory = factory_of(chunk)
        if factory is not None:
            adapter = self._by_type[type(chunk)] = self._adapter(factory)
            return adapter
        if isinstance(chunk, tuple) and chunk:  # LangGraph
            return self._adapter(LangChainAdapter)
        if isinstance(chunk, dict):
            if is_langchain(chunk):
                return self._adapter(LangChainAdapter)
            if found := wire_of(chunk):
                return self._adapter(found)
            if chunk and self._by_factory:
                self._ignore(f"an object with {', '.join(map(str, list(chunk)[:5]))}")
                return None
        if type(chunk) in NO_OBJECTS and (self.incomplete or (chunk is None and self._by_factory)):
            self.ignore(chunk)
            return None
        raise ChunkUnknown(chunk)

    def _adapter(self, factory: Factory) -> Adapter:
        if factory is TextAdapter:
            return self._own
        if factory not in self._by_factory:
            self._by_factory[factory] = factory(self.accounting)
        return self._by_factory[factory]

    def ignore(self, odd: t.Any) -> None:
        """Count something that is not of an answer, as what the openai SDK yields for ``data: null``."""
        self._ignore(type(odd).__name__)

    def _ignore(self, what: str) -> None:
        count(self.odd, what)


def is_langchain(chunk: dict[t.Any, t.Any]) -> bool:
    """Whether a dict is an event of ``astream_events``, or part of a graph's stream."""
    return (
        ("event" in chunk and "data" in chunk)
        or ("type" in chunk and "ns" in chunk and "data" in chunk)
        or INTERRUPT in chunk
    )


def is_chunk(value: t.Any) -> bool:
    """Whether ``value`` is one chunk rather than a stream; pydantic's models can be iterated."""
    return isinstance(value, dict | bytes) or is_raw(value) or factory_of(value) is not None


def factory_of(chunk: t.Any) -> Factory | None:
    """The adapter for a chunk's class; ``None`` if it is not known by its class."""
    kind = type(chunk)
    if kind in YIELDABLE or issubclass(kind, str):
        return TextAdapter
    for base in kind.__mro__:
        module = base.__module__
        while module:
            if module in MODULES:
                return MODULES[module]
            module = module.rpartition(".")[0]
    # Most vendors' own SDKs copy OpenAI's chunks under other names; Mistral's wraps them.
    wrapped = hasattr(getattr(chunk, "data", None), "choices")
    return ChatAdapter if hasattr(chunk, "choices") or wrapped else None
