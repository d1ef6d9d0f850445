"""Streams, answers and errors → HTTP responses."""

from __future__ import annotations

import functools
import logging
import math
import random
import re
import typing as t
from collections.abc import Callable
from types import GeneratorType

from flask import Request
from flask import Response
from flask import current_app
from flask import request
from flask import stream_with_context
from flask.globals import request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed

from flask_aistream.core import events as ev
from flask_aistream.core.conversation import UNGUESSABLE
from flask_aistream.delivery.body import Delivery
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import Unavailable
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.wire import dumps
from flask_aistream.server.detect import patched_by_gevent
from flask_aistream.server.gunicorn import close_after
from flask_aistream.web.extension import current_request
from flask_aistream.web.extension import extension
from flask_aistream.web.reference import HEADER
from flask_aistream.web.reference import SHOWN_ID
from flask_aistream.web.reference import reference_of

logger = logging.getLogger("flask_aistream")

# Errors with a `status` (RequestError, AccessDenied …) are not listed.
STATUS: dict[type[AIStreamError], int] = {ProviderNotFound: 404, RunNotFound: 404, LogEnded: 409}

STREAM_HEADERS = {
    # no-transform and X-Accel-Buffering keep proxies from buffering the stream.
    "Cache-Control": "no-store, no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

View = Callable[..., Response]

REDIRECTS = range(300, 400)

SECRET = re.compile(f"[A-Za-z0-9_-]{{{UNGUESSABLE},}}")
"""An id of a run, or of a chat that binds for an anonymous caller."""

LOGIN = "Log in first: this needs an authenticated user."


def stream_response(protocol: WireProtocol, delivery: Delivery, run_id: str) -> Response:
    """A response that streams a delivery, and closes it even if it is never iterated."""
    # ``stream_with_context`` enters the context once more, which would match the URL once more.
    request_ctx.match_request = lambda: None  # type: ignore[method-assign]
    headers = {**STREAM_HEADERS, **protocol.headers, **run_headers(protocol, run_id)}
    if "text/event-stream" in current_app.config.get("COMPRESS_MIMETYPES", ()):
        # Flask-Compress is set to compress event streams; it would buffer them.
        headers["Content-Encoding"] = "identity"
    body = t.cast("t.Iterator[bytes]", stream_with_context(iter(delivery)))
    response = StreamResponse(body, content_type=protocol.content_type, headers=headers)
    # A generator that was never iterated runs no code when it is closed.
    response.call_on_close(delivery.close)
    # The readers of one run end together, and would keep the places while their connections are idle.
    response.is_last = extension().process.limits.half_taken
    return response


class StreamResponse(Response):
    """A response whose body is bytes already: the server iterates the generator itself.

    With ``match_request``, the built links and the CORS headers it is one set of shortcuts, measured together: without
    them a first token costs 14 % more CPU time (3.19 against 2.79 of a bare Flask generator), a write 8 %.
    """

    is_last = False
    """Whether it is the last one on its connection."""

    def __call__(self, environ: t.Any, start_response: t.Any) -> t.Iterable[bytes]:
        if self.is_last:
            make_last(start_response)
        return super().__call__(environ, start_response)

    def get_wsgi_headers(self, environ: dict[str, t.Any]) -> Headers:
        return self.headers  # A stream has no length and no location to complete.

    def get_app_iter(self, environ: dict[str, t.Any]) -> t.Iterable[bytes]:
        if isinstance(self.response, GeneratorType):
            return StreamBody(self.response, self._on_close)
        return super().get_app_iter(environ)  # Another extension has wrapped the body.


class LastResponse(Response):
    """A response that is the last one on its connection."""

    def __call__(self, environ: t.Any, start_response: t.Any) -> t.Iterable[bytes]:
        make_last(start_response)
        return super().__call__(environ, start_response)


def make_last(start_response: t.Any) -> None:
    """Close the connection after the response, where an idle connection takes the place of another.

    Under threads it takes none. gunicorn's gthread worker waits up to two seconds for the client to close, too, and
    accepts no connection meanwhile.
    """
    if patched_by_gevent():
        close_after(start_response)


class StreamBody:
    """What the server iterates and closes. The response is not kept for it."""

    __slots__ = ("_generator", "_on_close")

    def __init__(
        self,
        generator: t.Generator[bytes, None, None],
        on_close: t.Sequence[Callable[[], object]],
    ) -> None:
        self._generator = generator
        self._on_close = on_close

    def __iter__(self) -> t.Iterator[bytes]:
        return self._generator

    def close(self) -> None:
        self._generator.close()
        for callback in self._on_close:
            callback()


def json_response(protocol: WireProtocol, body: str, run_id: str) -> Response:
    """An answer that is not streamed."""
    headers = {"Cache-Control": "no-store", **run_headers(protocol, run_id)}
    return Response(body, content_type="application/json", headers=headers)


def run_headers(protocol: WireProtocol, run_id: str) -> dict[str, str]:
    more = {protocol.run_header: run_id} if protocol.run_header else {}
    return {"AIStream-Run": run_id, **more}


def no_content() -> Response:
    """204 without a ``Content-Type``, which PEP 3333's validator rejects."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def head_response(protocol: WireProtocol) -> Response:
    """The headers of a GET, which starts no run."""
    return Response(
        content_type=protocol.content_type, headers={**STREAM_HEADERS, **protocol.headers}
    )


def failure_response(protocol: WireProtocol, failed: ev.Failed, run_id: str) -> Response:
    """The HTTP error of a run that failed before its response began."""
    reference = run_id[:SHOWN_ID]
    logger.info("Run %s: %d %s", reference, failed.status, failed.code)
    response = error_response(
        protocol, failed.code, failed.message, failed.status, failed.retry_after, reference
    )
    response.status_code = protocol.failure_status(failed.status)
    response.headers.update(protocol.error_headers(response.status_code))
    return response


def error_response(
    protocol: WireProtocol,
    code: str,
    message: str,
    status: int,
    retry_after: float | None = None,
    reference: str | None = None,
) -> Response:
    """
    :param reference: By default that of the request.
    """
    reference = reference or note(code, status)
    response = Response(
        protocol.error(code, message, status, reference),
        status=status,
        content_type=protocol.error_type,
        headers=dict(protocol.error_headers(status)),
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers[HEADER] = reference
    # Its text may quote the request.
    response.headers["X-Content-Type-Options"] = "nosniff"
    if retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response


def note(code: str, status: int) -> str:
    """Log that the current request is refused.

    :returns: The request's reference.
    """
    reference = reference_of(current_request())
    logger.info("Request %s: %d %s", reference, status, code)
    return reference


def unavailable_response(protocol: WireProtocol, error: Unavailable) -> Response:
    """The refusal of a request that may succeed later.

    An ``EventSource`` never tries again after another status than 200. It gets a stream of one event, ``waiting``, and
    the time after which it reconnects by itself. Under gevent the connection is closed: a flood of requests that are
    refused, and kept alive, would take the places of others.
    """
    if not (protocol.resumable and is_event_source(current_request())):
        return t.cast(Response, LastResponse.force_type(aistream_error(protocol, error)))
    # Clients that were refused together do not come back together.
    seconds = error.retry_after * random.uniform(1, 2)  # nosec B311  # Jitter is no secret.
    reference = note(error.code, error.status)
    fields = {
        "code": error.code,
        "message": str(error),
        "retry_after": math.ceil(seconds),
        "reference": reference,
    }
    frames = f"retry: {math.ceil(seconds * 1000)}\nevent: waiting\ndata: {dumps(fields)}\n\n"
    headers = {**STREAM_HEADERS, "Retry-After": str(math.ceil(seconds)), HEADER: reference}
    return LastResponse(frames, content_type=protocol.content_type, headers=headers)


def is_event_source(request: Request) -> bool:
    """Whether a browser's ``EventSource`` sent the request: it accepts nothing else, and cannot set headers."""
    return (
        request.method == "GET"
        and request.headers.get("Accept") == "text/event-stream"
        and "Idempotency-Key" not in request.headers
    )


def with_decorators(view: View, decorators: t.Sequence[Callable[[t.Any], t.Any]]) -> View:
    """A view, wrapped in the decorators of an ``AIStream``.

    A redirect becomes a 401: a client that reads a stream cannot follow it to a login page.

    :raises AccessDenied: A decorator returned a redirect or a 401.
    """
    for decorator in decorators:
        view = decorator(view)

    def guarded(**names: t.Any) -> Response:
        response = current_app.make_response(view(**names))
        if asks_for_login(response):
            raise AccessDenied(LOGIN, 401)
        return response

    return guarded if decorators else view


def asks_for_login(response: Response) -> bool:
    return response.status_code in REDIRECTS or response.status_code == 401


def handled_by_application(error: Exception) -> Response | None:
    """The answer of an error handler of the application, such as those of authentication extensions; ``None`` if it has
    none for the exception."""
    try:
        return current_app.make_response(current_app.handle_user_exception(error))
    except Exception:
        return None


def refuse_login(response: Response, protocol: WireProtocol) -> Response:
    if not asks_for_login(response):
        return response
    return aistream_error(protocol, AccessDenied(LOGIN, 401))


def with_error_responses(protocol: WireProtocol) -> Callable[[View], View]:
    """A decorator that turns an exception of a view into an error response of the protocol."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def answer(*args: t.Any, **kwargs: t.Any) -> Response:
            try:
                return view(*args, **kwargs)
            except HTTPException as error:
                return http_error(protocol, error)
            except Exception as error:
                if extension().exceptions.propagates(error):
                    raise
                if isinstance(error, Unavailable):
                    return unavailable_response(protocol, error)
                if isinstance(error, AIStreamError) and status_of(error) is not None:
                    return aistream_error(protocol, error)
                handled = handled_by_application(error)
                if handled is not None and handled.status_code < 500:
                    return refuse_login(handled, protocol)
                reference = reference_of(current_request())
                logger.exception(
                    "Request %s: %r failed", reference, f"{request.method} {shown_path()}"
                )
                message = f"The server failed. Its log has the details under {reference}."
                return error_response(protocol, "internal_error", message, 500, reference=reference)

        return answer

    return decorate


def shown_path() -> str:
    """The path of the current request for a log. What cannot be guessed in it is a capability, and is shortened."""
    return SECRET.sub(lambda match: f"{match[0][:SHOWN_ID]}…", request.path)


def status_of(error: AIStreamError) -> int | None:
    """The HTTP status of an error; ``None`` if it is the application's mistake, which only its log shows."""
    return getattr(error, "status", None) or STATUS.get(type(error))


def aistream_error(protocol: WireProtocol, error: AIStreamError) -> Response:
    status = status_of(error) or 500
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    return error_response(protocol, error.code, str(error), status, retry_after)


def http_error(protocol: WireProtocol, error: HTTPException) -> Response:
    """The answer to ``abort()`` in the application's code, or to an error of the router."""
    if error.response is not None:
        return t.cast(Response, error.response)
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    message = error.description or error.name
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        message += f" Allowed: {', '.join(sorted(error.valid_methods))}."
    response = error_response(protocol, code, message, status)
    for name, value in error.get_headers(None, None):
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
