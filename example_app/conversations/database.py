"""The tables: a conversation of one person, and its turns."""

from __future__ import annotations

import typing as t

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship

TITLE_CHARACTERS = 80


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Conversation(Base):
    """
    :ivar changed: When it was last used, in seconds since the epoch.
    """

    __tablename__ = "conversation"

    owner: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    changed: Mapped[float]
    turns: Mapped[list[Turn]] = relationship(
        order_by="Turn.number", cascade="all, delete-orphan", back_populates="conversation"
    )


class Turn(Base):
    """A question, or the answer of one run.

    :ivar id: Of its first message.
    :ivar messages: As a model is sent them, in OpenAI's chat format; an answer may have none.
    :ivar shown: As the page shows it.
    """

    __tablename__ = "turn"
    __table_args__ = (
        ForeignKeyConstraint(["owner", "chat"], ["conversation.owner", "conversation.id"]),
    )

    key: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    chat: Mapped[str]
    id: Mapped[str]
    run: Mapped[str] = mapped_column(index=True)
    number: Mapped[int]
    messages: Mapped[list[t.Any]] = mapped_column(JSON)
    shown: Mapped[dict[str, t.Any]] = mapped_column(JSON)
    conversation: Mapped[Conversation] = relationship(back_populates="turns")


def find(owner: str | None, chat: str) -> Conversation | None:
    return None if owner is None else db.session.get(Conversation, (owner, chat))
