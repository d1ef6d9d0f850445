"""Every field that OpenAI's SDK can send is read, echoed, given to the provider, or refused in a sentence.

The fields are those of the installed ``openai``: a new one fails the test until it has a row.
"""

from __future__ import annotations

import typing as t

import pytest
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as response_params
from openai.types.responses import response_input_param as input_params

from flask_aistream.core.events import RunStarted
from flask_aistream.core.fold import Fold
from flask_aistream.errors import RequestError
from flask_aistream.protocols.base import EncoderContext
from flask_aistream.protocols.openai_responses import response_body
from flask_aistream.protocols.openai_responses_input import READERS
from flask_aistream.protocols.table import PROTOCOLS

READ, ECHOED, PROVIDER, REFUSED = "read", "echoed", "provider", "refused"
"""The protocol acts on it; the provider gets it, and the response repeats it; the provider gets it; 400."""

BODIES: dict[str, dict[str, t.Any]] = {
    "openai-chat": {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]},
    "openai-responses": {"model": "chat", "input": "Hi"},
}

CHAT: dict[str, tuple[str, t.Any]] = {
    "audio": (REFUSED, {"format": "wav", "voice": "alloy"}),
    "frequency_penalty": (PROVIDER, 0.5),
    "function_call": (REFUSED, "auto"),
    "functions": (REFUSED, [{"name": "clock"}]),
    "logit_bias": (PROVIDER, {"1": 2}),
    "logprobs": (REFUSED, True),
    "max_completion_tokens": (PROVIDER, 9),
    "max_tokens": (PROVIDER, 9),
    "messages": (READ, None),
    "metadata": (PROVIDER, {"k": "v"}),
    "modalities": (REFUSED, ["text", "audio"]),
    "model": (READ, None),
    "moderation": (PROVIDER, {"model": "m"}),
    "n": (REFUSED, 2),
    "parallel_tool_calls": (PROVIDER, False),
    "prediction": (PROVIDER, {"type": "content", "content": "Hi"}),
    "presence_penalty": (PROVIDER, 0.5),
    "prompt_cache_key": (PROVIDER, "k"),
    "prompt_cache_options": (PROVIDER, {"mode": "explicit"}),
    "prompt_cache_retention": (PROVIDER, "24h"),
    "reasoning_effort": (PROVIDER, "low"),
    "response_format": (PROVIDER, {"type": "json_object"}),
    "safety_identifier": (PROVIDER, "s"),
    "seed": (PROVIDER, 1),
    "service_tier": (PROVIDER, "flex"),
    "stop": (PROVIDER, ["."]),
    "store": (REFUSED, True),
    "stream": (READ, True),
    "stream_options": (REFUSED, {"include_usage": True}),
    "temperature": (PROVIDER, 0.5),
    "tool_choice": (PROVIDER, "none"),
    "tools": (PROVIDER, [{"type": "function", "function": {"name": "clock"}}]),
    "top_logprobs": (REFUSED, 2),
    "top_p": (PROVIDER, 0.5),
    "user": (PROVIDER, "u"),
    "verbosity": (PROVIDER, "low"),
    "web_search_options": (PROVIDER, {}),
}

RESPONSES: dict[str, tuple[str, t.Any]] = {
    "access_programs": (ECHOED, {"p": True}),
    "background": (ECHOED, True),
    "background_options": (PROVIDER, {"completion_window": "2h"}),
    "context_management": (PROVIDER, [{"type": "compaction"}]),
    "conversation": (ECHOED, {"id": "conv_1"}),
    "image": (ECHOED, {"quality": "low"}),
    "include": (PROVIDER, ["reasoning.encrypted_content"]),
    "input": (READ, None),
    "instructions": (ECHOED, "Be brief."),
    "max_output_tokens": (ECHOED, 9),
    "max_tool_calls": (ECHOED, 1),
    "metadata": (ECHOED, {"k": "v"}),
    "model": (ECHOED, "chat"),
    "moderation": (PROVIDER, {"model": "m"}),
    "parallel_tool_calls": (ECHOED, False),
    "previous_response_id": (ECHOED, "resp_1"),
    "prompt": (ECHOED, {"id": "p"}),
    "prompt_cache_key": (ECHOED, "k"),
    "prompt_cache_options": (ECHOED, {"mode": "explicit"}),
    "prompt_cache_retention": (ECHOED, "24h"),
    "reasoning": (ECHOED, {"effort": "low", "summary": "auto"}),
    "safety_identifier": (ECHOED, "s"),
    "service_tier": (ECHOED, "flex"),
    "store": (ECHOED, False),
    "stream": (READ, True),
    "stream_options": (REFUSED, {"include_obfuscation": False}),
    "temperature": (ECHOED, 0.5),
    "text": (ECHOED, {"format": {"type": "json_object"}}),
    "tool_choice": (ECHOED, "none"),
    "tools": (ECHOED, [{"type": "custom", "name": "clock"}]),
    "top_logprobs": (REFUSED, 2),
    "top_p": (ECHOED, 0.5),
    "truncation": (ECHOED, "auto"),
    "user": (ECHOED, "u"),
}

TABLES = [("openai-chat", CHAT), ("openai-responses", RESPONSES)]


@pytest.mark.parametrize(
    ("table", "module", "kinds"),
    [
        (CHAT, chat_params, "CompletionCreateParams"),
        (RESPONSES, response_params, "ResponseCreateParams"),
    ],
    ids=["chat", "responses"],
)
def test_every_field_of_the_newest_sdk_has_a_row(table: t.Any, module: t.Any, kinds: str) -> None:
    names = {
        name
        for kind in ("NonStreaming", "Streaming")
        for name in t.get_type_hints(getattr(module, f"{kinds}{kind}"), include_extras=True)
    }
    assert set(table) == names


@pytest.mark.parametrize(
    ("protocol", "name", "fate", "value"),
    [(it, name, *row) for it, table in TABLES for name, row in table.items() if row[0] != READ],
)
def test_a_field_has_its_effect(protocol: str, name: str, fate: str, value: t.Any) -> None:
    body = {**BODIES[protocol], name: value}
    if fate == REFUSED:
        with pytest.raises(RequestError) as refused:
            PROTOCOLS[protocol].read(body)
        assert refused.value.status == 400
        assert f"`{name}" in str(refused.value)
        return
    parsed = PROTOCOLS[protocol].read(body)
    if fate == ECHOED:
        fold = Fold([RunStarted("r", "chat", echo=parsed.echo)])
        assert response_body(fold, EncoderContext("r", "chat"))[name] == value
    else:
        assert parsed.params == {name: value}


REFUSED_OPTIONS = [
    ({"include": ["message.output_text.logprobs"]}, "`include` has"),
    ({"include": "reasoning.encrypted_content"}, "`include` is a string"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "without padding"),
    ({"stream": True, "stream_options": []}, "`stream_options` is a list"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED_OPTIONS)
def test_an_option_of_a_response_without_effect_is_refused(
    fields: dict[str, t.Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        PROTOCOLS["openai-responses"].read({**BODIES["openai-responses"], **fields})


IN_THE_BODY = {
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "reasoning",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
}
"""Items of OpenAI's own tools, without an equivalent in a chat."""


def test_every_input_item_of_the_newest_sdk_is_read_or_stays_in_the_body() -> None:
    types: set[str] = set()
    for item in t.get_args(input_params.ResponseInputItemParam):
        kind = t.get_type_hints(item, vars(input_params))["type"]
        literals = [kind] if t.get_origin(kind) is t.Literal else t.get_args(kind)
        types |= {name for literal in literals for name in t.get_args(literal)}
    assert types == READERS.keys() | IN_THE_BODY


CALL = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
CUSTOM = {"id": "c1", "type": "custom", "custom": {"name": "run", "input": "ls"}}
ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "done"}


@pytest.mark.parametrize(
    ("item", "messages"),
    [
        (
            {"type": "mcp_approval_request", "id": "c1", "name": "pay", "arguments": "{}"},
            [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        ),
        (
            {"type": "custom_tool_call", "call_id": "c1", "name": "run", "input": "ls"},
            [{"role": "assistant", "content": None, "tool_calls": [CUSTOM]}],
        ),
    ],
)
def test_calls_of_other_kinds_are_calls(item: t.Any, messages: t.Any) -> None:
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}
    read = PROTOCOLS["openai-responses"].read({"model": "chat", "input": [item, output]})
    assert read.messages == [*messages, ANSWERED]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "mcp_approval_response", "approval_request_id": "c1", "approve": "yes"},
        {"type": "mcp_approval_response", "approve": True},
        {"type": "mcp_approval_request", "id": "c1", "name": "pay"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "run"},
        {"type": "item_reference"},
        {"type": "item_reference", "id": 7},
        {"id": None},
    ],
)
def test_a_malformed_item_is_refused_by_its_place(item: t.Any) -> None:
    with pytest.raises(RequestError, match=r"`input\[0\]` must") as refused:
        PROTOCOLS["openai-responses"].read({"model": "chat", "input": [item]})
    assert refused.value.status == 400
