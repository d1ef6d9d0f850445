"""The contract of an adapter."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.providers.accounting import Accounting


class Adapter(t.Protocol):
    """Reads the chunks of one wire format, for one run. Called by one thread, in order.

    A chunk is an object of an SDK or plain JSON, and may be a whole answer that was not streamed.
    """

    @property
    def incomplete(self) -> bool:
        """Whether an answer has begun whose end marker has not come."""
        ...

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """The events of ``chunk``; none for a role, a ping, or a chunk that is not understood.

        :raises ProviderError: The chunk reports that the model failed.
        """
        ...

    def done(self) -> Sequence[Event]:
        """The stream's own end marker came (``data: [DONE]``): complete what is open."""
        ...

    def close(self) -> Sequence[Event]:
        """The provider has ended. Tool calls without an explicit end are completed, if they can be."""
        ...


class Answer:
    """The answer an adapter is reading. A run may have several, one after the other.

    :ivar open: It has begun, and its end marker has not come.
    :ivar begun: Any answer has begun so far.
    :ivar call: Names the model call for the accounting; vendors' ids repeat, or change in an answer.
    """

    __slots__ = ("_accounting", "begun", "call", "open")

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self.call = accounting.new_call()
        self.open = False
        self.begun = False

    def begin(self) -> bool:
        """Content came.

        :returns: Whether it is the first of another answer.
        """
        if self.open:
            return False
        another, self.open, self.begun = self.begun, True, True
        if another:
            self.call = self._accounting.new_call()
        return another

    def renew(self) -> None:
        """Another answer begins, whether or not the last one has ended."""
        self.open = False
        self.begin()

    def end(self) -> None:
        """An end marker came."""
        self.open = False
        self.begun = True
