"""What the page offers, taken from the tables of the server."""

from __future__ import annotations

import typing as t

from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.web.config import Settings
from flask_aistream.web.registry import ProviderRegistry

TITLES = {
    "native": "Native",
    "ai-sdk": "AI SDK UI messages",
    "openai-chat": "OpenAI Chat Completions",
    "openai-responses": "OpenAI Responses",
    "ag-ui": "AG-UI",
    "html": "HTML for htmx",
    "text": "Plain text",
}


def choices_of(settings: Settings, registry: ProviderRegistry) -> dict[str, t.Any]:
    """The page adds the prefix, which it knows from its own address: a proxy may have changed it."""
    served = [it for it in PROTOCOLS.values() if is_served(settings, it)]
    return {
        "providers": [{"name": it.name, "default_prompt": it.default_prompt} for it in registry],
        "protocols": [
            {
                "name": it.name,
                "title": TITLES.get(it.name, it.name),
                "path": it.path,
                "resumes": resumes_from(it),
                "events": it.content_type.startswith("text/event-stream"),
            }
            for it in served
        ],
        "detach_seconds": settings.detach_seconds,
        "heartbeat_seconds": settings.heartbeat_seconds,
    }


def is_served(settings: Settings, protocol: WireProtocol) -> bool:
    return settings.protocols is None or protocol.name in settings.protocols


def resumes_from(protocol: WireProtocol) -> str | None:
    """Where a client that lost its connection continues: at its ``cursor``, or from the ``start`` of the answer. ``None``:
    nowhere, since leaving stops the run."""
    if protocol.stopped_by_leaving:
        return None
    return "start" if protocol.stateful else "cursor"
