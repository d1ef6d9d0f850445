"""Keep clients that stop reading from filling the log with tracebacks.

``TCP_USER_TIMEOUT`` (see ``sockets``) ends the connection of a client that does not read. gunicorn knows other errors of a
client that has left, but reports this one as an error of the server.
"""

from __future__ import annotations

import errno
import logging


def is_reported(record: logging.LogRecord) -> bool:
    """False for gunicorn's report of a client that read nothing for too long."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, TimeoutError) and error.errno == errno.ETIMEDOUT)


def ignore_unread_responses() -> None:
    """Leave these reports out of gunicorn's error log. Idempotent."""
    logging.getLogger("gunicorn.error").addFilter(is_reported)
