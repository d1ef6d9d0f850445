"""gunicorn's log has no traceback for a client that stopped reading, and one for every other error."""

from __future__ import annotations

import errno
import logging

import pytest

from flask_aistream.server.quiet import ignore_unread_responses
from flask_aistream.server.quiet import is_reported


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), False),
        (TimeoutError("a timeout of the application"), True),
        (OSError(errno.ENOSPC, "No space left"), True),
        (None, True),
    ],
)
def test_only_a_client_that_reads_nothing_is_left_out(
    error: BaseException | None, reported: bool
) -> None:
    info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, "Socket error", (), info)
    assert is_reported(record) is reported


def test_the_filter_is_added_once() -> None:
    logger = logging.getLogger("gunicorn.error")
    before = logger.filters[:]
    ignore_unread_responses()
    ignore_unread_responses()
    assert logger.filters.count(is_reported) == 1
    logger.filters = before
