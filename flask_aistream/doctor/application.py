"""Faults that can be seen in the application itself, without a server."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing as t
from collections.abc import Iterator

from flask import Blueprint

from flask_aistream.doctor.subject import Subject
from flask_aistream.web.cors import is_beside_flask_cors
from flask_aistream.web.registry import RegisteredProvider

SDK_CALLS = (
    ("completions", "create"),
    ("responses", "create"),
    ("messages", "create"),
    ("messages", "stream"),
)
"""How the methods of the OpenAI and Anthropic SDKs that stream parsed chunks end."""

RAW = "with_streaming_response"


def store_problem(subject: Subject) -> str | None:
    """That Redis may evict the keys of running runs."""
    url = subject.settings.store or ""
    if not url.startswith("redis"):
        return None
    from flask_aistream.stores.redis.client import redis_client

    client = redis_client(url)
    try:
        memory = client.info("memory")
    except Exception as error:
        return f"Redis does not answer: {error or type(error).__name__}."
    finally:
        client.close()
    policy = memory.get("maxmemory_policy")
    if not memory.get("maxmemory") or policy == "noeviction":
        return None
    return f"Redis evicts keys when its memory is full (maxmemory-policy {policy}), those of running runs too."


def flask_cors_problem(subject: Subject) -> str | None:
    """That flask-cors is set up beside a policy of ours that allows every origin."""
    if not is_beside_flask_cors(subject.app, subject.settings):
        return None
    return (
        "flask-cors does not apply to the routes of AIStream, which pages of any origin may read."
    )


def csrf_problem(subject: Subject) -> str | None:
    """That Flask-WTF demands a token that clients do not send."""
    csrf = subject.app.extensions.get("csrf")
    config = subject.app.config
    if csrf is None or not (
        config.get("WTF_CSRF_ENABLED") and config.get("WTF_CSRF_CHECK_DEFAULT")
    ):
        return None
    exempt = {it.name if isinstance(it, Blueprint) else it for it in csrf._exempt_blueprints}
    names = [name for name in subject.mounts if name not in exempt]
    if not names:
        return None
    return (
        f"Flask-WTF refuses every POST to the blueprint {names[0]!r}: clients send no CSRF token."
    )


def pool_problem(subject: Subject) -> str | None:
    """That runs may hold more database connections than there are."""
    database = subject.app.extensions.get("sqlalchemy")
    names = [it.name for it in providers(subject) if uses_database(it) and not releases(it)]
    if database is None or not names:
        return None
    with subject.app.app_context():
        pool = database.engine.pool
    size = getattr(pool, "size", None)
    if size is None:
        return None
    most = size() + max(getattr(pool, "_max_overflow", 0), 0)
    runs = subject.settings.max_runs
    if runs is not None and runs <= most:
        return None
    return (
        f"The provider {names[0]!r} uses the database, whose pool has {most} connections, but a process may have "
        f"{runs or 'any number of'} runs: each holds its connection to its end."
    )


def releases(provider: RegisteredProvider) -> bool:
    return bool(getattr(provider, "release_db", False))


def uses_database(provider: RegisteredProvider) -> bool:
    """Whether a provider's function names an object of SQLAlchemy."""
    code = getattr(provider.call, "__code__", None)
    variables = getattr(provider.call, "__globals__", {})
    named = [variables.get(name) for name in getattr(code, "co_names", ())]
    named += [cell.cell_contents for cell in getattr(provider.call, "__closure__", None) or ()]
    return any(is_sqlalchemy(it) for it in named)


def is_sqlalchemy(value: object) -> bool:
    kinds = value.__mro__ if isinstance(value, type) else type(value).__mro__
    return any(
        kind.__module__.partition(".")[0] in ("sqlalchemy", "flask_sqlalchemy") for kind in kinds
    )


def parsed_chunks_problem(subject: Subject) -> str | None:
    """That a provider streams the SDK's parsed chunks, where the raw response costs a tenth."""
    names = [it.name for it in providers(subject) if streams_parsed_chunks(it)]
    if not names:
        return None
    return (
        f"The provider {names[0]!r} streams the SDK's parsed chunks, which take about ten times the CPU time of the "
        "raw response."
    )


def streams_parsed_chunks(provider: RegisteredProvider) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(t.cast(t.Any, provider.call))))
    except (OSError, TypeError, SyntaxError):
        return False
    chains = [tuple(names_of(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(chain[-2:] in SDK_CALLS and RAW not in chain for chain in chains)


def names_of(node: ast.AST) -> Iterator[str]:
    """The names of ``a.b.c``, in order."""
    if isinstance(node, ast.Attribute):
        yield from names_of(node.value)
        yield node.attr
    elif isinstance(node, ast.Name):
        yield node.id


def providers(subject: Subject) -> Iterator[RegisteredProvider]:
    for mount in subject.mounts.values():
        yield from mount.registry
