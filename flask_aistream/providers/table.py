"""Every SDK whose chunks are understood, by the package its classes come from."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask_aistream.core.events import EVENTS
from flask_aistream.core.events import Event
from flask_aistream.errors import ChunkUnknown
from flask_aistream.providers.base import Adapter
from flask_aistream.providers.text import TextAdapter

ADAPTERS: dict[str, Callable[[], Adapter]] = {}


class Chunks:
    """Translates what one provider yields, whatever mix of SDKs it comes from.

    A chunk is recognised by its class; which adapter serves a class is looked up once per run.
    """

    def __init__(self) -> None:
        self._by_type: dict[type, Adapter] = {}
        self._by_factory: dict[Callable[[], Adapter], Adapter] = {}

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """What ``chunk`` says.

        :raises ChunkUnknown: No adapter understands its class.
        """
        adapter = self._by_type.get(type(chunk))
        if adapter is None:
            adapter = self._by_type[type(chunk)] = self._adapter_of(chunk)
        return adapter.events(chunk)

    def close(self) -> Sequence[Event]:
        return [event for adapter in self._by_factory.values() for event in adapter.close()]

    def _adapter_of(self, chunk: t.Any) -> Adapter:
        factory = factory_of(type(chunk))
        if factory is None:
            raise ChunkUnknown(chunk)
        if factory not in self._by_factory:
            self._by_factory[factory] = factory()
        return self._by_factory[factory]


def factory_of(kind: type) -> Callable[[], Adapter] | None:
    """The adapter for a class, by its own package or that of a class it inherits from."""
    if issubclass(kind, EVENTS):
        return TextAdapter
    packages = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((ADAPTERS[name] for name in packages if name in ADAPTERS), None)
