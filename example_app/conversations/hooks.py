"""What connects the tables to an ``AIStream``: the caller, the history, and the end of each run."""

from __future__ import annotations

import time
import typing as t

from flask import Flask
from flask import session

from example_app.conversations.database import TITLE_CHARACTERS
from example_app.conversations.database import Conversation
from example_app.conversations.database import Turn
from example_app.conversations.database import db
from example_app.conversations.database import find
from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import run_ended


def connect(app: Flask, ai: AIStream) -> None:
    ai.identify(user)
    ai.authorize(open_conversation)
    ai.history(messages)
    run_ended.connect(store, app)


def user() -> str | None:
    """The name of the person who is logged in."""
    return session.get("user")


def open_conversation(request: ChatRequest) -> None:
    """Create a conversation with its first question, so that other devices list it."""
    if request.owner is None or request.chat is None:
        return
    found = find(request.owner, request.chat)
    if found is None:
        title = " ".join(request.prompt.split())[:TITLE_CHARACTERS] or "Conversation"
        found = Conversation(owner=request.owner, id=request.chat, title=title)
        db.session.add(found)
    found.changed = time.time()
    db.session.commit()


def messages(chat: str, owner: str | None) -> list[dict[str, t.Any]]:
    found = find(owner, chat)
    return [message for turn in found.turns for message in turn.messages] if found else []


def store(app: Flask, ended: RunEnded) -> None:
    """Store question and answer, unless the conversation was deleted meanwhile, or this was done before."""
    found = find(ended.run.owner, ended.chat) if ended.chat is not None else None
    if found is None or any(turn.run == ended.run.id for turn in found.turns):
        return
    found.turns[:] = kept(found.turns, ended.request)
    for question in ended.question:
        shown = {"role": "user", "content": str(question["content"])}
        add(found, ended, str(question["id"]), [question], shown)
    add(found, ended, f"msg_{ended.run.id}", ended.answer, answer_of(ended))
    db.session.commit()


def kept(turns: t.Sequence[Turn], request: ChatRequest) -> list[Turn]:
    """The turns that a request does not replace, by an edit or by another answer to the last question."""
    ids = [turn.id for turn in turns]
    before = turns[: ids.index(request.replaces)] if request.replaces in ids else list(turns)
    while not request.question and before and before[-1].shown["role"] == "assistant":
        before = before[:-1]
    return list(before)


def add(
    found: Conversation,
    ended: RunEnded,
    id: str,
    messages: list[dict[str, t.Any]],
    shown: dict[str, t.Any],
) -> None:
    number = len(found.turns)
    found.turns.append(
        Turn(
            owner=found.owner,
            chat=found.id,
            id=id,
            run=ended.run.id,
            number=number,
            messages=messages,
            shown={"id": id, **shown},
        )
    )


def answer_of(ended: RunEnded) -> dict[str, t.Any]:
    """An answer as the page shows it; see ``static/chat/turns.js``."""
    message = ended.message.to_json()
    end = message["end"]
    sources = [part for part in message["parts"] if part["type"].startswith("source-")]
    return {
        "role": "assistant",
        "content": message["text"],
        "reasoning": message.get("reasoning", ""),
        "sources": [{"title": it.get("title") or it.get("url"), **it} for it in sources],
        "usage": message.get("usage"),
        "ending": message["status"],
        "reason": end.get("reason", ""),
        "error": end.get("message", ""),
        "model": ended.request.params.get("model", ""),
        "thought": 0,
        "seconds": ended.seconds,
    }
