"""The checks, as a table: each finds one fault of a deployment, and names its cure."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

from flask_aistream.doctor import application
from flask_aistream.doctor.subject import Subject
from flask_aistream.doctor.subject import Timing
from flask_aistream.web.diagnosis import FRAME_SECONDS
from flask_aistream.web.diagnosis import FRAMES

LOCAL = ("//127.", "//localhost", "//[::1]")
"""URLs that no browser of another machine reaches."""


class Finding(t.NamedTuple):
    """A fault of the deployment.

    :param problem: What was found, as a sentence.
    :param cure: What to do, as a sentence.
    """

    check: str
    problem: str
    cure: str


@dataclass(frozen=True, slots=True)
class Check:
    """One row.

    :param find: Returns the fault as a sentence, or ``None``.
    """

    name: str
    find: Callable[[Subject], str | None]
    cure: str


def diagnose(subject: Subject) -> Iterator[Finding]:
    """All findings, in the order of the table."""
    for check in CHECKS:
        problem = check.find(subject)
        if problem is not None:
            yield Finding(check.name, problem, check.cure)


def url(subject: Subject) -> str | None:
    return subject.site.problem if subject.site else None


def unpatched_gevent(subject: Subject) -> str | None:
    if not subject.process.get("gevent_unpatched"):
        return None
    return "gevent serves the application without its patches, so one stream that waits blocks all others."


def sync_worker(subject: Subject) -> str | None:
    if subject.process.get("worker") != "sync":
        return None
    return "gunicorn's sync worker serves one stream at a time, and no other request meanwhile."


def wrapper(subject: Subject) -> str | None:
    return subject.process.get("wrapper")


def separate_memories(subject: Subject) -> str | None:
    process = subject.process
    if not process.get("siblings") or process.get("store") != "memory":
        return None
    return (
        "Several processes serve the application, and each keeps its own runs in memory: most requests to resume or "
        "stop a run reach a process that does not know it."
    )


def blocking_modules(subject: Subject) -> str | None:
    names = subject.process.get("blocking")
    if not names:
        return None
    return f"{' and '.join(names)} is imported in a gevent worker, where one of its calls blocks all streams."


def buffering(subject: Subject) -> str | None:
    timing = timing_of(subject)
    if timing is None or timing.encoding or len(timing.seconds) < FRAMES:
        return None
    first, last, *end = timing.seconds[0], *timing.seconds[FRAMES - 1 :]
    if last - first < (FRAMES - 1) * FRAME_SECONDS / 2:
        seen = f"{FRAMES} frames that were sent {FRAME_SECONDS} s apart arrived within {last - first:.1f} s"
    elif end and end[0] - last < FRAME_SECONDS / 2:
        seen = f"A frame arrived with the next one, which was sent at least {FRAME_SECONDS} s later"
    else:
        return None
    return f"{seen}: something between the worker and here holds the stream back."


def compression(subject: Subject) -> str | None:
    timing = timing_of(subject)
    if timing is None or not timing.encoding or timing.encoding == "identity":
        return None
    return f"The stream arrives compressed ({timing.encoding}), which holds tokens back until a block is full."


def short_timeout(subject: Subject) -> str | None:
    timing = timing_of(subject)
    if timing is None or timing.cut_after is None:
        return None
    return (
        f"A silent stream was cut after {timing.cut_after:.0f} s, before the next heartbeat "
        f"({subject.settings.heartbeat_seconds} s)."
    )


def proxy_fix(subject: Subject) -> str | None:
    process = subject.process
    if not process.get("forwarded") or process.get("proxy_fix"):
        return None
    return (
        "A proxy forwards the requests, but the application does not use what it forwards: all visitors have the "
        "proxy's address, and URLs and cookies its scheme."
    )


def cors(subject: Subject) -> str | None:
    site, origin = subject.site, subject.origin
    if site is None or site.problem or origin is None or site.cors in ("*", origin):
        return None
    return (
        f"Pages of {origin} may not read the streams: Access-Control-Allow-Origin is {site.cors!r}."
    )


def small_bodies(subject: Subject) -> str | None:
    site, ours = subject.site, subject.settings.max_body_bytes
    if site is None or site.largest_body is None or ours is None or site.largest_body >= ours:
        return None
    return (
        f"A body of {ours} bytes (AISTREAM_MAX_BODY_BYTES) does not arrive: something in front of the application "
        "refuses it."
    )


def open_debugger(subject: Subject) -> str | None:
    site = subject.site
    if site is None or not subject.process.get("debug") or is_local(site.url):
        return None
    return "The application runs in debug mode at a public URL: an error page can run any code."


def open_playground(subject: Subject) -> str | None:
    site = subject.site
    if site is None or not site.operated or is_local(site.url):
        return None
    return "Everybody may see and stop the runs of all users in the playground of the public URL."


def http_1(subject: Subject) -> str | None:
    site = subject.site
    if site is None or site.problem or is_local(site.url) or "h2" in (site.protocols or ()):
        return None
    return (
        "The public URL has no HTTP/2, so a browser opens at most six connections to it: six streams in all tabs "
        "together, and no other request."
    )


def timing_of(subject: Subject) -> Timing | None:
    return subject.site.timing if subject.site else None


def is_local(address: str) -> bool:
    return any(host in address for host in LOCAL)


CHECKS = (
    Check("url", url, "Correct the URL or the key, then run doctor again."),
    Check(
        "gevent",
        unpatched_gevent,
        "Start it with gunicorn -k gevent, or begin the program with gevent.monkey.patch_all().",
    ),
    Check("sync worker", sync_worker, "Start gunicorn with -k gevent."),
    Check("wrapper", wrapper, "Serve the WSGI application itself, with gunicorn -k gevent."),
    Check(
        "memory store",
        separate_memories,
        "Leave AISTREAM_STORE out (one machine), or set it to redis://… (several).",
    ),
    Check(
        "store", application.store_problem, "Set maxmemory-policy noeviction, or correct the URL."
    ),
    Check(
        "blocking package",
        blocking_modules,
        "grpc: call grpc.experimental.gevent.init_gevent() first. psycopg2: patch it with psycogreen, or use "
        "psycopg 3. Others: use a client written in Python.",
    ),
    Check(
        "buffering",
        buffering,
        "nginx: remove `proxy_ignore_headers X-Accel-Buffering`, or set `proxy_buffering off`. A middleware must not "
        "collect the body.",
    ),
    Check("compression", compression, "Do not compress text/event-stream: `gzip off` in nginx."),
    Check(
        "timeout",
        short_timeout,
        "nginx: `proxy_read_timeout 1h`; or set AISTREAM_HEARTBEAT_SECONDS below the timeout.",
    ),
    Check(
        "ProxyFix",
        proxy_fix,
        "app.wsgi_app = ProxyFix(app.wsgi_app), from werkzeug.middleware.proxy_fix.",
    ),
    Check("CORS", cors, "Add the origin to AISTREAM_CORS_ORIGINS."),
    Check(
        "flask-cors",
        application.flask_cors_problem,
        "Set AISTREAM_CORS_ORIGINS to the origins of your policy.",
    ),
    Check(
        "CSRF", application.csrf_problem, "csrf.exempt(ai): the routes check the origin themselves."
    ),
    Check(
        "database pool",
        application.pool_problem,
        "Register the provider with release_db=True, raise pool_size, or lower AISTREAM_MAX_RUNS.",
    ),
    Check(
        "parsed chunks",
        application.parsed_chunks_problem,
        "Return client.….with_streaming_response.create(…, stream=True) instead.",
    ),
    Check("body size", small_bodies, "nginx: `client_max_body_size 4m`."),
    Check("debug", open_debugger, "Start it without --debug and FLASK_DEBUG."),
    Check(
        "playground",
        open_playground,
        "Let @ai.operator return True for operators only, or set AISTREAM_PLAYGROUND to False.",
    ),
    Check("HTTP/2", http_1, "Serve it over TLS with HTTP/2: `listen 443 ssl; http2 on;` in nginx."),
)
