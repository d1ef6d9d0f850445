"""What is known of a run besides its log."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from dataclasses import field


def new_run_id() -> str:
    """128 random bits, in ASCII that is safe in an ``id`` field and in a path."""
    return secrets.token_urlsafe(16)


def ticket_of(run_id: str, epoch: int) -> str:
    """What a queue holds of a run that waits for an owner.

    :param epoch: Owners it has had. A task that comes twice finds it in another epoch, and does nothing.
    """
    return f"{run_id}.{epoch}" if epoch else run_id


def read_ticket(ticket: str) -> tuple[str, int]:
    """The inverse of :func:`ticket_of`.

    :raises ValueError: It was not made by that.
    """
    run_id, _, epoch = ticket.partition(".")
    return run_id, int(epoch or 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One call of a provider.

    :param created: Seconds since the epoch.
    :param owner: Who may read and stop it; ``None`` for whoever knows the id.
    :param key: Idempotency key, made unique for its owner and provider; ``None`` for none.
    :param fingerprint: Of the request that started it; another one under the same key is refused.
    :param chat: Conversation, made unique for its owner and provider; ``None`` for none.
    :param request: The request as JSON, where another process may have to call the provider; a store
        need not keep it beyond the end.
    """

    id: str
    provider: str
    created: float
    owner: str | None = None
    key: str | None = None
    fingerprint: str = ""
    chat: str | None = None
    request: str = field(default="", repr=False)

    @property
    def size(self) -> int:
        """Characters of all that a client may have chosen."""
        named = (self.owner, self.key, self.chat, self.request)
        return sum(len(text) for text in named if text)

    def readable_by(self, caller: str | None) -> bool:
        return self.owner is None or self.owner == caller
