"""The SDKs' clients and requests, the same for every server that calls a model (workload L).

The server's own request says what to ask for: ``wire`` (``openai`` or ``anthropic``), ``mode`` (``flat`` or
``paced``), ``rate`` and ``n`` tokens. ``UPSTREAM`` in the environment is the model's base URL.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:1")
CONNECTIONS = 4096
"""Streams at once; the SDKs' default is 1,000 connections."""

OPENAI: dict[str, t.Any] = {"base_url": f"{UPSTREAM}/v1", "api_key": "none", "max_retries": 0}
ANTHROPIC: dict[str, t.Any] = {"base_url": UPSTREAM, "api_key": "none", "max_retries": 0}


def request_of(query: Mapping[str, str]) -> dict[str, t.Any]:
    """The arguments of ``create``, in both SDKs."""
    paced = query.get("mode") == "paced"
    return {
        "model": f"paced-{query.get('rate', '50')}" if paced else "flat",
        "max_tokens": int(query.get("n", 1)),
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }


def text_of_openai(chunk: t.Any) -> str:
    """The text of a parsed chunk, as OpenAI's documentation reads it."""
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


def text_of_anthropic(chunk: t.Any) -> str:
    if chunk.type == "content_block_delta" and chunk.delta.type == "text_delta":
        return str(chunk.delta.text)
    return ""
