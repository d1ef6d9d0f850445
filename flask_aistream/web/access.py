"""Who is asking, and may they."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from flask import current_app

from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import RunNotFound
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store

Identify = Callable[[], str | None]
Authorize = Callable[[ChatRequest], bool | None]


def flask_login_user() -> str | None:
    """Id of Flask-Login's user, if the application uses it and somebody is logged in."""
    # Of the application itself: a proxy that has no such attribute takes four times as long to say so.
    if not hasattr(current_app._get_current_object(), "login_manager"):  # type: ignore[attr-defined]
        return None
    from flask_login import current_user  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return str(current_user.get_id()) if current_user.is_authenticated else None


def authorize(check: Authorize | None, request: ChatRequest) -> None:
    """Ask the application's ``@ai.authorize``, if there is one.

    :raises AccessDenied: It returned ``False``. What it raises itself passes through.
    :raises TypeError: It returned something else than it may: whoever forgot to compare meant to refuse some.
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
    """The log of a run, for those who may see it.

    :raises RunNotFound: There is none, or it is somebody else's: the answers do not differ.
    """
    log = store.open(run_id)
    if not log.run.readable_by(caller):
        raise RunNotFound(run_id)
    return log


def name_of(identify: Identify | None) -> str | None:
    """Who is asking.

    :raises TypeError: ``@ai.identify`` returned something that is not a string.
    """
    name: t.Any = identify() if identify else flask_login_user()
    if name is not None and not isinstance(name, str):
        raise TypeError(
            f"@ai.identify returned {type(name).__name__} but must return a str, or None for nobody. "
            "Use str(user.id)."
        )
    return name
