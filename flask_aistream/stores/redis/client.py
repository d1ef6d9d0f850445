"""A client from a URL: one server, Sentinels or a cluster."""

from __future__ import annotations

import typing as t
from urllib.parse import parse_qsl
from urllib.parse import unquote
from urllib.parse import urlsplit

import redis
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

# A reply that takes longer is an outage: the writer retries.
SOCKET_SECONDS = 2.0
SENTINEL_PORT = 26379


def redis_client(url: str) -> t.Any:
    """A client that fails at once: the store retries."""
    options: dict[str, t.Any] = {
        "socket_connect_timeout": SOCKET_SECONDS,
        "socket_timeout": SOCKET_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    plain = f"{base}://{rest}"
    if kind == "cluster":
        return redis.RedisCluster.from_url(
            plain, socket_connect_timeout=SOCKET_SECONDS, socket_timeout=SOCKET_SECONDS
        )
    if kind == "sentinel":
        return sentinel_client(plain, options)
    return redis.Redis.from_url(plain, **options)


def sentinel_client(url: str, options: dict[str, t.Any]) -> t.Any:
    """``redis://[user:password@]host[:port][,host[:port]…]/service[/db]``."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError(
            "the URL of a Sentinel must name the service: redis+sentinel://host/service"
        )
    options = {**options, **dict(parse_qsl(parts.query)), "db": int(db or 0)}
    options |= {
        name: unquote(it) for name, it in (("username", user), ("password", password)) if it
    }
    if parts.scheme == "rediss":
        options["ssl"] = True
    sentinels = [host_and_port(host) for host in hosts.split(",")]
    sentinel_kwargs = {"socket_timeout": SOCKET_SECONDS}
    make: t.Any = redis.sentinel.Sentinel
    return make(sentinels, sentinel_kwargs=sentinel_kwargs, **options).master_for(service)


def host_and_port(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return (name, int(port)) if port.isdecimal() else (host, SENTINEL_PORT)
