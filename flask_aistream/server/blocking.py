"""Packages whose C code blocks gevent's hub, and with it all streams of a worker."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("flask_aistream")


def blocking_modules() -> list[str]:
    """Imported packages whose calls block the hub, unless they were told about gevent. To be called under gevent."""
    found = []
    if "grpc" in sys.modules and "grpc.experimental.gevent" not in sys.modules:
        found.append("grpc")
    psycopg2 = sys.modules.get("psycopg2.extensions")
    if psycopg2 is not None and psycopg2.get_wait_callback() is None:
        found.append("psycopg2")
    found.extend(name for name in ("MySQLdb", "pyodbc", "cx_Oracle") if name in sys.modules)
    return found


def warn_of_grpc() -> None:
    """Log that a gRPC client (Vertex AI, Qdrant) hangs the worker. The others block for one query, which
    ``flask aistream doctor`` names."""
    if "grpc" in blocking_modules():
        logger.warning(
            "grpc is imported in a gevent worker, where one call of it blocks all streams. Call "
            "`import grpc.experimental.gevent; grpc.experimental.gevent.init_gevent()` before the first use."
        )
