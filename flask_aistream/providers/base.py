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
        """The stream has ended as it should: complete what is open."""
        ...

    def close(self) -> Sequence[Event]:
        """The provider has ended. Tool calls without an explicit end are completed, if they can be."""
        ...


class WireAdapter(Adapter, t.Protocol):
    """An adapter of a wire with end markers."""

    answer: Answer


class Answer:
    """The answer an adapter is reading. A run may have several, one after the other.

    :ivar open: It has begun, and its end marker has not come.
    :ivar begun: Any answer has begun so far.
    :ivar ended: Any answer has ended so far.
    :ivar call: Names the model call for the accounting; vendors' ids repeat, or change in an answer.
    """

    __slots__ = ("_accounting", "_ended_in", "_over_in", "begun", "call", "ended", "open")

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._ended_in: t.Any = None
        self._over_in: t.Any = None
        self.call = accounting.new_call()
        self.open = False
        self.begun = False
        self.ended = False

    @property
    def incomplete(self) -> bool:
        return self.open and not self._is_late

    @property
    def _is_late(self) -> bool:
        """Whether this stream has had its end marker: content after it is still of the same answer."""
        return self._ended_in is not None and self._ended_in is self._accounting.stream

    def begin(self) -> bool:
        """Content came.

        :returns: Whether it is the first of another answer.
        """
        if self.open:
            return False
        another = self.begun and not self._is_late
        self.open = self.begun = True
        if another:
            self.call = self._accounting.new_call()
        return another

    def renew(self) -> None:
        """Another answer begins, whether or not the last one has ended."""
        self._ended_in = self._over_in = None
        self.open = False
        self.begin()

    @property
    def over(self) -> bool:
        """Whether this stream has had its last event: what follows is not read."""
        return self._over_in is not None and self._over_in is self._accounting.stream

    def end(self, *, last: bool = False) -> None:
        """An end marker came.

        :param last: It is the last event of its stream.
        """
        self._ended_in = self._accounting.stream
        if last:
            self._over_in = self._accounting.stream
        self.open = False
        self.begun = self.ended = True
