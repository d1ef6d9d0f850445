"""AIStream: the blueprint that an application registers."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from types import EllipsisType

from flask import Blueprint
from flask import Flask
from flask import Response
from flask import current_app
from flask import request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.exceptions import NotFound

from flask_aistream.core.events import Terminal
from flask_aistream.core.request import ChatRequest
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RequestError
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import Unavailable
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.html import Render
from flask_aistream.protocols.native import NATIVE
from flask_aistream.protocols.openai_chat import OPENAI_CHAT
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.runs.call import Provider
from flask_aistream.web import access
from flask_aistream.web import ai_sdk
from flask_aistream.web import cors
from flask_aistream.web import openai
from flask_aistream.web import parse
from flask_aistream.web import routes
from flask_aistream.web.executor import refuse_immovable
from flask_aistream.web.extension import KEY
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import execute
from flask_aistream.web.extension import extension
from flask_aistream.web.extension import install
from flask_aistream.web.handle import RunHandle
from flask_aistream.web.mounts import Mount
from flask_aistream.web.registry import Authorize
from flask_aistream.web.registry import Identify
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.registry import check_takes_request
from flask_aistream.web.registry import name_of
from flask_aistream.web.responses import aistream_error
from flask_aistream.web.responses import http_error
from flask_aistream.web.start import start

ANSWERABLE = (AccessDenied, ProviderNotFound, RequestError, RunNotFound, Unavailable)
"""Errors of a request, which are answered as JSON in views of the application's own, too."""

P = t.TypeVar("P", bound=Provider)
I = t.TypeVar("I", bound=Identify)  # noqa: E741
A = t.TypeVar("A", bound=Authorize)
H = t.TypeVar("H", bound=Render)


class AIStream(Blueprint):
    """Streams what providers say, as runs that can be resumed and stopped.

    ::

        ai = AIStream()

        @ai.provider
        def chat(request):
            yield "Hello"

        app.register_blueprint(ai, url_prefix="/ai")

    It may be registered several times, and in several applications.

    :param name: Name of the blueprint; endpoints are ``name.start`` and so on.
    """

    def __init__(self, name: str = "aistream") -> None:
        super().__init__(name, "flask_aistream", static_folder="static")
        self._registry = ProviderRegistry()
        routes.add(self, self._registry)
        ai_sdk.add(self, self._registry)
        openai.add(self, self._registry)
        self.record(self._mount)
        self.after_request(allow_origin)
        self.register_error_handler(HTTPException, lambda error: http_error(NATIVE, error))
        self.before_app_request(answer_unrouted)
        for kind in ANSWERABLE:
            self.app_errorhandler(kind)(lambda error: aistream_error(NATIVE, error))

    @t.overload
    def provider(self, function: P, /) -> P: ...

    @t.overload
    def provider(
        self,
        /,
        *,
        name: str | None = ...,
        default_prompt: str | None = ...,
        context: t.Literal["app", "request"] = ...,
        text_only: bool = ...,
        restart: bool = ...,
    ) -> Callable[[P], P]: ...

    def provider(
        self,
        function: t.Any = None,
        /,
        *,
        name: str | None = None,
        default_prompt: str | None = None,
        context: t.Literal["app", "request"] = "app",
        text_only: bool = False,
        restart: bool = False,
    ) -> t.Any:
        """Register a provider: a callable that takes a ``ChatRequest`` and yields what a model says.

        A generator, an async generator, a function that returns an iterable (an SDK's stream), or
        one that returns a whole answer.

        :param name: Last part of its URL; the function's name unless given.
        :param default_prompt: What is asked when a request asks nothing.
        :param context: ``"app"`` runs it in a fresh application context; ``"request"`` in a copy of
            the request's, whose teardown functions then run a second time.
        :param text_only: Refuse messages with images, files and the like before they reach it.
        :param restart: It can go on from the text that it has given. Where its process is lost, and the
            store is shared, another one calls it again, with that text in ``request.so_far``.
        :raises RegistrationError: The name is taken, hides a route, or does not fit into a URL.
        """

        def register(function: P) -> P:
            check_takes_request(function)
            registered = RegisteredProvider(
                name or name_of(function), function, default_prompt, context, text_only, restart
            )
            self._registry.add(registered)
            return function

        return register if function is None else register(function)

    def identify(self, function: I) -> I:
        """Name the caller of a request: a ``str``, or ``None`` for nobody in particular.

        Called in the request context. The caller that starts a run owns it: for everybody else it
        does not exist. Without it, Flask-Login's user is taken, where there is one.
        """
        self._registry.identify = function
        return function

    def html(self, function: H) -> H:
        """Render events of the HTML protocol yourself, with a template for example.

        Called with each event: return its HTML, ``""`` to show nothing, or ``None`` to leave it to us.
        The text of an answer must be escaped; a template does it.
        """
        self._registry.rendering = {"render": function}
        return function

    def authorize(self, function: A) -> A:
        """Decide whether a run may start: return ``False``, or raise ``AccessDenied``, to refuse.

        Called in the request context with the ``ChatRequest``, before the provider.
        """
        self._registry.authorize = function
        return function

    def start(
        self,
        provider: str,
        request: str | Mapping[str, t.Any] | ChatRequest,
        *,
        owner: str | None = None,
        chat: str | None = None,
        key: str | None = None,
        background: bool = False,
    ) -> RunHandle:
        """Start a run from code: a view of your own, a task, a script. Needs an application context.

        Your code is trusted: ``@ai.identify`` and ``@ai.authorize`` are not asked. Every bound of the
        configuration holds. The run has no hooks yet: if none comes, it is stopped as any other run is
        (``AISTREAM_DETACH_SECONDS``), unless it is in the background.

        :param provider: Its name.
        :param request: A prompt; an object as it would be posted to ``/<provider>``; or a ``ChatRequest``,
            whose ``provider`` and ``run`` are replaced.
        :param owner: Who may read and stop it; ``None`` for whoever knows its id.
        :param chat: Id of its conversation.
        :param key: Idempotency key. The run that has it already, of this provider and owner, is returned.
        :param background: It is to come to its end, also if nobody reads it.
        :raises ProviderNotFound: There is no such provider.
        :raises RequestError: ``request`` is wrong, or over a limit.
        :raises KeyReused: The key has started a run with another request.
        :raises Unavailable: Draining, a limit is reached, or the store is away.
        """
        ext = self._extension()
        parse.check_names(provider=provider, owner=owner, chat=chat, key=key)
        parsed = parse.read_given(request, ext.settings, chat=chat, key=key, background=background)
        if owner is None and isinstance(request, ChatRequest):
            owner = request.owner
        log = start(ext, self._registry.find(provider), parsed, owner)
        return RunHandle(ext, log, self._registry.rendering)

    def attach(self, run_id: str, *, owner: str | EllipsisType | None = ...) -> RunHandle:
        """A run that was started anywhere: here, by a request, in another process. Needs an
        application context.

        :param owner: On whose behalf: a run of somebody else's is not found. Left out: anybody's run.
        :raises RunNotFound: There is none, or it was forgotten.
        :raises StoreUnavailable: The store is away.
        """
        ext = self._extension()
        store = ext.process.store
        log = store.open(run_id) if owner is ... else access.open_log(store, run_id, owner)
        return RunHandle(ext, log, self._registry.rendering)

    def execute(self, run_id: str) -> Terminal | None:
        """Make a run that ``AISTREAM_EXECUTOR`` has put into a queue, here and now, until it has ended.
        Needs an application context.

        If the process is killed, the run ends as ``interrupted``; if this is broken off by an exception
        (a time limit of the queue's), so does the run.

        :param run_id: What the function of ``AISTREAM_EXECUTOR`` was given.
        :returns: How it ended; ``None``: it had ended already (stopped, or waited too long), or somebody
            else makes it, because a queue has delivered it twice.
        :raises ValueError: This is not what the function was given.
        :raises StoreUnavailable: The store is away; nothing was done.
        """
        self._extension()
        return execute(current_app._get_current_object(), run_id)  # type: ignore[attr-defined]

    @property
    def provider_names(self) -> tuple[str, ...]:
        """Names of the providers, in order of registration."""
        return self._registry.names

    def _mount(self, state: BlueprintSetupState) -> None:
        ext = install(t.cast(Flask, state.app))
        name = f"{state.name_prefix}.{state.name}".lstrip(".")
        ext.mounts[name] = Mount((state.url_prefix or "").rstrip("/"), self._registry)
        if ext.enqueue is not None:
            for provider in self._registry:
                refuse_immovable(provider, ext.mounts)

    def _extension(self) -> Extension:
        """The current application's extension.

        :raises RegistrationError: This ``AIStream`` is not registered in the application.
        """
        ext: Extension | None = current_app.extensions.get(KEY)
        if ext is None or not ext.mounts.have(self._registry):
            raise RegistrationError(
                f"This AIStream is not registered in {current_app.name!r}. Call "
                "app.register_blueprint(ai) first."
            )
        return ext


def allow_origin(response: Response) -> Response:
    return cors.allow(extension().settings, current_request(), response)


def answer_unrouted() -> Response | None:
    """Answer an unknown path or a wrong method below a prefix as the routes do: as JSON, with CORS headers.
    Flask never asks a blueprint's own error handlers."""
    error = request.routing_exception
    if isinstance(error, (NotFound, MethodNotAllowed)) and extension().mounts.cover(request.path):
        return allow_origin(http_error(protocol_of(request.path), error))
    return None


def protocol_of(path: str) -> WireProtocol:
    """The protocol whose route ``path`` ends like; the native one if there is none."""
    if "/v1/" in path:
        return OPENAI_CHAT
    ends = {
        protocol.path.replace("/<provider>", "", 1): protocol for protocol in PROTOCOLS.values()
    }
    return next((ends[end] for end in ends if end and path.endswith(end)), NATIVE)
