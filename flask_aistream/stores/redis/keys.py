"""Names in Redis: keys, channels, and the ids of a log's entries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from flask_aistream.core.run import Run
from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import Segment

PREFIX = "aistream:"

FORMAT = 1
"""Version of what is written here."""

FIELDS = [field.name for field in fields(Run) if field.name != "request"]
ENDED = f"{PREFIX}ended"
BYTES = f"{PREFIX}bytes"
OUTBOX = f"{PREFIX}outbox"
PROCESSES = f"{PREFIX}processes"


def log_key(run_id: str) -> str:
    # The braces put both of a run's keys into one slot of a cluster.
    return f"{PREFIX}{{{run_id}}}:log"


def meta_key(run_id: str) -> str:
    return f"{PREFIX}{{{run_id}}}:meta"


def about_of(run: Run) -> str:
    """What the ``run`` field of its meta key holds: JSON, without the request."""
    return json.dumps({name: getattr(run, name) for name in FIELDS} | {"format": FORMAT})


def run_of(about: bytes, request: bytes = b"") -> Run:
    """The inverse of :func:`about_of`. Fields that a newer version has added are ignored.

    :raises ValueError: It is not what any version of this package writes.
    """
    values = json.loads(about)
    return Run(
        **{name: values[name] for name in FIELDS if name in values}, request=request.decode()
    )


def beat_key(name: str) -> str:
    return f"{PREFIX}process:{name}:beat"


def runs_of(name: str) -> str:
    """The living runs of a process; of the empty name, those that wait for their owner."""
    return f"{PREFIX}process:{name}:runs"


def news_of(name: str) -> str:
    """The channel on which others publish which runs of a process they have ended or adopted."""
    return f"{PREFIX}process:{name}:ended"


def alias(kind: str, name: str) -> str:
    """A client chose the name: it may be long, and hold any character."""
    return f"{PREFIX}{kind}:{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def aliases(run: Run) -> list[str]:
    """The names by which a run is found."""
    named = (("key", run.key), ("chat", run.chat))
    return [alias(kind, value) for kind, value in named if value is not None]


def entry_id(length: int, epoch: int = 0) -> str:
    """Id of the stream entry that makes a log ``length`` long. Plus one: a log may be empty, and 0-0 is no id."""
    return f"{length + 1}-{epoch}"


def segment_of(key: bytes, fields: dict[bytes, bytes]) -> Segment:
    events = decode(fields[b"d"])
    return Segment(int(key.partition(b"-")[0]) - 1 - len(events), events)
