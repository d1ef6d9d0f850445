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

from flask_aistream.core.conversation import question_of
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.core.request import last_prompt
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.core.run import with_request
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import KeyReused
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.native import NATIVE
from flask_aistream.runs.policy import PARALLEL
from flask_aistream.runs.quota import UNCOUNTED
from flask_aistream.runs.quota import Quota
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import attempts
from flask_aistream.web import history
from flask_aistream.web import names
from flask_aistream.web import parse
from flask_aistream.web import turns
from flask_aistream.web.address import address_of
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
    :param is_code: The application's own code composed the request.
    """

    owner: str | None
    chat_visitor: str | None
    key_visitor: str | None
    authorize: Authorize | None = None
    is_code: bool = False


def starter_of(
    ext: Extension, registry: ProviderRegistry, parsed: ParsedRequest, caller: str | None
) -> Starter:
    """The starter of the current request."""
    visitor = None
    if caller is None and (parsed.chat or parsed.key):
        chosen = [name for name in (parsed.chat, parsed.key) if name]
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
    parse.check_names_of(parsed, starter.owner, ext.settings)
    run = new_run(registry, provider, parsed, starter)
    chat = chat_request(ext, provider, parsed, run)
    if provider.text_only:
        parse.refuse_media(chat.messages)
    if provider.system == "server" and not starter.is_code:
        parse.refuse_system_messages(parsed.messages)
    access.authorize(starter.authorize, chat)
    take_key = attempts.takes_key(ext.process.store, protocol, run, parsed)
    log, new = start_in_chat(ext, registry, provider, parsed, run, chat, take_key)
    if not new and log.run.fingerprint != run.fingerprint:
        raise KeyReused
    return log


def start_in_chat(
    ext: Extension,
    registry: ProviderRegistry,
    provider: RegisteredProvider,
    parsed: ParsedRequest,
    run: Run,
    chat: ChatRequest,
    take_key: bool,
) -> tuple[Log, bool]:
    """Start a run as the policy of its chat says, with the messages of the history.

    :param chat: With the messages of the client.
    :param take_key: See ``Conditions``.
    :returns: The run's log, and whether it is new.
    :raises ChatBusy: The chat has a live run.
    """
    policy = provider.chat_policy or ext.settings.chat_policy
    stored = history.applies(registry.history, parsed, run.owner)
    if run.chat is None or (policy == PARALLEL and not stored):
        chat = in_conversation(registry, parsed, chat)
        return launch_or_enqueue(ext, provider, run, chat, Conditions(take_key=take_key))
    found = None if take_key else ext.process.runner.find(run)
    if found is not None:
        return found, False
    deadline = time.monotonic() + turns.TURN_SECONDS
    while True:
        newest = turns.take_turn(ext, run.chat, policy, stored=stored)
        turn = in_conversation(registry, parsed, chat)
        try:
            previous = None if policy == PARALLEL else newest
            conditions = Conditions(take_key=take_key, previous=previous)
            return launch_or_enqueue(ext, provider, run, turn, conditions)
        except ChatBusy:  # Another request was faster, and the history is not that of before.
            if time.monotonic() >= deadline:
                raise


def in_conversation(
    registry: ProviderRegistry, parsed: ParsedRequest, chat: ChatRequest
) -> ChatRequest:
    """A request with the messages of its whole conversation."""
    if registry.history is None and not (parsed.decisions or parsed.needs_history):
        return chat  # A copy would cost a tenth of what starting a run does.
    turn = history.turn_of(registry.history, parsed, chat.messages, chat.owner, chat.run)
    return replace(
        chat,
        prompt=last_prompt(turn.messages),
        messages=turn.messages,
        question=turn.question,
        replaces=turn.replaces,
        approved=turn.approved,
    )


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
    elif parsed.attempt is not None and (owner is not None or parsed.attempt.secret):
        key = names.scoped(registry, provider, owner, parsed.attempt.name, None)
    chat = parsed.chat or None
    if chat is not None:
        chat = names.scoped_chat(registry, owner, chat, starter.chat_visitor)
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


def chat_request(
    ext: Extension, provider: RegisteredProvider, parsed: ParsedRequest, run: Run
) -> ChatRequest:
    messages = parsed.messages
    if not messages and not (parsed.branch or parsed.decisions):
        messages = default_messages(provider)
    return ChatRequest(
        prompt=last_prompt(messages),
        messages=messages,
        params=parsed.params,
        body=parsed.body,
        provider=provider.name,
        run=run.id,
        owner=run.owner,
        chat=parsed.chat,
        question=question_of(messages, run.id, parsed.message_id),
        continues=parsed.continues,
        echo=parsed.echo,
        background=parsed.background,
        trace=ext.current_trace(),
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


def quota_of(ext: Extension, run: Run, chat: ChatRequest) -> Quota:
    """What the start counts against. Code outside of a request is not limited."""
    if not has_request_context():
        return UNCOUNTED
    current = current_request()
    owner = None if run.owner is None else f"{run.namespace} {run.owner}"
    address = address_of(ext, current) if owner is None else None
    size = current.environ.get(parse.BODY_BYTES)
    if size is None and current.method != "GET":
        size = current.content_length
    return ext.process.quotas.of(owner, address, background=chat.background, size=size or 0)


def launch_or_enqueue(
    ext: Extension,
    provider: RegisteredProvider,
    run: Run,
    chat: ChatRequest,
    conditions: Conditions,
) -> tuple[Log, bool]:
    """Call the provider in this process, or queue the run for a worker.

    :returns: The run's log, and whether it is new.
    """
    runner, quota = ext.process.runner, quota_of(ext, run, chat)
    if ext.enqueue is not None:
        refuse_immovable(provider, ext.mounts)
        run = with_request(run, chat.encode())
        return runner.enqueue(run, chat, quota, conditions)
    if provider.restart and ext.process.store.shared:
        run = with_request(run, chat.encode())
    else:
        run = with_request(run, chat.encode_for_history(ext.settings.request_bytes))
    ext.exceptions.await_response(run.id)
    call = provider_call(
        ext.exceptions,
        ext.settings,
        provider,
        chat,
        context_factory(provider),
        ext.process.sessions,
        caller_variables(),
    )
    return runner.start(run, call, quota, conditions)


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
