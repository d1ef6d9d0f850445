"""The example application: a chat page, the plain page of every tutorial, and two small apps to copy from.

    gunicorn -k gevent "example_app:create_app()"

``quickstart.py`` is the ten-line app of the README, ``existing.py`` shows how to add streams to an
application that already has users. The rest is the chat: ``pages.py`` and its ``templates/`` and
``static/``, ``models/`` with what can answer, ``manual/`` with what the offline model quotes from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from flask import Flask

from example_app.models.choose import answer_with
from example_app.models.choose import choose
from example_app.pages import pages
from flask_aistream import AIStream


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """The application, answering with what ``environ`` has a key for.

    :param environ: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``OPENAI_MODEL``, ``ANTHROPIC_API_KEY``,
        ``ANTHROPIC_BASE_URL`` and ``ANTHROPIC_MODEL`` are read, the models as comma-separated lists; with
        none, it quotes its documentation.
    """
    app = Flask(__name__)
    models = choose(environ)
    answer = answer_with(models)

    ai = AIStream()
    ai.provider(name="chat")(answer)

    # The plain page asks http://127.0.0.1:8080/stream, so these runs live at the root.
    plain = AIStream("plain")
    plain.provider(name="stream", default_prompt="Introduce yourself.")(answer)

    app.register_blueprint(ai, url_prefix="/ai")
    app.register_blueprint(plain)
    app.register_blueprint(pages)
    app.config["EXAMPLE_MODELS"] = models
    return app
