"""Lean HTTP for the SDKs of model services. It does I/O, imports nothing of this package but ``errors``, and
nothing of this package but applications and tests imports it: the normal way works without it.

``http_client()`` needs the extra ``upstream`` (urllib3), and the httpx that the SDK is built on.
"""

from flask_aistream.upstream.client import http_client

__all__ = ["http_client"]
