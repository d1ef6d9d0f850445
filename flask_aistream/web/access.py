"""Who the caller is, and what the caller may do."""

from __future__ import annotations

import typing as t

from flask import current_app

from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import RunNotFound
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.web.registry import Authorize
from flask_aistream.web.registry import Identify


def caller_of(identify: Identify | None) -> str | None:
    """Name of the caller of this request; ``None`` for an anonymous one.

    :param identify: ``@ai.identify``; ``None`` takes Flask-Login's user.
    :raises TypeError: ``@ai.identify`` returned something that is not a string.
    """
    name: t.Any = identify() if identify else flask_login_user()
    if name is not None and not isinstance(name, str):
        raise TypeError(
            f"@ai.identify returned {type(name).__name__} but must return a str, or None for an "
            "anonymous caller. Use str(user.id)."
        )
    return name


def flask_login_user() -> str | None:
    """Id of Flask-Login's user, if the application uses it and a user is logged in."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return str(current_user.get_id()) if current_user.is_authenticated else None


def authorize(check: Authorize | None, request: ChatRequest) -> None:
    """Call ``@ai.authorize``, if there is one.

    :raises AccessDenied: It returned ``False``. Exceptions of its own pass through.
    :raises TypeError: Not a bool; usually a forgotten comparison.
    """
    allowed: t.Any = check is None or check(request)
    if allowed is False:
        raise AccessDenied("You may not start this run.")
    if allowed is not True and allowed is not None:
        raise TypeError(
            f"@ai.authorize returned {type(allowed).__name__} but must return True, False or None (which "
            "allows it too). Use bool(…)."
        )


def open_log(store: Store, run_id: str, caller: str | None) -> Log:
    """The log of a run that ``caller`` may read.

    :raises RunNotFound: It does not exist or belongs to another owner; both give the same answer.
    """
    log = store.open(run_id)
    if not log.run.readable_by(caller):
        raise RunNotFound(run_id)
    return log
