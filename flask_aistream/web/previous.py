"""``previous_response_id``: continue the conversation of a stored response."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import RunStarted
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.messages import check_tool_messages
from flask_aistream.protocols.openai_responses import about_input
from flask_aistream.protocols.openai_responses import without_instructions
from flask_aistream.runs.ended import request_of
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import history
from flask_aistream.web import parse
from flask_aistream.web.extension import Extension
from flask_aistream.web.registry import ProviderRegistry

PREFIX = "resp_"
"""Of the id of a response; the rest is the id of its run."""


def continued(
    ext: Extension, registry: ProviderRegistry, parsed: ParsedRequest, caller: str | None
) -> ParsedRequest:
    """A request with the messages of the response that it continues.

    :raises RequestError: There is no such response for this caller, it has not ended, or it is too large.
    """
    if parsed.previous is None:
        return parsed
    log = stored_log(ext, registry, parsed.previous, caller)
    if log is None:
        raise RequestError(
            f"Previous response with id {parsed.previous[:200]!r} not found.",
            "previous_response_not_found",
        )
    access.authorize_action(registry, "read", log.run)
    if log.terminal is None:
        raise RequestError(
            f"Previous response with id {parsed.previous[:200]!r} is still in progress. Cancel it, or wait for its end.",
            "previous_response_id_invalid",
        )
    echo = echo_of(log)
    given = request_of(log.run)
    parsed = replace(parsed, chat=given.chat)
    if history.applies(registry.history, parsed, caller):
        return parsed
    if len(given.messages) < echo.get("messages", 0):
        raise RequestError(
            "The conversation of the previous response is longer than AISTREAM_REQUEST_BYTES, so it was not kept. Send "
            "the whole conversation as `input`.",
            "previous_response_id_invalid",
        )
    earlier = without_instructions(history.conversation_of(log), echo)
    mine = without_instructions(parsed.messages, parsed.echo)
    instructions = parsed.messages[: len(parsed.messages) - len(mine)]
    try:
        messages: list[Message] = check_tool_messages([*instructions, *earlier, *mine])
    except RequestError as error:
        raise about_input(error) from None
    parse.check_size(messages, ext.settings)
    return replace(
        parsed, messages=messages, echo={**(parsed.echo or {}), "messages": len(messages)}
    )


def stored_log(
    ext: Extension, registry: ProviderRegistry, response_id: str, caller: str | None
) -> Log | None:
    """The log of a response that the caller may read; ``None``: there is none, or it was started with ``store: false``."""
    if not response_id.startswith(PREFIX):
        return None
    try:
        log = access.open_log(ext.process.store, registry, response_id.removeprefix(PREFIX), caller)
    except RunNotFound:
        return None
    return None if echo_of(log).get("store") is False else log


def echo_of(log: Log) -> dict[str, t.Any]:
    """The fields of the request that its response repeats; empty if it was started in another protocol."""
    first = log.read(BEGINNING, limit=1).events
    started = first[0] if first else None
    return (started.echo if isinstance(started, RunStarted) else None) or {}
