"""``@ai.history``: the messages of a conversation, as the application keeps them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Sequence

from flask import current_app

from flask_aistream.core.conversation import NewMessages
from flask_aistream.core.conversation import Turn
from flask_aistream.core.conversation import answer_of
from flask_aistream.core.conversation import is_bound
from flask_aistream.core.conversation import with_history
from flask_aistream.core.conversation import without_history
from flask_aistream.core.conversation import without_id
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.request import Message
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.messages import read_message
from flask_aistream.runs.ended import fold_of
from flask_aistream.runs.ended import request_of
from flask_aistream.stores.base import Log

History = Callable[[str, str | None], Sequence[Message]]
"""``(chat, owner) → messages``, oldest first: in OpenAI's chat format or as UI messages, with ids."""


def applies(history: History | None, parsed: ParsedRequest, owner: str | None) -> bool:
    """Whether the application's history replaces the client's: it has one, and the chat id names one conversation."""
    return history is not None and is_bound(parsed.chat, owner)


def turn_of(
    history: History | None,
    parsed: ParsedRequest,
    messages: list[Message],
    owner: str | None,
    run: str,
) -> Turn:
    """A request within its conversation.

    :param messages: Those of the request, or the provider's default prompt.
    :raises RequestError: See :func:`~flask_aistream.core.conversation.with_history`; or the request branches off a
        history that there is not.
    """
    own = int(parsed.has_instructions)
    new = NewMessages(
        messages[own:],
        parsed.message_id,
        parsed.branch,
        parsed.decisions,
        messages[:own],
        parsed.appends,
    )
    if not applies(history, parsed, owner):
        if parsed.needs_history:
            raise RequestError(
                "`regenerate` and `edit` name a message of the conversation, which this server does not have: it needs "
                "@ai.history, and a `chat` of at least 16 characters or a caller that is logged in.",
                "history_missing",
                422,
            )
        return without_history(new, run)
    return with_history(read_history(t.cast(History, history), parsed.chat or "", owner), new, run)


def read_history(history: History, chat: str, owner: str | None) -> list[Message]:
    """Call ``@ai.history``. A UI message with tool parts becomes several messages with its id.

    :raises TypeError: The result is not a list of messages.
    """
    items = current_app.ensure_sync(history)(chat, owner)
    if not isinstance(items, (list, tuple)):
        raise TypeError(
            f"@ai.history returned {type(items).__name__} but must return a list of messages, such as "
            '[{"id": "1", "role": "user", "content": "Hello"}].'
        )
    try:
        return [
            {**message, **({"id": item["id"]} if item.get("id") is not None else {})}
            for index, item in enumerate(items)
            for message in read_message(item, index)
        ]
    except RequestError as error:  # The application's mistake, not its client's.
        raise TypeError(f"@ai.history returned messages that are not valid: {error}") from error


def conversation_of(log: Log) -> list[Message]:
    """The messages of a run: those that its provider was given, and its answer so far; without ids.

    For protocols that continue a run by its id instead of a chat.
    """
    given: ChatRequest = request_of(log.run)
    answer = answer_of(fold_of(log), log.run.id)
    return given.messages + [without_id(message) for message in answer]
