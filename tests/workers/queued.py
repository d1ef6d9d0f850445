"""The servers' test application, whose runs Celery workers execute."""

from __future__ import annotations

import os
import typing as t

from celery import Celery
from celery import Task
from flask import Flask

from flask_aistream import run_ended
from tests.server import app as one_process
from tests.workers.app import sign


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("APP")
    init_celery(app)
    app.register_blueprint(one_process.ai, url_prefix="/ai")
    run_ended.connect(one_process.ended, app)
    app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
    app.after_request(sign)
    return app


def init_celery(app: Flask) -> None:
    """As Flask's documentation has it: tasks run in an application context."""

    class FlaskTask(Task):
        def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    app.extensions["celery"] = celery
