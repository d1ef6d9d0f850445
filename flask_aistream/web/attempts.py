"""Find the run of a client's earlier attempt, if the client counts its attempts.

OpenAI's and Anthropic's SDKs send ``x-stainless-retry-count``. A retry gets the run of the first attempt instead of a
second call of the provider. An anonymous client is known by its API key, which has to be a secret: another client that
guessed the request would get the run, too.
"""

from __future__ import annotations

import hashlib
import json
import time
import typing as t
from collections.abc import Mapping

from flask import Request

from flask_aistream.core import events as ev
from flask_aistream.core.conversation import UNGUESSABLE
from flask_aistream.core.run import Run
from flask_aistream.protocols.base import Attempt
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store

COUNT_HEADER = "HTTP_X_STAINLESS_RETRY_COUNT"
"""Key of the WSGI environment."""

RETRY_SECONDS = 60.0
"""Longest time after the end of a run in which a retry finds it."""


def attempt_of(
    protocol: WireProtocol, request: Request, fields: Mapping[str, t.Any]
) -> Attempt | None:
    """The attempt that a request is; ``None`` if its client does not count them.

    :param fields: The body.
    """
    count = request.environ.get(COUNT_HEADER)
    if count is None or not (count.isascii() and count.isdigit() and len(count) < 4):
        return None
    credential = request.headers.get("Authorization", "")
    asked = [protocol.name, request.path, request.remote_addr, credential, fields]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    # Behind a proxy all clients may have one address, and `api_key="none"` is everybody's.
    secret = len(credential.rpartition(" ")[2]) >= UNGUESSABLE
    return Attempt(int(count), f"attempts of {digest}", secret)


def takes_key(store: Store, protocol: WireProtocol, run: Run, parsed: ParsedRequest) -> bool:
    """Whether a request starts a new run although an earlier run has its key."""
    if run.key is None:
        return False
    by_attempt = not parsed.key
    if by_attempt and parsed.attempt is not None and parsed.attempt.retries == 0:
        return True
    if not (by_attempt or protocol.stopped_by_leaving):
        return False
    found = store.started(run.key)
    return found is not None and (was_left(found) or (by_attempt and is_old(found)))


def was_left(log: Log) -> bool:
    """Whether the run was stopped because its client disconnected: a retry has nothing to read in it."""
    return log.terminal == ev.Stopped("detach")


def is_old(log: Log) -> bool:
    return log.terminal is not None and (log.terminal.at or 0.0) < time.time() - RETRY_SECONDS
