"""Limits of interrupting an OS thread."""

from __future__ import annotations

import subprocess
import sys

from tests.server.servers import DEADLINE
from tests.server.servers import ROOT

# Collects at every allocation, and then lets the others run: what happens once in many hours.
STOPS = """
import gc, socket, sys, threading, time
from flask_aistream.server import threads

def collecting(phase, info):
    caller = sys._getframe().f_back
    if caller is not None and caller.f_code.co_filename == threads.__file__:
        time.sleep(0.01)

def start_others():
    while True:
        threading.Thread(target=int, daemon=True).start()
        time.sleep(0.001)

here, there = socket.socketpair()
reader = threading.Thread(target=here.recv, args=(1,), daemon=True)
reader.start()
threading.Thread(target=start_others, daemon=True).start()
gc.callbacks.append(collecting)
gc.set_threshold(1)
for _ in range(20):
    threads.unblock(reader.ident)
print("alive", gc.isenabled())
"""

AT_EXIT = """
import atexit, threading
from flask_aistream.server.threads import Threads

def spawn():
    told = threading.Event()
    task = Threads().spawn(lambda: (print("told"), told.set()))
    told.wait(10)
    task.interrupt()

atexit.register(spawn)
"""


def test_a_stop_does_not_lock_up_the_process_where_memory_is_collected_meanwhile() -> None:
    # A process of its own: no timeout of this one would end a lock-up.
    assert output_of(STOPS) == "alive True\n"


def test_a_task_spawned_at_exit_is_run() -> None:
    assert output_of(AT_EXIT) == "told\n"


def output_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert not done.stderr
    return done.stdout
