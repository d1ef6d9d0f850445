"""Any endpoint that speaks OpenAI's chat completions, through the ``openai`` SDK."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from collections.abc import Mapping
from urllib.parse import urlsplit

import openai

from example_app.models.base import Model
from flask_aistream import ChatRequest
from flask_aistream import ProviderError

DEFAULT = "gpt-4o-mini"


def model(environ: Mapping[str, str]) -> Model:
    name = environ.get("OPENAI_MODEL") or DEFAULT
    # A local server needs no key, but the SDK refuses to start without one.
    client = openai.OpenAI(
        api_key=environ.get("OPENAI_API_KEY") or "none",
        base_url=environ.get("OPENAI_BASE_URL") or None,
    )

    def answer(request: ChatRequest) -> Iterator[t.Any]:
        try:
            yield from client.chat.completions.create(
                model=name,
                messages=t.cast(t.Any, request.messages),
                stream=True,
                stream_options={"include_usage": True},
            )
        except openai.APIStatusError as error:
            raise ProviderError("model_refused", refusal(name, error.status_code)) from error
        except openai.APIConnectionError as error:
            raise ProviderError("model_unreachable", UNREACHABLE) from error

    return Model(title=f"{name} at {urlsplit(str(client.base_url)).hostname}", answer=answer)


UNREACHABLE = "The model's service cannot be reached. Is OPENAI_BASE_URL right?"


def refusal(name: str, status: int) -> str:
    """What a visitor may know; the SDK's own words, which may name keys, go to the log."""
    return (
        f"The model's service answered {status}. Is OPENAI_API_KEY right, and is there a model {name}? "
        "OPENAI_MODEL names another."
    )
