"""A log has one record for each that was written, whatever is in an exception's message."""

from __future__ import annotations

import logging
import sys
import typing as t

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream.errors import ProviderError
from flask_aistream.testing import StreamClient
from flask_aistream.web import log_lines

FORGED = "no\n[CRITICAL] forged\r[CRITICAL] again\x1b[31m\x9b31m\u2028[CRITICAL] more"


def chained(text: str) -> BaseException:
    error = ValueError("outer")
    error.__cause__ = OSError(text)
    return error


def caused(text: str) -> BaseException:
    error = ProviderError("overloaded", "The model is busy.")
    error.__cause__ = OSError(text)
    return error


FAILURES: dict[str, t.Callable[[str], BaseException]] = {
    "an exception": ValueError,
    "an error that an error caused": chained,
    "a provider's error with a cause": caused,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_an_exception_that_quotes_its_client_forges_no_line(
    app: Flask,
    ai: AIStream,
    caplog: pytest.LogCaptureFixture,
    failure: t.Callable[[str], BaseException],
) -> None:
    @ai.provider
    def chat(request: ChatRequest) -> str:
        raise failure(request.prompt)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    StreamClient(app).open("/ai/chat", json={"prompt": FORGED})
    assert "[CRITICAL] forged" in caplog.text
    assert not [line for line in caplog.text.splitlines() if line.startswith("[CRITICAL]")]
    assert not log_lines.CONTROL.search(caplog.text)


def test_a_message_is_one_line() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "Run of %s", ("x\n[CRITICAL]\0",), None)
    log_lines.ESCAPE.filter(record)
    assert record.getMessage() == "Run of x\\n[CRITICAL]\\x00"


def test_an_ordinary_traceback_is_left_to_the_formatter() -> None:
    record = logging.LogRecord("a", logging.ERROR, "", 0, "It failed", (), None)
    try:
        try:
            raise KeyError("a")
        except KeyError as first:
            raise ValueError("b") from first
    except ValueError:
        record.exc_info = sys.exc_info()
    log_lines.ESCAPE.filter(record)
    assert record.exc_text is None
