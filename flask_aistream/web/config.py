"""Every configuration key, as a row: default, unit, check, one sentence."""

from __future__ import annotations

import dataclasses
import math
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import MutableMapping
from dataclasses import dataclass

from flask_aistream.errors import ConfigError
from flask_aistream.stores.urls import EXAMPLES
from flask_aistream.stores.urls import is_store_url
from flask_aistream.stores.urls import without_password

MEGABYTE = 1024 * 1024

Check = tuple[Callable[[t.Any], bool], str]


def is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_origins(value: t.Any) -> bool:
    if value is None or value == "*":
        return True
    return isinstance(value, (list, tuple, set, frozenset)) and all(map(is_origin, value))


def is_origin(value: t.Any) -> bool:
    if not isinstance(value, str):
        return False
    scheme, found, host = value.partition("://")
    # Browsers send it in lower case, and it is compared as it stands.
    return bool(found and scheme and host) and not set(host) & set("/*") and value == value.lower()


POSITIVE: Check = (lambda value: is_number(value) and value > 0, "a positive number")
POSITIVE_OR_NONE: Check = (
    lambda v: v is None or POSITIVE[0](v),
    "a positive number, or None for none",
)
ZERO_OR_MORE: Check = (lambda value: is_number(value) and value >= 0, "a number, 0 or more")
ZERO_OR_NONE: Check = (
    lambda v: v is None or ZERO_OR_MORE[0](v),
    "a number, 0 or more, or None for never",
)
COUNT: Check = (is_count, "a positive whole number")
COUNT_OR_NONE: Check = (
    lambda v: v is None or is_count(v),
    "a positive whole number, or None for any",
)
ROOM_OR_NONE: Check = (
    lambda v: v is None or (is_count(v) and v >= MEGABYTE),
    f"a whole number, {MEGABYTE} or more, or None for any",
)
STORE: Check = (
    lambda value: value is None or is_store_url(value),
    f"{EXAMPLES}, or None to let the library choose",
)
EXECUTOR: Check = (
    lambda value: value in (None, "local", "celery") or callable(value),
    '"celery", a function that is given what to put into a queue of your own, or None',
)
ORIGINS: Check = (
    is_origins,
    'a list of origins such as ["https://example.org"] (in lower case, without a path or a slash at the '
    'end), "*" for any, or None for no CORS headers',
)


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    :param unit: ``seconds``, ``bytes``, ``""`` …
    """

    name: str
    default: t.Any
    unit: str
    check: Check
    doc: str


def key(default: t.Any, unit: str, check: Check, doc: str) -> t.Any:
    return dataclasses.field(default=default, metadata={"unit": unit, "check": check, "doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, read once when the blueprint is registered."""

    store: str | None = key(
        None,
        "",
        STORE,
        "URL of where the logs of runs live. None: in this process; where gunicorn has several workers, "
        "in an SQLite file in the instance folder.",
    )
    store_seconds: float = key(
        5.0,
        "seconds",
        POSITIVE,
        "How long the store may be away; then running runs fail as `store_unavailable`.",
    )
    executor: t.Any = key(  # noqa: RUF009
        None,
        "",
        EXECUTOR,
        'Where providers are called. None or "local": in the web process; "celery": in Celery workers; a '
        "function puts what it is given into a queue of your own, for `ai.execute` to take.",
    )
    queue_seconds: float | None = key(
        60.0,
        "seconds",
        POSITIVE_OR_NONE,
        "How long a run may wait for a worker of the executor; then it fails as `queue_timeout`.",
    )
    heartbeat_seconds: float | None = key(
        15.0,
        "seconds",
        POSITIVE_OR_NONE,
        "Longest silence before a comment keeps proxies from closing the connection.",
    )
    flush_seconds: float = key(
        0.005,
        "seconds",
        ZERO_OR_MORE,
        "Time between two writes to one client; tokens gather meanwhile. 0 writes each one at once.",
    )
    flush_busy_seconds: float = key(
        0.04,
        "seconds",
        ZERO_OR_MORE,
        "The same while the worker is busy: between 20 % and 40 % of a CPU the time opens to this. 0: never.",
    )
    commit_seconds: float = key(
        1.0,
        "seconds",
        ZERO_OR_MORE,
        "How long a response waits for the first event, so that an early failure is an HTTP error.",
    )
    retry_seconds: float = key(
        1.0, "seconds", ZERO_OR_MORE, "Reconnection time that clients are told."
    )
    send_seconds: float | None = key(
        30.0,
        "seconds",
        POSITIVE_OR_NONE,
        "How long a client may take for one write (256 KiB at most) before it is cut off; its run goes on, and "
        "it may resume.",
    )
    detach_seconds: float | None = key(
        30.0,
        "seconds",
        ZERO_OR_NONE,
        "How long a run goes on when nobody reads it. 0 stops it at once, None lets it end by itself.",
    )
    run_seconds: float | None = key(
        3600.0,
        "seconds",
        POSITIVE_OR_NONE,
        "Longest life of a run, which then fails as `run_timeout`.",
    )
    retain_seconds: float | None = key(
        600.0, "seconds", POSITIVE_OR_NONE, "How long a finished run can still be read."
    )
    retain_runs: int | None = key(
        10_000, "runs", COUNT_OR_NONE, "Finished runs that are kept; the oldest go first."
    )
    log_events: int | None = key(
        1_000_000,
        "events",
        COUNT_OR_NONE,
        "Events of one run that are kept; the oldest quarter goes first, and readers are told the gap.",
    )
    log_bytes: int | None = key(
        64 * 1024 * 1024,
        "bytes",
        COUNT_OR_NONE,
        "Of the events of one run, as JSON, that are kept; the oldest quarter goes first.",
    )
    store_bytes: int | None = key(
        512 * 1024 * 1024,
        "bytes",
        ROOM_OR_NONE,
        "Of all runs in the store; the oldest finished ones go first. Where those that are still going on "
        "are too much, starts get 503.",
    )
    max_runs: int | None = key(
        None, "runs", COUNT_OR_NONE, "Runs at once in one process; more are refused with 503."
    )
    max_runs_per_owner: int | None = key(
        None, "runs", COUNT_OR_NONE, "Runs at once of one owner in all processes; more get 429."
    )
    max_connections: int | None = key(
        None, "streams", COUNT_OR_NONE, "Streams open at once in one process; more get 503."
    )
    max_connections_per_owner: int | None = key(
        None, "streams", COUNT_OR_NONE, "Of one owner, in one process; more get 429."
    )
    max_restarts: int = key(
        2,
        "restarts",
        COUNT,
        "How often a run of a provider with `restart=True` goes on in another process.",
    )
    max_body_bytes: int | None = key(
        4 * 1024 * 1024, "bytes", COUNT_OR_NONE, "Largest request body; a larger one gets 413."
    )
    max_messages: int | None = key(
        1000, "messages", COUNT_OR_NONE, "Most messages of one request; more get 422."
    )
    max_prompt_characters: int | None = key(
        1_000_000,
        "characters",
        COUNT_OR_NONE,
        "Longest text of all messages of one request together; a longer one gets 422.",
    )
    drain_seconds: float | None = key(
        None,
        "seconds",
        POSITIVE_OR_NONE,
        "How long runs may go on when the server stops; None: 1.5 s less than gunicorn waits.",
    )
    cors_origins: t.Any = key(  # noqa: RUF009
        "*",
        "",
        ORIGINS,
        "Origins whose pages may read. With a list, they may send cookies too; with `*` never.",
    )

    @classmethod
    def read(cls, config: MutableMapping[str, t.Any]) -> Settings:
        """Read the configuration, and put the defaults back into it.

        :raises ConfigError: A value is wrong, or a key with our prefix is unknown.
        """
        known = {key.name for key in KEYS}
        for name in config:
            if name.startswith(PREFIX) and name not in known:
                raise ConfigError(
                    f"{name} is no configuration key of flask_aistream. {nearest(name)}"
                )
        for key in KEYS:
            check(key, config.setdefault(key.name, key.default))
        return cls(**values_of(config))

    def check_unchanged(self, config: MutableMapping[str, t.Any]) -> None:
        """
        :raises ConfigError: A key was set after it was read, which would change nothing.
        """
        now = Settings.read(config)
        late = [key.name for key in KEYS if value_of(now, key) != value_of(self, key)]
        if late:
            raise ConfigError(
                f"{', '.join(late)} was set after the blueprint was registered, which had read the "
                "configuration already. Set it before app.register_blueprint(ai)."
            )


PREFIX = "AISTREAM_"

KEYS: tuple[Key, ...] = tuple(
    Key(PREFIX + row.name.upper(), row.default, **row.metadata)
    for row in dataclasses.fields(Settings)
)


def value_of(settings: Settings, key: Key) -> t.Any:
    return getattr(settings, key.name.removeprefix(PREFIX).lower())


def values_of(config: Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key.name.removeprefix(PREFIX).lower(): config[key.name] for key in KEYS}


def check(key: Key, value: t.Any) -> None:
    holds, expected = key.check
    if not holds(value):
        unit = f" ({key.unit})" if key.unit else ""
        shown = without_password(value) if isinstance(value, str) else value
        raise ConfigError(f"{key.name} is `{shown!r}` but must be {expected}{unit}. {key.doc}")


def nearest(name: str) -> str:
    import difflib

    names = [key.name.removeprefix(PREFIX) for key in KEYS]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1)
    return (
        f"Did you mean {PREFIX}{close[0]}?" if close else "docs/reference/config.md lists all keys."
    )
