"""The documentation agrees with the package: every snippet runs, and what is public is on its page."""

from __future__ import annotations

import ast
import inspect
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

import flask_aistream
from flask_aistream import AIStream
from flask_aistream import run_ended
from flask_aistream.cli.group import group
from flask_aistream.doctor.checks import CHECKS
from flask_aistream.web.handle import RunHandle
from tests.upstream import Upstream

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RUN_BY = {
    "quickstart.md": "example/test_documents.py",
    "tutorial.md": "example/test_tutorial.py",
    "howto/existing-application.md": "example/test_documents.py",
    "howto/ag-ui.md": "clients/test_howto.py",
    "howto/ai-sdk.md": "clients/test_howto.py",
    "howto/htmx.md": "clients/test_howto.py",
    "howto/native.md": "clients/test_howto.py",
    "howto/openai.md": "clients/test_howto.py",
    "howto/protocols.md": "clients/test_howto.py",
    "howto/react.md": "clients/test_howto.py",
    "howto/text.md": "clients/test_howto.py",
    "howto/approvals.md": "web/test_howto_approvals.py",
    "howto/billing.md": "web/test_howto_billing.py",
    "howto/conversations.md": "web/test_howto_conversations.py",
    "howto/celery.md": "workers/test_own_queue.py",
    "howto/testing.md": "test_testing.py",
}
"""Tests of pages that need servers, browsers or other programs. ``providers/test_howto.py`` has the pages of providers."""

FRAGMENTS = (
    "howto/coming-from.md",
    "howto/extensions.md",
    "howto/open-providers.md",
    "howto/playground.md",
    "howto/restart.md",
    "howto/telemetry.md",
    "reference/api.md",
)
"""Pages whose blocks are pieces of an application: what the piece does not define is in ``names_of_an_application``."""


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def pages() -> Iterator[str]:
    for path in sorted(DOCS.rglob("*.md")):
        if BLOCK.search(path.read_text(encoding="utf-8")):
            yield path.relative_to(DOCS).as_posix()


def test_every_page_with_snippets_has_a_test() -> None:
    tested = {*RUN_BY, *FRAGMENTS}
    assert {page for page in pages() if not page.startswith("howto/providers")} == tested
    for page, file in RUN_BY.items():
        assert Path(page).stem in (ROOT / "tests" / file).read_text(encoding="utf-8"), page


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("page", "code"),
    [
        pytest.param(page, code, id=f"{page}-{number}")
        for page in FRAGMENTS
        for number, code in enumerate(BLOCK.findall(read(page)))
    ],
)
def test_a_fragment_runs_in_an_application(
    page: str, code: str, upstream: Upstream, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = dict(run_ended.receivers)
    names = names_of_an_application(upstream, tmp_path)
    app, ai = names["app"], names["ai"]
    if "@ai.provider" not in code:
        ai.provider(name="chat")(lambda request: iter(["Hello"]))
    guarded = "AIStream(decorators=[login_required])" in code
    if not guarded:
        ai.init_app(app, url_prefix="/ai")
    try:
        exec(compile(code, page, "exec"), names)
        if guarded:
            names["LoginManager"](app).user_loader(lambda user: None)
            names["ai"].init_app(app, url_prefix="/ai")
        for provider in names["ai"].provider_names:
            client = names["app"].test_client()
            answer = client.post(f"/ai/{provider}", json={"prompt": "Hello"}, buffered=True)
            assert answer.status_code == (401 if guarded else 200), answer.text
            assert guarded or '"reason":"stop"' in answer.text
    finally:
        for receiver in run_ended.receivers.keys() - before.keys():
            del run_ended.receivers[receiver]
        with app.app_context():
            names["db"].engine.dispose()
        names["client"].close()


def names_of_an_application(upstream: Upstream, folder: Path) -> dict[str, t.Any]:
    """What an application has before it reads the documentation."""
    import json

    from flask import Response
    from flask import stream_with_context
    from flask_login import LoginManager
    from openai import OpenAI

    app = Flask("documented")
    app.config["SECRET_KEY"] = "known"
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/data.sqlite"
    db = SQLAlchemy(app)
    ai = AIStream()

    class Customer(db.Model):  # type: ignore[name-defined]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(80))

    class Answer(db.Model):  # type: ignore[name-defined]
        id = db.Column(db.Integer, primary_key=True)
        user = db.Column(db.String(80))
        text = db.Column(db.Text)
        status = db.Column(db.String(20))

    @ai.identify
    def caller() -> int:
        return 1

    def answer(*words: str) -> Iterator[str]:
        yield from words

    with app.app_context():
        db.create_all()
        db.session.add(Customer(id=1, name="Ann"))
        db.session.commit()
    return {
        "__name__": "documented",
        "app": app,
        "ai": ai,
        "db": db,
        "client": OpenAI(base_url=f"{upstream.url}/v1", api_key="none"),
        "messages": [{"role": "user", "content": "Hello"}],
        "AIStream": AIStream,
        "Answer": Answer,
        "Customer": Customer,
        "LoginManager": LoginManager,
        "Response": Response,
        "answer": answer,
        "json": json,
        "run_ended": run_ended,
        "stream_with_context": stream_with_context,
    }


def test_the_page_of_the_command_line_has_every_command_and_every_finding() -> None:
    page = read("howto/command-line.md")
    commands, _, findings = page.partition("## doctor")
    listed = set(re.findall(r"^\| `(\w+)", commands, re.MULTILINE))
    assert listed == set(t.cast(click.Group, group).commands) - {"doctor"}
    cells = re.findall(r"^\| (`[^|]+`) \|", findings, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert named == {check.name for check in CHECKS} - {"url"}


PUBLIC = {
    "RunHandle": RunHandle,
    "ChatRequest": flask_aistream.ChatRequest,
    "RunEnded": flask_aistream.RunEnded,
    "Run": flask_aistream.Run,
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_names_every_attribute(name: str) -> None:
    kind = PUBLIC[name]
    section = read("reference/api.md").partition(f"\n## `{name}`")[2].partition("\n## ")[0]
    given = set(re.findall(r"\w+", section))
    attributes = {it for it in dir(kind) if not it.startswith("_")}
    assert attributes - given == INTERNAL.get(name, set())


INTERNAL = {
    "ChatRequest": {
        *("decode", "echo", "encode", "encode_for_history"),
        *("has_stop_callbacks", "request_stop", "trace"),
    },
    "Run": {"account", "namespace", "readable_by", "request", "size"},
}
"""What only the package itself uses."""


def test_the_reference_names_every_method_of_the_blueprint() -> None:
    own = {
        node.name
        for node in ast.walk(ast.parse(inspect.getsource(AIStream)))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    } - {"register"}  # Flask's.
    page = read("reference/api.md")
    assert {name for name in own if f"ai.{name}" not in page} == set()
