"""What one application has of us: its settings, and the machinery of each of its processes."""

from __future__ import annotations

import os
import threading
import typing as t

from flask import Flask
from flask import current_app

from flask_aistream.runs.concurrency import Waiter
from flask_aistream.runs.delivery import SharedEncoders
from flask_aistream.runs.ended import RunEnded
from flask_aistream.runs.runner import Runner
from flask_aistream.runs.timer import Timer
from flask_aistream.server.choose import concurrency
from flask_aistream.server.gunicorn import Lifecycle
from flask_aistream.server.watcher import DisconnectWatcher
from flask_aistream.stores.memory import MemoryStore
from flask_aistream.web.chats import Chats
from flask_aistream.web.config import Settings
from flask_aistream.web.signals import run_ended

SWEEP_SECONDS = 5.0


class Machinery:
    """Everything that lives in one process: made after the fork, at the first request."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self.pid = os.getpid()
        self._app = app
        self._concurrency = concurrency()
        self.timer = Timer(self._concurrency, settings.flush_seconds)
        self.watcher = DisconnectWatcher()
        self.encoders = SharedEncoders()
        self.chats = Chats()
        self.store = MemoryStore(
            retain=settings.retain_seconds,
            max_runs=settings.retain_runs,
            max_events=settings.log_events,
        )
        self.runner = Runner(
            self.store,
            self._concurrency,
            self.timer,
            detach=settings.detach_seconds,
            run_seconds=settings.run_seconds,
            max_runs=settings.max_runs,
            max_runs_per_owner=settings.max_runs_per_owner,
            on_end=self._announce,
        )
        self._lifecycle = Lifecycle(
            self.runner,
            later=self.timer.later,
            spawn=self._concurrency.spawn,
            budget=settings.drain_seconds,
        )
        self._sweep()

    def waiter(self) -> Waiter:
        return self._concurrency.waiter()

    def _announce(self, ended: RunEnded) -> None:
        if run_ended.receivers:
            with self._app.app_context():
                run_ended.send(self._app, ended=ended)

    def _sweep(self) -> None:
        self._concurrency.spawn(self.store.sweep)
        self.timer.later(SWEEP_SECONDS, self._sweep)


class Extension:
    """``app.extensions["aistream"]``: shared by all of an application's AIStream blueprints."""

    def __init__(self, app: Flask) -> None:
        self.settings = Settings.read(app.config)
        self._app = app
        self._machinery: Machinery | None = None
        self._lock = threading.Lock()

    @property
    def machinery(self) -> Machinery:
        """This process's. A child of a fork gets its own: greenlets, threads and epoll sets stay
        behind in the parent."""
        machinery = self._machinery
        if machinery is None or machinery.pid != os.getpid():
            with self._lock:
                machinery = self._machinery
                if machinery is None or machinery.pid != os.getpid():
                    machinery = self._machinery = Machinery(self._app, self.settings)
        return machinery


def install(app: Flask) -> Extension:
    """The application's extension, made at the first registration."""
    if "aistream" not in app.extensions:
        app.extensions["aistream"] = Extension(app)
    return t.cast(Extension, app.extensions["aistream"])


def extension() -> Extension:
    """That of the application handling this request."""
    return t.cast(Extension, current_app.extensions["aistream"])
