"""The route of a chat: its runs, for another device of its owner to pick up the live one.

A chat id is scoped to its owner (see ``names``). Its runs are those that the store retains. Its messages are the
application's: see ``history``.
"""

from __future__ import annotations

import typing as t

from flask import Blueprint
from flask import Response
from flask import jsonify
from flask import request

from flask_aistream.errors import ChatNotFound
from flask_aistream.protocols.native import NATIVE
from flask_aistream.runs.ended import request_of
from flask_aistream.runs.ended import summary_of
from flask_aistream.stores.base import Log
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import names
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import extension
from flask_aistream.web.links import links_of
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.routes import view_wrapper
from flask_aistream.web.turns import logs_of


def add(blueprint: Blueprint, registry: ProviderRegistry) -> None:
    """Put the route on a blueprint."""
    view = view_wrapper(registry, NATIVE)(lambda chat_id: show(registry, chat_id))
    blueprint.add_url_rule("/chats/<path:chat_id>", "chat", view)


def show(registry: ProviderRegistry, chat_id: str) -> Response:
    """The runs of a chat, oldest first, and the live one with its prompt.

    :raises ChatNotFound: The store has no run of this chat and caller.
    """
    ext = extension()
    cors.refuse_cross_site(ext.settings, request)
    access.authorize_action(registry, "list", None)
    caller = access.caller_of(registry.identify)
    visitor = names.visitor_of(request) if caller is None else None
    logs = list(logs_of(ext, names.scoped_chat(registry, caller, chat_id, visitor)))
    if not logs:
        raise ChatNotFound(chat_id)
    live = next((log for log in reversed(logs) if log.terminal is None), None)
    return jsonify(
        chat=chat_id,
        runs=[described(ext, log) for log in logs],
        live=live and {**described(ext, live), "prompt": request_of(live.run).prompt},
    )


def described(ext: Extension, log: Log) -> dict[str, t.Any]:
    return {**summary_of(log), **links_of(ext, log.run)}
