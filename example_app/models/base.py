"""What a model is to the example application."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from flask_aistream import ChatRequest


@dataclass(frozen=True, slots=True)
class Model:
    """Something that answers.

    :param name: What a request calls it.
    :param title: What the page says it is.
    :param answer: The provider.
    :param questions: What a visitor may want to ask first.
    """

    name: str
    title: str
    answer: Callable[[ChatRequest], t.Any]
    questions: tuple[str, ...] = (
        "Explain server-sent events in three sentences.",
        "Write a haiku about a connection that came back.",
        "What is a generator in Python? Show a small one.",
    )


def names_in(value: str | None, default: str) -> list[str]:
    """The names in a comma-separated list of models, as an environment variable has it."""
    return [name for part in (value or "").split(",") if (name := part.strip())] or [default]
