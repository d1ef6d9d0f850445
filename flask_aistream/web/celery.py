"""Celery: the task that makes a run in a worker, and the queue it waits in.

The Celery application is found where Flask's documentation puts it: ``app.extensions["celery"]``.
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

    :returns: Puts a ticket into the queue.
    :raises ConfigError: There is no Celery.
    """
    if find_spec("celery") is None:
        raise ConfigError(
            "AISTREAM_EXECUTOR is `celery`, but the package celery is not installed; "
            "`pip install flask_aistream[celery]` does that."
        )
    celery: t.Any = app.extensions.get("celery")
    if celery is None:
        raise ConfigError(
            'AISTREAM_EXECUTOR is `celery`, but there is no app.extensions["celery"]. Set Celery up, as '
            'in "Background Tasks with Celery" of Flask\'s documentation, before registering the '
            "blueprint."
        )

    def make_run(ticket: str) -> str:
        outcome = execute(ticket)
        return "not to be made" if outcome is None else STATUS[type(outcome)]

    task: t.Any = celery.task(
        make_run,
        name=TASK,
        shared=False,  # Else every other Celery of the process gets it, and this application's runs.
        ignore_result=True,  # What it returns is for the worker's log; nobody waits for it.
        # While the store is away nothing is begun; a run that has waited too long is not begun either.
        autoretry_for=(StoreUnavailable,),
        default_retry_delay=RETRY_SECONDS,
        max_retries=None,
    )

    def enqueue(ticket: str) -> None:
        task.delay(ticket)

    # Not task.delay itself: to look that up would make Celery read its configuration now.
    return enqueue
