"""Every configuration key, as a row: default, unit, check, one sentence."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping
from collections.abc import MutableMapping
from dataclasses import dataclass

from flask_aistream.errors import ConfigError
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.runs.policy import CHAT_POLICIES
from flask_aistream.runs.policy import PARALLEL
from flask_aistream.stores.urls import EXAMPLES
from flask_aistream.stores.urls import is_store_url
from flask_aistream.stores.urls import without_password

MEGABYTE = 1024**2
PEBIBYTE = 1024**5

HOUR = 3600.0
AGES = 1e9
"""31 years in seconds: still exact in milliseconds, and in the timers of every platform."""

TRILLION = 10**12

SHOWN = 200
"""Maximum characters of a wrong value that an error shows."""


class Validator(t.Protocol):
    """Whether a value is valid; ``str()`` says which ones are, after "must be"."""

    def __call__(self, value: t.Any) -> bool: ...


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds.

    :param maximum: Largest value. Without one, a huge value would overflow wherever it is first used.
    :param minimum: Smallest value; 0 is rejected, unless ``zero``.
    :param none: What ``None`` means; empty where it is rejected.
    """

    maximum: float
    minimum: float = 0
    zero: bool = False
    whole: bool = False
    none: str = ""

    def __call__(self, value: t.Any) -> bool:
        if value is None:
            return bool(self.none)
        kinds = int if self.whole else (int, float)
        # Not math.isfinite: it raises OverflowError for 10**400.
        return (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and self.minimum <= value <= self.maximum
            and (self.zero or value > 0)
        )

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        if self.minimum:
            numbers = f"a {kind} from {self.minimum:.0f} to {self.maximum:.0f}"
        elif self.zero:
            numbers = f"a {kind} from 0 to {self.maximum:.0f}"
        else:
            numbers = f"a positive {kind} up to {self.maximum:.0f}"
        return numbers + (f", or None for {self.none}" if self.none else "")


class StoreUrl:
    """A URL that a store opens, or ``None``."""

    def __call__(self, value: t.Any) -> bool:
        return value is None or is_store_url(value)

    def __str__(self) -> str:
        return f"{EXAMPLES}, or None to let the library choose"


class Executor:
    """A name of an executor, a function, or ``None``."""

    def __call__(self, value: t.Any) -> bool:
        return value in (None, "local", "celery") or callable(value)

    def __str__(self) -> str:
        return '"celery", a function that puts a ticket into a queue of your own, or None'


class Switch:
    """``True``, ``False`` or ``None``."""

    def __call__(self, value: t.Any) -> bool:
        return value is None or isinstance(value, bool)

    def __str__(self) -> str:
        return "True, False, or None to let the library choose"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some strings."""

    choices: tuple[str, ...]

    def __call__(self, value: t.Any) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return " or ".join(f'"{it}"' for it in self.choices)


class Protocols:
    """Names of wire protocols, or ``None`` for all."""

    def __call__(self, value: t.Any) -> bool:
        if value is None:
            return True
        return isinstance(value, (list, tuple, set, frozenset)) and all(
            isinstance(name, str) and name in PROTOCOLS for name in value
        )

    def __str__(self) -> str:
        return f"a list of some of {', '.join(PROTOCOLS)}, or None for all"


class Text:
    """A text that is not empty, or ``None``."""

    def __init__(self, maximum: int, none: str) -> None:
        self._maximum = maximum
        self._none = none

    def __call__(self, value: t.Any) -> bool:
        return value is None or (
            isinstance(value, str) and 0 < len(value) <= self._maximum and value.isprintable()
        )

    def __str__(self) -> str:
        return f"a text of 1 to {self._maximum} printable characters, or None for {self._none}"


class Origins:
    """``"*"``, ``None``, or a collection of origins as browsers send them."""

    def __call__(self, value: t.Any) -> bool:
        if value is None or value == "*":
            return True
        return isinstance(value, (list, tuple, set, frozenset)) and all(map(is_origin, value))

    def __str__(self) -> str:
        return (
            'a list of origins such as ["https://example.org"] (in lower case, without a path or a slash at '
            'the end), "*" for any, or None for no CORS headers'
        )


def is_origin(value: t.Any) -> bool:
    if not isinstance(value, str):
        return False
    scheme, found, host = value.partition("://")
    # Browsers send origins in lower case, and they are compared as strings.
    return bool(found and scheme and host) and not set(host) & set("/*") and value == value.lower()


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    :param unit: ``seconds``, ``bytes``, ``""`` …
    :param advanced: Its default serves everybody, as far as is known; listed in a table of its own.
    """

    name: str
    default: t.Any
    unit: str
    check: Validator
    doc: str
    advanced: bool = False


def key(default: t.Any, unit: str, check: Validator, doc: str, *, advanced: bool = False) -> t.Any:
    row = {"unit": unit, "check": check, "doc": doc, "advanced": advanced}
    return dataclasses.field(default=default, metadata=row)


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, read once when the blueprint is registered."""

    store: str | None = key(
        None,
        "",
        StoreUrl(),
        "URL of the store that keeps the logs of runs. None: memory; where several processes may serve the application, an "
        "SQLite file in the instance folder.",
    )
    namespace: str | None = key(
        None,
        "",
        Text(200, "the name of the application, `app.name`"),
        "Name of the application in the store: applications with different ones share a Redis or an SQLite file "
        "and see nothing of each other. Set it where two applications have the same `app.name`, and set the same one "
        "in Celery workers.",
    )
    executor: t.Any = key(  # noqa: RUF009
        None,
        "",
        Executor(),
        'Where providers are called. None or "local": in the web process. "celery": in Celery workers. A '
        "function is called with a ticket, and puts it into a queue of your own, whose workers call "
        "`ai.execute(ticket)`.",
    )
    queue_seconds: float | None = key(
        60.0,
        "seconds",
        Number(AGES, none="no limit"),
        "Longest time that a run waits for a worker of the executor; then it fails as `queue_timeout`.",
    )
    heartbeat_seconds: float | None = key(
        15.0,
        "seconds",
        Number(HOUR, none="no heartbeats"),
        "Longest silence before a comment frame keeps proxies from closing the connection.",
    )
    detach_seconds: float | None = key(
        30.0,
        "seconds",
        Number(AGES, zero=True, none="no limit"),
        "How long a run without readers continues; then it is stopped. 0 stops it at once, None never. In a "
        "protocol that cannot resume (chat completions, Responses, AG-UI, text) a run is stopped at once.",
    )
    run_seconds: float | None = key(
        3600.0,
        "seconds",
        Number(AGES, none="no limit"),
        "Longest duration of a run; then it fails as `run_timeout`.",
    )
    idle_seconds: float | None = key(
        600.0,
        "seconds",
        Number(AGES, none="no limit"),
        "Longest time in which a provider yields nothing; then its run fails as `idle_timeout`. Pings of the model's "
        "service reset it, where the provider returns the raw response.",
    )
    first_event_seconds: float | None = key(
        300.0,
        "seconds",
        Number(AGES, none="no limit"),
        "Longest time until a provider yields its first event; then its run fails as `first_event_timeout`. Not for "
        "providers with an `idle_seconds` of their own.",
    )
    run_tokens: int | None = key(
        4_000_000,
        "events",
        Number(TRILLION, whole=True, none="no limit"),
        "Most events of a run, about one per token; then it finishes with the reason `length`.",
    )
    run_bytes: int | None = key(
        256 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, whole=True, none="no limit"),
        "Most bytes of all events of a run, as JSON; then it finishes with the reason `length`.",
    )
    retain_seconds: float | None = key(
        600.0,
        "seconds",
        Number(AGES, none="no limit"),
        "How long an ended run can still be read.",
    )
    store_bytes: int | None = key(
        512 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, minimum=MEGABYTE, whole=True, none="no limit"),
        "Size of all runs in the store. Beyond it the oldest ended runs are deleted; if the running ones alone "
        "exceed it, starts get 503.",
    )
    max_runs: int | None = key(
        None,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most concurrent runs of one process; further starts get 503.",
    )
    max_runs_per_owner: int | None = key(
        100,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most concurrent runs of one owner in all processes; further starts get 429.",
    )
    max_runs_per_address: int | None = key(
        300,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most concurrent runs of the anonymous clients of one public address (of IPv6, one /64 network) in one "
        "process; further starts get 429.",
    )
    max_anonymous_runs: int | None = key(
        500,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most concurrent runs of all anonymous clients in one process; further starts get 429. Runs of owners do not "
        "count.",
    )
    max_background_runs: int | None = key(
        100,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most concurrent runs in one process that clients started with `background`, which continue without a "
        "reader; further starts get 429.",
    )
    live_request_bytes: int | None = key(
        256 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, whole=True, none="no limit"),
        "Bytes of the request bodies of all live runs in one process, which are kept for their providers; further starts "
        "by clients get 429. Bodies below 16 KiB do not count.",
    )
    max_starts_per_owner: int | None = key(
        300,
        "starts per minute",
        Number(TRILLION, whole=True, none="no limit"),
        "Most runs that one owner starts in a minute in one process; further starts get 429. Reconnections and "
        "retries with the same key do not count.",
    )
    max_starts_per_address: int | None = key(
        600,
        "starts per minute",
        Number(TRILLION, whole=True, none="no limit"),
        "The same for the anonymous clients of one public address.",
    )
    max_connections: int | None = key(
        None,
        "streams",
        Number(TRILLION, whole=True, none="nine tenths of the places of gunicorn's worker"),
        "Most streams open at once in one process; further ones get 503. The last tenth is for streams that resume a run. "
        "None: nine tenths of the requests that gunicorn's worker serves at once (`worker_connections` of gevent, "
        "`threads` of gthread); no limit under other servers.",
    )
    max_connections_per_owner: int | None = key(
        300,
        "streams",
        Number(TRILLION, whole=True, none="no limit"),
        "Most streams of one owner's runs open at once in one process; further ones get 429.",
    )
    max_connections_per_address: int | None = key(
        300,
        "streams",
        Number(TRILLION, whole=True, none="no limit"),
        "The same for the anonymous clients of one public address.",
    )
    chat_policy: str = key(
        PARALLEL,
        "",
        Choice(CHAT_POLICIES),
        'What happens to a request while its chat has a live run. "parallel": both run. "reject": 409. "interrupt": '
        "the live run is stopped and keeps its text. A provider may have its own: `@ai.provider(chat_policy=…)`.",
    )
    max_body_bytes: int | None = key(
        4 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, whole=True, none="no limit"),
        "Largest request body; a larger one gets 413.",
    )
    body_seconds: float | None = key(
        60.0,
        "seconds",
        Number(HOUR, none="no limit"),
        "Longest time in which a request body arrives; then the request gets 408, and its connection is closed. "
        "gunicorn and the development server.",
    )
    max_messages: int | None = key(
        1000,
        "messages",
        Number(TRILLION, whole=True, none="no limit"),
        "Most messages in one request; more get 422.",
    )
    max_prompt_characters: int | None = key(
        1_000_000,
        "characters",
        Number(TRILLION, whole=True, none="no limit"),
        "Most characters of text in the messages of one request; more get 422.",
    )
    max_name_characters: int | None = key(
        256,
        "characters",
        Number(TRILLION, whole=True, none="no limit"),
        "Longest chat id, message id, run id of a client, idempotency key, parameter name and owner; a longer one gets "
        "422.",
    )
    protocols: t.Any = key(  # noqa: RUF009
        None,
        "",
        Protocols(),
        "Wire protocols that are served: a list of `native`, `ai-sdk`, `openai-chat`, `openai-responses`, `ag-ui`, "
        "`html` and `text`. The routes of others get 404. None: all.",
    )
    cors_origins: t.Any = key(  # noqa: RUF009
        "*",
        "",
        Origins(),
        "Origins whose pages may read responses. Pages of a listed origin may send cookies, too; with `*` no "
        "page of another origin may.",
    )
    openapi: bool | None = key(
        None,
        "",
        Switch(),
        "Whether `/openapi.json` below the prefix describes the routes. It names the providers and the limits. None: in debug "
        "mode only.",
    )
    playground: bool | None = key(
        None,
        "",
        Switch(),
        "Whether `/playground` below the prefix is a page to try the providers and to watch runs. True needs an "
        "`@ai.operator`, unless the application is in debug mode. None: in debug mode only.",
    )
    store_seconds: float = key(
        5.0,
        "seconds",
        Number(HOUR),
        "How long the store may be unavailable before running runs fail as `store_unavailable`.",
        advanced=True,
    )
    flush_seconds: float = key(
        0.005,
        "seconds",
        Number(60.0, zero=True),
        "Shortest time between two writes to one client, in which tokens are coalesced. 0 writes each at once.",
        advanced=True,
    )
    flush_busy_seconds: float = key(
        0.04,
        "seconds",
        Number(60.0, zero=True),
        "The longest interval: it grows while the worker's event loop is late. 0 keeps the interval fixed.",
        advanced=True,
    )
    commit_seconds: float = key(
        1.0,
        "seconds",
        Number(HOUR, zero=True),
        "How long a response waits for the first event, so that an early failure is an HTTP error.",
        advanced=True,
    )
    retry_seconds: float = key(
        1.0,
        "seconds",
        Number(HOUR, zero=True),
        "Reconnection time of `EventSource` clients: the `retry` field of a stream.",
        advanced=True,
    )
    send_seconds: float | None = key(
        30.0,
        "seconds",
        Number(24 * HOUR, none="no limit"),
        "Longest time that a client takes to read one write (at most 256 KiB); then its connection is closed. "
        "The run continues, and the client may resume.",
        advanced=True,
    )
    max_json_depth: int | None = key(
        100,
        "levels",
        Number(TRILLION, whole=True, none="no limit"),
        "Deepest nesting of a JSON body; a deeper one gets 400.",
        advanced=True,
    )
    max_json_values: int | None = key(
        100_000,
        "values",
        Number(TRILLION, whole=True, none="no limit"),
        "Most values in a JSON body; more get 400. Parsed values take many times the memory of their text.",
        advanced=True,
    )
    drain_seconds: float | None = key(
        None,
        "seconds",
        Number(24 * HOUR, none="the time that gunicorn allows"),
        "How long runs continue while their process drains; then they end as `interrupted`. None: 2 s less than "
        "gunicorn's `graceful_timeout`.",
        advanced=True,
    )
    retain_runs: int | None = key(
        10_000,
        "runs",
        Number(TRILLION, whole=True, none="no limit"),
        "Most ended runs that are retained; the oldest are deleted first.",
        advanced=True,
    )
    log_events: int | None = key(
        1_000_000,
        "events",
        Number(TRILLION, whole=True, none="no limit"),
        "Most events in the log of one run. Beyond it the oldest quarter is trimmed, and readers get a `gap`.",
        advanced=True,
    )
    log_bytes: int | None = key(
        64 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, whole=True, none="no limit"),
        "Largest log of one run, as JSON. Beyond it the oldest quarter is trimmed, and readers get a `gap`.",
        advanced=True,
    )
    request_bytes: int | None = key(
        4 * MEGABYTE,
        "bytes",
        Number(PEBIBYTE, minimum=1000, whole=True, none="no limit"),
        "Largest request, as JSON, that is kept with its run for `run_ended`. A larger one loses its oldest messages.",
        advanced=True,
    )
    max_restarts: int = key(
        2,
        "restarts",
        Number(1000, whole=True),
        "How often a run of a provider with `restart=True` is continued by another process.",
        advanced=True,
    )
    max_deliveries: int = key(
        5,
        "deliveries",
        Number(1000, whole=True),
        "How often the end of a run is delivered to the receivers of `run_ended`, if each delivery crashes its "
        "process; then it is logged as given up.",
        advanced=True,
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
                    f"{name} is not a configuration key of flask_aistream. {nearest(name)}"
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
                f"{', '.join(late)} was set after the blueprint was registered, which reads the "
                "configuration. Set it before app.register_blueprint(ai)."
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
    if not key.check(value):
        unit = f" ({key.unit})" if key.unit else ""
        raise ConfigError(
            f"{key.name} is `{shown(value)}` but must be {key.check}{unit}. {key.doc}"
        )


def shown(value: t.Any) -> str:
    try:
        text = repr(without_password(value) if isinstance(value, str) else value)
    except ValueError:  # An int of more than sys.get_int_max_str_digits() digits.
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def nearest(name: str) -> str:
    import difflib

    names = [key.name.removeprefix(PREFIX) for key in KEYS]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1)
    return (
        f"Did you mean {PREFIX}{close[0]}?" if close else "docs/reference/config.md lists all keys."
    )
