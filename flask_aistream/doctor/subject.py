"""What the checks look at."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

from flask import Flask

from flask_aistream.web.config import Settings
from flask_aistream.web.mounts import Mounts


@dataclass(frozen=True, slots=True)
class Timing:
    """How the test stream arrived.

    :param seconds: When each frame arrived, after the request.
    :param encoding: ``Content-Encoding`` of the response.
    :param cut_after: Silence in seconds after which the connection was closed; ``None``: it was not.
    """

    seconds: tuple[float, ...]
    encoding: str = ""
    cut_after: float | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """What was measured at the public URL.

    :param url: Of the blueprint.
    :param process: Facts about the process that answered, see ``web/diagnosis.py``; empty if it gave none.
    :param timing: Of the test stream; ``None`` if there was none.
    :param largest_body: Bytes of the largest body that arrived, of those tried; ``None`` if none did.
    :param protocols: What the server offers in its TLS handshake; ``None`` without TLS.
    :param cors: ``Access-Control-Allow-Origin`` for the origin that was asked for.
    :param operated: Whether a stranger may see and stop the runs of all callers in the playground.
    :param problem: Why the URL could not be examined, as a sentence.
    """

    url: str
    process: t.Mapping[str, t.Any] = field(default_factory=dict)
    timing: Timing | None = None
    largest_body: int | None = None
    protocols: frozenset[str] | None = None
    cors: str | None = None
    operated: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One deployment.

    :param site: ``None`` if no URL was given.
    :param origin: Of the pages that should read the streams; ``None`` if it was not given.
    """

    app: Flask
    settings: Settings
    mounts: Mounts
    site: Site | None = None
    origin: str | None = None

    @property
    def process(self) -> t.Mapping[str, t.Any]:
        return self.site.process if self.site else {}
