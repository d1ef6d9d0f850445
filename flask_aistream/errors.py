"""Every error raised on purpose.

    AIStreamError
    ├── ConfigError            a configuration key has a value it cannot have
    ├── RegistrationError      a provider or blueprint cannot be registered like this
    ├── FrameError             a field of an event stream would break the stream
    ├── RequestError           the request is wrong; says what would be right
    │   ├── CursorInvalid      a Last-Event-ID that is not ``run:number``
    │   └── KeyReused          an idempotency key came back with another body
    ├── AccessDenied           ``authorize`` said no, or the caller's origin is not allowed
    ├── ProviderNotFound       no provider has this name
    ├── RunNotFound            no run has this id, or it belongs to somebody else
    ├── RunUnreadable          what the store holds of a run was not written by this package, or by a newer one
    ├── LogEnded               an event was appended after the terminal one
    ├── ChunkUnknown           a provider yielded something no adapter understands
    ├── Unavailable            not now: draining, or a limit is reached
    │   ├── StoreFull          no room for another run
    │   ├── TooManyRuns        its owner has as many as are allowed
    │   ├── TooManyConnections its reader has as many as are allowed
    │   └── StoreUnavailable   the store does not answer
    └── ProviderError          raised by an application's provider to fail in its own words

``code`` is stable and meant for programs, the message for people. The HTTP status is looked up at
the edge (``web/responses.py``); nothing below it knows HTTP.
"""

from __future__ import annotations


class AIStreamError(Exception):
    """Base of every error this package raises on purpose."""

    code = "error"


class ConfigError(AIStreamError, ValueError):
    code = "config_invalid"


class RegistrationError(AIStreamError, ValueError):
    code = "registration_invalid"


class FrameError(AIStreamError, ValueError):
    code = "frame_invalid"


class RequestError(AIStreamError, ValueError):
    """The request cannot be understood.

    :param message: What was wrong and what would be right.
    :param code: Stable name of the fault.
    :param status: HTTP status of the answer: 400 (unreadable), 413 (too large) or 422 (readable, not
        acceptable).
    """

    def __init__(self, message: str, code: str = "request_invalid", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class CursorInvalid(RequestError):
    """
    :param last: Number of the last record there is, where the cursor is beyond it.
    """

    def __init__(self, text: str, last: int | None = None) -> None:
        wrong = (
            "expected `run:number`, as sent in the `id` field"
            if last is None
            else f"the run has come to {last} only"
        )
        super().__init__(
            f"Cannot resume from Last-Event-ID {text[:200]!r}: {wrong}. "
            "Leave it out to start a new run.",
            "cursor_invalid",
        )


class KeyReused(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key already started a run with another body. Send the same body to "
            "attach to that run, or a new key to start another.",
            "key_reused",
            422,
        )


class AccessDenied(AIStreamError):
    """The caller may not do this. Raise it from ``@ai.authorize`` to say why.

    :param status: 401 where logging in would help, else 403.
    """

    code = "access_denied"

    def __init__(self, message: str = "You may not do this.", status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class ProviderNotFound(AIStreamError, LookupError):
    code = "provider_not_found"


class RunNotFound(AIStreamError, LookupError):
    code = "run_not_found"

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no run {run[:200]!r} here for you. It may have been forgotten.")


class RunUnreadable(AIStreamError):
    """
    :param run: Its id.
    """

    code = "run_unreadable"
    status = 410

    def __init__(self, run: str) -> None:
        super().__init__(
            f"The store holds run {run[:200]!r} in a form that this version cannot read."
        )


class LogEnded(AIStreamError):
    code = "log_ended"


class ChunkUnknown(AIStreamError, TypeError):
    """A provider yielded something that no adapter understands."""

    code = "chunk_unknown"

    def __init__(self, chunk: object) -> None:
        kind = type(chunk)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        super().__init__(
            f"The provider yielded a {name}, which no adapter understands. {MEANT.get(kind, SAYABLE)}"
        )


SAYABLE = "Yield str, an event of flask_aistream (Data for something of your own), or a chunk of a supported SDK."

MEANT: dict[type, str] = {
    type(
        None
    ): "Where a model says nothing, yield nothing (`if text: yield text`), or yield the SDK's chunks "
    "as they come.",
    bytes: "Text is str: decode it.",
}
"""What to do about what is often yielded by mistake."""


class Unavailable(AIStreamError):
    """Not now.

    :param retry_after: Seconds after which trying again makes sense.
    :param status: 429 where the caller is over a limit of its own, else 503.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class StoreFull(Unavailable):
    """The runs that are being made take all the room there is."""

    code = "store_full"

    def __init__(self) -> None:
        super().__init__("There is no room for another run now. Try again in a moment.", 5.0)


class StoreUnavailable(Unavailable):
    """The store does not answer, or cannot be opened.

    :param cause: What it said.
    """

    code = "store_unavailable"

    def __init__(self, cause: str = "") -> None:
        super().__init__("The store of runs does not answer. Try again in a moment.", 2.0)
        self.cause = cause


class TooManyRuns(Unavailable):
    """An owner has as many runs going on as are allowed at once.

    :param most: How many.
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most} answers running, which is the most at once. "
            "Stop one, or wait for one to end.",
            status=429,
        )


class TooManyConnections(Unavailable):
    """Somebody reads as many streams at once as are allowed.

    :param most: How many.
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most} streams open, which is the most at once. Close one, or wait for one to end.",
            status=429,
        )


class ProviderError(AIStreamError):
    """Raise it in a provider to end the run as failed in your own words.

    Any other exception is told to clients only as ``provider_error`` with a reference to the log.

    :param code: Stable name of the fault, for programs.
    :param message: A sentence that clients may see.
    :param status: HTTP status if nothing was streamed yet.
    """

    def __init__(self, code: str, message: str, *, status: int = 502) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
