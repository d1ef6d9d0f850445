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


class State(enum.Enum):
    SERVING = "runs start, connections stay"
    LEAVING = "as SERVING, but reported as leaving: no successor has answered yet"
    PROBING = "asks whether another process accepts connections"
    RECALLING = "refuses starts; clients are asked to reconnect, in batches"
    FINISHING = "refuses starts; runs finish, and connections that are left stay with them"
    INTERRUPTED = "the runs that were left have been interrupted"


class Event(enum.Enum):
    STOP = "the server was told to stop this process"
    PROBE_DUE = "it is time to look for a successor"
    ANSWERED = "another process accepts connections"
    UNANSWERED = "none does yet"
    NO_SUCCESSOR = "none will: the whole service stops, or no other process knows the runs"
    BATCH_DUE = "the last batch had its time"
    ALL_RECALLED = "no connection is left to recall"
    BUDGET_SPENT = "the time for runs to finish is over"
    EXIT = "the server has let go of the process"


class Step(enum.Enum):
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


Transition = tuple[State, tuple[Step, ...]]

EXIT: Transition = (State.FINISHING, (Step.ANNOUNCE, Step.REFUSE_STARTS))
INTERRUPT: Transition = (
    State.INTERRUPTED,
    (Step.ANNOUNCE, Step.REFUSE_STARTS, Step.INTERRUPT, Step.RECALL_ALL),
)

TRANSITIONS: Mapping[State, Mapping[Event, Transition]] = {
    State.SERVING: {
        Event.STOP: (
            State.LEAVING,
            (Step.ANNOUNCE, Step.AWAIT_CLOSED_LISTENERS, Step.START_BUDGET),
        ),
        Event.EXIT: EXIT,
        Event.BUDGET_SPENT: INTERRUPT,
    },
    State.LEAVING: {
        Event.PROBE_DUE: (State.PROBING, (Step.PROBE,)),
        Event.EXIT: EXIT,
        Event.BUDGET_SPENT: INTERRUPT,
    },
    State.PROBING: {
        Event.ANSWERED: (State.RECALLING, (Step.REFUSE_STARTS, Step.RECALL_BATCH)),
        Event.UNANSWERED: (State.LEAVING, (Step.PAUSE,)),
        Event.NO_SUCCESSOR: (State.FINISHING, (Step.REFUSE_STARTS,)),
        Event.EXIT: EXIT,
        Event.BUDGET_SPENT: INTERRUPT,
    },
    State.RECALLING: {
        Event.BATCH_DUE: (State.RECALLING, (Step.RECALL_BATCH,)),
        Event.ALL_RECALLED: (State.FINISHING, ()),
        Event.EXIT: EXIT,
        Event.BUDGET_SPENT: INTERRUPT,
    },
    State.FINISHING: {
        Event.EXIT: EXIT,
        Event.BUDGET_SPENT: INTERRUPT,
    },
    # At exit once more: an interruption that the budget began is then waited for.
    State.INTERRUPTED: {Event.BUDGET_SPENT: INTERRUPT},
}
"""An event that is not listed is late, and ignored."""


@dataclass(frozen=True, slots=True)
class Process:
    """What draining does to a process. Nothing but ``interrupt`` and ``find_successor`` may block.

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


FOUND = {True: Event.ANSWERED, False: Event.UNANSWERED, None: Event.NO_SUCCESSOR}


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
        process: Process,
        *,
        later: Callable[[float, Callable[[], None]], object],
        spawn: Callable[[Callable[[], None]], object],
        budget: float,
    ) -> None:
        self.state = State.SERVING
        self._process = process
        self._later = later
        self._spawn = spawn
        self.budget = budget

    def handle(self, event: Event) -> None:
        transition = TRANSITIONS[self.state].get(event)
        if transition is None:
            return
        self.state, steps = transition
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        match step:
            case Step.ANNOUNCE:
                self._process.announce()
            case Step.START_BUDGET:
                self._deliver_beside(self.budget, Event.BUDGET_SPENT)
            case Step.AWAIT_CLOSED_LISTENERS:
                self._deliver(min(ACCEPTING_SECONDS, self.budget / 2), Event.PROBE_DUE)
            case Step.PAUSE:
                self._deliver(PROBE_PAUSE_SECONDS, Event.PROBE_DUE)
            case Step.PROBE:
                self._spawn(self._probe)
            case Step.REFUSE_STARTS:
                self._process.refuse_starts()
            case Step.RECALL_BATCH:
                if self._process.recall(False):
                    self._deliver(BATCH_SECONDS, Event.BATCH_DUE)
                else:
                    self.handle(Event.ALL_RECALLED)
            case Step.INTERRUPT:
                self._process.interrupt()
            case Step.RECALL_ALL:
                self._process.recall(True)

    def _probe(self) -> None:
        self._deliver(0.0, FOUND[self._process.find_successor()])

    def _deliver(self, seconds: float, event: Event) -> None:
        self._later(seconds, lambda: self.handle(event))

    def _deliver_beside(self, seconds: float, event: Event) -> None:
        def spawn() -> None:
            self._spawn(lambda: self.handle(event))

        self._later(seconds, spawn)
