"""What a model is to the example application."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from flask_aistream import ChatRequest


@dataclass(frozen=True, slots=True)
class Model:
    """Something that answers.

    :param title: What the page says it is.
    :param answer: The provider.
    :param questions: What a visitor may want to ask first.
    """

    title: str
    answer: Callable[[ChatRequest], t.Any]
    questions: tuple[str, ...] = (
        "Explain server-sent events in three sentences.",
        "Write a haiku about a connection that came back.",
        "What is a generator in Python? Show a small one.",
    )
