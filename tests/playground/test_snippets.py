"""The snippets of "Copy as": each runs, or at least compiles, for any question."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.clients.conftest import HERE as CLIENTS
from tests.clients.conftest import NODE
from tests.clients.conftest import javascript
from tests.clients.conftest import serving

__all__ = ["javascript"]

pytestmark = [pytest.mark.server, pytest.mark.timeout(120)]

HERE = Path(__file__).parent

APP = """
from flask import Flask
from flask_aistream import AIStream

ai = AIStream()

@ai.provider
def echo(request):
    yield "You said: "
    yield request.prompt

app = Flask(__name__)
ai.init_app(app, url_prefix="/ai")
"""

PROMPT = 'It\'s "quoted" \\ `$HOME` $(id) %0A & <b></script>\nsecond line\u2028 日本 🙂'
"""With all that means something to a shell, a script, a page or a URL."""

PATHS = {
    "native": "/ai/echo",
    "ai-sdk": "/ai/echo/ai-sdk",
    "openai-chat": "/ai/v1/chat/completions",
    "openai-responses": "/ai/v1/responses",
    "ag-ui": "/ai/echo/ag-ui",
    "html": "/ai/echo/html",
    "text": "/ai/echo/text",
}


def question(origin: str, protocol: str) -> dict[str, t.Any]:
    asked = {"origin": origin, "prefix": "/ai", "provider": "echo", "protocol": protocol}
    return {"asked": {**asked, "path": PATHS[protocol], "prompt": PROMPT}}


def snippets(*questions: dict[str, t.Any]) -> list[dict[str, str]]:
    """For each question, the code by name of the snippet."""
    command = [str(NODE), str(HERE / "snippets.mjs"), json.dumps(questions)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return [{it["name"]: it["code"] for it in found} for found in json.loads(done.stdout)]


def run(*command: str, code: str | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, input=code, capture_output=True, text=True, timeout=100, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "app.py").write_text(APP, "utf-8")
    with serving("app:app", folder) as address:
        yield address


@pytest.fixture(scope="module")
def made(origin: str, javascript: None) -> dict[str, dict[str, str]]:
    """The snippets by protocol."""
    found = snippets(*(question(origin, protocol) for protocol in PATHS))
    return dict(zip(PATHS, found, strict=True))


Made = dict[str, dict[str, str]]


def frames(body: str) -> list[t.Any]:
    lines = re.findall(r"^data: (.*)$", body, re.MULTILINE)
    return [json.loads(line) for line in lines if line != "[DONE]"]


ANSWERS: dict[str, t.Callable[[str], str]] = {
    "native": lambda body: "".join(it.get("text", "") for it in frames(body)),
    "ai-sdk": lambda body: "".join(
        it["delta"] for it in frames(body) if it["type"] == "text-delta"
    ),
    "openai-chat": lambda body: "".join(
        it["choices"][0]["delta"].get("content", "") for it in frames(body)
    ),
    "openai-responses": lambda body: "".join(
        it["delta"] for it in frames(body) if it["type"] == "response.output_text.delta"
    ),
    "ag-ui": lambda body: "".join(
        it["delta"] for it in frames(body) if it["type"] == "TEXT_MESSAGE_CONTENT"
    ),
    "html": lambda body: html.unescape("".join(re.findall(r"\ndata: (.*)\n\n", body)[1:-1])),
    "text": str,
}


@pytest.mark.parametrize("protocol", PATHS)
def test_curl_gets_the_answer_in_every_protocol(made: Made, protocol: str) -> None:
    body = run("bash", code=made[protocol]["curl"])
    assert ANSWERS[protocol](body) == f"You said: {PROMPT}"


def test_curl_reads_a_run_after_a_cursor(origin: str, made: Made) -> None:
    body = run("bash", code=made["native"]["curl"])
    (run_id,) = {it["run"] for it in frames(body) if "run" in it}
    asked = {"origin": origin, "prefix": "/ai", "protocol": "native", "run": run_id}
    whole, rest = snippets({"asked": asked}, {"asked": {**asked, "cursor": f"{run_id}:1"}})
    assert whole.keys() == rest.keys() == {"curl", "aistream"}
    assert ANSWERS["native"](run("bash", code=whole["curl"])) == f"You said: {PROMPT}"
    assert ANSWERS["native"](run("bash", code=rest["curl"])) == PROMPT


@pytest.mark.parametrize("protocol", ["openai-chat", "openai-responses"])
def test_the_openai_package_for_python_gets_the_answer(made: Made, protocol: str) -> None:
    code = f"import sys; sys.stdout.reconfigure(newline='')\n{made[protocol]['python']}"
    assert run(sys.executable, "-", code=code) == f"You said: {PROMPT}"


@pytest.mark.parametrize("protocol", ["openai-chat", "openai-responses"])
def test_the_openai_package_for_javascript_gets_the_answer(made: Made, protocol: str) -> None:
    code = made[protocol]["javascript"]
    said = run(str(NODE), "--input-type=module", code=code, cwd=CLIENTS)
    assert said == f"You said: {PROMPT}"


@pytest.mark.parametrize("name", ["aistream", "react", "usechat"])
def test_modules_compile(made: Made, name: str) -> None:
    compiler = str(CLIENTS / "node_modules" / ".bin" / "esbuild")
    code = made["native"][name]
    assert run(compiler, "--loader=jsx", "--format=esm", "--jsx=automatic", code=code)
    assert "</script" not in code


def test_htmx_asks_the_same_question(origin: str, made: Made) -> None:
    (url,) = re.findall(r'sse-connect="([^"]*)"', made["html"]["htmx"])
    address, _, sent = html.unescape(url).partition("?prompt=")
    assert (address, unquote(sent)) == (f"{origin}/ai/echo/html", PROMPT)


def test_only_what_the_server_serves_is_offered(made: Made, origin: str) -> None:
    asked = question(origin, "native")
    (found,) = snippets({**asked, "served": ["native"]})
    assert found.keys() == {"curl", "aistream", "react"}
    assert made["native"].keys() == {
        *("curl", "aistream", "react", "usechat", "python", "javascript", "htmx")
    }
