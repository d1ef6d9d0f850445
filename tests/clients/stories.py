"""The text that a client must have received at the end of a story."""

from __future__ import annotations

from flask_aistream.core.fold import Fold
from tests.protocols.stories import STORIES


def text_of(story: str) -> str:
    return Fold(STORIES[story]).text


def joined(text: str) -> str:
    """``text`` with surrogate pairs joined, as JSON parsers do."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
