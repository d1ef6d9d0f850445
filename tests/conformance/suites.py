"""The external suites: where each comes from, and what runs it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import typing as t
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.clients.conftest import serving

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "tests" / "clients" / "node_modules"
VALIDATED = (
    "-p tests.conformance.pep3333 tests/protocols/test_routes.py tests/web/test_access.py tests/web/test_bad_input.py "
    "tests/web/test_cors.py tests/web/test_faults.py tests/web/test_previous.py tests/web/test_resuming.py"
)


@dataclass(frozen=True)
class Result:
    """
    :param reason: Why tests were not applicable or not run.
    """

    passed: int
    failed: int
    skipped: int
    reason: str = ""


@dataclass(frozen=True)
class Suite:
    """A suite from a registry, run by our own tests.

    :param version: Of what is tested against.
    :param tests: Arguments of pytest.
    :param reason: Why the tests that it skips, or its known exceptions, are not applicable.
    """

    name: str
    version: Callable[[], str]
    tests: str
    reason: str = ""

    def run(self, folder: Path) -> Result:
        report = folder / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        done = subprocess.run([*command, *self.tests.split()], cwd=ROOT, check=False)
        if done.returncode > 1:
            raise SystemExit(f"pytest {self.tests} ended with {done.returncode}")
        return read_junit(report, self.reason)


def read_junit(report: Path, reason: str) -> Result:
    from xml.etree import ElementTree

    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        for name in counts:
            counts[name] += int(suite.get(name, 0))
    failed = counts["failures"] + counts["errors"]
    return Result(counts["tests"] - failed - counts["skipped"], failed, counts["skipped"], reason)


def pip(name: str) -> Callable[[], str]:
    return lambda: f"{name} {metadata.version(name)}"


def npm(*folders: str) -> Callable[[], str]:
    def versions() -> str:
        found = [json.loads((MODULES / it / "package.json").read_text("utf-8")) for it in folders]
        return ", ".join(f"{it['name']} {it['version']}" for it in found)

    return versions


REGISTERED = [
    Suite(
        "OpenAI's SDK for Python, strict response validation",
        pip("openai"),
        "tests/clients/test_openai_python.py",
    ),
    Suite("OpenAI's SDK for JavaScript", npm("openai"), "tests/clients/test_node.py -k openai"),
    Suite(
        "chunk schemas of the AI SDK",
        npm("ai5", "ai6", "ai"),
        "tests/clients/test_ai_sdk.py -k schema",
    ),
    Suite(
        "`ag-ui-validate`",
        pip("ag-ui-validate"),
        "tests/protocols/test_ag_ui_validate.py",
        "exceptions: arguments of a tool call in which the worker was lost (AGUI204); results of calls of the previous run (AGUI207); empty deltas of a provider (a warning, AGUI105)",
    ),
    Suite(
        "models of `ag-ui-protocol`, strict",
        pip("ag-ui-protocol"),
        "tests/clients/test_python.py -k ag_ui",
    ),
    Suite(
        "`wsgiref.validate`, one request of each kind",
        lambda: f"Python {platform.python_version()}",
        "tests/web/test_pep3333.py",
    ),
    Suite(
        "`wsgiref.validate` around the tests of the routes",
        lambda: f"Python {platform.python_version()}",
        VALIDATED,
    ),
    Suite("`schemathesis` on our OpenAPI", pip("schemathesis"), "tests/security/test_openapi.py"),
    Suite(
        "the cases of Open Responses, as our own tests",
        lambda: "2.3.0 of the specification",
        "tests/protocols/test_open_responses.py",
    ),
]


class OpenResponses:
    """The compliance suite of Open Responses, which needs Bun and a clone of its repository."""

    name = "Open Responses compliance"
    folder = "openresponses"
    not_applicable = ("compact", "websocket")
    reason = "`/responses/compact` answers 404, and WebSocket is not offered"

    def run(self, repository: Path, folder: Path) -> Result:
        (folder / "model.py").write_text(MODEL, "utf-8")
        with serving("model:create_app()", folder) as address:
            asked = ["--base-url", f"{address}/v1", "--api-key", "none", "--model", "model"]
            done = subprocess.run(
                ["bun", "run", "bin/compliance-test.ts", "--json", *asked],
                cwd=repository,
                check=False,
                capture_output=True,
                text=True,
            )
        try:
            results = json.loads(done.stdout)["results"]
        except ValueError:
            raise SystemExit(f"The suite did not run: {done.stdout}{done.stderr}") from None
        return self.count(results)

    def count(self, results: list[dict[str, t.Any]]) -> Result:
        applicable = [
            it for it in results if not any(name in it["id"] for name in self.not_applicable)
        ]
        failed = [it["id"] for it in applicable if it["status"] == "failed"]
        passed = sum(it["status"] == "passed" for it in applicable)
        reason = f"{self.reason}; failed: {', '.join(failed)}" if failed else self.reason
        return Result(passed, len(failed), len(results) - passed - len(failed), reason)


MODEL = """
from flask import Flask

from flask_aistream import AIStream, Finished, ToolCall, Usage

ai = AIStream()


@ai.provider
def model(request):
    if request.params.get("tools"):
        yield ToolCall("call_1", request.params["tools"][0]["name"], {"location": "San Francisco, CA"})
        yield Finished("tool-calls")
    else:
        yield from ("Hello ", "to ", "you.")
        yield Usage(12, 3)


def create_app():
    app = Flask(__name__)
    app.register_blueprint(ai)
    return app
"""

REPOSITORIES = [OpenResponses()]

CLIENT_SUITES = {
    "LaunchDarkly's contract tests for event sources": "they test clients; `aistream.js` has no test service for them",
    "WPT `eventsource/format-*`": "they test browsers; the cases of the format are in `tests/sse` and `tests/browser`",
}


def repository_of(suite: OpenResponses) -> tuple[Path | None, str]:
    """The clone of a suite's repository below the folder ``SUITES``; ``None`` with the reason if there is none."""
    suites = os.environ.get("SUITES")
    if not suites:
        return None, f"skipped: set `SUITES` to a folder with a clone in `{suite.folder}/`"
    repository = Path(suites).resolve() / suite.folder
    return (
        (repository, "")
        if repository.is_dir()
        else (None, f"skipped: no `{suite.folder}/` in `SUITES`")
    )
