"""Strings and our own events: nothing to translate."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting


class TextAdapter:
    def __init__(self, accounting: Accounting) -> None:
        """Our own events say what they mean; sums are for who writes them, as far as they can."""
        self._accounting = accounting

    def events(self, chunk: t.Any) -> Sequence[Event]:
        # A subclass of str (Markup, a str enum) is text, but only str itself is a text event.
        if isinstance(chunk, str):
            return (str(chunk),)
        return (self._accounting.since_restart(chunk) if isinstance(chunk, Usage) else chunk,)

    def close(self) -> Sequence[Event]:
        return ()
