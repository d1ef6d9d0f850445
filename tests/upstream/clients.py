"""SDKs whose clients ask a server of the tests."""

from __future__ import annotations

import typing as t

from tests.upstream.memory import ASKED


def endpoint(wire: str, url: str, *, asynchronous: bool = False) -> t.Any:
    """Where ``create`` asks the model of a wire."""
    if wire == "anthropic":
        import anthropic

        kind: t.Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=url, api_key="none", max_retries=0).messages
    import openai

    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = kind(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.responses if wire == "openai-responses" else client.chat.completions


def raw(wire: str, url: str) -> t.Any:
    return endpoint(wire, url).with_streaming_response.create(**ASKED[wire])
