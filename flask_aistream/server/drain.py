"""Graceful shutdown without a lost token, as a table of states and transitions.

::

    SERVING ─STOP→ LEAVING ─PROBE_DUE→ PROBING ─ANSWERED→ RECALLING ─ALL_RECALLED→ FINISHING
                      ↑                   │ │                                          ↑
                      └────UNANSWERED─────┘ └──────────────NO_SUCCESSOR────────────────┘

From each of these states, EXIT leads to FINISHING, and BUDGET_SPENT to INTERRUPTED. This module depends on no server
and reads no clock; ``lifecycle.py`` connects it to gunicorn.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass

ACCEPTING_SECONDS = 1.5
"""Longest time that a stopping worker still accepts connections, since gunicorn checks ``worker.alive`` once a second.
A client recalled earlier could reconnect to a worker that is stopping, too."""

PROBE_PAUSE_SECONDS = 0.2
"""Pause between two probes for a successor."""

BATCH_SECONDS = 0.1
"""Pause between two batches of recalled clients: one batch of all would overload the successor."""


class DrainState(enum.Enum):
    SERVING = "accepts new runs"
    LEAVING = "accepts new runs, reports itself as leaving, waits for the next probe"
    PROBING = "accepts new runs, probes for another process that accepts connections"
    RECALLING = "rejects new runs, asks clients in batches to reconnect"
    FINISHING = "rejects new runs, keeps the remaining connections until their runs end"
    INTERRUPTED = "has interrupted the remaining runs"


class DrainEvent(enum.Enum):
    STOP = "the server begins to stop this process"
    PROBE_DUE = "the pause before a probe is over"
    ANSWERED = "another process accepts connections"
    UNANSWERED = "no other process accepts connections yet"
    NO_SUCCESSOR = "no other process will accept connections: the whole service stops"
    BATCH_DUE = "the pause after a batch is over"
    ALL_RECALLED = "every client has been recalled"
    BUDGET_SPENT = "the time for runs to finish is over"
    EXIT = "the interpreter exits"


class DrainStep(enum.Enum):
    """An action of a transition."""

    ANNOUNCE = "report the process as leaving"
    START_BUDGET = "deliver BUDGET_SPENT when the budget is spent"
    AWAIT_CLOSED_LISTENERS = "deliver PROBE_DUE once no stopping worker accepts connections"
    PAUSE = "deliver PROBE_DUE a moment later"
    PROBE = "look for a successor; deliver ANSWERED, UNANSWERED or NO_SUCCESSOR"
    REFUSE_STARTS = "reject new runs"
    RECALL_BATCH = "recall the next batch of clients; deliver BATCH_DUE or ALL_RECALLED"
    INTERRUPT = "interrupt the remaining runs"
    RECALL_ALL = "recall the remaining clients, which follow runs of other processes"


Transition = tuple[DrainState, tuple[DrainStep, ...]]

TO_FINISHING: Transition = (DrainState.FINISHING, (DrainStep.ANNOUNCE, DrainStep.REFUSE_STARTS))
TO_INTERRUPTED: Transition = (
    DrainState.INTERRUPTED,
    (DrainStep.ANNOUNCE, DrainStep.REFUSE_STARTS, DrainStep.INTERRUPT, DrainStep.RECALL_ALL),
)

TRANSITIONS: Mapping[DrainState, Mapping[DrainEvent, Transition]] = {
    DrainState.SERVING: {
        DrainEvent.STOP: (
            DrainState.LEAVING,
            (DrainStep.ANNOUNCE, DrainStep.AWAIT_CLOSED_LISTENERS, DrainStep.START_BUDGET),
        ),
        DrainEvent.EXIT: TO_FINISHING,
        DrainEvent.BUDGET_SPENT: TO_INTERRUPTED,
    },
    DrainState.LEAVING: {
        DrainEvent.PROBE_DUE: (DrainState.PROBING, (DrainStep.PROBE,)),
        DrainEvent.EXIT: TO_FINISHING,
        DrainEvent.BUDGET_SPENT: TO_INTERRUPTED,
    },
    DrainState.PROBING: {
        DrainEvent.ANSWERED: (
            DrainState.RECALLING,
            (DrainStep.REFUSE_STARTS, DrainStep.RECALL_BATCH),
        ),
        DrainEvent.UNANSWERED: (DrainState.LEAVING, (DrainStep.PAUSE,)),
        DrainEvent.NO_SUCCESSOR: (DrainState.FINISHING, (DrainStep.REFUSE_STARTS,)),
        DrainEvent.EXIT: TO_FINISHING,
        DrainEvent.BUDGET_SPENT: TO_INTERRUPTED,
    },
    DrainState.RECALLING: {
        DrainEvent.BATCH_DUE: (DrainState.RECALLING, (DrainStep.RECALL_BATCH,)),
        DrainEvent.ALL_RECALLED: (DrainState.FINISHING, ()),
        DrainEvent.EXIT: TO_FINISHING,
        DrainEvent.BUDGET_SPENT: TO_INTERRUPTED,
    },
    DrainState.FINISHING: {
        DrainEvent.EXIT: TO_FINISHING,
        DrainEvent.BUDGET_SPENT: TO_INTERRUPTED,
    },
    # BUDGET_SPENT may come twice: at exit, the second call waits until the first interruption has finished.
    DrainState.INTERRUPTED: {DrainEvent.BUDGET_SPENT: TO_INTERRUPTED},
}
"""The next state and its steps, by state and event. An event that a state does not list is late, and ignored."""


@dataclass(frozen=True, slots=True)
class DrainActions:
    """The effects of the steps. Only ``interrupt`` and ``find_successor`` may block.

    :param announce: Report the process as leaving: ``/health`` returns 503, and the process restarts no lost runs.
    :param refuse_starts: Reject new runs with 503 from now on.
    :param interrupt: End the remaining runs, and wait a moment for their providers to clean up.
    :param recall: Ask a batch of clients (False) or all of them (True) to reconnect. Returns whether clients remain.
    :param find_successor: Whether another process accepts connections; ``None``: the whole service stops.
    """

    announce: Callable[[], None]
    refuse_starts: Callable[[], None]
    interrupt: Callable[[], None]
    recall: Callable[[bool], bool]
    find_successor: Callable[[], bool | None]


FOUND = {True: DrainEvent.ANSWERED, False: DrainEvent.UNANSWERED, None: DrainEvent.NO_SUCCESSOR}


class Drain:
    """The state of one process. Ignores events that its state does not list.

    :param later: Calls a function after a number of seconds. The function does not block.
    :param spawn: Runs a function concurrently. The function may block.
    :param budget: Seconds that runs may continue after STOP.
    :ivar budget: The same; 0 if the server exits at once. Read at STOP.
    :ivar state: The current state.
    """

    def __init__(
        self,
        actions: DrainActions,
        *,
        later: Callable[[float, Callable[[], None]], object],
        spawn: Callable[[Callable[[], None]], object],
        budget: float,
    ) -> None:
        self.state = DrainState.SERVING
        self._actions = actions
        self._later = later
        self._spawn = spawn
        self.budget = budget

    def handle(self, event: DrainEvent) -> None:
        """Make the transition of an event, and perform its steps in order."""
        transition = TRANSITIONS[self.state].get(event)
        if transition is None:
            return
        self.state, steps = transition
        for step in steps:
            self._do(step)

    def _do(self, step: DrainStep) -> None:
        match step:
            case DrainStep.ANNOUNCE:
                self._actions.announce()
            case DrainStep.START_BUDGET:
                self._deliver_concurrently(self.budget, DrainEvent.BUDGET_SPENT)
            case DrainStep.AWAIT_CLOSED_LISTENERS:
                self._deliver(min(ACCEPTING_SECONDS, self.budget / 2), DrainEvent.PROBE_DUE)
            case DrainStep.PAUSE:
                self._deliver(PROBE_PAUSE_SECONDS, DrainEvent.PROBE_DUE)
            case DrainStep.PROBE:
                self._spawn(self._probe)
            case DrainStep.REFUSE_STARTS:
                self._actions.refuse_starts()
            case DrainStep.RECALL_BATCH:
                if self._actions.recall(False):
                    self._deliver(BATCH_SECONDS, DrainEvent.BATCH_DUE)
                else:
                    self.handle(DrainEvent.ALL_RECALLED)
            case DrainStep.INTERRUPT:
                self._actions.interrupt()
            case DrainStep.RECALL_ALL:
                self._actions.recall(True)

    def _probe(self) -> None:
        self._deliver(0.0, FOUND[self._actions.find_successor()])

    def _deliver(self, seconds: float, event: DrainEvent) -> None:
        self._later(seconds, lambda: self.handle(event))

    def _deliver_concurrently(self, seconds: float, event: DrainEvent) -> None:
        def spawn() -> None:
            self._spawn(lambda: self.handle(event))

        self._later(seconds, spawn)
