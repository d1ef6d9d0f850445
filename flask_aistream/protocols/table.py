"""Every wire protocol, by name."""

from __future__ import annotations

from flask_aistream.protocols.ag_ui import AG_UI
from flask_aistream.protocols.ai_sdk import AI_SDK
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.html import HTML
from flask_aistream.protocols.native import NATIVE
from flask_aistream.protocols.openai_chat import OPENAI_CHAT
from flask_aistream.protocols.openai_responses import OPENAI_RESPONSES
from flask_aistream.protocols.text import TEXT

PROTOCOLS: dict[str, WireProtocol] = {
    protocol.name: protocol
    for protocol in (NATIVE, AI_SDK, OPENAI_CHAT, OPENAI_RESPONSES, AG_UI, HTML, TEXT)
}


def client_headers() -> set[str]:
    """Names of the response headers, besides those of every protocol, that clients read."""
    names: set[str] = set()
    for protocol in PROTOCOLS.values():
        names |= {*protocol.headers, *protocol.error_headers(500)}
        names |= {protocol.run_header} if protocol.run_header else set()
    return names
