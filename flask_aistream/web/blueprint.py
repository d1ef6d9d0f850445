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
from flask_aistream.runs.pump import Provider
from flask_aistream.web import access
from flask_aistream.web import cors
from flask_aistream.web import parse
from flask_aistream.web import routes
from flask_aistream.web import start
from flask_aistream.web.access import Authorize
from flask_aistream.web.access import Identify
from flask_aistream.web.executor import execute
from flask_aistream.web.executor import refuse_immovable
from flask_aistream.web.extension import Extension
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.extension import install
from flask_aistream.web.handle import RunHandle
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.registry import check_takes_request
from flask_aistream.web.registry import name_of
from flask_aistream.web.responses import aistream_error
from flask_aistream.web.responses import http_error

ANSWERABLE = (AccessDenied, ProviderNotFound, RequestError, RunNotFound, Unavailable)
"""What a client can do something about, also where a view of the application's own meets it."""

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
        self._entries = ProviderRegistry()
        self.identify_caller: Identify | None = None
        self.authorize_start: Authorize | None = None
        self.rendering: dict[str, Render] = {}
        routes.add(self)
        self.record(self._installed)
        self.after_request(self._cross_origin)
        self.register_error_handler(HTTPException, lambda error: http_error(NATIVE, error))
        self.before_app_request(self._unrouted)
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
            entry = RegisteredProvider(
                name or name_of(function), function, default_prompt, context, text_only, restart
            )
            self._entries.add(entry)
            return function

        return register if function is None else register(function)

    def identify(self, function: I) -> I:
        """Name the caller of a request: a ``str``, or ``None`` for nobody in particular.

        Called in the request context. The caller that starts a run owns it: for everybody else it
        does not exist. Without it, Flask-Login's user is taken, where there is one.
        """
        self.identify_caller = function
        return function

    def html(self, function: H) -> H:
        """Render events of the HTML protocol yourself, with a template for example.

        Called with each event: return its HTML, ``""`` to show nothing, or ``None`` to leave it to us.
        The text of an answer must be escaped; a template does it.
        """
        self.rendering = {"render": function}
        return function

    def authorize(self, function: A) -> A:
        """Decide whether a run may start: return ``False``, or raise ``AccessDenied``, to refuse.

        Called in the request context with the ``ChatRequest``, before the provider.
        """
        self.authorize_start = function
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
        ext = self._here()
        parse.check_names(provider=provider, owner=owner, chat=chat, key=key)
        parsed = parse.given(request, ext.settings, chat=chat, key=key, background=background)
        if owner is None and isinstance(request, ChatRequest):
            owner = request.owner
        log = start.begin(self.entry(provider), parsed, owner, parsed.key, lambda chat: None)
        return RunHandle(self, ext, log)

    def attach(self, run_id: str, *, owner: str | EllipsisType | None = ...) -> RunHandle:
        """A run that was started anywhere: here, by a request, in another process. Needs an
        application context.

        :param owner: On whose behalf: a run of somebody else's is not found. Left out: anybody's run.
        :raises RunNotFound: There is none, or it was forgotten.
        :raises StoreUnavailable: The store is away.
        """
        ext = self._here()
        store = ext.process.store
        log = store.open(run_id) if owner is ... else access.open_log(store, run_id, owner)
        return RunHandle(self, ext, log)

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
        return execute(self._here(), run_id)

    def entry(self, name: str) -> RegisteredProvider:
        """The provider of this name.

        :raises ProviderNotFound: There is none.
        """
        return self._entries.find(name)

    @property
    def provider_names(self) -> tuple[str, ...]:
        """Of all registered providers, in order of registration."""
        return tuple(self._entries)

    def _installed(self, state: BlueprintSetupState) -> None:
        ext = install(t.cast(Flask, state.app))
        name = f"{state.name_prefix}.{state.name}".lstrip(".")
        ext.blueprints[name] = self
        ext.prefixes[name] = (state.url_prefix or "").rstrip("/")
        for entry in self._entries.values():
            refuse_immovable(entry, ext)

    def _here(self) -> Extension:
        """What the current application has of us.

        :raises RegistrationError: This blueprint is not registered there.
        """
        ext: Extension | None = current_app.extensions.get("aistream")
        if ext is None or self not in ext.blueprints.values():
            raise RegistrationError(
                f"This AIStream is not registered in {current_app.name!r}. Call "
                "app.register_blueprint(ai) first."
            )
        return ext

    def _cross_origin(self, response: Response) -> Response:
        return cors.allow(extension().settings, current_request(), response)

    def _unrouted(self) -> Response | None:
        """Below our prefix, an unknown path and a wrong method are answered by us: with CORS headers,
        and as JSON. A blueprint's own error handlers never see them."""
        error = request.routing_exception
        if isinstance(error, (NotFound, MethodNotAllowed)) and is_below(request.path):
            return self._cross_origin(http_error(protocol_of(request.path), error))
        return None


def is_below(path: str) -> bool:
    """Whether ``path`` is below a prefix of ours; without one, the whole application would be."""
    return any(prefix and path.startswith(f"{prefix}/") for prefix in extension().prefixes.values())


def protocol_of(path: str) -> WireProtocol:
    """The dialect whose route ``path`` would be, judged by its end; else the native one."""
    if "/v1/" in path:
        return OPENAI_CHAT
    ends = {
        protocol.path.replace("/<provider>", "", 1): protocol for protocol in PROTOCOLS.values()
    }
    return next((ends[end] for end in ends if end and path.endswith(end)), NATIVE)
