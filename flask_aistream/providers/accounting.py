"""What the adapters of one run share: tokens used, sources seen, ids given out."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import fields

from flask_aistream.core.events import Event
from flask_aistream.core.events import SourceDocument
from flask_aistream.core.events import SourceUrl
from flask_aistream.core.events import Usage
from flask_aistream.core.fold import merged


class Accounting:
    """Keeps the sums of a run that may call several models, through several SDKs.

    :param before: Tokens used before the run was restarted; ``None``: it was not.
    :param restarts: How often it was. Part of every id given out, so that none comes twice.
    """

    def __init__(self, before: Usage | None = None, restarts: int = 0) -> None:
        self._used: dict[str, Usage] = {} if before is None else {"": before}
        self._before = before
        self._mark = f"{restarts}-" if restarts else ""
        self._reported: dict[str, Usage] = {}
        self._sources: set[str] = set()
        self._tool_call_assembler = 0
        self._told = Usage()

    def used(self, call: str, usage: Usage) -> Sequence[Event]:
        """A model call has used so much by now.

        :param call: Names the model call; vendors give each answer an id.
        :param usage: Replaces what was said of this call before, field by field.
        :return: What the run has used; empty where that is nothing new.
        """
        if usage == self._reported.get(call):  # Google says the same with every chunk.
            return ()
        self._reported[call] = usage
        self._used[call] = merged(self._used.get(call), usage)
        return self._total()

    def used_more(self, call: str, usage: Usage) -> Sequence[Event]:
        """The same for SDKs that report additions."""
        self._used[call] = added((self._used.get(call, Usage()), usage))
        return self._total()

    def url(self, url: str | None, title: str | None = None) -> Sequence[Event]:
        """A page the answer rests on; empty the second time, since vendors repeat their lists."""
        if not url or url in self._sources:
            return ()
        self._sources.add(url)
        return (SourceUrl(self._source_id(), url, title or None),)

    def document(
        self, key: str, title: str, media_type: str, filename: str | None = None
    ) -> Sequence[Event]:
        """A document the answer rests on. ``key`` tells it from others of the run."""
        if key in self._sources:
            return ()
        self._sources.add(key)
        return (SourceDocument(self._source_id(), title, media_type, filename),)

    def since_restart(self, usage: Usage) -> Usage:
        """What the run has used, where its provider has used ``usage`` since it was restarted."""
        if self._before is None:
            return usage
        told = (field.name for field in fields(Usage) if getattr(usage, field.name) is not None)
        return added((usage, Usage(**{name: getattr(self._before, name) for name in told})))

    def call_id(self) -> str:
        """An id for a tool call whose vendor gives none."""
        self._tool_call_assembler += 1
        return f"call-{self._mark}{self._tool_call_assembler}"

    def _source_id(self) -> str:
        return f"source-{self._mark}{len(self._sources)}"

    def _total(self) -> Sequence[Event]:
        total = added(self._used.values())
        if total == self._told:
            return ()
        self._told = total
        return (total,)


def added(usages: Iterable[Usage]) -> Usage:
    """The sum, field by field; a field nobody reports stays ``None``."""
    reported = list(usages)
    sums: dict[str, t.Any] = {}
    for field in fields(Usage):
        counts = [getattr(usage, field.name) for usage in reported]
        known = [count for count in counts if count is not None]
        sums[field.name] = sum(known) if known else None
    return Usage(**sums)
