"""What OS threads cannot do to each other."""

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


def test_a_stop_does_not_lock_up_the_process_where_memory_is_collected_meanwhile() -> None:
    # A process of its own: no timeout of this one would end a lock-up.
    done = subprocess.run(
        [sys.executable, "-c", STOPS],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.stdout == "alive True\n", done.stderr
