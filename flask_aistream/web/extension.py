"""What one application has of us: its settings, and the state of each of its processes."""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from collections.abc import Callable
from functools import partial

from flask import Flask
from flask import Request
from flask import current_app
from flask import request

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.delivery.body import SharedEncoders
from flask_aistream.delivery.connections import Connections
from flask_aistream.delivery.tail import Tail
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import StoreUnavailable
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.restart import ProviderCall
from flask_aistream.runs.restart import ResolveProvider
from flask_aistream.runs.runner import Runner
from flask_aistream.server.detect import concurrency
from flask_aistream.server.detect import quickener
from flask_aistream.server.gunicorn import Lifecycle
from flask_aistream.server.gunicorn import announce
from flask_aistream.server.gunicorn import longest_response
from flask_aistream.server.gunicorn import on_start
from flask_aistream.server.watcher import DisconnectWatcher
from flask_aistream.stores.bounds import Bounds
from flask_aistream.stores.door import open_store
from flask_aistream.timing.coalesce import Coalescer
from flask_aistream.timing.concurrency import Waiter
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from flask_aistream.web.config import Settings
from flask_aistream.web.executor import Enqueue
from flask_aistream.web.executor import choose_executor
from flask_aistream.web.signals import run_ended
from flask_aistream.web.store import MEMORY
from flask_aistream.web.store import choose_store

if t.TYPE_CHECKING:
    from flask_aistream.web.blueprint import AIStream

SWEEP_SECONDS = 5.0
RECOVER_SECONDS = 0.5

CLEARING_SECONDS = 0.2
"""From a client's leaving to the end of its connection on our side."""


class ProcessState:
    """Everything that lives in one process: made after the fork: when a gunicorn worker starts, elsewhere
    at the first request."""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        store_url: str,
        find: ResolveProvider,
        enqueue: Enqueue | None,
    ) -> None:
        self.pid = os.getpid()
        self._app = app
        self._concurrency = concurrency()
        self.flush_interval = FlushInterval(settings.flush_seconds, settings.flush_busy_seconds)
        self.timer = Timer(self._concurrency, self.flush_interval)
        self.quicken = quickener()
        self.watcher = DisconnectWatcher()
        self.clearing = Coalescer(partial(self.timer.later, CLEARING_SECONDS), Tail.close)
        self.connections = Connections(
            self._concurrency.lock(),
            patience=settings.send_seconds,
            most=settings.max_connections,
            most_per_owner=settings.max_connections_per_owner,
        )
        self.encoders = SharedEncoders(self._concurrency.lock())
        self.store = open_store(
            store_url,
            self._concurrency,
            patience=settings.store_seconds,
            bounds=Bounds(
                retain=settings.retain_seconds,
                max_runs=settings.retain_runs,
                max_events=settings.log_events,
                log_bytes=settings.log_bytes,
                store_bytes=settings.store_bytes,
            ),
        )
        self.runner = Runner(
            self.store,
            self._concurrency,
            self.timer,
            detach=settings.detach_seconds,
            run_seconds=settings.run_seconds,
            max_runs=settings.max_runs,
            max_runs_per_owner=settings.max_runs_per_owner,
            queue=DispatchQueue(enqueue, settings.queue_seconds) if enqueue else None,
            on_end=self._announce,
            heard=lambda: bool(run_ended.receivers),
            find=find,
            max_restarts=settings.max_restarts,
        )
        self._lifecycle = Lifecycle(
            self.runner,
            later=self.timer.later,
            spawn=self._concurrency.spawn,
            recall=self.connections.recall if self.store.shared else None,
            budget=settings.drain_seconds,
        )
        self.longest_response = longest_response()
        if self.longest_response is not None:
            announce(
                "flask_aistream: a sync worker serves one stream, and nothing else meanwhile: neither Stop "
                "nor another page. Start gunicorn with -k gevent."
            )
        self._sweep()
        self._watch_writes()
        if self.store.shared:
            self._recover()

    def waiter(self) -> Waiter:
        return self._concurrency.waiter()

    def _announce(self, ended: RunEnded) -> None:
        if run_ended.receivers:
            with self._app.app_context():
                run_ended.send(self._app, ended=ended)

    def _sweep(self) -> None:
        self._concurrency.spawn(quietly(self.store.sweep))
        self.timer.later(SWEEP_SECONDS, self._sweep)

    def _watch_writes(self) -> None:
        if self.connections.rest is not None:
            self.connections.sweep()
            self.timer.later(self.connections.rest, self._watch_writes)

    def _recover(self) -> None:
        self._concurrency.spawn(quietly(self.runner.recover))
        self.timer.later(RECOVER_SECONDS, self._recover)


def quietly(work: Callable[[], None]) -> Callable[[], None]:
    """``work``, which is done again soon, and does not mind a store that is away."""

    def try_it() -> None:
        with contextlib.suppress(StoreUnavailable):
            work()

    return try_it


class Extension:
    """``app.extensions["aistream"]``: shared by all of an application's AIStream blueprints.

    :ivar enqueue: Puts runs into the queue of the executor; ``None``: they are made here.
    :ivar prefixes: Where they are registered, by the names they are registered under.
    :ivar blueprints: They, by the same names.
    """

    def __init__(self, app: Flask) -> None:
        self.settings = Settings.read(app.config)
        self._store_url = choose_store(app, self.settings)
        self.enqueue = choose_executor(app, self.settings, self)
        self._app = app
        self.prefixes: dict[str, str] = {}
        self.blueprints: dict[str, AIStream] = {}
        self._process: ProcessState | None = None
        self._lock = threading.Lock()
        on_start(self._begin_early)

    @property
    def process(self) -> ProcessState:
        """This process's. A child of a fork gets its own: greenlets, threads and epoll sets stay
        behind in the parent."""
        process = self._process
        if process is None or process.pid != os.getpid():
            with self._lock:
                process = self._process
                if process is None or process.pid != os.getpid():
                    process = self._process = self._begin()
        return process

    def blueprint_of(self, provider: str) -> str:
        """Name of a blueprint that has this provider; of any, if none has."""
        having = (name for name, ai in self.blueprints.items() if provider in ai.provider_names)
        return next(having, next(iter(self.blueprints)))

    def _begin_early(self) -> None:
        """A worker looks after the runs of others, and its first hooks need not wait for all of this."""
        with contextlib.suppress(Exception):  # Whoever asks for a run will be told.
            self.process  # noqa: B018

    def _begin(self) -> ProcessState:
        self.settings.check_unchanged(self._app.config)
        url = self._store_url or choose_store(self._app, self.settings, forked=True)
        return ProcessState(self._app, self.settings, url or MEMORY, self._find, self.enqueue)

    def _find(self, run: Run) -> ProviderCall:
        """How to make the answer of a run that began in another process."""
        request, context_factory = ChatRequest.decode(run.request), self._app.app_context
        having = {ai for ai in self.blueprints.values() if run.provider in ai.provider_names}
        if len(having) != 1:  # It is gone, or another one has its name too.
            return ProviderCall(missing, request, context_factory)
        entry = having.pop().entry(run.provider)
        return ProviderCall(entry.call, request, context_factory, entry.restart)


def missing(request: ChatRequest) -> t.NoReturn:
    """What a run is made with whose provider is not in the code that this process runs."""
    raise ProviderNotFound(
        f"There is no provider {request.provider!r} in this process, or more than one: its code is not "
        "that of the process which started the run."
    )


def install(app: Flask) -> Extension:
    """The application's extension, made at the first registration."""
    if "aistream" not in app.extensions:
        app.extensions["aistream"] = Extension(app)
    return t.cast(Extension, app.extensions["aistream"])


def extension() -> Extension:
    """That of the application handling this request."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return t.cast(Extension, app.extensions["aistream"])


def current_request() -> Request:
    """The request itself. Each look at it through Flask's proxy costs as much as the look."""
    return t.cast(Request, request._get_current_object())  # type: ignore[attr-defined]
