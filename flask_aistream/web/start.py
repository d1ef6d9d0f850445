"""What is asked → a run: one that is begun, or the one that its idempotency key began."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable
from contextlib import AbstractContextManager
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
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import parse
from flask_aistream.web.executor import refuse_immovable
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.registry import RegisteredProvider

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import AIStream


def start(
    ai: AIStream, entry: RegisteredProvider, parsed: ParsedRequest, caller: str | None
) -> Log:
    """Begin a run, or find the one that the request's idempotency key began.

    :raises AIStreamError: Something is missing, wrong, or not allowed.
    """

    def allow(chat: ChatRequest) -> None:
        access.authorize(ai.authorize_start, chat)

    return begin(entry, parsed, caller, parse.key_of(current_request(), parsed), allow)


def begin(
    entry: RegisteredProvider,
    parsed: ParsedRequest,
    caller: str | None,
    key: str | None,
    allow: Callable[[ChatRequest], None],
) -> Log:
    """The same, whoever asks.

    :param allow: Raises where the run may not start.
    """
    run = describe(entry, parsed, caller, key)
    messages = parsed.messages or default_messages(entry)
    chat = ChatRequest(
        prompt=last_prompt(messages),
        messages=messages,
        params=parsed.params,
        body=parsed.body,
        provider=entry.name,
        run=run.id,
        owner=caller,
        chat=parsed.chat,
        continues=parsed.continues,
        background=parsed.background,
    )
    if entry.text_only:
        parse.refuse_media(messages)
    allow(chat)
    ext = extension()
    process = ext.process
    if ext.enqueue is not None or (entry.restart and process.store.shared):
        run = replace(run, request=chat.encode())
    if ext.enqueue is None:
        log, new = process.runner.start(run, entry.call, chat, context_factory(entry))
    else:
        refuse_immovable(entry, ext)
        log, new = process.runner.enqueue(run, chat)
    if not new and log.run.fingerprint != run.fingerprint:
        raise KeyReused
    return log


def describe(
    entry: RegisteredProvider, parsed: ParsedRequest, caller: str | None, key: str | None
) -> Run:
    return Run(
        id=new_run_id(),
        provider=entry.name,
        created=time.time(),
        owner=caller,
        key=scoped(entry, caller, key) if key else None,
        fingerprint=parse.fingerprint(parsed) if key else "",
        chat=scoped(entry, caller, parsed.chat) if parsed.chat else None,
    )


def scoped(entry: RegisteredProvider, caller: str | None, name: str) -> str:
    """A client's name for something, made unique: two owners may choose the same."""
    return "\0".join((entry.name, "" if caller is None else f"@{caller}", name))


def default_messages(entry: RegisteredProvider) -> list[Message]:
    if entry.default_prompt is None:
        raise RequestError(
            'Nothing was asked: send `prompt` (a string) or `messages` (a list of {"role", "content"}).',
            "prompt_missing",
            422,
        )
    return [{"role": "user", "content": entry.default_prompt}]


def context_factory(entry: RegisteredProvider) -> Callable[[], AbstractContextManager[t.Any]]:
    """What the provider's code runs in: a fresh application context, or a copy of this request's."""
    if entry.context == "app":
        return t.cast(Flask, current_app._get_current_object()).app_context  # type: ignore[attr-defined]
    if not has_request_context():
        raise RegistrationError(
            f'The provider {entry.name!r} has context="request", and there is no request here. '
            'Register it with context="app", or start it in a view.'
        )
    request.get_data(cache=True)  # The copy could not read the body any more.
    copy = request_ctx.copy()
    return lambda: copy
