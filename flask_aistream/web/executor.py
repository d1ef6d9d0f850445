"""Where providers are called: in the web process, or in a worker that takes runs from a queue."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import Flask

from flask_aistream.core.events import Terminal
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import read_ticket
from flask_aistream.errors import ConfigError
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RunNotFound
from flask_aistream.runs.pump import Provider
from flask_aistream.web import celery
from flask_aistream.web.config import Settings
from flask_aistream.web.store import MEMORY

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import Entry
    from flask_aistream.web.extension import Extension

Enqueue = Callable[[str], object]
"""Puts a ticket (see :func:`read_ticket`) where a worker will find it. Raises where it cannot."""


def choose_executor(app: Flask, settings: Settings, ours: Extension) -> Enqueue | None:
    """Who puts the application's runs into a queue; ``None``: they are made where they are started.

    :raises ConfigError: The queue is not there, or its workers could not see the runs.
    """
    executor = settings.executor
    if executor in (None, "local"):
        return None
    if settings.store in (None, MEMORY):
        raise ConfigError(
            f"AISTREAM_EXECUTOR is `{executor!r}`, so runs are made in other processes, which must share "
            f"the store; but AISTREAM_STORE is `{settings.store!r}`. Set it to redis://…, or on one "
            "machine to sqlite:////path."
        )
    if executor == "celery":
        return celery.queue_of(app, lambda ticket: execute(app, ours, ticket))
    return in_context(app, t.cast(Enqueue, executor))


def in_context(app: Flask, enqueue: Enqueue) -> Enqueue:
    def enqueue_in_context(ticket: str) -> None:
        with app.app_context():
            enqueue(ticket)

    return enqueue_in_context


def execute(app: Flask, ours: Extension, ticket: str) -> Terminal | None:
    """Make a queued run in this process, until it has ended and that is told.

    :returns: How it ended; ``None``: it is not to be made (any more), or somebody else makes it.
    :raises ValueError: This is no ticket.
    """
    run_id, epoch = read_ticket(ticket)
    machinery = ours.machinery
    try:
        run = machinery.store.open(run_id).run
    except RunNotFound:  # The queue has kept it for longer than the store.
        return None
    if not run.request:  # It has ended.
        return None
    request = ChatRequest.decode(run.request)
    call = provider_of(ours, run.provider)
    return machinery.runner.execute(run_id, epoch, call, request, app.app_context)


def provider_of(ours: Extension, name: str) -> Provider:
    """The provider that a run from elsewhere asks for. Where it is not here, the run is to say so."""
    try:
        return ours.blueprints[ours.blueprint_of(name)].entry(name).call
    except ProviderNotFound as error:
        missing = error

    def fail(request: ChatRequest) -> t.NoReturn:
        raise missing

    return fail


def refuse_immovable(entry: Entry, ours: Extension) -> None:
    """Refuse a provider that cannot be called in another process, where that is to be done.

    :raises RegistrationError: It wants a request, or its name does not tell which one it is.
    """
    if ours.enqueue is None:
        return
    if entry.context == "request":
        raise RegistrationError(
            f'The provider {entry.name!r} has context="request", but AISTREAM_EXECUTOR makes runs in '
            'processes that have no request. Register it with context="app".'
        )
    if len({ai for ai in ours.blueprints.values() if entry.name in ai.provider_names}) > 1:
        raise RegistrationError(
            f"Two blueprints have a provider {entry.name!r}, but AISTREAM_EXECUTOR makes runs in "
            "processes that know only this name. Give one of them another."
        )
