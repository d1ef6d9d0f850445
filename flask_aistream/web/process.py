"""The state of one process: store, runner, connections, timers."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Callable
from functools import partial

from flask import Flask

from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.delivery.encoders import SharedEncoders
from flask_aistream.delivery.limits import ConnectionLimits
from flask_aistream.delivery.recall import Recall
from flask_aistream.delivery.registry import ConnectionRegistry
from flask_aistream.delivery.tail import Tail
from flask_aistream.delivery.watchdog import WriteWatchdog
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import StoreUnavailable
from flask_aistream.runs.call import ProviderCall
from flask_aistream.runs.dispatch import DispatchQueue
from flask_aistream.runs.policy import RunPolicy
from flask_aistream.runs.runner import Runner
from flask_aistream.server.bodies import BodyReads
from flask_aistream.server.detect import concurrency
from flask_aistream.server.forks import FORKS
from flask_aistream.server.gunicorn import announce
from flask_aistream.server.gunicorn import longest_response
from flask_aistream.server.lifecycle import Lifecycle
from flask_aistream.server.places import places
from flask_aistream.server.places import places_of_streams
from flask_aistream.server.quiet import ignore_unread_responses
from flask_aistream.server.watcher import DisconnectWatcher
from flask_aistream.server.wrappers import log_limit
from flask_aistream.stores.limits import Limits
from flask_aistream.stores.urls import open_store
from flask_aistream.stores.urls import scheme_of
from flask_aistream.timing.coalesce import Coalescer
from flask_aistream.timing.concurrency import Waiter
from flask_aistream.timing.flush import FlushInterval
from flask_aistream.timing.timer import Timer
from flask_aistream.web.call import ProviderExceptions
from flask_aistream.web.call import provider_call
from flask_aistream.web.config import Settings
from flask_aistream.web.database import ProviderSessions
from flask_aistream.web.executor import Enqueue
from flask_aistream.web.mounts import Mounts
from flask_aistream.web.playground.live import LiveRuns
from flask_aistream.web.quota import Quotas
from flask_aistream.web.signals import RunEndedSignal

SWEEP_SECONDS = 5.0
RECOVER_SECONDS = 0.5

CLEANUP_SECONDS = 1.0
"""Time that providers get to clean up after they were interrupted."""

CLEARING_SECONDS = 0.2
"""From a client's disconnect to the end of its connection on the server's side."""


class ProcessState:
    """Per-process state, created after fork: when a gunicorn worker starts, elsewhere at the first request.

    :param enqueue: Puts runs into the executor's queue; ``None`` calls providers in this process.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        store_url: str,
        namespace: str,
        mounts: Mounts,
        enqueue: Enqueue | None,
        exceptions: ProviderExceptions,
    ) -> None:
        self.forks = FORKS.count
        self._resumes = 0
        self._concurrency = concurrency()
        self.flush_interval = FlushInterval(settings.flush_seconds, settings.flush_busy_seconds)
        self.timer = Timer(self._concurrency, self.flush_interval)
        self.watcher = DisconnectWatcher()
        self.clearing = Coalescer(partial(self.timer.call_later, CLEARING_SECONDS), Tail.close)
        self.limits = ConnectionLimits(
            self._concurrency.lock(),
            limit=settings.max_connections or places_of_streams(places()),
            limit_per_owner=settings.max_connections_per_owner,
            limit_per_address=settings.max_connections_per_address,
        )
        self.bodies = BodyReads(
            self.timer,
            self._concurrency.lock(),
            seconds=settings.body_seconds,
            places=places(),
            streams=lambda: self.limits.count,
        )
        self.quotas = Quotas(settings, self._concurrency.lock)
        self.registry = ConnectionRegistry(self._concurrency.lock())
        self.recall = Recall(self.registry)
        self._watchdog = WriteWatchdog(self.registry, patience=settings.send_seconds)
        self.encoders = SharedEncoders(self._concurrency.lock())
        self.store_kind = scheme_of(store_url)
        self.store = open_store(
            store_url,
            self._concurrency,
            namespace,
            patience=settings.store_seconds,
            limits=Limits(
                retain=settings.retain_seconds,
                max_runs=settings.retain_runs,
                max_events=settings.log_events,
                log_bytes=settings.log_bytes,
                store_bytes=settings.store_bytes,
            ),
        )
        self.sessions = ProviderSessions(app, self.timer)
        self.runner = Runner(
            self.store,
            self._concurrency,
            self.timer,
            RunPolicy(
                detach_seconds=settings.detach_seconds,
                run_seconds=settings.run_seconds,
                max_runs=settings.max_runs,
                max_runs_per_owner=settings.max_runs_per_owner,
                max_restarts=settings.max_restarts,
                max_deliveries=settings.max_deliveries,
            ),
            RunEndedSignal(app),
            queue=DispatchQueue(enqueue, settings.queue_seconds) if enqueue else None,
            resolve=partial(resolve_provider, app, settings, mounts, exceptions, self.sessions),
        )
        self.live_runs = LiveRuns(self.store, self.runner, self.timer)
        self._lifecycle = Lifecycle(
            announce=self.runner.announce_leaving,
            refuse_starts=self.runner.drain,
            running=lambda: self.runner.count,
            interrupt=lambda: self.runner.interrupt_all("drain", CLEANUP_SECONDS),
            recall=self.recall.recall if self.store.shared else None,
            later=self.timer.call_later,
            spawn=self._concurrency.spawn,
            budget=settings.drain_seconds,
        )
        self.longest_response = longest_response()
        if self.longest_response is not None:
            announce(
                "flask_aistream: a sync worker serves one stream at a time; until it ends, other requests "
                "to this worker wait, Stop among them. Start gunicorn with -k gevent."
            )
        log_limit()
        ignore_unread_responses()
        self._sweep()
        self._watch_writes()
        if self.store.shared:
            self._recover()

    def count_resume(self) -> None:
        """Count a stream that begins at a cursor."""
        self._resumes += 1

    def take_resumes(self) -> int:
        """Number of resumed streams since the last call."""
        taken, self._resumes = self._resumes, 0
        return taken

    def waiter(self) -> Waiter:
        return self._concurrency.waiter()

    def _sweep(self) -> None:
        self._concurrency.spawn(ignoring_outage(self.store.sweep))
        self.timer.call_later(SWEEP_SECONDS, self._sweep)

    def _watch_writes(self) -> None:
        if self._watchdog.interval is not None:
            self._watchdog.check()
            self.timer.call_later(self._watchdog.interval, self._watch_writes)

    def _recover(self) -> None:
        self._concurrency.spawn(ignoring_outage(self.runner.recover))
        self.timer.call_later(RECOVER_SECONDS, self._recover)


def ignoring_outage(work: Callable[[], None]) -> Callable[[], None]:
    """``work``, which is repeated soon, without the error of an unavailable store."""

    def attempt() -> None:
        with contextlib.suppress(StoreUnavailable):
            work()

    return attempt


def resolve_provider(
    app: Flask,
    settings: Settings,
    mounts: Mounts,
    exceptions: ProviderExceptions,
    sessions: ProviderSessions,
    run: Run,
) -> ProviderCall:
    """How to call the provider of a run that another process started."""
    request, context_factory = ChatRequest.decode(run.request), app.app_context
    found = mounts.providers_named(run.provider)
    if len(found) != 1:
        return ProviderCall(missing_provider, request, context_factory)
    (provider,) = found
    return provider_call(exceptions, settings, provider, request, context_factory, sessions)


def missing_provider(request: ChatRequest) -> t.NoReturn:
    """Stands in for a provider that the code of this process does not have."""
    raise ProviderNotFound(
        f"There is no provider {request.provider!r} in this process, or more than one: its code is not "
        "that of the process which started the run."
    )
