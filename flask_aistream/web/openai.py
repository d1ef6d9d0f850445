"""What OpenAI's SDKs need besides their POSTs: models, and responses that can be found again."""

from __future__ import annotations

import typing as t

from flask import Response
from flask import jsonify
from flask import request

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.openai_responses import OPENAI_RESPONSES
from flask_aistream.runs.ended import fold_of
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import stream
from flask_aistream.web.extension import extension
from flask_aistream.web.responses import answering

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import AIStream

PREFIX = "resp_"


def add(ai: AIStream) -> None:
    """Put the routes on a blueprint."""
    answer = answering(OPENAI_RESPONSES)
    one = f"{OPENAI_RESPONSES.path}/<response_id>"
    ai.add_url_rule("/v1/models", "openai-models", answer(lambda: models(ai)))
    ai.add_url_rule("/v1/models/<name>", "openai-model", answer(lambda name: model(ai, name)))
    ai.add_url_rule(one, "openai-response", answer(lambda response_id: retrieve(ai, response_id)))
    ai.add_url_rule(
        f"{one}/cancel",
        "openai-cancel",
        answer(lambda response_id: cancel(ai, response_id)),
        methods=["POST"],
    )


def models(ai: AIStream) -> Response:
    """Every provider, as a model of its name."""
    return jsonify(object="list", data=[described(name) for name in ai.provider_names])


def model(ai: AIStream, name: str) -> Response:
    return jsonify(described(ai.entry(name).name))


def described(name: str) -> dict[str, t.Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "flask_aistream"}


def retrieve(ai: AIStream, response_id: str) -> Response:
    """A response so far; with ``?stream=true``, its events after ``starting_after``."""
    log = open_log(ai, response_id)
    if request.args.get("stream") in ("true", "1"):
        options = OPENAI_RESPONSES.options(request.args)
        return stream.follow(log, BEGINNING, OPENAI_RESPONSES, options)
    return said(log)


def cancel(ai: AIStream, response_id: str) -> Response:
    """End a response, and say what became of it."""
    log = open_log(ai, response_id)
    extension().process.runner.stop(log, "client")
    return said(log)


def said(log: Log) -> Response:
    return stream.whole_response(log, fold_of(log), OPENAI_RESPONSES)


def open_log(ai: AIStream, response_id: str) -> Log:
    """The log of a response, if the caller may see it. Any run may be asked for, as ``resp_`` + its id."""
    cors.refuse_cross_site(extension().settings, request)
    if not response_id.startswith(PREFIX):
        raise RunNotFound(response_id)
    caller = access.name_of(ai.identify_caller)
    run_id = response_id.removeprefix(PREFIX)
    return access.open_log(extension().process.store, run_id, caller)
