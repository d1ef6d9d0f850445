"""What ``useChat`` needs besides its POST: to find the run of a chat again, and to stop it."""

from __future__ import annotations

import typing as t

from flask import Response
from flask import jsonify
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.ai_sdk import AI_SDK
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import start
from flask_aistream.web import stream
from flask_aistream.web.extension import extension
from flask_aistream.web.responses import answering

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import AIStream


def add(ai: AIStream) -> None:
    """Put the routes on a blueprint."""
    answer = answering(AI_SDK)
    chat = f"{AI_SDK.path}/<path:chat_id>"
    ai.add_url_rule(
        f"{chat}/stream", "ai-sdk-reconnect", answer(lambda **names: reconnect(ai, **names))
    )
    ai.add_url_rule(
        f"{chat}/stop", "ai-sdk-stop", answer(lambda **names: stop(ai, **names)), methods=["POST"]
    )


def reconnect(ai: AIStream, provider: str, chat_id: str) -> Response:
    """All of the chat's latest run again, from its start; 204 where there is none whose end nobody has
    seen. The client asks at every mount, also for chats that never were: 404 would be an error there.
    """
    log = latest(ai, provider, chat_id)
    if log is None:
        return Response(status=204)
    return stream.follow(log, BEGINNING, AI_SDK, AI_SDK.options(request.args))


def stop(ai: AIStream, provider: str, chat_id: str) -> Response:
    """End the chat's latest run, and say whether this ended it."""
    log = latest(ai, provider, chat_id)
    stopped = log is not None and extension().process.runner.stop(log, "client")
    return jsonify(run=log.run.id if log else None, stopped=stopped)


def latest(ai: AIStream, provider: str, chat_id: str) -> Log | None:
    """The log of the run started last for a chat of this caller, if nobody has read its end."""
    cors.refuse_cross_site(extension().settings, request)
    caller = access.name_of(ai.identify_caller)
    store = extension().process.store
    run_id = store.latest(start.scoped(ai.entry(provider), caller, chat_id))
    try:
        return None if run_id is None else store.open(run_id)
    except RunNotFound:  # Forgotten meanwhile.
        return None
