"""The blinker signals of this extension."""

from __future__ import annotations

from blinker import Namespace
from flask import Flask

from flask_aistream.runs.ended import RunEnded

run_ended = Namespace().signal(
    "run-ended",
    doc="""Sent for every run, however it ended, in an application context. Delivered at least once, normally
    once: deduplicate by ``ended.run.id``.

    :param sender: The Flask application.
    :param ended: A :class:`flask_aistream.RunEnded`.
    """,
)


class RunEndedSignal:
    """Sends :data:`run_ended` for one application. An ``EndObserver``."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @property
    def listening(self) -> bool:
        return bool(run_ended.receivers)

    def run_ended(self, ended: RunEnded) -> None:
        if self.listening:  # The context costs more than the check.
            with self._app.app_context():
                run_ended.send(self._app, ended=ended)
