"""A wrapper that serves few requests at once is named in the log."""

from __future__ import annotations

import typing as t

import pytest

from flask_aistream.server.wrappers import LIMITS
from flask_aistream.server.wrappers import log_limit


@pytest.mark.parametrize("module", LIMITS)
def test_a_wrapper_that_calls_the_application_is_named(
    module: str, caplog: pytest.LogCaptureFixture
) -> None:
    scope: dict[str, t.Any] = {"__name__": module, "log_limit": log_limit}
    exec("def call(application): application()", scope)
    scope["call"](log_limit)
    assert [record.getMessage() for record in caplog.records] == [
        f"{LIMITS[module]} Serve the application with gunicorn -k gevent."
    ]


def test_other_servers_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    log_limit()
    assert not caplog.records
