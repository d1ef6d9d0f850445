"""Translate vendors' finish reasons."""

from __future__ import annotations

from flask_aistream.core.events import FinishReason

REASONS: dict[str, FinishReason] = {
    # OpenAI and compatible servers
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "content_filter": "content-filter",
    "max_output_tokens": "length",
    "model_length": "length",
    "sensitive": "content-filter",
    # Anthropic
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
    # Bedrock
    "content_filtered": "content-filter",
    "guardrail_intervened": "content-filter",
    # Google
    "safety": "content-filter",
    "recitation": "content-filter",
    "blocklist": "content-filter",
    "prohibited_content": "content-filter",
    "spii": "content-filter",
    "image_safety": "content-filter",
    "image_prohibited_content": "content-filter",
    "image_recitation": "content-filter",
    "model_armor": "content-filter",
    # pydantic-ai, AI SDK
    "tool_call": "tool-calls",
    "tool-calls": "tool-calls",
    "content-filter": "content-filter",
}


BROKEN = {
    "abort": "upstream_incomplete",  # vLLM
    "error": "upstream_error",  # OpenRouter, Mistral
    "insufficient_system_resource": "upstream_unavailable",  # DeepSeek
    "network_error": "upstream_unavailable",  # Zhipu
}
"""Reasons of answers that the service aborted → error codes."""


def reason_of(word: object) -> FinishReason:
    """Translate a vendor's reason, a string in any case or an enum; ``other`` if it is unknown."""
    return REASONS.get(str(getattr(word, "value", word)).lower(), "other")
