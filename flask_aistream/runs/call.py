"""A provider, and everything that a call of it needs."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run

Provider = Callable[[ChatRequest], t.Any]

ContextFactory = Callable[[], AbstractContextManager[t.Any]]


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call of a provider in this process.

    :param context_factory: Its context is active while the provider's code runs (an application context).
    :param restart: If the process that makes this call is lost, another process may call the provider again.
    """

    provider: Provider
    request: ChatRequest
    context_factory: ContextFactory
    restart: bool = False


ResolveProvider = Callable[[Run], ProviderCall]
"""Finds the provider of a run that another process started, from ``Run.provider`` and ``Run.request``."""
