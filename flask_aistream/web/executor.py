"""Where providers are called: in the web process, or in a worker that takes runs from a queue."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import Flask

from flask_aistream.core.events import Terminal
from flask_aistream.errors import ConfigError
from flask_aistream.errors import RegistrationError
from flask_aistream.web import celery
from flask_aistream.web.config import Settings
from flask_aistream.web.mounts import Mounts
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.store import MEMORY

Enqueue = Callable[[str], object]
"""Puts a ticket (see :func:`flask_aistream.core.run.ticket_of`) into the queue; raises if it cannot."""


def choose_executor(
    app: Flask, settings: Settings, execute: Callable[[str], Terminal | None]
) -> Enqueue | None:
    """Choose the function that puts runs into a queue; ``None``: providers are called in the process that starts the run.

    :param execute: Executes the run of a ticket; Celery's task calls it.
    :raises ConfigError: The queue is not set up, or its workers would not share the store.
    """
    executor = settings.executor
    if executor in (None, "local"):
        return None
    if settings.store is None or settings.store.startswith(MEMORY):
        raise ConfigError(
            f"AISTREAM_EXECUTOR is `{executor!r}`, so providers are called in other processes, which must "
            f"share the store; but AISTREAM_STORE is `{settings.store!r}`. Set it to redis://…, or on one "
            "machine to sqlite:////path."
        )
    if executor == "celery":
        return celery.queue_of(app, execute)
    return in_context(app, t.cast(Enqueue, executor))


def in_context(app: Flask, enqueue: Enqueue) -> Enqueue:
    def enqueue_in_context(ticket: str) -> None:
        with app.app_context():
            enqueue(ticket)

    return enqueue_in_context


def refuse_immovable(provider: RegisteredProvider, mounts: Mounts) -> None:
    """Reject a provider that cannot be called in another process.

    :raises RegistrationError: It needs a request, or two blueprints have a provider of its name.
    """
    if provider.context == "request":
        raise RegistrationError(
            f'The provider {provider.name!r} has context="request", but AISTREAM_EXECUTOR calls it in '
            'processes that have no request. Register it with context="app".'
        )
    if len(mounts.providers_named(provider.name)) > 1:
        raise RegistrationError(
            f"Two blueprints have a provider {provider.name!r}, but the workers of AISTREAM_EXECUTOR find "
            "a provider by its name alone. Give one of them another name."
        )
