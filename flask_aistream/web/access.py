"""Authentication and authorization: the name of the caller, and the runs it may start, read and stop."""

from __future__ import annotations

import functools
import json
import re
import typing as t
from uuid import UUID

from flask import current_app

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import RunNotFound
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from flask_aistream.web.address import is_on_this_machine
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.registry import Authorize
from flask_aistream.web.registry import Identify
from flask_aistream.web.registry import ProviderRegistry

RUN_ID = re.compile("[A-Za-z0-9_-]{22}")
"""What :func:`flask_aistream.core.run.new_run_id` returns."""

UNKNOWN_HERE = (
    "A client named a run that this process does not have. It has expired, or was started before this process, or in "
    "another process: if several processes serve the application, set AISTREAM_STORE to a store that they share."
)


def caller_of(identify: Identify | None) -> str | None:
    """Name of the caller of this request; ``None`` for an anonymous one.

    :param identify: ``@ai.identify``; ``None`` takes Flask-Login's user.
    :raises TypeError: ``@ai.identify`` returned something that names no owner.
    """
    return owner_name(identify() if identify else flask_login_user(), "@ai.identify's result")


def owner_name(owner: t.Any, what: str = "owner") -> str | None:
    """An owner as it is stored.

    :raises TypeError: It is not a str, an int, a UUID or ``None``.
    """
    if owner is None or isinstance(owner, str):
        return owner
    if isinstance(owner, (int, UUID)) and not isinstance(owner, bool):
        return str(owner)
    raise TypeError(
        f"{what} is {owner!r} ({type(owner).__name__}) but must be a str, an int or a UUID, or None for an "
        "anonymous caller."
    )


def flask_login_user() -> str | None:
    """Id of Flask-Login's user, if the application uses it and a user is logged in."""
    # Through the proxy, a missing attribute takes 15 times as long.
    if not hasattr(current_app._get_current_object(), "login_manager"):  # type: ignore[attr-defined]
        return None
    from flask_login import current_user  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return str(current_user.get_id()) if current_user.is_authenticated else None


def authorize(check: Authorize | None, request: ChatRequest) -> None:
    """Call ``@ai.authorize``, if there is one. Exceptions of its own pass through.

    :raises AccessDenied: It returned ``False``.
    """
    if check is not None:
        check_verdict(check(request), "You may not start this run.")


def authorize_action(registry: ProviderRegistry, action: str, run: Run | None) -> None:
    """Call the ``@ai.authorize(actions=…)`` of an action, if there is one.

    :param run: The run to read or stop.
    :raises AccessDenied: It returned ``False``.
    """
    check = registry.authorize_action.get(action)
    if check is not None:
        check_verdict(check(action, run), "You may not do this.")


def check_verdict(allowed: t.Any, refusal: str) -> None:
    """
    :raises AccessDenied: ``allowed`` is ``False``.
    :raises TypeError: Not a bool; usually a forgotten comparison.
    """
    if allowed is False:
        raise AccessDenied(refusal)
    if allowed is not True and allowed is not None:
        raise TypeError(
            f"@ai.authorize returned {type(allowed).__name__} but must return True, False or None (which "
            "allows it too). Use bool(…)."
        )


def is_operator(registry: ProviderRegistry) -> bool:
    """Whether the caller of this request may see and stop the runs of all callers of an ``AIStream``.

    Without ``@ai.operator``: in debug mode every program on the server's machine, otherwise no caller.

    :raises TypeError: ``@ai.operator`` did not return a bool.
    """
    if registry.operator is None:
        return current_app.debug and is_on_this_machine(current_request())
    verdict = registry.operator()
    if verdict is not True and verdict is not False:
        raise TypeError(
            f"@ai.operator returned {type(verdict).__name__} but must return True or False. Use bool(…)."
        )
    return verdict


def namespace_of(registry: ProviderRegistry) -> str:
    """Where the owners of an ``AIStream`` are valid: in it, and in its application."""
    return joined(extension().namespace, registry.name)


@functools.lru_cache(64)
def joined(*names: str) -> str:
    return json.dumps(names)


def open_log(store: Store, registry: ProviderRegistry, run_id: str, caller: str | None) -> Log:
    """The log of a run that ``caller`` may read.

    :raises RunNotFound: It does not exist or belongs to another owner; both give the same answer.
    """
    try:
        log = store.open(run_id)
    except RunNotFound:
        if not store.shared and RUN_ID.fullmatch(run_id):
            extension().warn_once(UNKNOWN_HERE)
        raise
    if not log.run.readable_by(caller, namespace_of(registry)):
        raise RunNotFound(run_id)
    return log
