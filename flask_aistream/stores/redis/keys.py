"""Names in Redis: keys, channels, and the ids of a log's entries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from urllib.parse import quote

from flask_aistream.core.run import Run
from flask_aistream.stores.codec import decode
from flask_aistream.stores.shared.engine import Segment

FORMAT = 1
"""Version of what is written here."""

FIELDS = [field.name for field in fields(Run) if field.name != "request"]


TYPES = {"owner": b"set", "chat-runs": b"zset"}
"""Types of the keys that are named by clients; of the others, a string."""

RECENT = 64


class Keys:
    """Every key and channel of one application.

    :param namespace: Of the application; see ``AISTREAM_NAMESPACE``.
    """

    def __init__(self, namespace: str) -> None:
        # Without separators, braces and spaces.
        self.prefix = f"aistream:{quote(namespace, safe='', errors='surrogatepass')}:"
        self.ended = f"{self.prefix}ended"
        self.bytes = f"{self.prefix}bytes"
        self.outbox = f"{self.prefix}outbox"
        self.processes = f"{self.prefix}processes"
        self._recent: dict[str, bytes] = {}

    def log(self, run_id: str) -> str:
        # The braces put both of a run's keys into one slot of a cluster.
        return f"{self.prefix}{{{run_id}}}:log"

    def meta(self, run_id: str) -> str:
        return f"{self.prefix}{{{run_id}}}:meta"

    def both(self, run_id: str) -> tuple[str, str]:
        return self.log(run_id), self.meta(run_id)

    def beat(self, process: str) -> str:
        return f"{self.prefix}process:{process}:beat"

    def runs(self, process: str) -> str:
        """The living runs of a process; of the empty name, those that wait for their owner."""
        return f"{self.prefix}process:{process}:runs"

    def news(self, process: str) -> str:
        """The channel on which others publish which runs of a process they have ended or adopted."""
        return f"{self.prefix}process:{process}:ended"

    def alias(self, kind: str, name: str) -> str:
        """A client chose the name: it may be long, and hold any character."""
        key = f"{self.prefix}{kind}:{hashlib.sha256(name.encode()).hexdigest()[:40]}"
        self._recent[key] = TYPES.get(kind, b"string")
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        return key

    def aliases(self, run: Run) -> list[str]:
        """The names by which a run is found."""
        named = (("key", run.key), ("chat", run.chat))
        return [self.alias(kind, value) for kind, value in named if value is not None]

    def types(self, process: str) -> dict[str, bytes]:
        """Types of the keys that processes share, with those that were named last.

        Of the log and meta key of a run, the scripts see to it.
        """
        return self._recent | {
            self.processes: b"set",
            self.outbox: b"set",
            self.ended: b"zset",
            self.bytes: b"hash",
            self.runs(process): b"set",
            self.runs(""): b"set",
            self.beat(process): b"string",
        }

    def owner(self, account: str) -> str:
        """The living runs of an owner; see ``Run.account``."""
        return self.alias("owner", account)


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


def entry_id(length: int, epoch: int = 0) -> str:
    """Id of the stream entry that makes a log ``length`` long. Plus one: a log may be empty, and 0-0 is no id."""
    return f"{length + 1}-{epoch}"


def segment_of(key: bytes, fields: dict[bytes, bytes]) -> Segment:
    events = decode(fields[b"d"])
    return Segment(int(key.partition(b"-")[0]) - 1 - len(events), events)
