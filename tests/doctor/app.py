"""An application with one fault, which the environment variable ``FAULT`` names."""

from __future__ import annotations

import json
import os
import sys
import types
import typing as t
from tempfile import gettempdir

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aistream import AIStream


def create_app(fault: str | None = None, **config: t.Any) -> Flask:
    fault = os.environ.get("FAULT", "") if fault is None else fault
    app = Flask("shop")
    app.secret_key = "known to the command, too"
    app.config |= {"AISTREAM_HEARTBEAT_SECONDS": 2, **json.loads(os.environ.get("CONFIG", "{}"))}
    app.config |= config
    if fault != "no proxy fix":
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    if fault == "grpc":
        sys.modules["grpc"] = types.ModuleType("grpc")
    if fault == "debug":
        app.debug = True
    ai = AIStream()
    ai.provider(PROVIDERS.get(fault, chat))
    if fault == "csrf":
        CSRFProtect(app)
    if fault == "pool":
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{gettempdir()}/never-opened.sqlite"
        db.init_app(app)
    ai.init_app(app, url_prefix="/ai")
    return app


def chat(_: t.Any) -> t.Iterator[str]:
    yield "Hello"


def parsed(request: t.Any) -> t.Any:
    return client.chat.completions.create(model="m", messages=request.messages, stream=True)


def raw(request: t.Any) -> t.Any:
    return client.chat.completions.with_streaming_response.create(
        model="m", messages=request.messages, stream=True
    )


def query(_: t.Any) -> t.Iterator[str]:
    yield str(db.session)


PROVIDERS = {"parsed chunks": parsed, "raw response": raw, "pool": query}

client: t.Any = None
db = SQLAlchemy()
