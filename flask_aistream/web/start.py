"""``ParsedRequest`` → a run: a new one, or the one that its idempotency key started before."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import replace

from flask import Flask
from flask import current_app
from flask import has_request_context
from flask import request
from flask.globals import request_ctx

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.request import last_prompt
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.errors import KeyReused
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.native import NATIVE
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import attempts
from flask_aistream.web import names
from flask_aistream.web import parse
from flask_aistream.web.call import caller_variables
from flask_aistream.web.call import provider_call
from flask_aistream.web.executor import refuse_immovable
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.registry import Authorize
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider


@dataclass(frozen=True, slots=True)
class Starter:
    """The caller that starts a run.

    :param owner: Its name; ``None`` for an anonymous caller.
    :param chat_visitor: Browser (or ``CODE``) that a short chat id of an anonymous caller belongs to; see ``names``.
    :param key_visitor: The same for a short idempotency key.
    :param authorize: Called before the run starts; ``None`` allows every run.
    """

    owner: str | None
    chat_visitor: str | None
    key_visitor: str | None
    authorize: Authorize | None = None


def starter_of(
    ext: Extension, registry: ProviderRegistry, parsed: ParsedRequest, caller: str | None
) -> Starter:
    """The starter of the current request."""
    chosen = [name for name in (parsed.chat, parsed.key) if name]
    visitor = None
    if caller is None and chosen:
        visitor = names.visitor_for_start(ext, current_request(), min(chosen, key=len))
    return Starter(caller, visitor, visitor, registry.authorize)


def start(
    ext: Extension,
    registry: ProviderRegistry,
    provider: RegisteredProvider,
    parsed: ParsedRequest,
    starter: Starter,
    protocol: WireProtocol = NATIVE,
) -> Log:
    """Start a run, or find the one that the idempotency key or an earlier attempt started.

    :raises AIStreamError: The request is wrong, not allowed, or cannot be served now.
    """
    run = new_run(registry, provider, parsed, starter)
    chat = chat_request(provider, parsed, run)
    if provider.text_only:
        parse.refuse_media(chat.messages)
    access.authorize(starter.authorize, chat)
    take_key = attempts.takes_key(ext.process.store, protocol, run, parsed)
    log, new = launch_or_enqueue(ext, provider, run, chat, take_key)
    if not new and log.run.fingerprint != run.fingerprint:
        raise KeyReused
    return log


def resumed_by_request(
    ext: Extension, registry: ProviderRegistry, provider: RegisteredProvider, owner: str | None
) -> Log | None:
    """The run of a provider that the current request resumes, if any.

    :raises RunNotFound: It expired, or belongs to another owner.
    """
    cursor = parse.read_own_cursor(request) if has_request_context() else None
    if cursor is None:
        return None
    log = access.open_log(ext.process.store, registry, cursor.run, owner)
    return log if log.run.provider == provider.name else None


def new_run(
    registry: ProviderRegistry,
    provider: RegisteredProvider,
    parsed: ParsedRequest,
    starter: Starter,
) -> Run:
    owner, key = starter.owner, parse.checked_key(parsed.key)
    if key is not None:
        key = names.scoped(registry, provider, owner, key, starter.key_visitor)
    elif parsed.attempt is not None:
        key = names.scoped(registry, provider, owner, parsed.attempt.name, None)
    chat = parsed.chat or None
    if chat is not None:
        chat = names.scoped(registry, provider, owner, chat, starter.chat_visitor)
    return Run(
        id=new_run_id(),
        provider=provider.name,
        created=time.time(),
        owner=owner,
        key=key,
        fingerprint=parse.fingerprint(parsed) if key else "",
        chat=chat,
        namespace=access.namespace_of(registry),
    )


def chat_request(provider: RegisteredProvider, parsed: ParsedRequest, run: Run) -> ChatRequest:
    messages = parsed.messages or default_messages(provider)
    return ChatRequest(
        prompt=last_prompt(messages),
        messages=messages,
        params=parsed.params,
        body=parsed.body,
        provider=provider.name,
        run=run.id,
        owner=run.owner,
        chat=parsed.chat,
        continues=parsed.continues,
        echo=parsed.echo,
        background=parsed.background,
    )


def default_messages(provider: RegisteredProvider) -> list[Message]:
    """
    :raises RequestError: The provider has no default prompt.
    """
    if provider.default_prompt is None:
        raise RequestError(
            "The request has no prompt: send `prompt` (a string) or `messages` (a list of "
            '{"role", "content"}).',
            "prompt_missing",
            422,
        )
    return [{"role": "user", "content": provider.default_prompt}]


def launch_or_enqueue(
    ext: Extension, provider: RegisteredProvider, run: Run, chat: ChatRequest, take_key: bool
) -> tuple[Log, bool]:
    """Call the provider here, or queue the run for a worker.

    :param take_key: The run is a new one, and an earlier run loses its key.
    :returns: The run's log, and whether it is new.
    """
    runner = ext.process.runner
    if ext.enqueue is not None:
        refuse_immovable(provider, ext.mounts)
        return runner.enqueue(replace(run, request=chat.encode()), chat, take_key=take_key)
    if provider.restart and ext.process.store.shared:
        run = replace(run, request=chat.encode())
    call = provider_call(
        ext.exceptions, ext.settings, provider, chat, context_factory(provider), caller_variables()
    )
    return runner.start(run, call, take_key=take_key)


def context_factory(
    provider: RegisteredProvider,
) -> Callable[[], AbstractContextManager[t.Any]]:
    """Makes the context of the provider's code: a fresh application context, or a copy of this request's.

    :raises RegistrationError: It needs a request, and there is none.
    """
    if provider.context == "app":
        return t.cast(Flask, current_app._get_current_object()).app_context  # type: ignore[attr-defined]
    if not has_request_context():
        raise RegistrationError(
            f'The provider {provider.name!r} has context="request", and there is no request here. '
            'Register it with context="app", or start it in a view.'
        )
    request.get_data(cache=True)  # The copy cannot read the body from the connection.
    copy = request_ctx.copy()
    return lambda: copy
