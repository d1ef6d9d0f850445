"""Streams and faults → HTTP responses."""

from __future__ import annotations

import functools
import logging
import math
import typing as t
from collections.abc import Callable
from types import GeneratorType

from flask import Response
from flask import current_app
from flask import request
from flask import stream_with_context
from flask.globals import request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed

from flask_aistream.core import events as ev
from flask_aistream.delivery.body import Delivery
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import LogEnded
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import Unavailable
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.web.extension import current_request

logger = logging.getLogger("flask_aistream")

# Errors that carry a status of their own (RequestError, AccessDenied …) are not listed.
STATUS: dict[type[AIStreamError], int] = {ProviderNotFound: 404, RunNotFound: 404, LogEnded: 409}

STREAM_HEADERS = {
    # no-transform and X-Accel-Buffering keep proxies from holding the stream back.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

View = Callable[..., Response]


def stream_response(protocol: WireProtocol, delivery: Delivery, run_id: str) -> Response:
    """A response that writes what the delivery says, and closes it whatever happens."""
    # To enter the context once more for the body is to match the URL once more, a twentieth of the time to
    # the first token. It has been matched. Flask says that this method may be overridden, in a subclass;
    # but which class its contexts are of is not ours to choose.
    request_ctx.match_request = lambda: None  # type: ignore[method-assign]
    headers = {**STREAM_HEADERS, **protocol.headers, **run_headers(protocol, run_id)}
    if "text/event-stream" in current_app.config.get("COMPRESS_MIMETYPES", ()):
        # Flask-Compress was told to compress event streams, and would hold everything back.
        headers["Content-Encoding"] = "identity"
    # The context is kept as long as the stream: what was read of the query (1 KiB) would be read again.
    vars(current_request()).pop("args", None)
    body = t.cast("t.Iterator[bytes]", stream_with_context(iter(delivery)))
    response = StreamResponse(body, content_type=protocol.content_type, headers=headers)
    # The generator's own close() does nothing if it was never iterated.
    response.call_on_close(delivery.close)
    return response


class StreamResponse(Response):
    """A response whose body is bytes already.

    The server iterates the body itself, and not two layers around it: that is 1 KiB less for every open
    stream, and a hundredth of a millisecond to its first token.
    """

    def get_wsgi_headers(self, environ: dict[str, t.Any]) -> Headers:
        return self.headers  # Nothing is to be completed: there is no length and no location.

    def get_app_iter(self, environ: dict[str, t.Any]) -> t.Iterable[bytes]:
        if isinstance(self.response, GeneratorType):
            return Body(self.response, self._on_close)
        return super().get_app_iter(environ)  # Somebody has wrapped it.


class Body:
    """What the server iterates, and closes in the end. The response is not kept for that."""

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
    """A whole answer."""
    headers = {"Cache-Control": "no-store", **run_headers(protocol, run_id)}
    return Response(body, content_type="application/json", headers=headers)


def run_headers(protocol: WireProtocol, run_id: str) -> dict[str, str]:
    more = {protocol.run_header: run_id} if protocol.run_header else {}
    return {"AIStream-Run": run_id, **more}


def head_response(protocol: WireProtocol) -> Response:
    """What a GET would begin with, without starting anything."""
    return Response(
        content_type=protocol.content_type, headers={**STREAM_HEADERS, **protocol.headers}
    )


def failure_response(protocol: WireProtocol, failed: ev.Failed) -> Response:
    """A run that failed before it said anything is an HTTP error."""
    return error_response(protocol, failed.code, failed.message, failed.status)


def error_response(
    protocol: WireProtocol, code: str, message: str, status: int, retry_after: float | None = None
) -> Response:
    response = Response(
        protocol.error(code, message, status),
        status=status,
        content_type=protocol.error_type,
        headers=dict(protocol.error_headers(status)),
    )
    response.headers["Cache-Control"] = "no-store"
    if retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response


def answering(protocol: WireProtocol) -> Callable[[View], View]:
    """Turn what a view raises into an error of its dialect."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def answer(*args: t.Any, **kwargs: t.Any) -> Response:
            try:
                return view(*args, **kwargs)
            except HTTPException as error:
                return http_error(protocol, error)
            except Exception as error:
                if isinstance(error, AIStreamError) and status_of(error) is not None:
                    return aistream_error(protocol, error)
                logger.exception("%s %s failed", request.method, request.path)
                return error_response(
                    protocol, "internal_error", "The server failed. Its log tells more.", 500
                )

        return answer

    return decorate


def status_of(error: AIStreamError) -> int | None:
    """``None``: the application has made a mistake, of which its log tells, and no client."""
    return getattr(error, "status", None) or STATUS.get(type(error))


def aistream_error(protocol: WireProtocol, error: AIStreamError) -> Response:
    status = status_of(error) or 500
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    return error_response(protocol, error.code, str(error), status, retry_after)


def http_error(protocol: WireProtocol, error: HTTPException) -> Response:
    """What ``abort()`` raised in the application's own code, or the router."""
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
