"""How a process leaves without losing a token, as a table of states and transitions.

::

    SERVING ─STOP→ LEAVING ─PROBE_DUE→ PROBING ─ANSWERED→ RECALLING ─ALL_RECALLED→ FINISHING
                      ↑                   │ │                                          ↑
                      └────UNANSWERED─────┘ └──────────────NO_SUCCESSOR────────────────┘

From each of them, EXIT leads to FINISHING, and BUDGET_SPENT to INTERRUPTED. Nothing here knows a server or
reads a clock; ``lifecycle.py`` connects it to gunicorn.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass

ACCEPTING_SECONDS = 1.5
"""How long a leaving worker, and others that leave with it, may still accept connections: gunicorn looks once
a second whether a worker is to leave. A client recalled earlier could reconnect to one of them."""

PROBE_PAUSE_SECONDS = 0.2
"""Between two probes for a successor."""

BATCH_SECONDS = 0.1
"""Between two batches of recalled clients: all at once would be too many for the successor."""


class DrainState(enum.Enum):
    SERVING = "runs start, connections stay"
    LEAVING = "as SERVING, but reported as leaving: no successor has answered yet"
    PROBING = "asks whether another process accepts connections"
    RECALLING = "refuses starts; clients are asked to reconnect, in batches"
    FINISHING = "refuses starts; runs finish, and connections that are left stay with them"
    INTERRUPTED = "the runs that were left have been interrupted"


class DrainEvent(enum.Enum):
    STOP = "the server was told to stop this process"
    PROBE_DUE = "it is time to look for a successor"
    ANSWERED = "another process accepts connections"
    UNANSWERED = "none does yet"
    NO_SUCCESSOR = "none will: the whole service stops"
    BATCH_DUE = "the last batch had its time"
    ALL_RECALLED = "no connection is left to recall"
    BUDGET_SPENT = "the time for runs to finish is over"
    EXIT = "the server has let go of the process"


class DrainStep(enum.Enum):
    """What a transition does."""

    ANNOUNCE = "report the process as leaving"
    START_BUDGET = "deliver BUDGET_SPENT when it is"
    AWAIT_CLOSED_LISTENERS = "deliver PROBE_DUE once no leaving worker accepts connections"
    PAUSE = "deliver PROBE_DUE a moment later"
    PROBE = "look for a successor; deliver ANSWERED, UNANSWERED or NO_SUCCESSOR"
    REFUSE_STARTS = "refuse new runs"
    RECALL_BATCH = "recall some clients; deliver BATCH_DUE or ALL_RECALLED"
    INTERRUPT = "interrupt the runs that are left"
    RECALL_ALL = "recall every client: those that are left follow runs of other processes"


Transition = tuple[DrainState, tuple[DrainStep, ...]]

EXIT: Transition = (DrainState.FINISHING, (DrainStep.ANNOUNCE, DrainStep.REFUSE_STARTS))
INTERRUPT: Transition = (
    DrainState.INTERRUPTED,
    (DrainStep.ANNOUNCE, DrainStep.REFUSE_STARTS, DrainStep.INTERRUPT, DrainStep.RECALL_ALL),
)

TRANSITIONS: Mapping[DrainState, Mapping[DrainEvent, Transition]] = {
    DrainState.SERVING: {
        DrainEvent.STOP: (
            DrainState.LEAVING,
            (DrainStep.ANNOUNCE, DrainStep.AWAIT_CLOSED_LISTENERS, DrainStep.START_BUDGET),
        ),
        DrainEvent.EXIT: EXIT,
        DrainEvent.BUDGET_SPENT: INTERRUPT,
    },
    DrainState.LEAVING: {
        DrainEvent.PROBE_DUE: (DrainState.PROBING, (DrainStep.PROBE,)),
        DrainEvent.EXIT: EXIT,
        DrainEvent.BUDGET_SPENT: INTERRUPT,
    },
    DrainState.PROBING: {
        DrainEvent.ANSWERED: (
            DrainState.RECALLING,
            (DrainStep.REFUSE_STARTS, DrainStep.RECALL_BATCH),
        ),
        DrainEvent.UNANSWERED: (DrainState.LEAVING, (DrainStep.PAUSE,)),
        DrainEvent.NO_SUCCESSOR: (DrainState.FINISHING, (DrainStep.REFUSE_STARTS,)),
        DrainEvent.EXIT: EXIT,
        DrainEvent.BUDGET_SPENT: INTERRUPT,
    },
    DrainState.RECALLING: {
        DrainEvent.BATCH_DUE: (DrainState.RECALLING, (DrainStep.RECALL_BATCH,)),
        DrainEvent.ALL_RECALLED: (DrainState.FINISHING, ()),
        DrainEvent.EXIT: EXIT,
        DrainEvent.BUDGET_SPENT: INTERRUPT,
    },
    DrainState.FINISHING: {
        DrainEvent.EXIT: EXIT,
        DrainEvent.BUDGET_SPENT: INTERRUPT,
    },
    # At exit once more: an interruption that the budget began is then waited for.
    DrainState.INTERRUPTED: {DrainEvent.BUDGET_SPENT: INTERRUPT},
}
"""An event that is not listed is late, and ignored."""


@dataclass(frozen=True, slots=True)
class DrainActions:
    """What draining does to a process. No action but ``interrupt`` and ``find_successor`` may block.

    :param announce: Reports the process as leaving: ``/health`` answers 503, lost runs go elsewhere.
    :param refuse_starts: From now on, starts are answered with 503.
    :param interrupt: Ends every run that is left, and waits a moment for the providers to clean up.
    :param recall: Asks a batch of clients, or all of them, to reconnect; returns whether some are left.
    :param find_successor: Whether another process accepts connections; ``None``: none ever will.
    """

    announce: Callable[[], None]
    refuse_starts: Callable[[], None]
    interrupt: Callable[[], None]
    recall: Callable[[bool], bool]
    find_successor: Callable[[], bool | None]


FOUND = {True: DrainEvent.ANSWERED, False: DrainEvent.UNANSWERED, None: DrainEvent.NO_SUCCESSOR}


class Drain:
    """Takes events, and one process through the table.

    :param later: Calls back after some seconds; callbacks do not block.
    :param spawn: Runs work that may block beside everything else.
    :param budget: Seconds that runs may go on after STOP.
    :ivar budget: The same; a server that hurries sets it to 0 before STOP.
    :ivar state: Where the process is now.
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
                self._deliver_beside(self.budget, DrainEvent.BUDGET_SPENT)
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

    def _deliver_beside(self, seconds: float, event: DrainEvent) -> None:
        def spawn() -> None:
            self._spawn(lambda: self.handle(event))

        self._later(seconds, spawn)
