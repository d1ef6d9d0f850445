"""The example application: a chat page, the plain page of every tutorial, and two small apps to copy from.

    gunicorn -k gevent "example_app:create_app()"

``quickstart.py`` is the ten-line app of the README, ``existing.py`` shows how to add streams to an
application that already has users. The rest is the chat: ``pages.py`` and its ``templates/`` and
``static/``, ``models/`` with what can answer, ``manual/`` with what the offline model quotes from, and
``conversations/`` for people who log in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from flask import Flask
from flask import request

from example_app.conversations import hooks
from example_app.conversations.database import db
from example_app.conversations.routes import conversations
from example_app.models.choose import answer_with
from example_app.models.choose import choose
from example_app.pages import pages
from flask_aistream import AIStream


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """The application, answering with what ``environ`` has a key for.

    :param environ: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``OPENAI_MODEL``, ``ANTHROPIC_API_KEY``,
        ``ANTHROPIC_BASE_URL`` and ``ANTHROPIC_MODEL`` are read, the models as comma-separated lists; with
        none, it quotes its documentation. ``EXAMPLE_DATABASE`` is the URL of the conversations' database; by
        default a file in the instance folder. With ``EXAMPLE_PLAYGROUND``, the playground at ``/ai/playground`` shows all runs to
        whoever is at this machine: never set it behind a proxy.
    """
    app = Flask(__name__)
    models = choose(environ)
    answer = answer_with(models)

    app.config["SECRET_KEY"] = environ.get("SECRET_KEY") or kept_secret(app)
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SQLALCHEMY_DATABASE_URI"] = environ.get(
        "EXAMPLE_DATABASE", "sqlite:///conversations.sqlite"
    )
    db.init_app(app)

    ai = AIStream()
    ai.provider(name="chat", chat_policy="interrupt")(answer)
    hooks.connect(app, ai)

    # The plain page asks http://127.0.0.1:8080/stream, so these runs live at the root.
    plain = AIStream("plain")
    plain.provider(name="stream", default_prompt="Introduce yourself.")(answer)

    if environ.get("EXAMPLE_PLAYGROUND"):
        app.config["AISTREAM_PLAYGROUND"] = True
        for blueprint in (ai, plain):
            blueprint.operator(is_at_this_machine)

    app.register_blueprint(ai, url_prefix="/ai")
    app.register_blueprint(plain)
    app.register_blueprint(pages)
    app.register_blueprint(conversations(ai))
    app.config["EXAMPLE_MODELS"] = models
    with app.app_context():
        db.create_all()
    return app


def is_at_this_machine() -> bool:
    local = ("127.0.0.1", "localhost")
    return request.remote_addr == local[0] and request.host.partition(":")[0] in local


def kept_secret(app: Flask) -> str:
    """A random key that survives a restart: it signs the cookies of people who are logged in."""
    path = Path(app.instance_path, "secret")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex())
    return path.read_text()
