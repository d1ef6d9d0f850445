"""A provider, and everything that a call of it needs."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run

Provider = Callable[[ChatRequest], t.Any]

ContextFactory = Callable[[], AbstractContextManager[t.Any]]


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call of a provider in this process.

    :param context_factory: Its context is active while the provider's code runs (an application context).
    :param variables: Context variables of the caller that the provider's code sees.
    :param on_exception: Called, in that context, with every exception that the provider does not raise on
        purpose, and whether that was before its first event.
    :param idle_seconds: The run fails if the provider yields nothing for this time; ``None``: unlimited.
    :param first_event_seconds: The same until the first event.
    :param max_events: The run is finished with the reason ``length`` after about so many events.
    :param max_bytes: The same for the bytes of its events.
    :param on_first_event: Called, in that context, before the first event is written.
    :param restart: If the process that makes this call is lost, another process may call the provider again.
    """

    provider: Provider
    request: ChatRequest
    context_factory: ContextFactory
    restart: bool = False
    variables: Context = field(default_factory=Context)
    on_exception: Callable[[BaseException, bool], None] | None = None
    idle_seconds: float | None = None
    first_event_seconds: float | None = None
    max_events: float = math.inf
    max_bytes: float = math.inf
    on_first_event: Callable[[], None] | None = None


ResolveProvider = Callable[[Run], ProviderCall]
"""Finds the provider of a run that another process started, from ``Run.provider`` and ``Run.request``."""
