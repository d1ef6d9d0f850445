"""Which servers may run other processes of the same application."""

from __future__ import annotations

import types
import typing as t

import pytest

from flask_aistream.server.siblings import ProcessFacts
from flask_aistream.server.siblings import may_have_siblings


def facts(command: str, *modules: str, spawned: bool = False, **environ: str) -> ProcessFacts:
    return ProcessFacts(dict.fromkeys(modules), command.split(), environ, spawned)


def with_module(name: str, **attributes: t.Any) -> ProcessFacts:
    return ProcessFacts({name: types.SimpleNamespace(**attributes)})


GUNICORN = "gunicorn.arbiter"

ONE: list[t.Any] = [
    pytest.param(facts("/bin/flask run"), id="flask run"),
    pytest.param(facts("/bin/waitress-serve app:app", "waitress"), id="waitress"),
    pytest.param(ProcessFacts({GUNICORN: None}, gunicorn_workers=1), id="gunicorn -w 1"),
    pytest.param(facts("/bin/gunicorn --preload app:app", GUNICORN), id="gunicorn --preload"),
    pytest.param(with_module("uwsgi", numproc=1), id="uwsgi"),
    pytest.param(with_module("mod_wsgi", maximum_processes=1), id="mod_wsgi, one process"),
    pytest.param(facts("/bin/uvicorn app:app", "uvicorn"), id="uvicorn"),
    pytest.param(
        facts("/bin/uvicorn --reload a:a", "uvicorn", spawned=True), id="uvicorn --reload"
    ),
    pytest.param(facts("/bin/hypercorn wsgi:a:a", "hypercorn", spawned=True), id="hypercorn"),
    pytest.param(facts("/bin/granian a:a", "granian", spawned=True), id="granian"),
    # A library that happens to be imported, in a process that something else has started.
    pytest.param(facts("/bin/pytest", "hypercorn", "granian", "uvicorn"), id="imported only"),
]

MAYBE_MORE: list[t.Any] = [
    pytest.param(ProcessFacts({GUNICORN: None}, gunicorn_workers=2), id="gunicorn -w 2"),
    pytest.param(facts("/bin/gunicorn -w2 --preload a:a", GUNICORN), id="gunicorn --preload"),
    pytest.param(facts("/bin/gunicorn a:a", GUNICORN, WEB_CONCURRENCY="4"), id="WEB_CONCURRENCY"),
    pytest.param(facts("/bin/gunicorn -c conf.py a:a", GUNICORN), id="gunicorn, config file"),
    pytest.param(with_module("uwsgi", numproc=4), id="uwsgi --processes 4"),
    pytest.param(with_module("mod_wsgi", maximum_processes=5), id="mod_wsgi, daemon processes"),
    pytest.param(with_module("mod_wsgi"), id="mod_wsgi, unknown"),
    pytest.param(
        facts("/bin/uvicorn --workers 2 a:a", "uvicorn", spawned=True), id="uvicorn --workers 2"
    ),
    pytest.param(
        facts("/bin/uvicorn a:a", "uvicorn", spawned=True, WEB_CONCURRENCY="2"),
        id="uvicorn, WEB_CONCURRENCY",
    ),
    pytest.param(facts("serve.py", "uvicorn", spawned=True), id="uvicorn.run(workers=…)"),
    pytest.param(facts("/bin/hypercorn -w 2 a:a", "hypercorn", spawned=True), id="hypercorn -w 2"),
    pytest.param(
        facts("/lib/hypercorn/__main__.py --workers=2 a:a", "hypercorn", spawned=True),
        id="python -m hypercorn",
    ),
    pytest.param(
        facts("/bin/hypercorn -c h.toml a:a", "hypercorn", spawned=True),
        id="hypercorn, config file",
    ),
    pytest.param(
        facts("/bin/granian --workers 2 a:a", "granian", spawned=True), id="granian --workers 2"
    ),
    pytest.param(
        facts("/bin/granian a:a", "granian", spawned=True, GRANIAN_WORKERS="2"),
        id="granian, GRANIAN_WORKERS",
    ),
]


@pytest.mark.parametrize("process", ONE)
def test_a_server_with_one_process_has_no_siblings(process: ProcessFacts) -> None:
    assert not may_have_siblings(process)


@pytest.mark.parametrize("process", MAYBE_MORE)
def test_a_server_that_may_have_more_processes_may_have_siblings(process: ProcessFacts) -> None:
    assert may_have_siblings(process)


def test_this_process_has_no_siblings() -> None:
    assert not may_have_siblings()
