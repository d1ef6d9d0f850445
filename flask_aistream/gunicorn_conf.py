"""gunicorn settings for streams: ``gunicorn -c python:flask_aistream.gunicorn_conf app:app``.

The command line and ``GUNICORN_CMD_ARGS`` override them. A configuration file of your own may begin with
``from flask_aistream.gunicorn_conf import *``.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

FILES = 65_536
"""Limit of open files, if the system allows it. The default of many systems is 1024: about 400 streams."""

SPARE_FILES = 200
"""Open files besides those of streams: store, listeners, logs, modules being imported."""

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """CPU cores that this process may use: in a container fewer than the machine has."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(min(count or 1, round(int(quota) / int(period))), 1)
    except (OSError, ValueError):  # No such file, or the quota is "max".
        return count or 1


def allow_files() -> int:
    """Raise the limit of open files as far as the system allows, up to ``FILES``.

    :returns: The new limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = FILES if hard == unlimited else min(hard, FILES)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return FILES if soft == unlimited else soft


# Thousands of streams a worker: a waiting stream occupies a greenlet, not a thread.
worker_class = "gevent"

# One per core: a worker waits for thousands of models at once, but computes on one core.
workers = int(os.environ.get("WEB_CONCURRENCY") or cores())

# A stream opens two files: the client's connection and the one to the model. Further connections wait in the
# kernel's backlog instead of failing.
worker_connections = max(min(10_000, (allow_files() - SPARE_FILES) // 2), 100)

# How long runs continue in a draining worker before they end as interrupted. systemd kills after 90 seconds,
# Kubernetes after 30 unless terminationGracePeriodSeconds is set.
graceful_timeout = 60

# For the next request of the same page. A longer time would delay a draining worker, which waits for idle
# connections, too.
keepalive = 5

# No recycling: a worker's memory is flat, and each recycling makes all of its clients reconnect.
max_requests = 0

# HUP loads new code only if each worker imports the application itself.
preload_app = False

# Used only by `gunicornc`; two services of one user would share one socket file.
control_socket_disable = True

# Workers prove that they are alive by touching a file. On a busy disk this may block for so long that the
# arbiter kills them.
# gunicorn creates its files there with random names and mode 0600.
if os.access("/dev/shm", os.W_OK):  # nosec B108
    worker_tmp_dir = "/dev/shm"  # nosec B108
