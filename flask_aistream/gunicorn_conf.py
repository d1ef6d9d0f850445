"""Settings of gunicorn for streams: ``gunicorn -c python:flask_aistream.gunicorn_conf app:app``.

They are defaults: the command line and ``GUNICORN_CMD_ARGS`` win. A file of your own may begin with
``from flask_aistream.gunicorn_conf import *``.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

FILES = 65_536
"""Files to be open at once, if the system allows it. Many systems begin with 1024, which is 500 streams."""

SPARE_FILES = 200
"""Besides the streams: the store, the listeners, logs, modules being imported."""

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """What this process may use of the machine. In a container, the machine's count would be too many."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(min(count or 1, round(int(quota) / int(period))), 1)
    except (OSError, ValueError):  # There is no such file, or "max" in it.
        return count or 1


def allow_files() -> int:
    """Raise the number of open files as far as is allowed and useful.

    :returns: What it is then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = FILES if hard == unlimited else min(hard, FILES)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return FILES if soft == unlimited else soft


# Thousands of streams a worker; a stream that waits costs no thread.
worker_class = "gevent"

# One a core: a worker waits for thousands of models at once, but computes on one core.
workers = int(os.environ.get("WEB_CONCURRENCY") or cores())

# A stream takes two files: the client's connection and the one to the model. Beyond that, connections
# wait in the kernel instead of failing.
worker_connections = max(min(10_000, (allow_files() - SPARE_FILES) // 2), 100)

# How long runs may go on in a worker that leaves, before they end as interrupted. systemd kills after 90
# seconds; Kubernetes after 30, unless it is told terminationGracePeriodSeconds.
graceful_timeout = 60

# For the next question of the same page. Longer would hold up a worker that leaves: it waits for kept
# connections too.
keepalive = 5

# No recycling: a worker's memory is flat, and each recycling moves all of its readers.
max_requests = 0

# HUP loads new code only if each worker imports the application by itself.
preload_app = False

# It is only for `gunicornc`, and two services of one user would want the same file.
control_socket_disable = True

# Workers show that they are alive by touching a file. On a disk that is busy this may take so long that
# they count as dead.
if os.access("/dev/shm", os.W_OK):
    worker_tmp_dir = "/dev/shm"
