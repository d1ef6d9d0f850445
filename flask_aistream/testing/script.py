"""A provider that yields what a test wrote down, and waits where the test says."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

from flask_aistream.core.request import ChatRequest

DEADLINE = 10.0
"""Default limit of every wait, in seconds. Only a failing test waits that long."""

POLL = 0.01
"""Seconds. Under threads an interrupt takes effect between two waits, so each one is short."""


class Gate:
    """A point in a script where the provider waits until the test opens it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def wait_reached(self, seconds: float = DEADLINE) -> None:
        """Return once a provider waits at this gate.

        :raises AssertionError: No provider arrived in time.
        """
        assert self._reached.wait(seconds), f"No provider reached this gate within {seconds} s."

    def pass_through(self, seconds: float = DEADLINE) -> None:
        """Wait here until the gate is open. Called by the provider.

        :raises AssertionError: The gate was not opened in time.
        """
        self._reached.set()
        for _ in range(int(seconds / POLL)):
            if self._opened.wait(POLL):
                return
        raise AssertionError(f"The gate was not opened within {seconds} s.")


class Script:
    """A provider made of steps.

    ::

        gate = Gate()
        script = Script("Hel", gate, "lo")
        ai.provider(script, name="chat")

    :param steps: In order: an exception is raised, a ``Gate`` is waited at, a function is called, and
        any other value is yielded.
    :ivar requests: The request of each call, oldest first.
    """

    def __init__(self, *steps: t.Any) -> None:
        self.requests: list[ChatRequest] = []
        self._steps = steps
        self._closed = threading.Semaphore(0)

    def __call__(self, request: ChatRequest) -> Iterator[t.Any]:
        self.requests.append(request)
        return self._play()

    def wait_closed(self, seconds: float = DEADLINE) -> None:
        """Return once a call has ended, by itself or because it was closed; its ``finally`` has run.

        :raises AssertionError: The call is still running.
        """
        assert self._closed.acquire(timeout=seconds), f"The provider still runs after {seconds} s."

    def _play(self) -> Iterator[t.Any]:
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Gate):
                    step.pass_through()
                elif callable(step):
                    step()
                else:
                    yield step
        finally:
            self._closed.release()
