"""An application that keeps conversations in a file of its own, for several workers.

What it stores of each run, and what each provider was called with, is recorded in the file named by ``FACTS``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import typing as t
from collections.abc import Iterator

from flask import Flask
from flask import jsonify

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import run_ended
from tests.server.app import FACTS
from tests.server.app import note
from tests.workers.app import sign

TABLE = """
CREATE TABLE IF NOT EXISTS message (
    chat TEXT, number INTEGER, id TEXT, run TEXT, content TEXT, PRIMARY KEY (chat, number)
)
"""

ai = AIStream()
ai.identify(lambda: "ann")


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{FACTS}.db", timeout=10)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(TABLE)
        yield db


@ai.history
def messages(chat: str, owner: str | None) -> list[dict[str, t.Any]]:
    with database() as db:
        rows = db.execute("SELECT content FROM message WHERE chat = ? ORDER BY number", (chat,))
        return [json.loads(content) for (content,) in rows]


def store(sender: Flask, ended: RunEnded) -> None:
    chat, run = ended.chat, ended.run.id
    with database() as db:
        if db.execute("SELECT 1 FROM message WHERE run = ?", (run,)).fetchone():
            return
        db.execute(
            "DELETE FROM message WHERE chat = ? AND number >= "
            "(SELECT number FROM message WHERE chat = ? AND id = ?)",
            (chat, chat, ended.request.replaces),
        )
        (count,) = db.execute("SELECT count(*) FROM message WHERE chat = ?", (chat,)).fetchone()
        added = [*ended.question, *ended.answer]
        db.executemany(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
            [
                (chat, number, it["id"], run, json.dumps(it))
                for number, it in enumerate(added, count)
            ],
        )
    note("stored", run=run, chat=chat, added=added, replaces=ended.request.replaces)


def count(request: ChatRequest) -> Iterator[str]:
    """As many words as it is asked for, each after a pause."""
    note("asked", run=request.run, given=[it["content"] for it in request.messages])
    for number in range(request.params["words"]):
        yield f"{number} "
        time.sleep(request.params["pause"])


for policy in ("reject", "interrupt"):
    ai.provider(name=policy, chat_policy=policy)(count)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("APP")
    ai.init_app(app, url_prefix="/ai")
    app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    app.add_url_rule("/messages/<chat>", "messages", lambda chat: jsonify(messages(chat, "ann")))
    app.after_request(sign)
    run_ended.connect(store, app)
    return app
