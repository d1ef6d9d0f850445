"""``flask aistream ask``, in this process and over HTTP."""

from __future__ import annotations

import socket
import typing as t

import pytest
from flask import Flask

from flask_aistream.cli.ask import Progress
from flask_aistream.cli.ask import print_answer
from flask_aistream.cli.remote import RemoteRun
from flask_aistream.core import events as ev
from tests.cli.conftest import Run
from tests.network import Proxy


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize(
    ("provider", "text", "summary", "status"),
    [
        ("chat", "You said Hello", "Finished: stop. 7 tokens in ", 0),
        ("broken", "Half", "Failed as model_away: The model is away. 1 deltas in ", 1),
    ],
)
def test_an_answer_is_printed_with_how_it_ended(
    run: Run, url: str, where: str, provider: str, text: str, summary: str, status: int
) -> None:
    at = ("--url", url) if where == "there" else ()
    result = run("ask", *at, provider, "Hello")
    assert result.stdout == text
    assert summary in result.stderr
    assert result.exit_code == status


def test_a_prompt_is_read_from_standard_input(run: Run) -> None:
    assert run("ask", "chat", "-", input="Piped").stdout == "You said Piped"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ask", "nobody", "x"), "There is no provider 'nobody'. Registered: chat, broken, slow."),
        (("ask", "chat"), "The request has no prompt"),
        (("ask", "chat", "--resume", "x"), "Run 'x' does not exist"),
        (("ask", "--url", "{url}", "nobody", "x"), "There is no provider 'nobody' here."),
        (("ask", "--url", "{url}", "chat"), "The request has no prompt"),
        (("ask", "--url", "{url}", "chat", "--resume", "x"), "Run 'x' does not exist"),
        (("ask", "--url", "{url}/nowhere", "chat", "x"), "answered 404"),
        (("ask", "--url", "no url", "chat", "x"), "'no url/chat' is not a URL"),
        (("ask", "--url", "http://127.0.0.1:{closed}/ai", "chat", "x"), "does not answer"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    run: Run, url: str, words: tuple[str, ...], sentence: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        result = run(*(word.format(url=url, closed=closed) for word in words))
    assert sentence in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.exit_code == 1


def test_a_run_is_read_again_from_a_cursor(run: Run, url: str) -> None:
    run_id = run("ask", "chat", "Hello").stderr.split()[1]
    assert run("ask", "chat", "--resume", run_id).stdout == "You said Hello"
    assert run("ask", "--url", url, "chat", "--resume", run_id).stdout == "You said Hello"
    after_text = f"{run_id}:2"
    assert run("ask", "--url", url, "chat", "--resume", after_text).stdout == ""


def test_an_answer_continues_after_its_connection_is_cut(app: Flask, url: str) -> None:
    proxy = Proxy(int(url.rpartition(":")[2].partition("/")[0]))
    text = []
    try:
        for event in RemoteRun.start(f"{proxy.url}ai", "slow", "x").events():
            if event == "One, ":
                proxy.cut()
                app.config["GATE"].set()
            if isinstance(event, str):
                text.append(event)
    finally:
        proxy.close()
    assert text == ["One, ", "two."]


class Interrupted:
    """An answer in which Ctrl-C is pressed after its first word."""

    id = "r"
    stopped = 0

    def events(self) -> t.Iterator[ev.Event]:
        yield "One"
        raise KeyboardInterrupt

    def stop(self) -> bool:
        self.stopped += 1
        return True


def test_ctrl_c_stops_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Interrupted()
    assert print_answer(answer) == 130
    assert answer.stopped == 1
    assert "Stopped. 1 deltas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([], "0 deltas in 3.00 s (0/s)"),
        (["a", "b"], "2 deltas in 5.00 s (0/s), the first after 1.00 s"),
        (["a", ev.Usage(output_tokens=90)], "90 tokens in 4.00 s (22/s), the first after 1.00 s"),
    ],
)
def test_progress_counts_the_tokens_that_the_model_reports(
    events: list[ev.Event], shown: str
) -> None:
    seconds = iter(range(100))
    progress = Progress(clock=lambda: float(next(seconds)))
    if not events:
        next(seconds), next(seconds)
    for event in events:
        progress.add(event)
        if event == "b":
            next(seconds), next(seconds), next(seconds)
        if isinstance(event, ev.Usage):
            next(seconds), next(seconds)
    assert str(progress) == shown
