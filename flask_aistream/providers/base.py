"""What an adapter is."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event


class Adapter(t.Protocol):
    """Understands the chunks of one SDK, for one run. Called by one thread, in order.

    A chunk may also be a whole answer: whoever calls a model without streaming yields that.
    """

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """What ``chunk`` says; empty for one that says nothing (a role, a ping).

        :raises ProviderError: The chunk says that the model failed.
        """
        ...

    def close(self) -> Sequence[Event]:
        """What is still open when the provider has ended (a tool call nobody called complete)."""
        ...
