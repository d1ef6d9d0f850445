"""Continue the conversation of a stored response: by ``previous_response_id``, or by references to its items."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from flask_aistream.core.conversation import Branch
from flask_aistream.core.cursor import BEGINNING
from flask_aistream.core.events import RunStarted
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.messages import check_tool_messages
from flask_aistream.protocols.openai_responses import OPENAI_RESPONSES
from flask_aistream.protocols.openai_responses import about_input
from flask_aistream.protocols.openai_responses import response_body
from flask_aistream.protocols.openai_responses import without_instructions
from flask_aistream.protocols.openai_responses_input import without_references
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.ended import request_of
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import history
from flask_aistream.web import parse
from flask_aistream.web.extension import Extension
from flask_aistream.web.registry import ProviderRegistry

PREFIX = "resp_"
"""Of the id of a response; the rest is the id of its run."""

ITEM_ID = re.compile(r"[a-z]+_([A-Za-z0-9_-]{22})_[0-9]+")
"""Id of an output item: its kind, the id of its run, and its place."""


def continued(
    ext: Extension, registry: ProviderRegistry, parsed: ParsedRequest, caller: str | None
) -> ParsedRequest:
    """A request with the messages of the response that it continues.

    :raises RequestError: There is no such response for this caller, it has not ended, or it is too large; or the
        request has a message that answers no call.
    """
    if parsed.references:
        parsed = with_items(ext, registry, parsed, caller)
    if parsed.previous is None:
        if parsed.chat is not None and not history.applies(registry.history, parsed, caller):
            check_messages(parsed)
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
    parsed = replace(parsed, chat=given.chat, branch=Branch("after", log.run.id))
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
    parsed = replace(parsed, messages=[*instructions, *earlier, *mine], branch=None)
    check_messages(parsed)
    parse.check_size(parsed.messages, ext.settings)
    return replace(parsed, echo={**(parsed.echo or {}), "messages": len(parsed.messages)})


def check_messages(parsed: ParsedRequest) -> None:
    """
    :raises RequestError: A tool message answers no call, and there is no history that could have it.
    """
    try:
        check_tool_messages(parsed.messages)
    except RequestError as error:
        raise about_input(error) if parsed.appends else error from None


def with_items(
    ext: Extension, registry: ProviderRegistry, parsed: ParsedRequest, caller: str | None
) -> ParsedRequest:
    """A request with the items that it refers to.

    :raises RequestError: There is no such item for this caller.
    """
    found = {id: item_of(ext, registry, id, caller) for id in parsed.references}
    items = without_references(parsed.body["input"], found)
    whole = OPENAI_RESPONSES.read({**parsed.body, "input": items})
    parse.check_size(whole.messages, ext.settings)
    return replace(parsed, messages=whole.messages, decisions=whole.decisions, echo=whole.echo)


def item_of(
    ext: Extension, registry: ProviderRegistry, id: str, caller: str | None
) -> dict[str, t.Any]:
    """An output item of a stored response.

    :raises RequestError: It does not exist, or belongs to another owner.
    """
    named = ITEM_ID.fullmatch(id)
    log = stored_log(ext, registry, f"{PREFIX}{named[1]}", caller) if named else None
    if log is not None:
        access.authorize_action(registry, "read", log.run)
        context = EncoderContext(log.run.id, log.run.provider)
        for item in response_body(fold_of(log), context)["output"]:
            if item["id"] == id:
                return t.cast("dict[str, t.Any]", item)
    raise RequestError(
        f"Item with id {id[:200]!r} not found. Items are kept as long as their response, and not with `store: false`. Send "
        "the item itself.",
        "item_not_found",
        404,
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
