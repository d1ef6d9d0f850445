"""The address of a client, where it tells clients apart."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from flask import Request

from flask_aistream.web.extension import Extension

IPV6_NETWORK = 64
"""Prefix length of the smallest network that one customer gets."""

PROXY_HEADERS = frozenset({"HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"})
"""Keys of the WSGI environment."""

ADJUSTED = "werkzeug.proxy_fix.orig"
"""Key of the WSGI environment that werkzeug's ``ProxyFix`` sets."""


def address_of(ext: Extension, request: Request) -> str | None:
    """The client's address, if it tells clients apart; ``None`` for one that is not public.

    Behind a proxy, without ``ProxyFix``, every client has the proxy's address, which is logged once.
    """
    address = public_network(request.remote_addr or "")
    if (
        address is None
        and ADJUSTED not in request.environ
        and not PROXY_HEADERS.isdisjoint(request.environ)
    ):
        ext.warn_once(
            "Requests come through a proxy, so the addresses of clients are unknown, and AISTREAM_MAX_RUNS_PER_ADDRESS, "
            "…_STARTS_PER_ADDRESS and …_CONNECTIONS_PER_ADDRESS limit nobody. Let werkzeug's ProxyFix set them: "
            "app.wsgi_app = ProxyFix(app.wsgi_app)."
        )
    return address


def is_on_this_machine(request: Request) -> bool:
    """Whether a program on the server's machine sent the request, to a name of that machine, and through no proxy.

    A page of another site may resolve its own name to 127.0.0.1 (DNS rebinding), so the name counts, too.
    """
    if not PROXY_HEADERS.isdisjoint(request.environ) or ADJUSTED in request.environ:
        return False
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    named = name == "localhost" or name.endswith(".localhost") or is_loopback(name)
    return named and is_loopback(request.remote_addr or "")


def is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


@lru_cache(1024)
def public_network(address: str) -> str | None:
    """An IPv4 address, or the network of an IPv6 one; ``None`` if it is not public."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # A unix socket has no address.
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            network = ipaddress.ip_network((found, IPV6_NETWORK), strict=False)
            return str(network) if found.is_global else None
        found = found.ipv4_mapped
    return str(found) if found.is_global else None
