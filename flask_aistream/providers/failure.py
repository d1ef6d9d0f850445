"""A chunk that says that the model failed."""

from __future__ import annotations

import typing as t

from flask_aistream.errors import ProviderError


def failed(chunk: t.Any = None) -> t.NoReturn:
    """End the run as failed. What the chunk says is for the vendor's customer, not for clients.

    :raises ProviderError: Always.
    """
    raise ProviderError("upstream_error", "The model's service reported an error.")
