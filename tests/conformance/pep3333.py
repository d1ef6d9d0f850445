"""A pytest plugin that puts ``wsgiref.validate`` around every Flask application: ``pytest -p tests.conformance.pep3333``."""

from __future__ import annotations

import typing as t
from wsgiref import validate

import flask
import pytest


@pytest.fixture(autouse=True)
def _validated(monkeypatch: pytest.MonkeyPatch) -> None:
    call = flask.Flask.__call__

    def validated(app: flask.Flask, environ: t.Any, start_response: t.Any) -> t.Any:
        checked = validate.validator(lambda environ, start: call(app, environ, start))
        return checked({"QUERY_STRING": "", **environ}, start_response)

    monkeypatch.setattr(flask.Flask, "__call__", validated)


def pytest_configure() -> None:
    # A test that does not read its response does not close it either; a server always does.
    validate.IteratorWrapper.__del__ = lambda iterator: None  # type: ignore[method-assign]
