"""``http_client()``: an httpx client whose transport is urllib3."""

from __future__ import annotations

import importlib
import os
import platform
import typing as t

from flask_aistream.errors import ConfigError
from flask_aistream.upstream.transport import transport_class

CONNECTIONS = 1000
"""Connections kept to one host, as the openai SDK keeps them. More are opened, and closed after use."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 600.0
"""The openai and anthropic SDKs' own times."""


def http_client(
    *,
    connections: int = CONNECTIONS,
    verify: t.Any = True,
    cert: t.Any = None,
    proxy: str | None = None,
    sdk: str | None = None,
    **options: t.Any,
) -> t.Any:
    """An HTTP client for ``OpenAI(http_client=…)`` and ``Anthropic(http_client=…)``.

    It costs a tenth of httpx's own transport a token, and behaves like it: pool, times, TLS verification,
    ``HTTPS_PROXY`` and ``NO_PROXY``, errors. HTTP/1.1 only; for synchronous clients.

    :param connections: Kept open to one host.
    :param verify: ``False``, a path of certificates, or an ``ssl.SSLContext``.
    :param cert: Path of a client certificate, or ``(certificate, key)``.
    :param proxy: URL; else by the environment.
    :param sdk: Name of the SDK that gets the client (``"anthropic"``); it decides between ``httpx`` and
        ``httpx2``. By default the one that is installed, ``openai`` first.
    :param options: Of ``httpx.Client`` (``timeout``, ``headers``, ``event_hooks``, …).
    :raises ConfigError: urllib3 or httpx is not installed.

    .. versionadded:: 0.1
    """
    httpx = library_of(sdk) if sdk else None
    httpx = httpx or any_library()
    try:
        importlib.import_module("urllib3")
    except ImportError as error:
        raise ConfigError(
            "http_client() needs urllib3, which is not installed. "
            "Install `flask_aistream[upstream]`, or leave `http_client=` out."
        ) from error
    # The SDKs determine it in their first request, by starting a process; under gevent in each of the first
    # requests at once. Python caches the answer.
    platform.platform()
    kind = transport_class(httpx)

    def transport(proxy: str | None) -> t.Any:
        return kind(connections=connections, verify=verify, cert=cert, proxy=proxy)

    options.setdefault("timeout", httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS))
    options.setdefault("follow_redirects", True)
    mounts = {} if proxy else environment_mounts(transport)
    return httpx.Client(transport=transport(proxy), mounts=mounts, trust_env=False, **options)


def any_library() -> t.Any:
    """
    :raises ConfigError: There is none.
    """
    found = library_of("openai") or library_of("anthropic")
    if found:
        return found
    for name in ("httpx2", "httpx"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigError(
        "http_client() needs httpx, which is not installed. Install the SDK you use it with first."
    )


def library_of(sdk: str) -> t.Any:
    """The httpx that an SDK is built on; newer ones use ``httpx2``. ``None`` if the SDK is not installed."""
    try:
        base = importlib.import_module(f"{sdk}._base_client")
    except ImportError:
        return None
    kind = next((it for it in base.SyncHttpxClientWrapper.__mro__ if it.__name__ == "Client"), None)
    return importlib.import_module(kind.__module__.partition(".")[0]) if kind else None


def environment_mounts(transport: t.Callable[[str | None], t.Any]) -> dict[str, t.Any]:
    """``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` as httpx reads them."""
    mounts: dict[str, t.Any] = {}
    for scheme in ("http", "https", "all"):
        url = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if url:
            mounts[f"{scheme}://"] = transport(url if "://" in url else f"http://{url}")
    bypassed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for host in filter(None, (it.strip() for it in bypassed.split(","))):
        if host == "*":
            return {}
        mounts[host if "://" in host else f"all://{host}"] = transport(None)
        if "://" not in host and not host.startswith("*"):
            mounts[f"all://*.{host.lstrip('.')}"] = transport(None)
    return mounts
