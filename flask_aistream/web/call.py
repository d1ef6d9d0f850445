"""The call of an application's provider: its limits, its context variables, and the reporting of its exceptions."""

from __future__ import annotations

import contextvars
import math
import threading
from collections import OrderedDict
from functools import partial

from flask import Flask
from flask import Response
from flask import after_this_request
from flask import globals as flask_globals
from flask import got_request_exception
from flask import has_request_context

from flask_aistream.core.request import ChatRequest
from flask_aistream.runs.call import ContextFactory
from flask_aistream.runs.call import ProviderCall
from flask_aistream.web.config import Settings
from flask_aistream.web.database import ProviderSessions
from flask_aistream.web.database import log_cure
from flask_aistream.web.registry import DEFAULT
from flask_aistream.web.registry import RegisteredProvider

KEPT_EXCEPTIONS = 16

FLASK_VARIABLES = frozenset(
    variable
    for variable in vars(flask_globals).values()
    if isinstance(variable, contextvars.ContextVar)
)
"""Flask's contexts. The provider has contexts of its own, and must not keep those of the request alive."""


class ProviderExceptions:
    """Exceptions of providers, for the tests of an application: by run id, the newest few.

    Nothing is kept unless ``TESTING`` or ``PROPAGATE_EXCEPTIONS`` is set.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._raised: OrderedDict[str, BaseException] = OrderedDict()
        self._lock = threading.Lock()
        self._awaited: set[str] = set()
        self._unsent: dict[str, BaseException] = {}

    def get(self, run_id: str) -> BaseException | None:
        return self._raised.get(run_id)

    def await_response(self, run_id: str) -> None:
        """The current request starts a run. Until it has a response, it may raise the provider's exception, for which
        Flask sends the signal."""
        if not (self._keeps and has_request_context()):
            return
        self._awaited.add(run_id)

        def answered(response: Response) -> Response:
            with self._lock:
                self._awaited.discard(run_id)
                error = self._unsent.pop(run_id, None)
            if error is not None:
                self._send(error)
            return response

        after_this_request(answered)

    def take(self, run_id: str) -> BaseException | None:
        """The exception of a run, for the current request to raise."""
        with self._lock:
            self._awaited.discard(run_id)
            self._unsent.pop(run_id, None)
        return self._raised.get(run_id)

    def propagates(self, error: BaseException) -> bool:
        return any(error is raised for raised in list(self._raised.values()))

    def report(self, request: ChatRequest, error: BaseException, before_first: bool) -> None:
        """Send ``got_request_exception``, as for an exception of a view.

        :param before_first: The provider has yielded nothing. Where exceptions propagate, a request that still
            waits for the first event raises this one, and Flask sends the signal.
        """
        log_cure(error)
        if self._keeps:
            self._raised[request.run] = error
            while len(self._raised) > KEPT_EXCEPTIONS:
                self._raised.popitem(last=False)
        with self._lock:
            if before_first and request.run in self._awaited and isinstance(error, Exception):
                self._unsent[request.run] = error
                return
        self._send(error)

    def _send(self, error: BaseException) -> None:
        got_request_exception.send(self._app, _async_wrapper=self._app.ensure_sync, exception=error)

    @property
    def _keeps(self) -> bool:
        propagate = self._app.config["PROPAGATE_EXCEPTIONS"]
        return bool(self._app.testing if propagate is None else propagate)


def provider_call(
    exceptions: ProviderExceptions,
    settings: Settings,
    provider: RegisteredProvider,
    request: ChatRequest,
    context_factory: ContextFactory,
    sessions: ProviderSessions,
    variables: contextvars.Context | None = None,
) -> ProviderCall:
    idle, first = settings.idle_seconds, settings.first_event_seconds
    if provider.idle_seconds is not DEFAULT:
        idle = first = provider.idle_seconds
    return ProviderCall(
        provider.call,
        request,
        context_factory,
        provider.restart,
        contextvars.Context() if variables is None else variables,
        partial(exceptions.report, request),
        idle,
        first_event_seconds=least(idle, first),
        max_events=settings.run_tokens or math.inf,
        max_bytes=settings.run_bytes or math.inf,
        on_first_event=sessions.on_first_event(provider.name, release=provider.release_db),
    )


def least(one: float | None, other: float | None) -> float | None:
    """The smaller of two limits, of which ``None`` is none."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def caller_variables() -> contextvars.Context:
    """The context variables of the request (trace parents, request ids) but for Flask's own."""
    variables = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable not in FLASK_VARIABLES:
            variables.run(variable.set, value)
    return variables


def raise_exception_of(exceptions: ProviderExceptions, run_id: str) -> None:
    """
    :raises Exception: The provider raised it before its first event, and the application wants it raised.
    """
    error = exceptions.take(run_id)
    if isinstance(error, Exception):
        raise error
