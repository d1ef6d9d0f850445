"""What one application keeps for ``flask_aistream``: settings, registrations, and the state of each process."""

from __future__ import annotations

import contextlib
import logging
import threading
import typing as t
from collections.abc import Callable

from flask import Flask
from flask import Request
from flask import current_app
from flask import request

from flask_aistream.core.events import Terminal
from flask_aistream.core.run import read_ticket
from flask_aistream.server.forks import FORKS
from flask_aistream.server.gunicorn import on_start
from flask_aistream.web import cors
from flask_aistream.web import log_lines
from flask_aistream.web.call import ProviderExceptions
from flask_aistream.web.config import Settings
from flask_aistream.web.executor import Enqueue
from flask_aistream.web.executor import choose_executor
from flask_aistream.web.mounts import Mounts
from flask_aistream.web.process import ProcessState
from flask_aistream.web.store import MEMORY
from flask_aistream.web.store import choose_store
from flask_aistream.web.store import shared_by_processes

logger = logging.getLogger("flask_aistream")

KEY = "aistream"


class Extension:
    """``app.extensions["aistream"]``: shared by all ``AIStream`` blueprints of an application.

    :param store_url: ``None`` if it can only be chosen after fork.
    :ivar namespace: Names the application in a store; see ``AISTREAM_NAMESPACE``.
    :ivar enqueue: Puts runs into the executor's queue; ``None`` calls providers in this process.
    :ivar current_trace: Returns the W3C ``traceparent`` of the current span, which is stored with a run.
    """

    def __init__(
        self, app: Flask, settings: Settings, store_url: str | None, enqueue: Enqueue | None
    ) -> None:
        self.settings = settings
        self.namespace = settings.namespace or app.name
        self.mounts = Mounts()
        self.current_trace: Callable[[], str] = str
        self.enqueue = enqueue
        self.exceptions = ProviderExceptions(app)
        self._store_url = store_url
        self._app = app
        self._process: ProcessState | None = None
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._process_callbacks: list[Callable[[ProcessState], None]] = []

    @property
    def process(self) -> ProcessState:
        """The state of this process. A forked child creates its own: the parent's greenlets, threads and
        epoll sets do not exist in it."""
        process = self._process
        if process is None or process.forks != FORKS.count:
            with self._lock:
                process = self._process
                if process is None or process.forks != FORKS.count:
                    process = self._process = self._start_process()
        return process

    def use_shared_store(self) -> None:
        """Use the store that the processes of a server share, although this process cannot see that it has siblings."""
        self._store_url = self._store_url or shared_by_processes(self._app)

    def warn_once(self, sentence: str) -> None:
        """Log a sentence once a process."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            logger.warning(sentence)

    def on_process(self, callback: Callable[[ProcessState], None]) -> None:
        """Call back once in each process that serves the application."""
        self._process_callbacks.append(callback)

    def start_early(self) -> None:
        """Create the state of a worker before its first request: it recovers other processes' runs, and its
        first client does not wait for that."""
        with contextlib.suppress(Exception):  # The first request raises it again, and reports it.
            self.process  # noqa: B018

    def _start_process(self) -> ProcessState:
        self.settings.check_unchanged(self._app.config)
        cors.warn_of_flask_cors(self._app, self.settings)
        url = self._store_url or choose_store(self._app, self.settings, forked=True)
        process = ProcessState(
            self._app,
            self.settings,
            url or MEMORY,
            self.namespace,
            self.mounts,
            self.enqueue,
            self.exceptions,
        )
        for callback in self._process_callbacks:
            callback(process)
        return process


def install(app: Flask) -> Extension:
    """The application's extension, created at the first registration.

    :raises ConfigError: A configuration key is wrong, or the store or the executor cannot be used.
    """
    if KEY not in app.extensions:
        log_lines.install()
        settings = Settings.read(app.config)
        store_url = choose_store(app, settings)
        enqueue = choose_executor(app, settings, lambda ticket: execute(app, ticket))
        app.extensions[KEY] = ext = Extension(app, settings, store_url, enqueue)
        on_start(ext.start_early)
    return t.cast(Extension, app.extensions[KEY])


def execute(app: Flask, ticket: str) -> Terminal | None:
    """Execute a queued run in this process, until it has ended and ``run_ended`` was sent.

    :returns: How it ended; ``None`` if it had ended before, or another worker executes it.
    :raises ValueError: ``ticket`` is malformed.
    """
    ext: Extension = app.extensions[KEY]
    return ext.process.runner.execute(*read_ticket(ticket))


def extension() -> Extension:
    """The extension of the current application."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    found: Extension = app.extensions[KEY]
    return found


def current_request() -> Request:
    """The request object. Each attribute that is read through Flask's proxy looks it up again."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found
