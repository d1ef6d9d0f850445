"""Terminal events as failures, for protocols that have only success and error."""

from __future__ import annotations

from dataclasses import replace

from flask_aistream.core import events as ev
from flask_aistream.core.fold import Fold

STOPPED = ev.Failed("stopped", "The run was stopped before it was complete.", 409)
INTERRUPTED = ev.Failed(
    "interrupted", "The server stopped before the answer was complete. Try again.", 503
)


def failure_of(terminal: ev.Terminal) -> ev.Failed | None:
    """The failure to report for ``terminal``; ``None`` if the answer is complete."""
    match terminal:
        case ev.Finished():
            return None
        case ev.Stopped():
            return STOPPED
        case ev.Interrupted():
            return INTERRUPTED
        case ev.Failed():
            return terminal


NEVER_RETRIED = 400
"""HTTP status that no client retries. OpenAI's SDKs and the AI SDK retry 408, 409, 429 and 5xx; LangChain JS retries
every status except 400 to 407 and 409."""


def http_failure_of(fold: Fold) -> ev.Failed | None:
    """The failure that a response without streaming reports; ``None`` if the answer is complete.

    After the provider's first event its status is ``NEVER_RETRIED``: a retry would call the provider again.
    """
    failure = failure_of(fold.terminal) if fold.terminal else None
    if failure is None or not (fold.parts or fold.usage):
        return failure
    return replace(failure, status=NEVER_RETRIED)
