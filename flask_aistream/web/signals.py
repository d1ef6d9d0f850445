"""What the extension announces, as blinker signals."""

from __future__ import annotations

from blinker import Namespace

run_ended = Namespace().signal(
    "run-ended",
    doc="""Sent once for every run, however it ended, in an application context.

    :param sender: The Flask application.
    :param ended: A :class:`flask_aistream.RunEnded`.
    """,
)
