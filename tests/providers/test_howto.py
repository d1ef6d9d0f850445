"""The examples of ``docs/howto/providers*.md``, run as they stand, at the local upstream.

The first block of a page is an application. Each later one has more providers for it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from tests.upstream import Upstream
from tests.upstream.stories import HELLO

PAGES = sorted((Path(__file__).parents[2] / "docs" / "howto").glob("providers*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)

# Where SDKs look for their server, if nobody tells them.
ADDRESSES = {
    "ANTHROPIC_BASE_URL": "",
    "GOOGLE_GEMINI_BASE_URL": "",
    "OLLAMA_HOST": "",
    "OPENAI_API_BASE": "/v1",
    "OPENAI_BASE_URL": "/v1",
}
KEYS = ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def upstream() -> t.Iterator[Upstream]:
    """Not the other tests': SDKs keep connections for each address, and these are on the app's loop."""
    with Upstream() as server:
        yield server


@pytest.fixture(autouse=True)
def addresses(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in ADDRESSES.items():
        monkeypatch.setenv(name, upstream.url + path)
    for name in KEYS:
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_provider_of_a_page_answers(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *more = BLOCK.findall(page.read_text("utf-8"))
    need(first)
    if "transformers" in first:
        pretend_to_have_a_model(monkeypatch)
    names: dict[str, t.Any] = {"__name__": "page"}
    exec(first, names)
    for block in more:
        need(block)
        exec(block, names)

    answers = ask_all(names["ai"], names["app"])
    assert answers == dict.fromkeys(answers, (HELLO.text, "stop"))


def need(block: str) -> None:
    for module in IMPORTED.findall(block):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def ask_all(ai: AIStream, app: Flask) -> dict[str, tuple[str, str]]:
    """Each provider's answer, and why it says that it ended."""
    answers = {}
    for name in ai.provider_names:
        response = app.test_client().post(f"/ai/{name}", json={"prompt": "Hello"})
        assert response.status_code == 200, response.text
        lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        said = [json.loads(line) for line in lines]
        text = "".join(one["text"] for one in said if set(one) == {"text"})
        answers[name] = (text, said[-1].get("reason", ""))
        response.close()
    return answers


def test_every_page_opens_with_its_facts() -> None:
    for page in PAGES:
        title, blank, header, rule, *_ = page.read_text("utf-8").splitlines()
        assert title.startswith("# ")
        assert (blank, header[:1], rule[:2]) in {("", "|", "|-")} or page.stem == "providers"


def pretend_to_have_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The streamer is the real one; weights are not to be had here."""
    import transformers

    class Ids(list[int]):
        shape = (1,)

        def tolist(self) -> list[int]:
            return list(self)

    class Tokenizer:
        def apply_chat_template(self, messages: t.Any, **options: t.Any) -> dict[str, t.Any]:
            assert messages[-1]["content"] == "Hello"
            return {"input_ids": Ids()}

        def decode(self, ids: list[int], **options: t.Any) -> str:
            return "".join(map(chr, ids))

    class Model:
        def generate(self, streamer: t.Any, stopping_criteria: t.Any, **inputs: t.Any) -> None:
            streamer.put(Ids())  # The prompt.
            for character in HELLO.text:
                assert not any(stop(None, None) for stop in stopping_criteria)
                streamer.put(Ids([ord(character)]))
            streamer.end()

    for name, made in {"AutoTokenizer": Tokenizer(), "AutoModelForCausalLM": Model()}.items():
        auto = type(name, (), {"from_pretrained": staticmethod(lambda of, made=made: made)})
        monkeypatch.setattr(transformers, name, auto, raising=False)
