"""Request bodies of each protocol → ``ParsedRequest``, or an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_aistream.errors import RequestError
from flask_aistream.protocols.table import PROTOCOLS

USER = {"role": "user", "content": "Hi"}
PIXEL = "data:image/png;base64,AAAA"
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
CALL = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


def ui(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"id": "m", "role": role, "parts": list(parts)}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def tool(state: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool-clock", "toolCallId": "c1", "state": state, "input": {}, **more}


UI_MESSAGES = [
    pytest.param(
        [ui(text("a"), text("b"))], [{"role": "user", "content": "ab"}], id="text parts are joined"
    ),
    pytest.param(
        [ui(text("see"), {"type": "file", "mediaType": "image/png", "url": PIXEL})],
        [{"role": "user", "content": [text("see"), IMAGE]}],
        id="an image is in OpenAI's shape",
    ),
    pytest.param(
        [
            ui(
                {
                    "type": "file",
                    "mediaType": "application/pdf",
                    "url": "data:application/pdf;base64,AA",
                }
            )
        ],
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {
                            "filename": "file.pdf",
                            "file_data": "data:application/pdf;base64,AA",
                        },
                    }
                ],
            }
        ],
        id="another file is sent along",
    ),
    pytest.param(
        [ui({"type": "hologram", "x": 1})],
        [{"role": "user", "content": [{"type": "hologram", "x": 1}]}],
        id="an unknown part is kept",
    ),
    pytest.param(
        [
            ui(
                {"type": "step-start"},
                {"type": "reasoning", "text": "hm"},
                text("Looking."),
                tool("output-available", output={"h": 1}),
                {"type": "source-url", "sourceId": "s", "url": "https://example.org"},
                {"type": "data-note", "data": 1},
                {"type": "step-start"},
                text("It is one."),
                role="assistant",
            )
        ],
        [
            {"role": "assistant", "content": "Looking.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"h":1}'},
            {"role": "assistant", "content": "It is one."},
        ],
        id="each step of an assistant is a message, followed by its tools' answers",
    ),
    pytest.param(
        [ui(tool("output-available", output="one"), text("It is one."), role="assistant")],
        [
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "assistant", "content": "It is one."},
        ],
        id="text after a tool was said after it, also without a step",
    ),
    pytest.param(
        [ui(tool("output-error", errorText="broken"), role="assistant")],
        [
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "broken"},
        ],
        id="a tool that failed answers with its error",
    ),
    pytest.param(
        [
            ui(
                {**tool("input-available"), "type": "dynamic-tool", "toolName": "clock"},
                role="assistant",
            )
        ],
        [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
        id="a call without an answer has none",
    ),
]


@pytest.mark.parametrize(("messages", "read"), UI_MESSAGES)
def test_ui_messages_are_converted_to_openai_format(messages: Any, read: Any) -> None:
    for name in ("ai-sdk", "native", "text"):
        assert PROTOCOLS[name].read({"messages": messages}).messages == read, name


def test_a_use_chat_request_has_a_chat_id_and_params() -> None:
    ask = PROTOCOLS["ai-sdk"].read(
        {
            "id": "chat1",
            "messages": [ui(text("Hi"))],
            "trigger": "submit-message",
            "temperature": 0.5,
        }
    )
    assert (ask.chat, ask.params, ask.stream) == ("chat1", {"temperature": 0.5}, True)
    assert ask.options == {}


def test_a_tool_that_ran_in_the_browser_continues_its_message() -> None:
    messages = [
        ui(text("Hi")),
        {**ui(tool("output-available", output=1), role="assistant"), "id": "m7"},
    ]
    ask = PROTOCOLS["ai-sdk"].read({"messages": messages, "messageId": "m7"})
    assert ask.continues == "m7"


@pytest.mark.parametrize("name", ["ai-sdk", "text"])
@pytest.mark.parametrize(
    "body", [{"prompt": "Hi"}, {"message": ui(text("Hi"))}, {"messages": [USER]}]
)
def test_a_completion_and_a_single_message_are_accepted(name: str, body: Any) -> None:
    assert PROTOCOLS[name].read(body).messages == [USER]


def test_the_object_of_use_object_becomes_the_prompt() -> None:
    ask = PROTOCOLS["text"].read({"topic": "sea"})
    assert ask.messages == [{"role": "user", "content": '{"topic":"sea"}'}]
    assert ask.params == {"topic": "sea"}


def test_a_chat_completion_request_has_a_provider_and_options() -> None:
    ask = PROTOCOLS["openai-chat"].read(
        {
            "model": "chat",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {**USER, "name": "Ann", "x": 1},
            ],
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False},
            "temperature": 0,
            "user": None,
        }
    )
    assert (ask.provider, ask.stream, ask.options) == ("chat", True, {"include_usage": True})
    assert ask.messages[1] == {**USER, "name": "Ann", "x": 1}
    assert ask.params == {"temperature": 0, "user": None}


def test_without_stream_a_single_response_is_requested() -> None:
    for name, said in (
        ("openai-chat", {"messages": [USER]}),
        ("openai-responses", {"input": "Hi"}),
    ):
        for body in ({}, {"stream": False}, {"stream": None}):
            assert not PROTOCOLS[name].read({"model": "chat", **said, **body}).stream


RESPONSES_INPUT = [
    pytest.param("Hi", [USER], id="a string"),
    pytest.param([USER], [USER], id="a message without a type"),
    pytest.param(
        [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": PIXEL},
                    {"type": "input_file", "file_id": "f1"},
                    {"type": "input_scent", "scent": 1},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    text("see"),
                    IMAGE,
                    {"type": "file", "file": {"file_id": "f1"}},
                    {"type": "input_scent", "scent": 1},
                ],
            }
        ],
        id="parts in the shape of chat, unknown ones kept",
    ),
    pytest.param(
        [
            USER,
            {"type": "reasoning", "id": "r", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
            {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
        ],
        [
            USER,
            {"role": "assistant", "content": "Looking.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
        ],
        id="calls and their outputs; what is no part of a chat stays in the body",
    ),
]


@pytest.mark.parametrize(("given", "read"), RESPONSES_INPUT)
def test_response_input_is_converted_to_chat_format(given: Any, read: Any) -> None:
    assert PROTOCOLS["openai-responses"].read({"model": "chat", "input": given}).messages == read


DETAILED = {"type": "input_image", "image_url": PIXEL, "detail": "low"}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
RESULT = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PIXEL}]


def test_an_image_of_a_response_keeps_its_detail_and_audio_stays_audio() -> None:
    items = [{"role": "user", "content": [DETAILED, AUDIO]}]
    (message,) = PROTOCOLS["openai-responses"].read({"model": "chat", "input": items}).messages
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        AUDIO,
    ]


@pytest.mark.parametrize(
    ("output", "content"),
    [(RESULT, [text("see"), IMAGE]), (RESULT[:1], "see"), ("one", "one")],
    ids=["parts", "only text", "a string"],
)
def test_the_output_of_a_response_call_keeps_its_parts(output: Any, content: Any) -> None:
    item = {"type": "function_call_output", "call_id": "c1", "output": output}
    body = {"model": "chat", "input": [item], "previous_response_id": "resp_1"}
    (message,) = PROTOCOLS["openai-responses"].read(body).messages
    assert message == {"role": "tool", "tool_call_id": "c1", "content": content}


@pytest.mark.parametrize(
    ("media_type", "part"),
    [
        ("audio/wav", AUDIO),
        ("audio/x-wav", AUDIO),
        ("audio/mpeg", {**AUDIO, "input_audio": {"data": "AAAA", "format": "mp3"}}),
        (
            "audio/ogg",
            {
                "type": "file",
                "file": {"filename": "file.ogg", "file_data": "data:audio/ogg;base64,AAAA"},
            },
        ),
        (
            "application/pdf",
            {
                "type": "file",
                "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"},
            },
        ),
    ],
)
def test_files_are_converted_by_their_media_type(media_type: str, part: Any) -> None:
    url = f"data:{media_type};base64,AAAA"
    file = {"type": "file", "mediaType": media_type, "url": url}
    (message,) = PROTOCOLS["ai-sdk"].read({"messages": [ui(file)]}).messages
    assert message["content"] == [part]
    source = {"type": "data", "value": "AAAA", "mimeType": media_type}
    content = [{"type": "document", "source": source}]
    body = {"messages": [{"id": "1", "role": "user", "content": content}]}
    assert PROTOCOLS["ag-ui"].read(body).messages == [message]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", "It broke."), ("Half.", "Half.\nIt broke."), ("It broke.", "It broke.")],
)
def test_the_error_of_an_ag_ui_tool_message_reaches_the_provider(
    content: str, expected: str
) -> None:
    answer = {
        "id": "4",
        "role": "tool",
        "toolCallId": "c1",
        "content": content,
        "error": "It broke.",
    }
    call = {"id": "3", "role": "assistant", "toolCalls": [CALL]}
    messages = PROTOCOLS["ag-ui"].read({"messages": [call, answer]}).messages
    assert messages[1] == {"role": "tool", "tool_call_id": "c1", "content": expected}


def test_instructions_become_the_first_message_and_background_is_read() -> None:
    body = {
        "model": "chat",
        "input": "Hi",
        "instructions": "Be brief.",
        "background": True,
        "stream": True,
    }
    ask = PROTOCOLS["openai-responses"].read(body)
    assert ask.messages == [{"role": "system", "content": "Be brief."}, USER]
    assert (ask.provider, ask.stream, ask.background, ask.params) == ("chat", True, True, {})


def test_an_output_may_answer_a_call_of_an_earlier_response() -> None:
    item = {"type": "function_call_output", "call_id": "c1", "output": "one"}
    body = {"model": "chat", "input": [item], "previous_response_id": "resp_1"}
    assert PROTOCOLS["openai-responses"].read(body).messages[0]["role"] == "tool"


def test_an_ag_ui_input_is_parsed() -> None:
    ask = PROTOCOLS["ag-ui"].read(
        {
            "threadId": "t",
            "runId": "u",
            "protocolVersion": "1.0",
            "state": {"n": 1},
            "tools": [],
            "messages": [
                {
                    "id": "1",
                    "role": "user",
                    "content": [
                        text("see"),
                        {
                            "type": "image",
                            "source": {"type": "data", "value": "AAAA", "mimeType": "image/png"},
                        },
                        {"type": "video", "source": {"type": "url", "value": "https://e.org/v"}},
                    ],
                },
                {"id": "2", "role": "reasoning", "content": "hm"},
                {"id": "3", "role": "assistant", "toolCalls": [CALL]},
                {"id": "4", "role": "tool", "toolCallId": "c1", "content": "one"},
            ],
        }
    )
    assert ask.messages == [
        {
            "role": "user",
            "content": [
                text("see"),
                IMAGE,
                {"type": "video", "source": {"type": "url", "value": "https://e.org/v"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "one", "tool_call_id": "c1"},
    ]
    assert (ask.chat, ask.options) == ("t", {"thread": "t", "run": "u"})
    assert ask.params == {"state": {"n": 1}, "tools": []}


def test_html_accepts_the_fields_of_a_form_or_query() -> None:
    ask = PROTOCOLS["html"].read({"prompt": "Hi", "room": "1", "last_event_id": "r:3"})
    assert (ask.messages, ask.params, ask.cursor) == ([USER], {"room": "1"}, "r:3")


TOOL = {"role": "tool", "tool_call_id": "c1", "content": "x"}

BAD: list[tuple[str, Any, str]] = [
    ("ai-sdk", {}, "`messages` is missing"),
    ("ai-sdk", {"messages": {}}, "`messages` is an object but must be a list"),
    ("ai-sdk", {"messages": ["Hi"]}, "`messages[0]` must be an object whose `role`"),
    (
        "ai-sdk",
        {"messages": [ui(text("Hi"), role="robot")]},
        "`messages[0]` must be an object whose `role`",
    ),
    ("ai-sdk", {"messages": [{"role": "user"}]}, "must have a `content`"),
    ("ai-sdk", {"messages": [ui({"text": "Hi"})]}, "is not an object with a `type`"),
    ("ai-sdk", {"messages": [ui({"type": "text"})]}, "whose `text` is not a string"),
    (
        "ai-sdk",
        {"messages": [ui({**tool("x"), "toolCallId": 1})]},
        "whose `toolCallId` is not a string",
    ),
    ("ai-sdk", {"prompt": 1}, "`prompt` is a number but must be a string"),
    ("ai-sdk", {"id": 1, "messages": []}, "`id` is a number"),
    ("text", {}, "`prompt` is missing"),
    ("openai-chat", {"model": "chat"}, "`messages` is missing"),
    ("openai-chat", {"model": "chat", "messages": [USER], "n": 2}, "`n` is 2 but must be 1"),
    ("openai-chat", {"model": "chat", "messages": []}, "`messages` is empty"),
    ("openai-chat", {"messages": [USER]}, "`model` is missing"),
    ("openai-chat", {"model": 4, "messages": [USER]}, "`model` is a number"),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": "wizard", "content": ""}]},
        "whose `role` is one of",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": ["user"], "content": ""}]},
        "whose `role` is one of",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": "user", "content": None}]},
        "must have a `content`",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": "user", "content": [1]}]},
        "has a part",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [USER, TOOL]},
        "answers the tool call 'c1', which no",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": "tool", "content": "x"}]},
        "`tool_call_id`",
    ),
    (
        "openai-chat",
        {"model": "chat", "messages": [{"role": "assistant", "tool_calls": [{}]}]},
        "has `tool_calls` that are not",
    ),
    ("openai-chat", {"model": "chat", "messages": [USER], "stream": "yes"}, "`stream` is a string"),
    (
        "openai-chat",
        {"model": "chat", "messages": [USER], "stream_options": 1},
        "`stream_options` is a number",
    ),
    ("openai-responses", {"model": "chat"}, "`input` is missing"),
    ("openai-responses", {"model": "chat", "input": 1}, "`input` is a number"),
    ("openai-responses", {"model": "chat", "input": [1]}, "`input[0]` must be an object"),
    (
        "openai-responses",
        {"model": "chat", "input": [{"role": "tool", "content": ""}]},
        "whose `role` is one of",
    ),
    (
        "openai-responses",
        {"model": "chat", "input": [{"type": "function_call"}]},
        "must have `call_id`",
    ),
    (
        "openai-responses",
        {
            "model": "chat",
            "input": [{"type": "function_call_output", "call_id": "c", "output": ""}],
        },
        "answers the tool call 'c'",
    ),
    ("openai-responses", {"input": "Hi"}, "`model` is missing"),
    (
        "openai-responses",
        {"model": "chat", "input": "Hi", "tools": {}},
        "`tools` is an object but must be a list",
    ),
    (
        "openai-responses",
        {"model": "chat", "input": "Hi", "tool_choice": 1},
        "`tool_choice` is a number but must be a string or an object",
    ),
    ("ag-ui", {}, "`messages` is missing"),
    ("ag-ui", {"messages": "Hi"}, "`messages` is a string"),
    (
        "ag-ui",
        {"messages": [{"id": "1", "role": "wizard", "content": ""}]},
        "whose `role` is one of",
    ),
    ("ag-ui", {"messages": [{"id": "1", "role": "user"}]}, "must have a `content`"),
    ("ag-ui", {"messages": [{"id": "1", "role": "tool", "content": "x"}]}, "`tool_call_id`"),
    ("ag-ui", {"threadId": 1, "messages": []}, "`threadId` is a number"),
    ("html", {"prompt": ["Hi"]}, "`prompt` is a list"),
    ("native", {"messages": [{"role": "wizard", "content": ""}]}, "whose `role` is one of"),
]


@pytest.mark.parametrize(("name", "body", "says"), BAD)
def test_an_invalid_request_is_reported_in_the_format_of_the_protocol(
    name: str, body: Any, says: str
) -> None:
    protocol = PROTOCOLS[name]
    with pytest.raises(RequestError) as refused:
        protocol.read(body)
    assert says in str(refused.value)
    assert refused.value.status == (400 if name.startswith("openai") else 422)
    answer = protocol.error(
        refused.value.code, str(refused.value), refused.value.status, "4xQbX1Kc"
    )
    if protocol.error_type == "application/json":
        told = json.loads(answer)["error"]
        assert (told["code"], told["message"]) == (refused.value.code, str(refused.value))
    else:
        assert says.partition("`")[0] in answer


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("ai-sdk", {"version": "4"}),
        ("ai-sdk", {"version": ""}),
        ("openai-responses", {"starting_after": "-1"}),
    ],
)
def test_an_invalid_option_is_rejected(name: str, query: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        PROTOCOLS[name].options(query)


def test_an_openai_error_has_the_type_of_its_status() -> None:
    def kind(status: int) -> str:
        body = json.loads(PROTOCOLS["openai-chat"].error("c", "m", status, "4xQbX1Kc"))
        return str(body["error"]["type"])

    kinds = [kind(status) for status in (400, 401, 404, 422, 429, 500, 503)]
    assert kinds == [
        "invalid_request_error",
        "authentication_error",
        "not_found_error",
        "invalid_request_error",
        "rate_limit_error",
        "server_error",
        "server_error",
    ]


def test_markup_in_an_error_is_escaped() -> None:
    assert "<script" not in PROTOCOLS["html"].error("c", "<script>", 400, "<script>")
