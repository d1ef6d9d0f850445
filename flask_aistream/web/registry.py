"""The providers of a blueprint, by name, with their options."""

from __future__ import annotations

import inspect
import re
import typing as t
from dataclasses import dataclass

from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RegistrationError
from flask_aistream.runs.pump import Provider

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

RESERVED = frozenset({"runs", "v1", "static", "health"})
"""First segments of our own routes: a provider of that name could not be reached."""

CONTEXTS = ("app", "request")


@dataclass(frozen=True, slots=True)
class RegisteredProvider:
    """A registered provider and its options."""

    name: str
    call: Provider
    default_prompt: str | None
    context: str
    text_only: bool
    restart: bool


class ProviderRegistry(dict[str, RegisteredProvider]):
    """Never changed but by :meth:`add`."""

    def add(self, entry: RegisteredProvider) -> None:
        """
        :raises RegistrationError: The name is taken, hides a route, or does not fit into a URL; or the
            options exclude each other.
        """
        name = entry.name
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
        if entry.context not in CONTEXTS:
            raise RegistrationError(f'context is {entry.context!r} but must be "app" or "request".')
        if entry.restart and entry.context == "request":
            raise RegistrationError(
                f'The provider {name!r} cannot have both restart=True and context="request": another '
                "process has no request to copy."
            )
        self[name] = entry

    def find(self, name: str) -> RegisteredProvider:
        """
        :raises ProviderNotFound: There is none of this name.
        """
        try:
            return self[name]
        except KeyError:
            known = ", ".join(sorted(self)) or "none yet"
            raise ProviderNotFound(
                f"There is no provider {name[:100]!r} here. Registered: {known}."
            ) from None


def name_of(function: Provider) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise RegistrationError(
            f'{function!r} has no name of its own. Give it one: @ai.provider(name="chat").'
        )
    return name


def check_takes_request(function: t.Any) -> None:
    """
    :raises RegistrationError: It cannot be called with one argument.
    """
    if not callable(function):
        raise RegistrationError(
            f"A provider must be a function, and {function!r} is none. Put @ai.provider above one; "
            'for another name than its own: @ai.provider(name="chat").'
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # Of something built in, which does not tell.
        return
    try:
        signature.bind(None)
    except TypeError:
        raise RegistrationError(
            f"A provider is called with one argument, the ChatRequest, but {function!r} takes "
            f"{signature}. Write: def chat(request)."
        ) from None
