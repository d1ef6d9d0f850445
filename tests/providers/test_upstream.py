"""The local vendor is one to rely on: it sees who asked, what was sent and when the client left."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.upstream import Upstream


def ask(url: str, path: str, body: dict[str, t.Any]) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection


PROTOCOLS = [
    pytest.param("/v1/chat/completions", {"stream": True}, id="OpenAI Chat Completions"),
    pytest.param("/v1/responses", {"stream": True}, id="OpenAI Responses"),
    pytest.param("/v1/messages", {"stream": True}, id="Anthropic Messages"),
    pytest.param("/v1beta/models/MODEL:streamGenerateContent?alt=sse", {}, id="Gemini"),
    pytest.param("/api/chat", {}, id="Ollama"),
]


@pytest.mark.parametrize(("path", "body"), PROTOCOLS)
def test_silence_lasts_until_the_client_leaves_and_that_is_seen_at_once(
    upstream: Upstream, path: str, body: dict[str, t.Any]
) -> None:
    model = f"silent-after-{100 + len(path)}"  # Nobody else asks for as many.
    connection = ask(upstream.url, path.replace("MODEL", model), body | {"model": model})
    response = connection.getresponse()
    assert response.read(10)

    exchange = upstream.wait_for(model)
    assert exchange.outcome is None
    left = time.monotonic()
    response.close()
    connection.close()

    assert exchange.wait_ended() == "gone"
    assert exchange.ended is not None
    assert exchange.ended - left < 1


@pytest.mark.parametrize(("path", "body"), PROTOCOLS)
def test_hanging_never_answers(upstream: Upstream, path: str, body: dict[str, t.Any]) -> None:
    before = sum(exchange.model == "hang" for exchange in upstream.exchanges)
    connection = ask(upstream.url, path.replace("MODEL", "hang"), body | {"model": "hang"})
    exchange = upstream.wait_for("hang", before + 1)
    connection.close()

    assert exchange.wait_ended() == "gone"
    assert exchange.frames == 0


def test_requests_are_kept_without_credentials(upstream: Upstream) -> None:
    connection = ask(upstream.url, "/v1/chat/completions", {"model": "kept", "messages": []})
    connection.getresponse().read()
    connection.close()
    exchange = upstream.wait_for("kept")

    assert exchange.wait_ended() == "complete"
    assert exchange.body == {"model": "kept", "messages": []}
    assert "secret" not in json.dumps(exchange.to_json())


def test_closing_the_vendor_cuts_what_is_open() -> None:
    with Upstream() as upstream:
        connection = ask(upstream.url, "/v1/messages", {"model": "silent", "stream": True})
        response = connection.getresponse()
        exchange = upstream.wait_for("silent")

    assert exchange.wait_ended() == "down"
    with pytest.raises((http.client.IncompleteRead, ConnectionError, socket.timeout)):
        response.read()
    connection.close()


def test_as_a_process_it_tells_its_address_and_logs_what_happens(tmp_path: Path) -> None:
    log = tmp_path / "upstream.jsonl"
    command = [sys.executable, "-m", "tests.upstream", "0", str(log)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        try:
            connection = ask(url, "/api/chat", {"model": "hello"})
            connection.getresponse().read()
            connection.close()
            with urlopen(f"{url}/exchanges") as response:
                exchanges = json.load(response)
        finally:
            os.kill(process.pid, signal.SIGTERM)

    assert process.returncode == 0
    assert [exchange["model"] for exchange in exchanges] == ["hello"]
    facts = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(fact["fact"], fact["outcome"]) for fact in facts] == [
        ("request", None),
        ("end", "complete"),
    ]
