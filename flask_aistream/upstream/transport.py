"""An httpx transport over urllib3: connections, TLS and the reading of chunks by urllib3, all else by httpx."""

from __future__ import annotations

import contextlib
import functools
import ssl
import typing as t
from collections.abc import Iterator

READ_SIZE = 65536

MAX_ERROR = 1024 * 1024
"""Bytes of an error's body, decompressed. The SDKs read all of it into memory."""

ENCODED = ("content-encoding", "content-length")
"""Headers that do not hold for the beginning of a decompressed body."""


@functools.cache
def transport_class(httpx: t.Any) -> t.Any:
    """
    :param httpx: The module ``httpx`` or ``httpx2``, whose classes the transport is to use.
    """
    import urllib3

    errors = error_table(httpx, urllib3.exceptions)

    def mapped(error: Exception) -> Exception:
        """httpx's exception for one of urllib3's, so that the SDK's retries and errors stay as they are."""
        cause = getattr(error, "reason", None)
        if isinstance(error, urllib3.exceptions.MaxRetryError) and isinstance(cause, Exception):
            error = cause
        kind = next((ours for theirs, ours in errors if isinstance(error, theirs)), None)
        return t.cast(Exception, (kind or httpx.TransportError)(str(error)))

    class Body(httpx.SyncByteStream):  # type: ignore[misc]
        """The body as it arrives, not decompressed: that is httpx's task. Of an error, the beginning of its text."""

        def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
            self._response = response

        def __iter__(self) -> Iterator[bytes]:
            response = self._response
            try:
                if response.status >= 400:
                    # The status counts, even if the body cannot be decompressed.
                    with contextlib.suppress(urllib3.exceptions.DecodeError):
                        yield from beginning(response.stream(READ_SIZE, decode_content=True))
                    return
                if getattr(response, "chunked", False):
                    yield from response.read_chunked(decode_content=False)
                    return
                while data := response.read1(READ_SIZE, decode_content=False):
                    yield data
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise mapped(error) from error

        def close(self) -> None:
            # Where the body was read to its end, the connection is back in its pool by now.
            self._response.close()

    class Transport(httpx.BaseTransport):  # type: ignore[misc]
        def __init__(
            self, *, connections: int, verify: t.Any, cert: t.Any, proxy: str | None
        ) -> None:
            options: dict[str, t.Any] = {
                "num_pools": 50,
                "maxsize": connections,
                "block": False,
                "retries": False,
                **tls_options(verify, cert),
            }
            self._pool: urllib3.PoolManager = (
                proxy_manager(proxy, options) if proxy else urllib3.PoolManager(**options)
            )

        def handle_request(self, request: t.Any) -> t.Any:
            times = request.extensions.get("timeout", {})
            timeout = urllib3.Timeout(connect=times.get("connect"), read=times.get("read"))
            headers = request.headers.multi_items()
            body = request.read() or None
            try:
                response = self._pool.urlopen(
                    request.method,
                    str(request.url),
                    body=body,
                    headers=urllib3.HTTPHeaderDict(headers),
                    timeout=timeout,
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise mapped(error) from error
            fields = list(response.headers.iteritems())
            if response.status >= 400:
                fields = [field for field in fields if field[0].lower() not in ENCODED]
            return httpx.Response(
                response.status,
                headers=fields,
                stream=Body(response),
                extensions={
                    "http_version": b"HTTP/1.1",
                    "reason_phrase": (response.reason or "").encode("ascii", "ignore"),
                },
            )

        def close(self) -> None:
            self._pool.clear()

    return Transport


def beginning(parts: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for data in parts:
        yield data[: MAX_ERROR - size]
        size += len(data)
        if size >= MAX_ERROR:
            return


def error_table(httpx: t.Any, urllib3: t.Any) -> tuple[tuple[type, type], ...]:
    """urllib3's exceptions → httpx's; the first row that fits counts."""
    return (
        (urllib3.NewConnectionError, httpx.ConnectError),  # A ConnectTimeoutError, to urllib3.
        (urllib3.ConnectTimeoutError, httpx.ConnectTimeout),
        (urllib3.ReadTimeoutError, httpx.ReadTimeout),
        (urllib3.TimeoutError, httpx.ReadTimeout),
        (urllib3.ProxyError, httpx.ProxyError),
        (urllib3.SSLError, httpx.ConnectError),
        (urllib3.IncompleteRead, httpx.RemoteProtocolError),
        (urllib3.ProtocolError, httpx.RemoteProtocolError),
        (urllib3.DecodeError, httpx.DecodingError),
        (urllib3.LocationParseError, httpx.UnsupportedProtocol),
        (TimeoutError, httpx.ReadTimeout),
        (OSError, httpx.ReadError),
    )


def tls_options(verify: t.Any, cert: t.Any) -> dict[str, t.Any]:
    """httpx's ``verify`` and ``cert`` as urllib3's options. By default certifi's certificates, as in httpx."""
    certificate, key = cert if isinstance(cert, tuple) else (cert, None)
    options: dict[str, t.Any] = {"cert_file": certificate, "key_file": key}
    if isinstance(verify, ssl.SSLContext):
        return options | {"ssl_context": verify}
    if verify is False:
        return options | {"cert_reqs": "CERT_NONE", "assert_hostname": False}
    return options | {
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": verify if isinstance(verify, str) else certificates(),
    }


def certificates() -> str | None:
    """certifi's, or those of the system."""
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()


def proxy_manager(url: str, options: dict[str, t.Any]) -> t.Any:
    import urllib3

    if url.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager

        return SOCKSProxyManager(url, **options)
    parts = urllib3.util.parse_url(url)
    headers = urllib3.make_headers(proxy_basic_auth=parts.auth) if parts.auth else None
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)
