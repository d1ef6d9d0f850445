"""Runs that are started in one process and executed in another: two applications that share a store."""

from __future__ import annotations

import signal
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.core import events as ev
from flask_aistream.errors import ConfigError
from flask_aistream.errors import RegistrationError
from flask_aistream.errors import RunNotFound
from flask_aistream.testing import DEADLINE
from flask_aistream.testing import Gate
from flask_aistream.testing import StreamClient
from flask_aistream.web.celery import TASK
from flask_aistream.web.celery import queue_of
from flask_aistream.web.extension import install
from tests.runs.support import Ends
from tests.runs.support import until

Process = Callable[..., Flask]


@pytest.fixture
def queue() -> list[str]:
    """What was put into the queue."""
    return []


@pytest.fixture
def ends() -> Ends:
    """What ``run_ended`` says, in whichever process."""
    return Ends()


@pytest.fixture
def process(ai: AIStream, queue: list[str], tmp_path: Path, ends: Ends) -> Iterator[Process]:
    """Begin one more process of the same application."""
    processes: list[Flask] = []

    def keep(sender: Flask, ended: RunEnded) -> None:
        ends.run_ended(ended)

    def begin(**settings: t.Any) -> Flask:
        app = Flask(f"process{len(processes)}")
        given = {
            "namespace": "shop",
            "store": f"sqlite:///{tmp_path}/runs.sqlite",
            "executor": queue.append,
            "commit_seconds": 0,
            **settings,
        }
        app.config.update({f"AISTREAM_{name.upper()}": it for name, it in given.items()})
        app.register_blueprint(ai, url_prefix="/ai")
        run_ended.connect(keep, app)
        processes.append(app)
        return app

    begin.keep = keep  # type: ignore[attr-defined]  # A signal holds its receivers weakly.
    yield begin
    for app in processes:
        install(app).process.store.close()


@pytest.fixture
def gate(ai: AIStream) -> Gate:
    """What the provider ``slow`` waits for after its first word."""
    gate = Gate()

    @ai.provider
    def slow(request: ChatRequest) -> Iterator[str]:
        yield "Well, "
        gate.pass_through()
        yield f"{request.owner}."

    return gate


@pytest.fixture(autouse=True)
def chat(ai: AIStream) -> list[ChatRequest]:
    """What the provider ``chat`` was called with."""
    calls: list[ChatRequest] = []

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        calls.append(request)
        yield f"{request.prompt}!"

    return calls


class Worker:
    """A thread that makes a queued run, as a worker's task does."""

    def __init__(self, app: Flask, ai: AIStream, ticket: str) -> None:
        self.outcome: t.Any = "still working"
        self._thread = threading.Thread(target=self._work, args=(app, ai, ticket), daemon=True)
        self._thread.start()

    def _work(self, app: Flask, ai: AIStream, ticket: str) -> None:
        with app.app_context():
            self.outcome = ai.execute(ticket)

    def wait(self) -> t.Any:
        self._thread.join(DEADLINE)
        return self.outcome


def test_a_queued_run_is_executed_by_the_worker_that_takes_it(
    process: Process, ai: AIStream, queue: list[str], chat: list[ChatRequest], ends: Ends
) -> None:
    web, worker = process(), process()
    stream = StreamClient(web).open("/ai/chat", json={"prompt": "Hi", "temperature": 1})
    assert queue == [stream.run]
    assert not chat
    with web.app_context():
        run = ai.attach(stream.run)
        assert run.status == "queued"
    with worker.app_context():
        assert ai.execute(queue[0]) == ev.Finished()
    assert [ended.text for ended in ends.received] == ["Hi!"]
    assert list(stream) == [ev.RunStarted(stream.run, "chat"), "Hi!", ev.Finished()]
    assert run.status == "finished"
    (request,) = chat
    assert (request.run, request.prompt) == (stream.run, "Hi")
    assert request.params == {"temperature": 1}


def test_a_ticket_that_is_delivered_twice_is_executed_once(
    process: Process, ai: AIStream, queue: list[str], gate: Gate, ends: Ends
) -> None:
    web, one, other = process(), process(), process()
    with web.app_context():
        run = ai.start("slow", "Hi", owner="ann")
    worker = Worker(one, ai, queue[0])
    until(lambda: run.text == "Well, ")
    assert Worker(other, ai, queue[0]).wait() is None
    assert Worker(one, ai, queue[0]).wait() is None
    gate.open()
    assert worker.wait() == ev.Finished()
    assert Worker(other, ai, queue[0]).wait() is None
    assert run.text == "Well, ann."
    assert len(ends.received) == 1


def test_a_stop_in_another_process_ends_the_worker(
    process: Process, ai: AIStream, queue: list[str], gate: Gate, ends: Ends
) -> None:
    web, other = process(), process()
    with web.app_context():
        run = ai.start("slow", "Hi")
    worker = Worker(other, ai, queue[0])
    until(lambda: run.text == "Well, ")
    assert run.stop()
    assert worker.wait() == ev.Stopped("application")
    assert [ended.outcome for ended in ends.wait()] == [ev.Stopped("application")]


def test_a_run_that_was_stopped_in_the_queue_is_not_executed(
    process: Process, ai: AIStream, queue: list[str], chat: list[ChatRequest]
) -> None:
    web, worker = process(), process()
    with web.app_context():
        assert ai.start("chat", "Hi").stop()
    assert Worker(worker, ai, queue[0]).wait() is None
    assert not chat


def test_applications_share_a_store_only_under_one_namespace(
    process: Process, ai: AIStream, queue: list[str], chat: list[ChatRequest]
) -> None:
    web, worker, other = process(), process(), process(namespace="blog")
    with web.app_context():
        handle = ai.start("chat", "Hi", key="k" * 16, chat="c" * 16)
    (ticket,) = queue
    with other.app_context():
        with pytest.raises(RunNotFound):
            ai.attach(handle.id)
        assert ai.execute(ticket) is None
        ai.start("chat", "Hi", key="k" * 16, chat="c" * 16)
    assert len(queue) == 2
    assert isinstance(Worker(worker, ai, ticket).wait(), ev.Finished)
    assert len(chat) == 1


@pytest.mark.parametrize("namespace", ["", 7, "x" * 201, "a\nb", "\ud800"])
def test_a_namespace_that_cannot_be_a_name_is_refused(process: Process, namespace: t.Any) -> None:
    with pytest.raises(ConfigError, match="AISTREAM_NAMESPACE"):
        process(namespace=namespace)


def test_a_run_that_no_worker_takes_fails_once(
    process: Process, ai: AIStream, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    web, other = process(queue_seconds=0.3), process(queue_seconds=0.3)
    with other.app_context():
        install(other).process.store.flush()  # It lives, and looks after others' runs.
    answer = StreamClient(web).read("/ai/chat", json={"prompt": "Hi"})
    assert isinstance(answer.outcome, ev.Failed)
    assert answer.outcome.code == "queue_timeout"
    until(lambda: ends.received and "no worker took it" in caplog.text)
    assert len(ends.received) == 1
    assert caplog.text.count("no worker took it") == 1


def test_an_unavailable_queue_fails_the_run_at_once(
    process: Process, ai: AIStream, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(ticket: str) -> None:
        raise ConnectionError("the broker is away")

    web = process(executor=refuse, commit_seconds=10)
    response = StreamClient(web).open("/ai/chat", json={"prompt": "Hi"}).response
    assert (response.status_code, response.get_json()["error"]["code"]) == (
        503,
        "queue_unavailable",
    )
    assert "the broker is away" in caplog.text
    assert len(ends.wait()) == 1


def test_a_background_run_continues_in_a_worker_without_readers(
    process: Process, ai: AIStream, queue: list[str], gate: Gate
) -> None:
    web, other = process(), process(detach_seconds=0)
    with web.app_context():
        run = ai.start("slow", "Hi", background=True)
    worker = Worker(other, ai, queue[0])
    until(lambda: run.text == "Well, ")
    (active,) = install(other).process.runner._active_runs.snapshot()
    assert active.detach_timer is None
    gate.open()
    assert worker.wait() == ev.Finished()


@pytest.fixture
def time_limit() -> Iterator[Callable[[], None]]:
    """Break off whatever this thread waits for, as a queue's time limit does."""
    here = threading.get_ident()

    def expire(*_: object) -> t.NoReturn:
        raise TimeoutError("the queue's time limit")

    before = signal.signal(signal.SIGUSR1, expire)
    yield lambda: signal.pthread_kill(here, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def lasting(ai: AIStream, gate: Gate) -> list[ChatRequest]:
    """What the provider ``lasting``, which can go on where another one has left off, was called with."""
    calls: list[ChatRequest] = []

    @ai.provider(restart=True)
    def lasting(request: ChatRequest) -> Iterator[str]:
        calls.append(request)
        if request.restarts:
            yield "no."
        else:
            yield "Well, "
            gate.pass_through()

    return calls


def test_a_run_whose_worker_died_is_queued_again(
    process: Process, ai: AIStream, queue: list[str], lasting: list[ChatRequest], ends: Ends
) -> None:
    web, one, other = process(), process(), process()
    with web.app_context():
        run = ai.start("lasting", "Hi")
    lost = Worker(one, ai, queue[0])
    until(lambda: run.text == "Well, ")
    install(one).process.runner.interrupt_all("drain", 0)
    assert lost.wait() is None  # It has not ended.
    until(lambda: len(queue) > 1)
    assert set(queue[1:]) == {f"{run.id}.1"}
    assert len(lasting) == 1  # Whoever has noticed does not make it itself.
    workers = [Worker(app, ai, ticket) for app in (one, other) for ticket in queue]
    outcomes = [worker.wait() for worker in workers]
    assert [outcome for outcome in outcomes if outcome is not None] == [ev.Finished()]
    assert (run.text, lasting[1].so_far, lasting[1].prompt) == ("Well, no.", "Well, ", "Hi")
    assert [ended.text for ended in ends.received] == ["Well, no."]


def test_a_lost_run_that_no_worker_takes_is_interrupted(
    process: Process, ai: AIStream, queue: list[str], lasting: list[ChatRequest], ends: Ends
) -> None:
    web, worker = process(queue_seconds=0.3), process(queue_seconds=0.3)
    with web.app_context():
        run = ai.start("lasting", "Hi")
    Worker(worker, ai, queue[0])
    until(lambda: run.text == "Well, ")
    install(worker).process.runner.interrupt_all("drain", 0)
    assert run.wait(DEADLINE) == ev.Interrupted("owner-lost")
    assert [ended.text for ended in ends.wait()] == ["Well, "]


def test_an_exception_in_the_waiting_worker_interrupts_its_run(
    process: Process,
    ai: AIStream,
    queue: list[str],
    gate: Gate,
    ends: Ends,
    time_limit: Callable[[], None],
) -> None:
    web, worker = process(), process()
    with web.app_context():
        run = ai.start("slow", "Hi")

    def expire() -> None:
        until(lambda: run.text == "Well, ")
        time_limit()

    threading.Thread(target=expire).start()
    with worker.app_context(), pytest.raises(TimeoutError, match="the queue's"):
        ai.execute(queue[0])
    assert run.wait(DEADLINE) == ev.Interrupted("drain")
    assert len(ends.wait()) == 1


def test_a_provider_that_the_worker_does_not_have_fails_the_run(
    process: Process, ai: AIStream, queue: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    web, worker = process(), process()
    with web.app_context():
        run = ai.start("chat", "Hi")
    del ai._registry._providers["chat"]  # An older version of the code.
    outcome = Worker(worker, ai, queue[0]).wait()
    assert isinstance(outcome, ev.Failed)
    assert "There is no provider 'chat' in this process" in caplog.text
    assert run.status == "failed"


def test_the_process_that_queued_a_run_can_execute_it(
    process: Process, ai: AIStream, queue: list[str]
) -> None:
    with process().app_context():
        run = ai.start("chat", "Hi")
        assert ai.execute(run.id) == ev.Finished()
        assert run.text == "Hi!"


@pytest.mark.parametrize("ticket", ["unknown", "unknown.2"])
def test_an_expired_run_is_not_executed(process: Process, ai: AIStream, ticket: str) -> None:
    with process().app_context():
        assert ai.execute(ticket) is None


def test_a_run_that_was_not_queued_is_not_executed(process: Process, ai: AIStream) -> None:
    with process(executor=None).app_context():
        run = ai.start("chat", "Hi")
        run.wait(DEADLINE)
        assert ai.execute(run.id) is None


@pytest.mark.parametrize("request_", [{"prompt": "Hi", "file": b""}], ids=["bytes"])
def test_a_request_that_cannot_be_serialised_starts_no_run(
    process: Process, ai: AIStream, queue: list[str], request_: t.Any
) -> None:
    with process().app_context(), pytest.raises(ValueError, match="cannot be sent to another"):
        ai.start("chat", request_)
    assert not queue


def test_a_provider_that_needs_a_request_is_refused_at_registration(
    ai: AIStream, process: Process
) -> None:
    ai.provider(name="asking", context="request")(lambda request: "")
    with pytest.raises(RegistrationError, match=r"'asking' has context=\"request\""):
        process()


def test_a_provider_registered_late_that_needs_a_request_is_refused_at_start(
    ai: AIStream, process: Process
) -> None:
    with process().app_context():
        ai.provider(name="asking", context="request")(lambda request: "")
        with pytest.raises(RegistrationError, match="no request"):
            ai.start("asking", "Hi")


def test_two_providers_of_one_name_are_refused(process: Process) -> None:
    app = process()
    other = AIStream("other")
    other.provider(name="chat")(lambda request: "")
    with pytest.raises(RegistrationError, match="Two blueprints have a provider 'chat'"):
        app.register_blueprint(other, url_prefix="/other")


REFUSED = {
    "what": ({"executor": 7}, r"AISTREAM_EXECUTOR is `7` but must be \"celery\""),
    "unknown": ({"executor": "rq"}, "AISTREAM_EXECUTOR is `'rq'` but must be"),
    "no store": ({"executor": "celery", "store": None}, "AISTREAM_STORE is `None`. Set it to"),
    "memory": ({"executor": "celery", "store": "memory://"}, "AISTREAM_STORE is `'memory://'`"),
    "no celery": ({"executor": "celery"}, r"there is no app.extensions\[\"celery\"\]"),
    "queue": ({"queue_seconds": 0}, "AISTREAM_QUEUE_SECONDS is `0` but must be a positive"),
}


@pytest.mark.parametrize(("settings", "sentence"), REFUSED.values(), ids=REFUSED)
def test_an_executor_that_cannot_work_is_refused_at_start_up(
    process: Process, settings: dict[str, t.Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        process(**settings)


def test_each_celery_application_executes_its_own_runs() -> None:
    made: list[int] = []
    from celery import Celery

    celeries = [Celery("celery", broker="memory://", set_as_current=False) for _ in range(2)]
    for number, celery in enumerate(celeries):
        app = Flask("celery")
        app.extensions["celery"] = celery
        queue_of(app, lambda ticket, number=number: made.append(number))  # type: ignore[misc]
    for celery in celeries:
        celery.tasks[TASK]("run")
    assert made == [0, 1]


def test_a_missing_celery_package_is_named(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_aistream.web.celery.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install flask_aistream\[celery\]"):
        process(executor="celery")
