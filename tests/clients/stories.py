"""What a client must have in the end."""

from __future__ import annotations

from flask_aistream.core.fold import Fold
from tests.protocols.stories import STORIES


def text_of(story: str) -> str:
    return Fold(STORIES[story]).text


def joined(text: str) -> str:
    """``text`` with the halves of characters joined, as every JSON reader does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
