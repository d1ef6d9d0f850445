"""All errors that this package raises.

    AIStreamError
    ├── ConfigError            a configuration key has an invalid value
    ├── RegistrationError      a provider or blueprint cannot be registered
    ├── FrameError             a field would corrupt the event stream, or a block is too large
    ├── RequestError           the request is invalid; the message says what is expected
    │   ├── CursorInvalid      a Last-Event-ID is not ``run:number``, or is beyond the log
    │   └── KeyReused          an idempotency key was reused with another body
    ├── AccessDenied           ``authorize`` denied the call, or the origin is not allowed
    ├── ProviderNotFound       no provider has this name
    ├── RunNotFound            no run has this id, or it has another owner
    ├── ChatNotFound           no run of the caller has this chat id
    ├── ChatBusy               the chat has a live run, and its policy allows no second one
    ├── RunUnreadable          the stored run has an unknown format, or a newer version
    ├── LogEnded               an event was appended after the terminal event
    ├── ChunkUnknown           a provider yielded a type that no adapter accepts
    ├── ValueInvalid           a provider yielded a value without a JSON form
    ├── Unavailable            the server is draining, or a limit is reached
    │   ├── StoreFull          the store has no room for another run
    │   ├── TooManyRuns        the owner, its address or all anonymous callers have reached a limit of live runs
    │   ├── TooManyStarts      the owner or its address has started too many runs in a minute
    │   ├── TooManyConnections the owner or its address has reached its limit of streams
    │   └── StoreUnavailable   the store does not respond
    └── ProviderError          raised by a provider, with a code and message for clients

``code`` is stable and meant for programs, the message for people. ``web/responses.py`` maps each error to
its HTTP status.
"""

from __future__ import annotations

import math


class AIStreamError(Exception):
    """Base of every error in this package."""

    code = "error"


class ConfigError(AIStreamError, ValueError):
    code = "config_invalid"


class RegistrationError(AIStreamError, ValueError):
    code = "registration_invalid"


class FrameError(AIStreamError, ValueError):
    code = "frame_invalid"


class RequestError(AIStreamError, ValueError):
    """The request is invalid.

    :param message: What was received and what is expected.
    :param code: Stable error code.
    :param status: HTTP status: 400 (malformed), 413 (too large) or 422 (well-formed, not acceptable).
    """

    def __init__(self, message: str, code: str = "request_invalid", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class CursorInvalid(RequestError):
    """
    :param last: Number of the last record, if the cursor is beyond it; ``None`` if it cannot be parsed.
    """

    def __init__(self, text: str, last: int | None = None) -> None:
        reason = (
            "expected `run:number`, as sent in the `id` field"
            if last is None
            else f"the last record of the run is number {last}"
        )
        super().__init__(
            f"Cannot resume from Last-Event-ID {text[:200]!r}: {reason}. "
            "Omit it to start a new run.",
            "cursor_invalid",
        )


class KeyReused(RequestError):
    def __init__(self) -> None:
        super().__init__(
            "A run with this Idempotency-Key was started with another body. Send the same body to "
            "attach to that run, or a new key to start another one.",
            "key_reused",
            422,
        )


class AccessDenied(AIStreamError):
    """The caller is not allowed to do this. Raise it in ``@ai.authorize`` to give a reason.

    :param status: 401 if logging in would help, else 403.
    """

    code = "access_denied"

    def __init__(self, message: str = "You are not allowed to do this.", status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class ProviderNotFound(AIStreamError, LookupError):
    code = "provider_not_found"


class RunNotFound(AIStreamError, LookupError):
    code = "run_not_found"

    def __init__(self, run: str) -> None:
        super().__init__(
            f"Run {run[:200]!r} does not exist, has expired, or belongs to another caller."
        )


class ChatNotFound(AIStreamError, LookupError):
    code = "chat_not_found"
    status = 404

    def __init__(self, chat: str) -> None:
        super().__init__(
            f"There is no run of chat {chat[:200]!r}: none was started, all have expired, or they belong to "
            "another caller."
        )


class ChatBusy(AIStreamError):
    """The chat has a live run.

    :param run: Its id.
    """

    code = "chat_busy"
    status = 409

    def __init__(self, run: str) -> None:
        super().__init__(
            f"This chat has a live run, {run[:200]!r}. Stop it, or wait for its end, and ask again."
        )
        self.run = run


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
    """A provider yielded a value that no adapter accepts."""

    code = "chunk_unknown"

    def __init__(self, chunk: object) -> None:
        kind = type(chunk)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        super().__init__(
            f"The provider yielded a {name}, which no adapter accepts. {ADVICE.get(kind, EXPECTED)}"
        )


class ValueInvalid(AIStreamError, TypeError):
    """A provider yielded a value without a JSON form.

    :param what: The value's place and type.
    """

    code = "value_invalid"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The provider yielded an event whose value has no JSON form: {what}. Convert it to strings, "
            "numbers, lists and objects with string keys before the yield."
        )


EXPECTED = (
    "Yield str, an event of flask_aistream (Data for your own data), or a chunk of a supported SDK."
)

ADVICE: dict[type, str] = {
    type(None): "Skip empty deltas (`if text: yield text`), or yield the SDK's chunks unchanged.",
    bytes: "Text must be str: decode it. Return or yield a raw HTTP response itself, not its lines.",
    TypeError: "A raw response cannot be iterated: return it as it is, or `yield` it.",
}
"""Types that are often yielded by mistake → what to do."""


class Unavailable(AIStreamError):
    """The request cannot be served now.

    :param retry_after: Seconds to wait before a retry.
    :param status: 429 if the caller exceeds its own limit, else 503.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class StoreFull(Unavailable):
    """Live runs use all the room in the store."""

    code = "store_full"

    def __init__(self) -> None:
        super().__init__("The store has no room for another run. Try again in a moment.", 5.0)


class StoreUnavailable(Unavailable):
    """The store does not respond, or cannot be opened.

    :param cause: Error text of the store's driver.
    """

    code = "store_unavailable"

    def __init__(self, cause: str = "") -> None:
        super().__init__("The run store does not respond. Try again in a moment.", 2.0)
        self.cause = cause


class TooManyRuns(Unavailable):
    """The caller, or all callers of its kind, have reached a limit of live runs.

    :param limit: Maximum number.
    :param message: What is reached, and what to do; by default that of an owner's limit.
    """

    code = "too_many_runs"

    def __init__(self, limit: int, message: str | None = None) -> None:
        super().__init__(
            message
            or f"You have {limit} live runs, which is the limit. Stop one, or wait for one to end.",
            retry_after=5.0 if message else 1.0,
            status=429,
        )


class TooManyStarts(Unavailable):
    """The caller has started too many runs within a minute.

    :param limit: Maximum number.
    """

    code = "too_many_starts"

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(
            f"You have started more than {limit} runs within a minute, which is the limit. Try again in "
            f"{math.ceil(retry_after)} s.",
            retry_after,
            429,
        )


class TooManyConnections(Unavailable):
    """The caller, or its address, has reached its limit of open streams.

    :param limit: Maximum number.
    :param of_network: It is that of all anonymous clients of the address.
    """

    code = "too_many_connections"

    def __init__(self, limit: int, *, of_network: bool = False) -> None:
        holder = "The clients of your network" if of_network else "You"
        super().__init__(
            f"{holder} have {limit} open streams, which is the limit. Close one, or wait for one to end.",
            status=429,
        )


class ProviderError(AIStreamError):
    """Raise it in a provider to fail the run with a code and message for clients.

    For any other exception clients get the code ``provider_error`` and a reference to the log.

    :param code: Stable error code, for programs.
    :param message: Error message that clients see.
    :param status: HTTP status if no byte was sent yet.
    :param retry_after: Seconds to wait before a retry; sent as ``Retry-After``.
    """

    def __init__(
        self, code: str, message: str, *, status: int = 502, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after
