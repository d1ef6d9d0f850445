"""What SDKs and vendors send that the local upstream does not tell: each in the shape it has."""

from __future__ import annotations

import typing as t
from types import SimpleNamespace as It

import pytest

from flask_aistream.core import events as ev
from flask_aistream.errors import ChunkUnknown
from flask_aistream.errors import ProviderError
from flask_aistream.providers.table import Chunks
from tests.providers.frozen import fake

CHUNK = "openai.types.chat:ChatCompletionChunk"
RESPONSE = "openai.types.responses:Event"
CLAUDE = "anthropic.types:Event"
GEMINI = "google.genai.types:GenerateContentResponse"
LANGCHAIN = "langchain_core.messages.ai:AIMessageChunk"


def heard(*chunks: t.Any) -> list[ev.Event]:
    """What these chunks say, and what is left when they end."""
    translate = Chunks()
    said = [event for chunk in chunks for event in translate.events(chunk)]
    return [*said, *translate.close()]


# --- OpenAI Chat Completions and its cousins


def delta(finish: str | None = None, index: int = 0, **fields: t.Any) -> t.Any:
    choice = It(index=index, delta=It(**fields), finish_reason=finish)
    return fake(CHUNK, id="chatcmpl-1", choices=[choice], usage=None)


def part(index: int | None, id: str | None, name: str | None, arguments: t.Any) -> t.Any:
    return It(index=index, id=id, function=It(name=name, arguments=arguments))


def call(id: str, name: str, text: str, value: t.Any) -> list[ev.Event]:
    arguments = [ev.ToolCallArguments(id, text)] if text else []
    return [ev.ToolCallStarted(id, name), *arguments, ev.ToolCall(id, name, value)]


CHAT = [
    pytest.param(
        [delta(content="a", reasoning_content="b")],
        [ev.Reasoning("b"), "a"],
        id="thoughts come before the text of the same chunk",
    ),
    pytest.param(
        [delta(reasoning="b", reasoning_content="b")],
        [ev.Reasoning("b")],
        id="thoughts under two names are told once",
    ),
    pytest.param([delta(refusal="No.")], ["No."], id="a refusal is what the model says"),
    pytest.param(
        [delta(content=[{"type": "thinking", "thinking": [{"text": "b"}]}, {"text": "a"}])],
        [ev.Reasoning("b"), "a"],
        id="content may be a list of parts",
    ),
    pytest.param(
        [delta(audio={"transcript": "a", "data": "UklG"})], ["a"], id="of audio, the transcript"
    ),
    pytest.param([delta(content="b", index=1)], [], id="only the first choice"),
    pytest.param(
        [
            delta(tool_calls=[part(0, "c1", "f", '{"a":')]),
            delta(tool_calls=[part(1, "c2", "g", "{}")]),
            delta(tool_calls=[part(0, None, None, "1}")]),
            delta("tool_calls"),
        ],
        [
            ev.ToolCallStarted("c1", "f"),
            ev.ToolCallArguments("c1", '{"a":'),
            ev.ToolCallStarted("c2", "g"),
            ev.ToolCallArguments("c1", "1}"),
            ev.ToolCall("c1", "f", {"a": 1}),
            ev.ToolCallArguments("c2", "{}"),
            ev.ToolCall("c2", "g", {}),
            ev.Finished("tool-calls"),
        ],
        id="calls whose parts alternate",
    ),
    pytest.param(
        [
            delta(tool_calls=[part(0, "c1", "f", "{}")]),
            delta(tool_calls=[part(0, "c2", "g", "{}")]),
        ],
        [*call("c1", "f", "{}", {}), *call("c2", "g", "{}", {})],
        id="another id under the same index is another call",
    ),
    pytest.param(
        [
            delta(tool_calls=[part(None, "c1", "f", '{"a"')]),
            delta(tool_calls=[part(None, None, None, ":1}")]),
        ],
        [
            ev.ToolCallStarted("c1", "f"),
            ev.ToolCallArguments("c1", '{"a"'),
            ev.ToolCallArguments("c1", ":1}"),
            ev.ToolCall("c1", "f", {"a": 1}),
        ],
        id="without an index, more belongs to the last call",
    ),
    pytest.param(
        [delta(tool_calls=[part(0, "", "f", "{}")]), delta("stop")],
        [*call("call-1", "f", "{}", {}), ev.Finished("tool-calls")],
        id="a call without an id is given one",
    ),
    pytest.param(
        [delta(tool_calls=[part(0, "c1", "f", {"a": 1})])],
        call("c1", "f", '{"a": 1}', {"a": 1}),
        id="arguments that are no text",
    ),
    pytest.param(
        [delta(tool_calls=[part(0, "c1", "f", '{"a":')])],
        [
            ev.ToolCallStarted("c1", "f"),
            ev.ToolCallArguments("c1", '{"a":'),
        ],
        id="a call that is cut off is never complete",
    ),
    pytest.param(
        [delta(function_call=It(name="f", arguments="{}")), delta("function_call")],
        [*call("call-1", "f", "{}", {}), ev.Finished("tool-calls")],
        id="the function call of 2023",
    ),
    pytest.param(
        [
            fake(CHUNK, choices=[], __pydantic_extra__={"citations": ["https://a.example"]}),
            fake(CHUNK, choices=[], __pydantic_extra__={"citations": ["https://a.example"]}),
            fake(
                CHUNK,
                choices=[],
                __pydantic_extra__={"search_results": [{"url": "https://b.example", "title": "B"}]},
            ),
        ],
        [
            ev.SourceUrl("source-1", "https://a.example"),
            ev.SourceUrl("source-2", "https://b.example", "B"),
        ],
        id="Perplexity repeats its sources",
    ),
    pytest.param(
        [fake("openai.types:Completion", choices=[It(index=0, text="a", finish_reason="length")])],
        ["a", ev.Finished("length")],
        id="a text completion",
    ),
    pytest.param(
        [fake("groq.types.chat:ChatCompletionChunk", choices=[It(delta=It(content="a"))])],
        ["a"],
        id="a vendor's SDK that copies OpenAI's chunks",
    ),
    pytest.param(
        [{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}],
        ["a", ev.Finished("stop")],
        id="the JSON itself",
    ),
    pytest.param([delta("brand_new")], [ev.Finished("other")], id="news"),
    pytest.param(
        [
            fake(
                "openai.lib.streaming.chat._events:ContentDeltaEvent",
                type="content.delta",
                delta="a",
            ),
            fake("openai.lib.streaming.chat._events:ContentDoneEvent", type="content.done"),
        ],
        ["a"],
        id="the helper's text events alone",
    ),
    pytest.param(
        [
            fake(
                "openai.lib.streaming.chat._events:E",
                type="tool_calls.function.arguments.delta",
                index=0,
                name="f",
                arguments_delta="{}",
            ),
            fake(
                "openai.lib.streaming.chat._events:E",
                type="tool_calls.function.arguments.done",
                index=0,
                name="f",
                arguments="{}",
            ),
        ],
        call("call-1", "f", "{}", {}),
        id="the helper's tool events alone",
    ),
]


@pytest.mark.parametrize(("chunks", "said"), CHAT)
def test_chat_completions(chunks: list[t.Any], said: list[ev.Event]) -> None:
    assert heard(*chunks) == said


def test_usage_of_several_answers_is_added_up() -> None:
    def used(id: str, read: int, written: int) -> t.Any:
        return fake(
            CHUNK, id=id, choices=[], usage=It(prompt_tokens=read, completion_tokens=written)
        )

    assert heard(used("a", 10, 1), used("a", 10, 5), used("b", 20, 2), used("b", 20, 2)) == [
        ev.Usage(10, 1),
        ev.Usage(10, 5),
        ev.Usage(30, 7),
    ]


def test_usage_is_added_up_across_sdks() -> None:
    chat = fake(CHUNK, id="a", choices=[], usage=It(prompt_tokens=10, completion_tokens=1))
    ollama = {"done": True, "response": "", "prompt_eval_count": 5, "eval_count": 2}

    assert ev.Usage(15, 3) in heard(chat, ollama)


# --- OpenAI Responses


def responses(kind: str, **fields: t.Any) -> t.Any:
    return fake(RESPONSE, type=f"response.{kind}", **fields)


def done(item: t.Any) -> t.Any:
    return responses("output_item.done", output_index=0, item=item)


HOSTED = [
    pytest.param(
        It(type="web_search_call", id="w1", status="completed", action={"query": "q"}),
        [
            ev.ToolCall("w1", "web_search", {"query": "q"}),
            ev.ToolResult("w1", {"status": "completed"}),
        ],
        id="web search",
    ),
    pytest.param(
        It(
            type="file_search_call",
            id="f1",
            status="completed",
            queries=["q"],
            results=[{"text": "x"}],
        ),
        [
            ev.ToolCall("f1", "file_search", {"queries": ["q"]}),
            ev.ToolResult("f1", [{"text": "x"}]),
        ],
        id="file search",
    ),
    pytest.param(
        It(
            type="code_interpreter_call",
            id="c1",
            status="completed",
            code="1+1",
            outputs=[{"logs": "2"}],
        ),
        [
            ev.ToolCall("c1", "code_interpreter", {"code": "1+1"}),
            ev.ToolResult("c1", [{"logs": "2"}]),
        ],
        id="code",
    ),
    pytest.param(
        It(type="mcp_call", id="m1", name="find", arguments='{"a":1}', output="found", error=None),
        [ev.ToolCall("m1", "find", {"a": 1}), ev.ToolResult("m1", "found")],
        id="MCP",
    ),
    pytest.param(
        It(type="mcp_call", id="m1", name="find", arguments="", output=None, error={"secret": 1}),
        [ev.ToolCall("m1", "find", {}), ev.ToolError("m1", "The tool failed.")],
        id="MCP that fails tells no details",
    ),
    pytest.param(
        It(type="custom_tool_call", id="i", call_id="c1", name="sql", input="select 1"),
        [ev.ToolCall("c1", "sql", "select 1")],
        id="a tool that takes text",
    ),
    pytest.param(
        It(type="shell_call_output", id="i", call_id="c1", output=[{"stdout": "x"}]),
        [ev.ToolResult("c1", [{"stdout": "x"}])],
        id="the output of a call, as an item",
    ),
    pytest.param(It(type="compaction", id="i"), [], id="what is no call"),
]


@pytest.mark.parametrize(("item", "said"), HOSTED)
def test_items_of_responses(item: t.Any, said: list[ev.Event]) -> None:
    assert heard(done(item)) == said


def test_the_parts_of_a_summary_are_paragraphs() -> None:
    assert heard(
        responses("reasoning_summary_part.added", summary_index=0),
        responses("reasoning_summary_text.delta", delta="One."),
        responses("reasoning_summary_part.added", summary_index=1),
        responses("reasoning_summary_text.delta", delta="Two."),
    ) == [ev.Reasoning("One."), ev.Reasoning("\n\n"), ev.Reasoning("Two.")]


def test_a_cited_file_is_a_document() -> None:
    cite = {"type": "file_citation", "file_id": "file_1", "filename": "a.PDF", "index": 0}
    added = responses("output_text.annotation.added", annotation=cite)

    assert heard(added, added) == [
        ev.SourceDocument("source-1", "a.PDF", "application/pdf", "a.PDF")
    ]


@pytest.mark.parametrize(
    "chunk",
    [
        fake(RESPONSE, type="error", message="secret", code="server_error"),
        responses("failed", response=It(status="failed", error=It(message="secret"))),
        fake(
            "openai.types.responses:Response",
            status="failed",
            output=[],
            error=It(message="secret"),
        ),
        delta("error"),
        fake(CLAUDE, type="error", error=It(message="secret")),
        fake(
            "pydantic_ai.ui.vercel_ai.response_types:ErrorChunk", type="error", error_text="secret"
        ),
        fake("ag_ui.core.events:RunErrorEvent", type="RUN_ERROR", message="secret"),
    ],
    ids=repr,
)
def test_a_chunk_that_says_error_fails_the_run_and_tells_no_details(chunk: t.Any) -> None:
    with pytest.raises(ProviderError) as raised:
        heard(chunk)

    assert raised.value.code == "upstream_error"
    assert "secret" not in str(raised.value)


# --- Anthropic


def claude(kind: str, **fields: t.Any) -> t.Any:
    return fake(CLAUDE, type=kind, **fields)


def block(**fields: t.Any) -> t.Any:
    return claude("content_block_start", index=0, content_block=It(**fields))


def cited(**fields: t.Any) -> t.Any:
    return claude(
        "content_block_delta", index=0, delta=It(type="citations_delta", citation=It(**fields))
    )


CLAUDES = [
    pytest.param(
        [
            block(type="server_tool_use", id="s1", name="web_search", input={}),
            claude(
                "content_block_delta",
                index=0,
                delta=It(type="input_json_delta", partial_json='{"query":"q"}'),
            ),
            claude("content_block_stop", index=0),
            block(
                type="web_search_tool_result",
                tool_use_id="s1",
                content=[It(url="https://a.example", title="A", page_age=None)],
            ),
        ],
        [
            *call("s1", "web_search", '{"query":"q"}', {"query": "q"}),
            ev.ToolResult("s1", [{"url": "https://a.example", "title": "A"}]),
        ],
        id="a tool that Anthropic runs",
    ),
    pytest.param(
        [
            block(
                type="web_fetch_tool_result",
                tool_use_id="s1",
                content=It(type="web_fetch_tool_result_error", error_code="url_not_accessible"),
            )
        ],
        [ev.ToolError("s1", "The tool failed: url_not_accessible.")],
        id="a tool of theirs that failed",
    ),
    pytest.param(
        [block(type="mcp_tool_result", tool_use_id="m1", is_error=True, content=[])],
        [ev.ToolError("m1", "The tool failed.")],
        id="an MCP tool that failed",
    ),
    pytest.param(
        [
            cited(type="page_location", document_index=0, document_title="A", cited_text="x"),
            cited(type="page_location", document_index=0, document_title="A", cited_text="y"),
            cited(type="char_location", document_index=1, document_title=None, cited_text="x"),
        ],
        [
            ev.SourceDocument("source-1", "A", "application/pdf"),
            ev.SourceDocument("source-2", "Document 2", "text/plain"),
        ],
        id="documents are cited once",
    ),
    pytest.param(
        [
            cited(type="search_result_location", source="https://a.example", title="A"),
            cited(type="search_result_location", source="notes/a.md", title=None),
        ],
        [
            ev.SourceUrl("source-1", "https://a.example", "A"),
            ev.SourceDocument("source-2", "notes/a.md", "text/plain"),
        ],
        id="search results are pages or documents",
    ),
    pytest.param(
        [block(type="redacted_thinking", data="x"), claude("ping"), claude("message_stop")],
        [ev.Finished("stop")],
        id="chunks without content",
    ),
    pytest.param(
        [
            fake("anthropic.lib.streaming._types:TextEvent", type="text", text="a", snapshot="a"),
            fake("anthropic.lib.streaming._types:ThinkingEvent", type="thinking", thinking="b"),
        ],
        ["a", ev.Reasoning("b")],
        id="the helper's events alone",
    ),
    pytest.param(
        [
            {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "a"},
            },
            {
                "type": "message_delta",
                "delta": {"stop_reason": "pause_turn"},
                "usage": {"output_tokens": 2},
            },
        ],
        [ev.Usage(3), "a", ev.Usage(3, 2), ev.Finished("other")],
        id="the JSON itself",
    ),
]


@pytest.mark.parametrize(("chunks", "said"), CLAUDES)
def test_anthropic(chunks: list[t.Any], said: list[ev.Event]) -> None:
    assert heard(*chunks) == said


# --- Google

PART = [
    "text",
    "thought",
    "function_call",
    "function_response",
    "inline_data",
    "file_data",
    "executable_code",
    "code_execution_result",
]


def gemini(*parts: dict[str, t.Any], finish: str | None = None, **more: t.Any) -> t.Any:
    made = [It(**dict.fromkeys(PART) | fields) for fields in parts]
    metadata = {"grounding_metadata": None, "citation_metadata": None} | more
    candidate = It(content=It(parts=made), finish_reason=finish, **metadata)
    return fake(GEMINI, candidates=[candidate], prompt_feedback=None, usage_metadata=None)


GEMINIS = [
    pytest.param(
        [
            gemini({"executable_code": It(language="PYTHON", code="1+1")}),
            gemini({"code_execution_result": It(outcome="OUTCOME_OK", output="2")}),
        ],
        [
            ev.ToolCall("call-1", "code_execution", {"language": "PYTHON", "code": "1+1"}),
            ev.ToolResult("call-1", {"outcome": "OUTCOME_OK", "output": "2"}),
        ],
        id="code that Google runs",
    ),
    pytest.param(
        [gemini({"function_call": It(id=None, name="f", args={"a": 1})}, finish="STOP")],
        [ev.ToolCall("call-1", "f", {"a": 1}), ev.Finished("tool-calls")],
        id="STOP with a call waits for a tool",
    ),
    pytest.param(
        [
            gemini({"function_call": It(id="c1", name="f", args={})}),
            gemini({"function_response": It(id="c1", response={"result": 2})}),
            gemini({"text": "2"}, finish="STOP"),
        ],
        [ev.ToolCall("c1", "f", {}), ev.ToolResult("c1", {"result": 2}), "2", ev.Finished("stop")],
        id="functions that the SDK calls by itself",
    ),
    pytest.param(
        [gemini({"file_data": It(file_uri="gs://a/b.png", mime_type="image/png")})],
        [ev.File("gs://a/b.png", "image/png")],
        id="a file elsewhere",
    ),
    pytest.param(
        [
            gemini(
                grounding_metadata=It(
                    grounding_chunks=[
                        It(web=None, retrieved_context=It(uri="corpus/a", title="A")),
                        It(
                            web=None,
                            retrieved_context=None,
                            maps=It(uri="https://m.example", title="M"),
                        ),
                        It(web=None, retrieved_context=None),
                    ]
                ),
                citation_metadata=It(citations=[It(uri="https://c.example", title=None)]),
            )
        ],
        [
            ev.SourceDocument("source-1", "A", "text/plain"),
            ev.SourceUrl("source-2", "https://m.example", "M"),
            ev.SourceUrl("source-3", "https://c.example"),
        ],
        id="grounding of every kind",
    ),
    pytest.param(
        [
            fake(
                GEMINI,
                candidates=None,
                prompt_feedback=It(block_reason="SAFETY"),
                usage_metadata=None,
            )
        ],
        [ev.Finished("content-filter")],
        id="a prompt that is blocked",
    ),
    pytest.param(
        [
            gemini({"text": "Half"}),
            fake(GEMINI, candidates=None, prompt_feedback=None, usage_metadata=None),
        ],
        ["Half"],
        id="an answer that breaks off",
    ),
    pytest.param(
        [
            gemini({"text": "a"}, finish="STOP"),
            fake(GEMINI, candidates=None, prompt_feedback=None, usage_metadata=None),
        ],
        ["a", ev.Finished("stop")],
        id="news after the end changes nothing",
    ),
    pytest.param([gemini(finish="MALFORMED_FUNCTION_CALL")], [ev.Finished("other")], id="news"),
]


@pytest.mark.parametrize(("chunks", "said"), GEMINIS)
def test_google(chunks: list[t.Any], said: list[ev.Event]) -> None:
    assert heard(*chunks) == said


# --- LangChain and LangGraph


def message(id: str = "run-1", content: t.Any = "", **more: t.Any) -> t.Any:
    fields: dict[str, t.Any] = {
        "type": "AIMessageChunk",
        "additional_kwargs": {},
        "response_metadata": {},
        "tool_call_chunks": [],
        "usage_metadata": None,
    }
    return fake(LANGCHAIN, id=id, content=content, **(fields | more))


def answered(status: str = "success", content: t.Any = "sunny") -> t.Any:
    kind = "langchain_core.messages.tool:ToolMessage"
    return fake(kind, type="tool", id="t", tool_call_id="c1", status=status, content=content)


def lc_part(index: int, id: str | None, name: str | None, args: str) -> dict[str, t.Any]:
    return {"index": index, "id": id, "name": name, "args": args, "type": "tool_call_chunk"}


LANGCHAINS = [
    pytest.param(
        [message(content=[{"type": "thinking", "thinking": "b"}, {"type": "text", "text": "a"}])],
        [ev.Reasoning("b"), "a"],
        id="Claude's blocks",
    ),
    pytest.param(
        [message(content=[{"type": "reasoning", "summary": [{"text": "b"}]}])],
        [ev.Reasoning("b")],
        id="OpenAI's summaries",
    ),
    pytest.param(
        [message(content=[{"type": "reasoning_content", "reasoning_content": {"text": "b"}}])],
        [ev.Reasoning("b")],
        id="Bedrock's thoughts",
    ),
    pytest.param(
        [message(content="a", additional_kwargs={"reasoning_content": "b"})],
        [ev.Reasoning("b"), "a"],
        id="DeepSeek's thoughts",
    ),
    pytest.param(
        [
            message(
                content=[
                    {"type": "image", "base64": "QQ==", "mime_type": "image/png"},
                    {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                ]
            )
        ],
        [
            ev.File("data:image/png;base64,QQ==", "image/png"),
            ev.File("https://a.example/b.png", "image/*"),
        ],
        id="images",
    ),
    pytest.param(
        [
            message("run-1", usage_metadata={"input_tokens": 5, "output_tokens": 0}),
            message("run-1", usage_metadata={"input_tokens": 0, "output_tokens": 3}),
            message("run-2", usage_metadata={"input_tokens": 7, "output_tokens": 1}),
        ],
        [ev.Usage(5, 0), ev.Usage(5, 3), ev.Usage(12, 4)],
        id="usage is additions",
    ),
    pytest.param(
        [
            message("run-1", tool_call_chunks=[lc_part(0, "c1", "f", '{"a"')]),
            message("run-2", tool_call_chunks=[lc_part(0, "c2", "g", "{")]),
            message("run-1", tool_call_chunks=[lc_part(0, None, None, ":1}")]),
            message("run-1", response_metadata={"finish_reason": "tool_calls"}),
            message("run-2", tool_call_chunks=[lc_part(0, None, None, "}")]),
        ],
        [
            ev.ToolCallStarted("c1", "f"),
            ev.ToolCallArguments("c1", '{"a"'),
            ev.ToolCallStarted("c2", "g"),
            ev.ToolCallArguments("c2", "{"),
            ev.ToolCallArguments("c1", ":1}"),
            ev.ToolCall("c1", "f", {"a": 1}),
            ev.Finished("tool-calls"),
            ev.ToolCallArguments("c2", "}"),
            ev.ToolCall("c2", "g", {}),
        ],
        id="two models at once",
    ),
    pytest.param([(answered(), {})], [ev.ToolResult("c1", "sunny")], id="a tool of a graph"),
    pytest.param(
        [answered("error", "Error: ValueError('secret')")],
        [ev.ToolError("c1", "The tool failed.")],
        id="a tool that raised tells no details",
    ),
    pytest.param(
        [fake("langchain_core.messages.human:HumanMessage", type="human", content="hi")],
        [],
        id="what people say is no answer",
    ),
    pytest.param(
        [message(content="a"), fake(LANGCHAIN, type="ai", id="run-1", content="a")],
        ["a"],
        id="a message that was streamed is not repeated",
    ),
    pytest.param(
        [
            ("messages", (message(content="a"), {})),
            ("updates", {"node": {"messages": []}}),
            ("custom", {"progress": 1}),
            ("custom", "b"),
            (("outer:1",), "messages", (message(content="c"), {})),
            (("outer:1",), (message(content="d"), {})),
            {"type": "messages", "ns": (), "data": (message(content="e"), {})},
        ],
        ["a", ev.Data("custom", {"progress": 1}), "b", "c", "d", "e"],
        id="every shape of a graph's stream",
    ),
    pytest.param(
        [
            {"event": "on_chain_start", "name": "agent", "data": {}},
            {"event": "on_chat_model_stream", "name": "m", "data": {"chunk": message(content="a")}},
            {"event": "on_chat_model_end", "name": "m", "data": {"output": message(content="a")}},
            {"event": "on_tool_start", "name": "f", "data": {"input": {}}},
            {"event": "on_tool_end", "name": "f", "data": {"output": answered()}},
            {"event": "on_tool_end", "name": "g", "data": {"output": "bare"}},
            {
                "event": "on_tool_error",
                "name": "f",
                "data": {"tool_call_id": "c2", "error": ValueError()},
            },
            {"event": "on_custom_event", "name": "progress", "data": {"done": 1}},
        ],
        [
            "a",
            ev.ToolResult("c1", "sunny"),
            ev.ToolError("c2", "The tool failed."),
            ev.Data("progress", {"done": 1}),
        ],
        id="astream_events",
    ),
    pytest.param(
        [{"event": "on_chat_model_end", "name": "m", "data": {"output": message(content="a")}}],
        ["a"],
        id="a model that cannot stream is told at its end",
    ),
    pytest.param(
        [
            fake("langchain_core.outputs:GenerationChunk", type="GenerationChunk", text="a"),
            fake(
                "langchain_core.outputs:C", type="ChatGenerationChunk", message=message(content="b")
            ),
        ],
        ["a", "b"],
        id="generations",
    ),
]


@pytest.mark.parametrize(("chunks", "said"), LANGCHAINS)
def test_langchain(chunks: list[t.Any], said: list[ev.Event]) -> None:
    assert heard(*chunks) == said


# --- Ollama


def test_ollama_calls_have_no_ids_and_stop_where_they_wait() -> None:
    asked = {"function": {"name": "f", "arguments": {"a": 1}}}
    chunks = [
        {"message": {"content": "", "tool_calls": [asked]}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop"},
        {"message": {"content": "b"}, "done": True},
    ]

    assert [event for event in heard(*chunks) if not isinstance(event, ev.Usage)] == [
        ev.ToolCall("call-1", "f", {"a": 1}),
        ev.Finished("tool-calls"),
        "b",
        ev.Finished("stop"),
    ]


def test_ollama_makes_images() -> None:
    chunk = fake("ollama._types:GenerateResponse", response="", image="QQ==", done=False)

    assert heard(chunk) == [ev.File("data:image/png;base64,QQ==", "image/png")]


# --- Anything else


@pytest.mark.parametrize(
    "chunk", [..., 7, {}, {"a": 1}, (), (1, 2), b"bytes", ["a"], {"type": 3}], ids=repr
)
def test_what_nobody_understands_is_refused(chunk: object) -> None:
    with pytest.raises(ChunkUnknown, match="no adapter"):
        heard(chunk)


def test_a_subclass_of_str_is_text() -> None:
    class Markup(str):
        pass

    (said,) = heard(Markup("a"))

    assert type(said) is str


def test_the_applications_own_subclass_of_a_chunk_is_understood() -> None:
    chunk = type("Mine", (type(delta()),), {})()
    chunk.__dict__.update(vars(delta(content="a")))

    assert heard(chunk) == ["a"]


def test_a_mix_of_everything_is_understood() -> None:
    assert heard("a", delta(content="b"), message(content="c"), ev.Reasoning("d")) == [
        "a",
        "b",
        "c",
        ev.Reasoning("d"),
    ]
