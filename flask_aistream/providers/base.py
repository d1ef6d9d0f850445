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
        """Whether an answer is open: it has begun and has no end marker yet."""
        ...

    def events(self, chunk: t.Any) -> Sequence[Event]:
        """Translate a chunk. A role, a ping or an unknown chunk has no events.

        :raises ProviderError: The chunk reports that the model failed.
        """
        ...

    def done(self) -> Sequence[Event]:
        """Complete the open answer after the end of a stream that is complete."""
        ...

    def close(self) -> Sequence[Event]:
        """Complete the tool calls that have no end marker, after the provider has returned."""
        ...


class WireAdapter(Adapter, t.Protocol):
    """An adapter of a wire with end markers."""

    answer: AnswerState


class AnswerState:
    """Progress of the answer that an adapter reads. A run may contain several answers, in sequence.

    :ivar open: It has begun and has no end marker yet.
    :ivar begun: Some answer of the run has begun.
    :ivar ended: Some answer of the run has ended.
    :ivar call: Key of the model call in the accounting. Vendors' ids are not unique, or change within an answer.
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
        """Whether this stream has sent an end marker. Content after it belongs to the same answer."""
        return self._ended_in is not None and self._ended_in is self._accounting.stream

    def begin(self) -> bool:
        """Record that content has arrived.

        :returns: Whether it begins another answer.
        """
        if self.open:
            return False
        another = self.begun and not self._is_late
        self.open = self.begun = True
        if another:
            self.call = self._accounting.new_call()
        return another

    def renew(self) -> None:
        """Begin another answer, even if the last one has not ended."""
        self._ended_in = self._over_in = None
        self.open = False
        self.begin()

    @property
    def over(self) -> bool:
        """Whether this stream has sent its last event. Later events are ignored."""
        return self._over_in is not None and self._over_in is self._accounting.stream

    def end(self, *, last: bool = False) -> None:
        """Record an end marker.

        :param last: No event follows it in its stream.
        """
        self._ended_in = self._accounting.stream
        if last:
            self._over_in = self._accounting.stream
        self.open = False
        self.begun = self.ended = True
