"""Count the forks between the first process and this one: a number that tells a child from its parent.

``os.getpid()`` would do, too, but it is a system call, and the number is compared several times per request.
"""

from __future__ import annotations

import os


class Forks:
    """
    :ivar count: Differs in a child from its parent.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        self.count += 1


FORKS = Forks()

if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=FORKS.add)
