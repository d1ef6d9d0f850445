"""Celery: the task that executes a queued run in a worker.

The Celery application is ``app.extensions["celery"]``, as in Flask's documentation.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from importlib.util import find_spec

from flask import Flask

from flask_aistream.core.events import Terminal
from flask_aistream.core.fold import STATUS
from flask_aistream.errors import ConfigError
from flask_aistream.errors import StoreUnavailable

TASK = "flask_aistream.execute"

RETRY_SECONDS = 1


def queue_of(app: Flask, execute: Callable[[str], Terminal | None]) -> Callable[[str], object]:
    """Register the task with the application's Celery.

    :returns: A function that puts a ticket into the queue.
    :raises ConfigError: Celery is not installed, or not set up.
    """
    if find_spec("celery") is None:
        raise ConfigError(
            "AISTREAM_EXECUTOR is `celery`, but the package celery is not installed. Run "
            "`pip install flask_aistream[celery]`."
        )
    celery: t.Any = app.extensions.get("celery")
    if celery is None:
        raise ConfigError(
            'AISTREAM_EXECUTOR is `celery`, but there is no app.extensions["celery"]. Set Celery up, as '
            'in "Background Tasks with Celery" of Flask\'s documentation, before registering the '
            "blueprint."
        )

    def execute_run(ticket: str) -> str:
        outcome = execute(ticket)
        return "skipped" if outcome is None else STATUS[type(outcome)]

    task: t.Any = celery.task(
        execute_run,
        name=TASK,
        shared=False,  # Or other Celery applications of the process would execute this application's runs.
        ignore_result=True,  # The result is only for the worker's log.
        # A task that starts while the store is unavailable changes nothing, so it is safe to retry. A run that
        # waited too long by then is skipped.
        autoretry_for=(StoreUnavailable,),
        default_retry_delay=RETRY_SECONDS,
        max_retries=None,
    )

    def enqueue(ticket: str) -> None:
        task.delay(ticket)

    # Not task.delay itself: looking it up makes Celery read its configuration now.
    return enqueue
