"""The application of ``docs/howto/approvals.md``, run as it stands with a model that calls its tool."""

from __future__ import annotations

import http.server
import json
import re
import threading
import types
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_aistream.testing import StreamClient

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "approvals.md").read_text()
CODE = t.cast(
    "re.Match[str]", re.search(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)[1]
CALL = {"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": '{"euro": 5}'}}


class Model(http.server.BaseHTTPRequestHandler):
    """Calls ``pay``, and repeats the result of a call."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = body["messages"][-1]
        call = {"tool_calls": [{"index": 0, **CALL}]}
        delta = {"content": last["content"]} if last["role"] == "tool" else call
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        chunks = [json.dumps({**head, "choices": [it]}) for it in (choice, end)]
        data = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[t.Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    module = types.ModuleType("approvals")
    exec(compile(CODE, "approvals.md", "exec"), module.__dict__)
    yield module
    module.client.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("approved", [True, False])
def test_the_tool_is_executed_after_a_person_has_approved_it(module: t.Any, approved: bool) -> None:
    paid: list[float] = []

    def pay(euro: float) -> str:
        paid.append(euro)
        return "Paid 5 euro."

    module.pay = pay
    streams = StreamClient(module.app)
    question = {"role": "user", "content": "Buy a pencil"}
    first = streams.read("/ai/shop", json={"messages": [question]})
    (part,) = first.message.to_json()["parts"]
    assert (part["state"], part["name"], part["arguments"]) == ("approval", "pay", {"euro": 5})
    assert paid == []
    asked = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    body = {"messages": [question, asked], "approvals": {part["id"]: approved}}
    second = streams.read("/ai/shop", json=body)
    assert paid == ([5] if approved else [])
    assert second.text == ("Paid 5 euro." if approved else "The user denied this call.")


def test_the_provider_takes_thirty_lines() -> None:
    lines = [it for it in CODE.splitlines() if it.strip() and not it.startswith(("import", "from"))]
    assert len(lines) <= 30
