"""The turns of a chat: which of its runs are live, and when a new one may start.

The policies ``reject`` and ``interrupt`` allow one live run per chat. The store creates the next run only after the one
that this process found to be the newest, so of several requests at once, in all processes, one gets the turn.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from collections.abc import Iterator

from flask_aistream.errors import ChatBusy
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import Unavailable
from flask_aistream.runs.policy import PARALLEL
from flask_aistream.runs.policy import REJECT
from flask_aistream.stores.base import Log
from flask_aistream.web.extension import Extension

TURN_SECONDS = 10.0
"""Time that a request competes with others for the next turn of its chat."""

DELIVERY_SECONDS = 5.0
"""Time that a request waits until the receivers of ``run_ended`` have stored the previous answer of its chat."""

POLL_SECONDS = 0.01


def logs_of(ext: Extension, chat: str | None, *, live: bool = False) -> Iterator[Log]:
    """The logs of a chat's runs, oldest first.

    :param chat: As the store knows it; ``None``: it binds to nothing.
    :param live: Only those that have not ended.
    """
    store = ext.process.store
    for run_id in store.chat_runs(chat, live=live) if chat is not None else ():
        with contextlib.suppress(RunNotFound):  # Dropped in between.
            log = store.open(run_id)
            if not (live and log.terminal):
                yield log


def take_turn(ext: Extension, chat: str, policy: str, *, stored: bool) -> str:
    """Make room for a new run of a chat, as its policy says.

    :param chat: As the store knows it.
    :param stored: Wait until the receivers of ``run_ended`` have the answers so far.
    :returns: Id of the newest run, after which the new one may be created; ``""`` if there is none.
    :raises ChatBusy: A run is live, and the policy is ``reject``.
    :raises Unavailable: The answers were not delivered in time.
    """
    store = ext.process.store
    runs = store.chat_runs(chat)
    # Listed last: every other run has ended before the history is read.
    while policy != PARALLEL and (live := list(logs_of(ext, chat, live=True))):
        if policy == REJECT:
            raise ChatBusy(live[-1].run.id)
        for log in live:
            ext.process.runner.stop(log, "chat")
        runs = store.chat_runs(chat)
    if stored:
        await_delivery(ext, runs)
    return runs[-1] if runs else ""


def await_delivery(ext: Extension, runs: Collection[str]) -> None:
    """
    :raises Unavailable: An end was not delivered in time.
    """
    deadline = time.monotonic() + DELIVERY_SECONDS
    while ext.process.runner.announces and ext.process.store.undelivered(runs):
        if time.monotonic() >= deadline:
            raise Unavailable(
                "The previous answer of this chat is still being stored. Try again in a moment."
            )
        time.sleep(POLL_SECONDS)
