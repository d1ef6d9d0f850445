"""Terminal events as failures, for protocols that have only success and error."""

from __future__ import annotations

from flask_aistream.core import events as ev

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


NEVER_RETRIED = range(400, 408)
"""HTTP statuses that no client retries. OpenAI's SDKs and the AI SDK retry 408, 409, 429 and 5xx; LangChain JS retries
every status except 400 to 407 and 409."""


def final_status(status: int) -> int:
    """The HTTP status of a failure after which no client repeats its request, which would call the provider again."""
    return status if status in NEVER_RETRIED else 400


def with_reference(message: str, reference: str) -> str:
    """A message that a client displays as it is, with the reference to the log."""
    return message if reference in message else f"{message} (reference: {reference})"
