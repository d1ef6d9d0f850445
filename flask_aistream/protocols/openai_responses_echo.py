"""The fields of a Responses request that its response objects repeat."""

from __future__ import annotations

import typing as t

from flask_aistream.protocols.fields import type_name
from flask_aistream.protocols.fields import wrong_type

Json = dict[str, t.Any]

# Request fields that a response object repeats → their JSON types, and their values if they are absent.
ECHOED: dict[str, tuple[tuple[type, ...], t.Any]] = {
    "instructions": ((str,), None),
    "metadata": ((dict,), {}),
    "tools": ((list,), []),
    "tool_choice": ((str, dict), "auto"),
    "parallel_tool_calls": ((bool,), True),
    "previous_response_id": ((str,), None),
    "store": ((bool,), True),
    "background": ((bool,), False),
    "text": ((dict,), {}),
    "reasoning": ((dict,), None),
    "temperature": ((int, float), 1.0),
    "top_p": ((int, float), 1.0),
    "presence_penalty": ((int, float), 0.0),
    "frequency_penalty": ((int, float), 0.0),
    "top_logprobs": ((int,), 0),
    "max_output_tokens": ((int,), None),
    "max_tool_calls": ((int,), None),
    "truncation": ((str,), "disabled"),
    "service_tier": ((str,), "default"),
    "safety_identifier": ((str,), None),
    "prompt_cache_key": ((str,), None),
    "prompt_cache_retention": ((str,), None),
    "prompt": ((dict,), None),
    "user": ((str,), None),
    "conversation": ((str, dict), None),
}

SENT: dict[str, tuple[type, ...]] = {
    "access_programs": (dict,),
    "image": (dict,),
    "prompt_cache_options": (dict,),
}
"""As ``ECHOED``, for fields that a response object has only if the request has them."""

FORM: dict[str, tuple[type, ...]] = {
    **{name: types for name, (types, _) in ECHOED.items() if types != (str,)},
    **SENT,
    "input": (str, list),
    "include": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
}
"""Fields of a form-encoded request that are not text, and their JSON types."""


def read_echo(body: dict[str, t.Any]) -> Json:
    """The fields of a request that its response repeats.

    :raises RequestError: One has a wrong type.
    """
    types_of = {**{name: types for name, (types, _) in ECHOED.items()}, **SENT}
    for name, types in types_of.items():
        if body.get(name) is not None and type(body[name]) not in types:
            raise wrong_type(name, body[name], " or ".join(dict.fromkeys(map(type_name, types))))
    return {name: body[name] for name in types_of if body.get(name) is not None}


def echo_fields(echo: Json) -> Json:
    """The repeated fields of a response object, all of them: strict clients require each."""
    fields = {name: echo.get(name, default) for name, (_, default) in ECHOED.items()}
    fields |= {name: echo[name] for name in SENT if name in echo}
    fields["text"] = {"format": {"type": "text"}, **fields["text"]}
    fields["tools"] = [
        {**TOOL_DEFAULTS, **tool} if is_function(tool) else tool for tool in fields["tools"]
    ]
    if isinstance(fields["conversation"], str):
        fields["conversation"] = {"id": fields["conversation"]}
    if fields["reasoning"] is not None:
        fields["reasoning"] = {"effort": None, "summary": None, **fields["reasoning"]}
    return fields


TOOL_DEFAULTS: Json = {"description": None, "parameters": None, "strict": None}


def is_function(tool: t.Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"
