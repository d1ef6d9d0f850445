"""The ends a run can have, for dialects that know only success and error."""

from __future__ import annotations

from flask_aistream.core import events as ev

STOPPED = ev.Failed("stopped", "The run was stopped before it was complete.", 409)
INTERRUPTED = ev.Failed(
    "interrupted", "The server went away before the answer was complete. Ask again.", 503
)


def failure_of(terminal: ev.Terminal) -> ev.Failed | None:
    """What is wrong with an answer that ended like this; ``None``: it is complete."""
    match terminal:
        case ev.Finished():
            return None
        case ev.Stopped():
            return STOPPED
        case ev.Interrupted():
            return INTERRUPTED
        case ev.Failed():
            return terminal
