"""What is known of a run besides its log."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from dataclasses import field


def new_run_id() -> str:
    """128 random bits, in ASCII that is safe in an ``id`` field and in a path."""
    return secrets.token_urlsafe(16)


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

    def readable_by(self, caller: str | None) -> bool:
        return self.owner is None or self.owner == caller
