"""What one ``AIStream`` registers: providers by name, and the application's callbacks."""

from __future__ import annotations

import inspect
import re
import typing as t
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RegistrationError
from flask_aistream.protocols.html import Render
from flask_aistream.runs.call import Provider
from flask_aistream.runs.policy import CHAT_POLICIES
from flask_aistream.web.history import History

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

RESERVED = frozenset({"chats", "runs", "v1", "static", "health", "playground"})
"""First path segments of the built-in routes, which a provider of the same name would hide."""

DEFAULT: t.Any = object()
"""The limit of the configuration, instead of one of the provider's own."""

CONTEXTS = ("app", "request")

SYSTEMS = ("client", "server")
"""Who may instruct a provider's model by system messages."""

ACTIONS = ("read", "stop", "list")
"""What ``@ai.authorize(actions=…)`` may be asked, besides the start of a run."""

LOGIN_MODULES = ("flask_login", "flask_jwt_extended")
"""Packages whose decorators read the request, which no provider has."""

Owner = str | int | UUID
"""Names a caller. 7 and "7" name the same one."""

Identify = Callable[[], Owner | None]
Authorize = Callable[[ChatRequest], bool | None]
AuthorizeAction = Callable[[str, Run | None], bool | None]
Operator = Callable[[], bool]
Decorator = Callable[[t.Any], t.Any]


@dataclass(frozen=True, slots=True)
class RegisteredProvider:
    """A provider and its options; see :meth:`AIStream.provider`."""

    name: str
    call: Provider
    default_prompt: str | None
    context: str
    text_only: bool
    restart: bool
    idle_seconds: t.Any = DEFAULT
    chat_policy: str | None = None
    system: str = "client"
    release_db: bool = False


class ProviderRegistry:
    """The providers and callbacks of one ``AIStream``.

    :param name: Of the blueprint: owners and names of two ``AIStream`` objects are kept apart by it.
    :param decorators: Applied to every view that starts, reads, stops or lists.
    :ivar identify: ``@ai.identify``; ``None`` takes Flask-Login's user.
    :ivar authorize: ``@ai.authorize``; ``None`` allows every start.
    :ivar authorize_action: ``@ai.authorize(actions=…)``, by action; an action without one is allowed.
    :ivar operator: ``@ai.operator``; ``None``: see :func:`flask_aistream.web.access.is_operator`.
    :ivar history: ``@ai.history``; ``None`` believes the client's messages.
    :ivar rendering: Encoder options made of ``@ai.html``.
    """

    def __init__(self, name: str, decorators: t.Sequence[Decorator] = ()) -> None:
        self.name = name
        self._providers: dict[str, RegisteredProvider] = {}
        self.decorators = tuple(decorators)
        self.identify: Identify | None = None
        self.authorize: Authorize | None = None
        self.authorize_action: dict[str, AuthorizeAction] = {}
        self.operator: Operator | None = None
        self.history: History | None = None
        self.rendering: dict[str, Render] = {}

    def __iter__(self) -> t.Iterator[RegisteredProvider]:
        return iter(self._providers.values())

    def __contains__(self, name: str) -> bool:
        return name in self._providers

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the providers, in order of registration."""
        return tuple(self._providers)

    def add(self, provider: RegisteredProvider) -> None:
        """
        :raises RegistrationError: The name is taken, hides a route or is not valid in a URL; or the
            options exclude each other.
        """
        name = provider.name
        if not NAME.fullmatch(name):
            raise RegistrationError(
                f"A provider cannot be named {name!r}: use 1 to 64 ASCII letters, digits, `-` and `_`."
            )
        if name in RESERVED:
            raise RegistrationError(
                f"A provider cannot be named {name!r}: that would hide a route. "
                f'Give it another one: @ai.provider(name="{name}-model").'
            )
        if name in self:
            raise RegistrationError(
                f"There is a provider {name!r} already. Give one of them another name."
            )
        if provider.context not in CONTEXTS:
            raise RegistrationError(
                f'context is {provider.context!r} but must be "app" or "request".'
            )
        if provider.system not in SYSTEMS:
            raise RegistrationError(
                f'system is {provider.system!r} but must be "client" (clients may send system messages) or "server".'
            )
        idle = provider.idle_seconds
        if not (idle is DEFAULT or idle is None or (type(idle) in (int, float) and idle > 0)):
            raise RegistrationError(
                f"idle_seconds is {idle!r} but must be a positive number (seconds), or None for no limit."
            )
        if provider.chat_policy not in (None, *CHAT_POLICIES):
            raise RegistrationError(
                f"chat_policy is {provider.chat_policy!r} but must be one of {', '.join(CHAT_POLICIES)}, or None for "
                "that of the configuration."
            )
        if provider.restart and provider.context == "request":
            raise RegistrationError(
                f'The provider {name!r} cannot have both restart=True and context="request": another '
                "process has no request to copy."
            )
        self._providers[name] = provider

    def find(self, name: str) -> RegisteredProvider:
        """
        :raises ProviderNotFound: No provider has this name.
        """
        try:
            return self._providers[name]
        except KeyError:
            # Clients get this message, so it does not list the providers that exist.
            raise ProviderNotFound(f"There is no provider {name[:100]!r} here.") from None


def name_of(function: Provider) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise RegistrationError(
            f'{function!r} has no `__name__`. Name the provider: @ai.provider(name="chat").'
        )
    return name


def check_takes_request(function: t.Any) -> None:
    """
    :raises RegistrationError: ``function`` cannot be called with one argument.
    """
    if not callable(function):
        raise RegistrationError(
            f"A provider must be a function, but {function!r} is not. Put @ai.provider above a function; "
            'to give it another name, write @ai.provider(name="chat").'
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # A built-in without a signature.
        return
    try:
        signature.bind(None)
    except TypeError:
        raise RegistrationError(
            f"A provider is called with one argument, the ChatRequest, but {function!r} takes "
            f"{signature}. Write: def chat(request)."
        ) from None


def refuse_login_decorator(function: t.Any) -> None:
    """
    :raises RegistrationError: A decorator of an authentication extension wraps ``function``.
    """
    while function is not None:
        module = getattr(function, "__globals__", {}).get("__name__", "")
        if module.partition(".")[0] in LOGIN_MODULES and hasattr(function, "__wrapped__"):
            raise RegistrationError(
                f"A decorator of {module.partition('.')[0]} between @ai.provider and the provider would have no "
                "request to look at. Protect the routes with AIStream(decorators=[…]) instead."
            )
        function = getattr(function, "__wrapped__", None)
