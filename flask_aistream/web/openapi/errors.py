"""Error classes → statuses, as the routes answer them, and the groups of them that a kind of route raises."""

from __future__ import annotations

from collections.abc import Mapping

from flask_aistream.errors import AccessDenied
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import ChatNotFound
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import KeyReused
from flask_aistream.errors import ProviderError
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import RunUnreadable
from flask_aistream.errors import StoreFull
from flask_aistream.errors import StoreUnavailable
from flask_aistream.errors import TooManyConnections
from flask_aistream.errors import TooManyRuns
from flask_aistream.errors import TooManyStarts
from flask_aistream.errors import Unavailable
from flask_aistream.providers.failure import FAILURES

Errors = tuple[type[AIStreamError], ...]

STATUSES: Mapping[type[AIStreamError], tuple[str, ...]] = {
    RequestError: ("400", "404", "408", "413", "422"),
    CursorInvalid: ("400",),
    KeyReused: ("422",),
    AccessDenied: ("401", "403"),
    ProviderNotFound: ("404",),
    RunNotFound: ("404",),
    ChatNotFound: ("404",),
    ChatBusy: ("409",),
    RunUnreadable: ("410",),
    TooManyRuns: ("429",),
    TooManyStarts: ("429",),
    TooManyConnections: ("429",),
    Unavailable: ("429", "503"),
    StoreFull: ("503",),
    StoreUnavailable: ("503",),
    # A provider may choose others.
    ProviderError: (
        *sorted({str(status) for status, _ in FAILURES.values() if status < 500}),
        "5XX",
    ),
}

LIST: Errors = (AccessDenied,)
READ: Errors = (*LIST, RunNotFound, RunUnreadable, StoreUnavailable)
FOLLOW: Errors = (*READ, RequestError, TooManyConnections, Unavailable)
RESUME: Errors = (*FOLLOW, CursorInvalid)
FIND: Errors = (*READ, ProviderNotFound, RequestError)
START: Errors = (
    *RESUME,
    ProviderNotFound,
    KeyReused,
    ChatBusy,
    TooManyRuns,
    TooManyStarts,
    StoreFull,
    ProviderError,
)

SENTENCES: Mapping[str, str] = {
    "400": "Malformed",
    "401": "The caller has to log in",
    "403": "The caller may not do this",
    "404": "There is no such thing, or it belongs to another caller",
    "408": "The body did not arrive in time",
    "409": "The chat has a live run",
    "410": "The run cannot be read",
    "413": "The body is too large",
    "422": "Well-formed, but not acceptable",
    "429": "The caller has reached a limit",
    "503": "The server cannot serve this request now",
    "5XX": "The provider failed before its first event",
}

RETRIED = ("429", "503")
"""Statuses with ``Retry-After``."""


def by_status(errors: Errors) -> dict[str, list[str]]:
    """Status → codes of these errors."""
    found: dict[str, list[str]] = {}
    for error in errors:
        for status in STATUSES[error]:
            found.setdefault(status, []).append(error.code)
    return {status: sorted(set(found[status])) for status in sorted(found)}
