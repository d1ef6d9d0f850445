"""The limits that a start by a client counts against: its owner's, or those of anonymous clients and their address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from flask_aistream.runs.quota import Quota
from flask_aistream.runs.quota import Share
from flask_aistream.runs.quota import StartRate
from flask_aistream.web.config import Settings

SMALL = 16 * 1024
"""Bytes of a request's body up to which it is not counted, since the run itself takes as much memory."""


class Quotas:
    """Makes the quotas of one process.

    :param lock: Makes a lock for short sections; see ``Concurrency.lock``.
    """

    def __init__(
        self, settings: Settings, lock: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._per_address = settings.max_runs_per_address
        self._request_bytes = settings.live_request_bytes
        self._owner_rate = rate_of(settings.max_starts_per_owner, lock)
        self._address_rate = rate_of(settings.max_starts_per_address, lock)
        self._anonymous = share(
            "anonymous",
            settings.max_anonymous_runs,
            "The server runs as many answers for anonymous clients as it may ({}). Try again in a moment, or log in.",
        )
        # For small requests of anonymous clients without a public address.
        self._unknown = Quota(self._anonymous)
        self._background = share(
            "background",
            settings.max_background_runs,
            "The server runs as many answers in the background as it may ({}). Try again in a moment, or without "
            "`background`.",
        )

    def of(
        self, owner: str | None, address: str | None, *, background: bool, size: int = 0
    ) -> Quota:
        """
        :param size: Bytes of the request's body, which are kept while the run is live.
        :param owner: With its namespace; ``None`` for an anonymous client.
        :param address: Of an anonymous client, if it is public.
        """
        if owner is None and address is None and not background and size <= SMALL:
            return self._unknown
        shares = self._background if background else ()
        if size > SMALL:
            shares += share(
                "request bytes",
                self._request_bytes,
                "The live runs of the server keep as many bytes of requests as they may ({}). Try again in a moment.",
                size,
            )
        if owner is not None:
            return Quota(shares, self._owner_rate, owner)
        shares += self._anonymous
        if address is None:
            return Quota(shares)
        shares += share(
            f"address {address}",
            self._per_address,
            "The clients of your network have {} live runs, which is the limit. Stop one, or wait for one to end.",
        )
        return Quota(shares, self._address_rate, address)


def share(name: str, limit: int | None, message: str, size: int = 1) -> tuple[Share, ...]:
    return () if limit is None else (Share(name, limit, message.format(limit), size),)


def rate_of(
    per_minute: int | None, lock: Callable[[], AbstractContextManager[object]]
) -> StartRate | None:
    return None if per_minute is None else StartRate(per_minute, lock())
