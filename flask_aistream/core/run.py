"""The metadata of a run."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from dataclasses import field


def new_run_id() -> str:
    """128 random bits in ASCII that is safe in an ``id`` field and in a URL path."""
    return secrets.token_urlsafe(16)


def ticket_of(run_id: str, epoch: int) -> str:
    """The queue entry of a run that waits for an owner.

    :param epoch: Number of previous owners. A ticket delivered twice names an old epoch and is ignored.
    """
    return f"{run_id}.{epoch}" if epoch else run_id


def read_ticket(ticket: str) -> tuple[str, int]:
    """The inverse of :func:`ticket_of`.

    :raises ValueError: ``ticket`` was not made by :func:`ticket_of`.
    """
    run_id, _, epoch = ticket.partition(".")
    return run_id, int(epoch or 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One call of a provider.

    :param created: Seconds since the epoch.
    :param owner: The caller that may read and stop it; ``None``: any caller that has the id.
    :param key: Idempotency key, scoped to the owner and provider; ``None`` for none.
    :param fingerprint: Hash of the request. A different request with the same key is rejected.
    :param chat: Conversation id, scoped to the owner and provider; ``None`` for none.
    :param namespace: Where the owner's name is valid: the same name elsewhere is another owner.
    :param request: The request as JSON, if another process may have to call the provider. A store may drop
        it when the run ends.
    """

    id: str
    provider: str
    created: float
    owner: str | None = None
    key: str | None = None
    fingerprint: str = ""
    chat: str | None = None
    namespace: str = ""
    request: str = field(default="", repr=False)

    @property
    def size(self) -> int:
        """Characters of all that a client may have chosen."""
        named = (self.owner, self.key, self.chat, self.request)
        return sum(len(text) for text in named if text)

    @property
    def account(self) -> str | None:
        """The owner, unlike one of the same name in another namespace. Their runs are counted by it."""
        return None if self.owner is None else json.dumps([self.namespace, self.owner])

    def readable_by(self, caller: str | None, namespace: str = "") -> bool:
        return self.owner is None or (self.owner, self.namespace) == (caller, namespace)


def with_request(run: Run, request: str) -> Run:
    """The same run, with its request."""
    # dataclasses.replace takes three times as long.
    return Run(
        run.id,
        run.provider,
        run.created,
        run.owner,
        run.key,
        run.fingerprint,
        run.chat,
        run.namespace,
        request,
    )
