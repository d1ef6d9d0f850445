"""State that the adapters of one run share: token usage, cited sources, generated ids."""

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
    """Sums over all model calls of a run, which may use several SDKs.

    :param before: Usage before the run was restarted; ``None``: it was not restarted.
    :param restarts: Number of restarts. Part of every generated id, so that ids stay unique.
    :ivar stream: The stream of the current chunks, compared by identity; ``None``: unknown.
    """

    def __init__(self, before: Usage | None = None, restarts: int = 0) -> None:
        self.stream: t.Any = None
        self._used: dict[str, Usage] = {} if before is None else {"": before}
        self._before = before
        self._mark = f"{restarts}-" if restarts else ""
        self._latest: dict[str, Usage] = {}
        self._sources: set[str] = set()
        self._tool_calls = 0
        self._model_calls = 0
        self._reported_total = Usage()

    def new_call(self) -> str:
        """Return a key for another model call."""
        self._model_calls += 1
        return f"call {self._model_calls}"

    def used(self, call: str, usage: Usage) -> Sequence[Event]:
        """Record the usage of one model call so far.

        :param call: From :meth:`new_call`, or unique otherwise.
        :param usage: Replaces the last report of this call, field by field.
        :returns: The usage of the run; empty if it has not changed.
        """
        if usage == self._latest.get(call):  # Google repeats it with every chunk.
            return ()
        self._latest[call] = usage
        self._used[call] = merged(self._used.get(call), usage)
        return self._total()

    def used_more(self, call: str, usage: Usage) -> Sequence[Event]:
        """The same for SDKs that report increments."""
        self._used[call] = added((self._used.get(call, Usage()), usage))
        return self._total()

    def url(self, url: t.Any, title: t.Any = None) -> Sequence[Event]:
        """Cite a page. Empty for a repeated citation, since vendors repeat their lists."""
        if not (isinstance(url, str) and url) or url in self._sources:
            return ()
        self._sources.add(url)
        return (SourceUrl(self._source_id(), url, title if isinstance(title, str) else None),)

    def document(
        self, key: str, title: str, media_type: str, filename: str | None = None
    ) -> Sequence[Event]:
        """Cite a document. ``key`` identifies it within the run."""
        if key in self._sources:
            return ()
        self._sources.add(key)
        return (SourceDocument(self._source_id(), title, media_type, filename),)

    def since_restart(self, usage: Usage) -> Usage:
        """Add the usage before the restart to ``usage``, which the provider reports since then."""
        if self._before is None:
            return usage
        known = (field.name for field in fields(Usage) if getattr(usage, field.name) is not None)
        return added((usage, Usage(**{name: getattr(self._before, name) for name in known})))

    def call_id(self) -> str:
        """Generate an id for a tool call without one."""
        self._tool_calls += 1
        return f"call-{self._mark}{self._tool_calls}"

    def _source_id(self) -> str:
        return f"source-{self._mark}{len(self._sources)}"

    def _total(self) -> Sequence[Event]:
        total = added(self._used.values())
        if total == self._reported_total:
            return ()
        self._reported_total = total
        return (total,)


def added(usages: Iterable[Usage]) -> Usage:
    """The sum, field by field; a field that is missing in all reports stays ``None``."""
    reported = list(usages)
    sums: dict[str, t.Any] = {}
    for field in fields(Usage):
        counts = [getattr(usage, field.name) for usage in reported]
        known = [count for count in counts if count is not None]
        sums[field.name] = sum(known) if known else None
    return Usage(**sums)
