"""AIStream: the blueprint that an application registers."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
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
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import ChatNotFound
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
from flask_aistream.web import chats
from flask_aistream.web import cors
from flask_aistream.web import diagnosis
from flask_aistream.web import names
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
from flask_aistream.web.history import History
from flask_aistream.web.mounts import Mount
from flask_aistream.web.openapi import route as openapi
from flask_aistream.web.playground import route as playground
from flask_aistream.web.registry import ACTIONS
from flask_aistream.web.registry import DEFAULT
from flask_aistream.web.registry import Authorize
from flask_aistream.web.registry import AuthorizeAction
from flask_aistream.web.registry import Decorator
from flask_aistream.web.registry import Identify
from flask_aistream.web.registry import Operator
from flask_aistream.web.registry import Owner
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider
from flask_aistream.web.registry import check_takes_request
from flask_aistream.web.registry import name_of
from flask_aistream.web.registry import refuse_login_decorator
from flask_aistream.web.responses import aistream_error
from flask_aistream.web.responses import http_error
from flask_aistream.web.responses import unavailable_response
from flask_aistream.web.start import Starter
from flask_aistream.web.start import resumed_by_request
from flask_aistream.web.start import start
from flask_aistream.web.start import starter_of
from flask_aistream.web.turns import logs_of

ANSWERABLE = (
    AccessDenied,
    ChatBusy,
    ChatNotFound,
    ProviderNotFound,
    RequestError,
    RunNotFound,
)
"""Errors of a request, which are answered as JSON in views of the application's own, too."""

P = t.TypeVar("P", bound=Provider)
I = t.TypeVar("I", bound=Identify)  # noqa: E741
A = t.TypeVar("A", bound=Authorize)
B = t.TypeVar("B", bound=AuthorizeAction)
H = t.TypeVar("H", bound=Render)
S = t.TypeVar("S", bound=History)
O = t.TypeVar("O", bound=Operator)  # noqa: E741


class AIStream(Blueprint):
    """A blueprint that streams the answers of providers as runs, which clients can resume and stop.

    ::

        ai = AIStream()

        @ai.provider
        def chat(request):
            yield "Hello"

        ai.init_app(app, url_prefix="/ai")

    It may be registered several times, and in several applications.

    :param name: Name of the blueprint, and prefix of its endpoints: ``name.start``.
    :param decorators: Applied to every view that starts, reads, stops or lists, as in Flask's views:
        ``AIStream(decorators=[login_required])``. A redirect or 401 of theirs is answered as 401.
    :raises RegistrationError: ``name`` is an application.
    """

    def __init__(self, name: str = "aistream", *, decorators: t.Sequence[Decorator] = ()) -> None:
        if isinstance(name, Flask):
            raise RegistrationError(
                "AIStream takes no application. Write ai = AIStream(), then ai.init_app(app, "
                'url_prefix="/ai").'
            )
        super().__init__(name, "flask_aistream", static_folder="static")
        self._registry = ProviderRegistry(name, decorators)
        routes.add(self, self._registry)
        ai_sdk.add(self, self._registry)
        openai.add(self, self._registry)
        diagnosis.add(self)
        openapi.add(self, self._registry)
        chats.add(self, self._registry)
        playground.add(self, self._registry)
        self.record(self._mount)
        self.after_request(complete)
        self.register_error_handler(HTTPException, lambda error: http_error(NATIVE, error))
        self.before_app_request(answer_unrouted)
        for kind in ANSWERABLE:
            self.app_errorhandler(kind)(lambda error: aistream_error(NATIVE, error))
        self.app_errorhandler(Unavailable)(lambda error: unavailable_response(NATIVE, error))

    def init_app(self, app: Flask, url_prefix: str | None = None) -> None:
        """Register the blueprint, as ``app.register_blueprint(ai, url_prefix=…)`` does.

        :raises ConfigError: A configuration key is wrong, or the store or the executor cannot be used.
        """
        app.register_blueprint(self, url_prefix=url_prefix)

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
        idle_seconds: float | None = ...,
        chat_policy: str | None = ...,
        system: t.Literal["client", "server"] = ...,
        release_db: bool = ...,
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
        idle_seconds: float | None = DEFAULT,
        chat_policy: str | None = None,
        system: t.Literal["client", "server"] = "client",
        release_db: bool = False,
    ) -> t.Any:
        """Register a provider: a callable that takes a ``ChatRequest`` and yields text, events or an SDK's
        chunks.

        It may be a generator, an async generator, a function that returns an iterable (an SDK's stream), or a
        function that returns a whole answer.

        :param name: Last segment of its URL; by default the function's name.
        :param default_prompt: The prompt of a request that has none.
        :param context: ``"app"`` calls it in a fresh application context; ``"request"`` in a copy of the request
            context, whose teardown functions then run a second time.
        :param text_only: Refuse messages with parts other than text (422) before the provider is called.
        :param restart: The provider can continue an answer. If its process dies and the store is shared, another
            process calls it again, with the text so far in ``request.so_far``.
        :param idle_seconds: The run fails as ``idle_timeout`` if the provider yields nothing for this time;
            ``None``: never. By default ``AISTREAM_IDLE_SECONDS``, and for the first event
            ``AISTREAM_FIRST_EVENT_SECONDS``.
        :param chat_policy: What happens to a request while its chat has a live run: ``"parallel"``, ``"reject"`` or
            ``"interrupt"``. By default ``AISTREAM_CHAT_POLICY``.
        :param system: ``"server"`` refuses system and developer messages of clients (422): only the provider's code
            instructs the model.
        :param release_db: Commit the provider's session of Flask-SQLAlchemy before its first event, so that it holds no
            connection while it streams. A query after that takes one again.
        :raises RegistrationError: The name is taken, hides a route, or is not valid in a URL.
        """

        def register(function: P) -> P:
            check_takes_request(function)
            refuse_login_decorator(function)
            registered = RegisteredProvider(
                name or name_of(function),
                function,
                default_prompt=default_prompt,
                context=context,
                text_only=text_only,
                restart=restart,
                idle_seconds=idle_seconds,
                chat_policy=chat_policy,
                system=system,
                release_db=release_db,
            )
            self._registry.add(registered)
            return function

        return register if function is None else register(function)

    def identify(self, function: I) -> I:
        """Register the function that names the caller of a request: a ``str``, an ``int`` or a ``UUID``, or
        ``None`` for an anonymous one.

        Called in the request context. The caller that starts a run owns it; to other callers it does not
        exist. By default the caller is Flask-Login's user, if the application has one.
        """
        self._registry.identify = function
        return function

    def history(self, function: S) -> S:
        """Register the function that returns the messages of a conversation: ``(chat, owner) → messages``.

        Called in the request context before a start, with the id of the chat and the caller, if the request has a
        chat that belongs to its caller: a named one, or an anonymous one with an id of at least 16 characters. The
        provider is called with these messages and the newest one of the request. What the client sends besides is
        ignored, but for the id of a message that it edits or regenerates.

        The messages are in OpenAI's chat format or AI SDK's UI messages, oldest first, with the ids of
        ``ended.question`` and ``ended.answer``; see :data:`run_ended`. A start waits up to 5 s until its receivers have
        returned for the previous run of the chat.
        """
        self._registry.history = function
        return function

    def html(self, function: H) -> H:
        """Register a function that renders events of the HTML protocol, with a template for example.

        Called with each event. It returns HTML, ``""`` for nothing, or ``None`` for the default rendering. It
        must escape text, as a template does.
        """
        self._registry.rendering = {"render": function}
        return function

    @t.overload
    def authorize(self, function: A, /) -> A: ...

    @t.overload
    def authorize(self, /, *, actions: t.Collection[str]) -> Callable[[B], B]: ...

    def authorize(
        self, function: t.Any = None, /, *, actions: t.Collection[str] | None = None
    ) -> t.Any:
        """Register the function that decides whether a run may start, or, with ``actions``, one that decides
        about runs that exist.

        Called in the request context: before a start with the ``ChatRequest``, and for other actions with the
        action and its ``Run`` (``None`` for ``"list"``). To refuse, it returns ``False`` or raises
        ``AccessDenied``.

        :param actions: Any of ``"read"``, ``"stop"`` and ``"list"``.
        :raises RegistrationError: There is no such action.
        """
        if actions is None:
            self._registry.authorize = function
            return function
        if not actions or isinstance(actions, str) or not set(actions) <= set(ACTIONS):
            raise RegistrationError(
                f'actions is {actions!r} but must be some of "read", "stop" and "list". A start is authorized by '
                "@ai.authorize without them."
            )

        def register(function: B) -> B:
            self._registry.authorize_action.update(dict.fromkeys(actions, function))
            return function

        return register

    def operator(self, function: O) -> O:
        """Register the function that decides who sees and stops the runs of all callers in the playground:
        ``() → bool``.

        Called in the request context, by each request of the playground. Other callers see their own runs only.
        Without it, in debug mode every program on the server's machine is an operator, and otherwise no caller.
        """
        self._registry.operator = function
        return function

    def start(
        self,
        provider: str,
        request: str | Mapping[str, t.Any] | ChatRequest,
        *,
        owner: Owner | None = None,
        chat: str | None = None,
        key: str | None = None,
        background: bool = False,
    ) -> RunHandle:
        """Start a run from code: a view of your own, a task, a script. Needs an application context.

        Code is trusted: ``@ai.identify`` and ``@ai.authorize`` are not called. The limits of the configuration
        apply; those of anonymous and background runs and of starts per minute only in a request. The run is stopped
        if no reader attaches within ``AISTREAM_DETACH_SECONDS``, unless it runs in the background.

        In a view, a request that resumes a run of this provider by ``Last-Event-ID`` gets that run, and its
        ``Idempotency-Key`` is the default of ``key``. So ``return ai.start(…).response()`` never starts a run
        twice.

        :param provider: The provider's name.
        :param request: A prompt; an object as it would be posted to ``/<provider>``; or a ``ChatRequest``,
            whose ``provider`` and ``run`` are replaced.
        :param owner: The caller that may read and stop the run (7 and "7" are the same); ``None`` lets every
            caller that knows its id.
        :param chat: Id of the conversation.
        :param key: Idempotency key. If it started a run of this provider and owner before, returns that run.
        :param background: The run continues to its end without readers.
        :raises ProviderNotFound: No provider has this name.
        :raises TypeError: ``owner``, ``chat`` or ``key`` has a wrong type.
        :raises RequestError: ``request`` is malformed, or exceeds a limit.
        :raises RunNotFound: ``Last-Event-ID`` names a run that expired or belongs to another owner.
        :raises KeyReused: The key started a run with another request.
        :raises Unavailable: The process drains, a limit is reached, or the store does not answer.
        """
        ext = self._extension()
        parse.check_names(provider=provider, chat=chat, key=key)
        parsed = parse.read_given(request, ext.settings, chat=chat, key=key, background=background)
        if owner is None and isinstance(request, ChatRequest):
            owner = request.owner
        registry, found, name = (
            self._registry,
            self._registry.find(provider),
            access.owner_name(owner),
        )
        starter = Starter(name, names.CODE, names.CODE, is_code=True)
        header = parse.header_key() if parsed.key is None else None
        if header is not None:  # The client chose it.
            parsed = replace(parsed, key=header)
            starter = replace(
                starter, key_visitor=starter_of(ext, registry, parsed, name).key_visitor
            )
        log = resumed_by_request(ext, registry, found, name) or start(
            ext, registry, found, parsed, starter
        )
        return RunHandle(ext, log, self._registry.rendering)

    def attach(self, run_id: str, *, owner: Owner | EllipsisType | None = ...) -> RunHandle:
        """A run that was started before: here, by a request, in another process. Needs an application context.

        :param owner: Only a run that this caller may read. By default a run of any owner.
        :raises RunNotFound: It does not exist, expired, or belongs to another owner.
        :raises StoreUnavailable: The store does not answer.
        """
        ext = self._extension()
        store = ext.process.store
        if isinstance(owner, EllipsisType):
            log = store.open(run_id)
        else:
            log = access.open_log(store, self._registry, run_id, access.owner_name(owner))
        return RunHandle(ext, log, self._registry.rendering)

    def runs(self, *, chat: str, owner: Owner | None = None, live: bool = False) -> list[RunHandle]:
        """The runs of a chat that the store retains, oldest first, at most 20. Needs an application context.

        :param owner: The caller that started them; ``None``: an anonymous one, with a chat id of at least 16 characters,
            or the application's code.
        :param live: Only those that have not ended.
        :raises StoreUnavailable: The store does not answer.
        """
        ext = self._extension()
        parse.check_names(chat=chat)
        name = names.scoped_chat(self._registry, access.owner_name(owner), chat, names.CODE)
        return [
            RunHandle(ext, log, self._registry.rendering) for log in logs_of(ext, name, live=live)
        ]

    def execute(self, run_id: str) -> Terminal | None:
        """Execute a run that ``AISTREAM_EXECUTOR`` put into a queue, until it has ended. Needs an application
        context.

        If the process is killed, or an exception interrupts this call (a time limit of the queue), the run ends
        as ``interrupted``.

        :param run_id: The ticket that the function of ``AISTREAM_EXECUTOR`` was called with.
        :returns: How it ended; ``None`` if it had ended before (stopped, or waited too long), or another worker
            executes it, because the queue delivered it twice.
        :raises ValueError: The ticket is malformed.
        :raises StoreUnavailable: The store does not answer; nothing was done.
        """
        self._extension()
        return execute(current_app._get_current_object(), run_id)  # type: ignore[attr-defined]

    @property
    def provider_names(self) -> tuple[str, ...]:
        """Names of the providers, in order of registration."""
        return self._registry.names

    def _mount(self, state: BlueprintSetupState) -> None:
        app = t.cast(Flask, state.app)
        ext = install(app)
        playground.refuse_without_operator(app, ext.settings, self._registry)
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


def complete(response: Response) -> Response:
    """Add the headers that every response has. In one function: Flask prepares each call of one for ``async def``."""
    return names.set_visitor_cookie(allow_origin(forbid_storing(response)))


def forbid_storing(response: Response) -> Response:
    """Set ``no-store`` on every response without ``Cache-Control``: all but static files show a caller's data."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response


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
    """The protocol to whose routes ``path`` is closest; the native one if there is none."""
    if "/v1/" in path:
        return OPENAI_CHAT
    ends = {
        protocol.path.replace("/<provider>", "", 1): protocol for protocol in PROTOCOLS.values()
    }
    return next((ends[end] for end in ends if end and f"{end}/" in f"{path}/"), NATIVE)
