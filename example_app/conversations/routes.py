"""Log in by a name, and list, read, rename and delete the conversations of that name.

There is no password: this shows how conversations work, not how people prove who they are.
"""

from __future__ import annotations

import typing as t

from flask import Blueprint
from flask import Response
from flask import abort
from flask import jsonify
from flask import request
from flask import session

from example_app.conversations.database import TITLE_CHARACTERS
from example_app.conversations.database import Conversation
from example_app.conversations.database import db
from example_app.conversations.database import find
from example_app.conversations.hooks import kept
from example_app.conversations.hooks import user
from flask_aistream import AIStream

NAME_CHARACTERS = 40


def conversations(ai: AIStream) -> Blueprint:
    """The routes, for the conversations of one ``AIStream``."""
    blueprint = Blueprint("conversations", __name__)

    @blueprint.post("/login")
    def log_in() -> tuple[str, int]:
        session["user"] = text_field("name", NAME_CHARACTERS)
        return "", 204

    @blueprint.post("/logout")
    def log_out() -> tuple[str, int]:
        session.clear()
        return "", 204

    @blueprint.get("/conversations")
    def listed() -> Response:
        own = db.select(Conversation).filter_by(owner=owner()).order_by(Conversation.changed.desc())
        return jsonify([{"id": it.id, "title": it.title} for it in db.session.scalars(own)])

    @blueprint.get("/conversations/<chat>")
    def shown(chat: str) -> Response:
        """The turns, and with a live run those that it will have, with the run's events to read."""
        found = owned(chat)
        live = ai.runs(chat=chat, owner=owner(), live=True)[-1:]
        turns = found.turns
        asked = []
        for run in live:
            turns = kept(turns, run.request)
            asked = [{"role": "user", **question} for question in run.request.question]
        return jsonify(
            id=chat,
            title=found.title,
            turns=[turn.shown for turn in turns] + asked,
            live=live[0].id if live else None,
        )

    @blueprint.patch("/conversations/<chat>")
    def renamed(chat: str) -> tuple[str, int]:
        owned(chat).title = text_field("title", TITLE_CHARACTERS)
        db.session.commit()
        return "", 204

    @blueprint.delete("/conversations/<chat>")
    def deleted(chat: str) -> tuple[str, int]:
        for run in ai.runs(chat=chat, owner=owner(), live=True):
            run.stop()
        db.session.delete(owned(chat))
        db.session.commit()
        return "", 204

    return blueprint


def owner() -> str:
    return user() or abort(401)


def owned(chat: str) -> Conversation:
    return find(owner(), chat) or abort(404)


def text_field(name: str, most: int) -> str:
    """A field of the JSON body. A form of another origin can send no JSON."""
    body: t.Any = request.get_json()
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not 0 < len(value.strip()) <= most:
        abort(422, f"`{name}` must be a text of 1 to {most} characters.")
    return value.strip()
