"""The blinker signals of this extension."""

from __future__ import annotations

import types
import typing as t

from blinker import ANY
from blinker import NamedSignal
from flask import Flask

from flask_aistream.runs.ended import RunEnded

F = t.TypeVar("F", bound=t.Callable[..., t.Any])

RECEIVERS = "aistream_receivers"


class Signal(NamedSignal):
    """A signal that keeps receivers alive that only it refers to, such as a function inside ``create_app()``.

    Blinker holds receivers weakly, so such a one would be dropped before it is ever called.
    """

    def connect(self, receiver: F, sender: t.Any = ANY, weak: bool = True) -> F:
        """
        :param sender: The application whose runs are meant; by default every one. A receiver inside a function
            is kept as long as its application, or without one as long as the process.
        """
        if weak and not is_kept_elsewhere(receiver):
            if isinstance(sender, Flask):
                sender.extensions.setdefault(RECEIVERS, []).append(receiver)
            else:
                weak = False
        return super().connect(receiver, sender, weak)


def is_kept_elsewhere(receiver: object) -> bool:
    """Whether a module or an instance refers to a receiver: no lambda, local function or partial."""
    if isinstance(receiver, types.MethodType):
        return True
    return isinstance(receiver, types.FunctionType) and "<" not in receiver.__qualname__


run_ended = Signal(
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
