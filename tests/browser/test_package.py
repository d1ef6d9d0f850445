"""The client as an npm package: what is installed, and what it is worth beside other packages."""

from __future__ import annotations

import json
import random
import re
import subprocess
import typing as t
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver

import flask_aistream
from flask_aistream.core import events as ev
from flask_aistream.web.client_files import client_files
from tests.browser.conftest import Page
from tests.browser.scripted import HEAD
from tests.browser.scripted import STATIC
from tests.browser.scripted import Ending
from tests.browser.scripted import Log
from tests.browser.scripted import Request
from tests.browser.scripted import ScriptedServer
from tests.browser.scripted import Step
from tests.browser.scripted import answer

HERE = Path(__file__).parent / "package"
PACKAGE = json.loads((STATIC / "package.json").read_text())
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "client.md"
ENTRIES = {
    name.removeprefix("."): entry for name, entry in PACKAGE["exports"].items() if "types" in entry
}
NAME = re.compile(r"^export (?:declare )?(?:async )?(?:class|function) (\w+)", re.MULTILINE)
LISTED = re.compile(r"^export \{ ([^}]+) \}", re.MULTILINE)

MOST_BYTES = 10_000
"""Of the client without element and adapters, as served, compressed; bundled and minified it has 8,500."""

MOST_RATIO = 1.5
"""CPU time per token, in units of eventsource-parser and JSON.parse."""

SECONDS = 100

slow = pytest.mark.nightly
"""npm installs a React project for it, in 10 to 25 seconds."""


def exported(file: str) -> set[str]:
    text = (STATIC / file).read_text()
    listed = (name for names in LISTED.findall(text) for name in names.split(", "))
    return {*NAME.findall(text), *(name for name in listed if not name.startswith("type "))}


def test_the_package_has_the_version_of_the_extension() -> None:
    assert PACKAGE["version"] == flask_aistream.__version__


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_types_and_the_reference_name_what_a_module_exports(entry: str) -> None:
    names = exported(ENTRIES[entry]["default"])
    assert names
    assert exported(ENTRIES[entry]["types"]) == names
    text = REFERENCE.read_text()
    # The element is known to its users by its tag.
    assert {name for name in names - {"AIStreamElement"} if f"`{name}" not in text} == set()


def test_the_client_is_small() -> None:
    size = len(client_files()["aistream.js"].compressed)
    print(size)
    assert size <= MOST_BYTES


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the packed client is installed."""
    folder = tmp_path_factory.mktemp("project")
    run(HERE / "setup.sh", folder, cwd=HERE)
    return folder


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, without ``FORCE_COLOR`` and the like."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, check=False, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def last_line(output: str) -> t.Any:
    return json.loads(output.strip().rpartition("\n")[2])


@slow
@pytest.mark.parametrize("project_file", ["tsconfig.json", "tsconfig.page.json"])
def test_the_types_compile(project: Path, project_file: str) -> None:
    """With ``exactOptionalPropertyTypes``; the first one without the DOM library."""
    run("node_modules/.bin/tsc", "-p", f"types/{project_file}", cwd=project)


IN_NODE = "node"
MEASURE = """
const [{ measure }, { createParser }] = await Promise.all(
  ["/npm/speed.mjs", "/npm/node_modules/eventsource-parser/dist/index.js"].map((url) => import(url)));
return measure({ createParser, stream: ai.stream }, () => performance.now() * 1000);
"""


@slow
@pytest.mark.parametrize("where", [IN_NODE, "Chromium"])
def test_a_token_costs_about_as_much_as_in_a_bare_parser(
    project: Path, page: Page, server: ScriptedServer, where: str
) -> None:
    server.serve("/npm/", project, "speed.mjs")
    server.serve("/npm/", project, "node_modules/eventsource-parser/dist/index.js")
    page.browser.set_script_timeout(SECONDS)
    for _ in range(2):
        if where == IN_NODE:
            ratios = last_line(run("node", "speed.mjs", cwd=project))
        else:
            ratios = page.run(MEASURE)
        print(where, ratios)
        if all(row["ratio"] <= MOST_RATIO for row in ratios.values()):
            return
    pytest.fail(f"A token costs {ratios}.")


STORY = Log(
    ev.Reasoning("hm "), ev.Reasoning("so"),
    "漢字", "🙂", "\u2028", "a\rb\r\nc\n", " ", '"\\', "data: x\n\n", "end",
    ev.ToolCallStarted("c1", "f"), ev.ToolCall("c1", "f", {"a": 1}), ev.ToolResult("c1", [1]),
    "after", ev.SourceUrl("s", "http://x", "X"), ev.Usage(1, 2), ev.Finished(),
)  # fmt: skip
PARTS = [
    ["step-start", None], ["reasoning", "hm so"],
    ["text", '漢字🙂\u2028a\rb\r\nc\n "\\data: x\n\nend'],
    ["tool-f", None], ["text", "after"], ["source-url", None],
]  # fmt: skip
HELD = Log("Hel", run="r2", base="/held")
RUNS = 200


def cutting(chance: random.Random) -> Callable[[Request], list[Step]]:
    """Serves the story; two of three connections are cut at a random byte."""

    def play(request: Request) -> list[Step]:
        rest = STORY.after(request)
        if chance.random() < 1 / 3:
            return [HEAD, rest]
        how = chance.choice((Ending.LAST_CHUNK, Ending.CUT, Ending.RESET))
        return [HEAD, rest[: chance.randrange(len(rest) + 1)], how]

    return play


@slow
@pytest.mark.parametrize("sdk", ["ai", "ai6", "ai7"])
def test_chats_of_the_ai_sdk_are_exact_however_often_they_are_cut(
    project: Path, server: ScriptedServer, sdk: str
) -> None:
    play = cutting(random.Random(sdk))
    server.always("/cut/", play)
    server.always(STORY.events_path, play)
    server.always("/stop", [HEAD, HELD.frames(), Ending.HOLD])
    server.always(HELD.stop_path, answer(200, {"status": "stopped", "text": "Hello"}))
    server.always("/refused", answer(422, {"error": {"code": "x", "message": "No."}}))
    told = last_line(run("node", "chat.mjs", sdk, server.url(""), str(RUNS), cwd=project))
    wanted = ["ready", "assistant", "msg_r1", PARTS, None]
    assert [got for got in told["answers"] if got[1:] != wanted] == []
    assert len(told["answers"]) == RUNS
    assert (told["stopped"], told["refused"]) == ("ready", ["error", "No."])
    assert len(server.asked(HELD.stop_path)) == 1
    keys = Counter((r.path, r.key) for r in server.requests if r.method == "POST" and r.key)
    assert len({path for path, _ in keys}) == len(keys), "a chat was started under a second key"


@slow
def test_a_react_application_is_built_with_it_and_asks_once(
    project: Path, browser: webdriver.Chrome, server: ScriptedServer
) -> None:
    """In StrictMode, which runs effects twice."""
    run("node_modules/.bin/vite", "build", "app", "--logLevel", "error", cwd=project)
    log = Log("Hel", "lo", ev.Finished())
    server.serve("/app/", project / "app" / "dist")
    server.play("/ai/chat", [HEAD, log.frames()], [HEAD, Log("New", ev.Finished()).frames()])
    server.play("/ai/element", [HEAD, log.frames()])
    page = Page(browser, server.url("/app/index.html"))
    page.open()
    shown = "document.querySelector('output')?.textContent"
    page.until(f"{shown} === 'Hello'")
    page.until("document.querySelector('ai-stream').getAttribute('status') === 'finished'")
    page.run("document.querySelector('button').click()")
    page.until(f"{shown} === 'New'")
    page.until("document.querySelector('output').dataset.status === 'finished'")
    assert Counter(request.path for request in server.requests) == {"/ai/chat": 2, "/ai/element": 1}
