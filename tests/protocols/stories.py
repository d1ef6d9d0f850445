"""Example runs (stories) that every protocol is tested with."""

from __future__ import annotations

from flask_aistream.core import events as ev
from flask_aistream.protocols.base import EncoderContext

RUN = "r1"
CONTEXT = EncoderContext(
    run=RUN,
    provider="chat",
    created=1_760_000_000.75,
    links={"events": "/ai/runs/r1/events", "stop": "/ai/runs/r1/stop"},
)
START = ev.RunStarted(RUN, "chat")
PIXEL = "data:image/png;base64,iVBORw0KGgo="

# All kinds of line ends, separators at which only Python splits, markup, characters that JSON escapes, a character
# outside the BMP, lone surrogates, and empty and blank deltas.
ODD = (
    "",
    " ",
    "\n\n",
    "a\r\nb\rc\n",
    "data: x\n\n: ping\n",
    "\u2028\u2029\u0085\u00a0\ufeff",
    "<b>&\"'\\</b>",
    "😀漢字é",
    "\ud83d",
    "\ude00",
    "\ud83d",
    "\x01\x1b\x7f",
    "[DONE]",
    "  end  ",
)

STORIES: dict[str, tuple[ev.Event, ...]] = {
    "text": (START, "Hel", "lo", " world", ev.Finished()),
    "empty": (START, ev.Finished()),
    "reasoning": (
        START,
        ev.Reasoning("Let me "),
        ev.Reasoning("think."),
        "It is ",
        "4.",
        ev.Reasoning("Or 5?"),
        "Yes.",
        ev.Finished(),
    ),
    "tools": (
        START,
        "Looking.",
        ev.ToolCallStarted("c1", "weather"),
        ev.ToolCallArguments("c1", '{"city":'),
        ev.ToolCallArguments("c1", '"Paris"}'),
        ev.ToolCall("c1", "weather", {"city": "Paris"}),
        ev.ToolCall("c2", "clock", {"zone": None}),
        ev.ToolResult("c1", {"degrees": 21, "sky": None}),
        ev.ToolError("c2", "The clock is broken."),
        "It is 21 degrees.",
        ev.Finished(),
    ),
    "pending-tool": (
        START,
        ev.ToolCallStarted("c1", "confirm"),
        ev.ToolCall("c1", "confirm", {"amount": 5}),
        ev.Finished("tool-calls"),
    ),
    "approval": (
        START,
        "May I?",
        ev.ToolCallStarted("c1", "pay"),
        ev.ToolCallArguments("c1", '{"euro":5}'),
        ev.ToolApproval("c1", "pay", {"euro": 5}),
        ev.ToolApproval("c2", "mail", {}),
        ev.Finished("tool-calls"),
    ),
    "approved": (
        ev.RunStarted(RUN, "chat", continues="m1", approved=["c1"]),
        ev.ToolResult("c1", {"paid": True}),
        "Paid.",
        ev.Finished(),
    ),
    "sources-data": (
        START,
        "See",
        ev.SourceUrl("s1", "https://example.org/?a=1&b=2", "An <example>"),
        ev.SourceUrl("s2", "javascript:alert(1)"),
        ev.SourceDocument("s3", "A report", "application/pdf", "report.pdf"),
        ev.Data("weather", {"degrees": 20}, "w1"),
        ev.Data("weather", {"degrees": 21}, "w1"),
        ev.Data("note", None),
        " these.",
        ev.Finished(),
    ),
    "files": (
        START,
        "Here: ",
        ev.File(PIXEL, "image/png"),
        ev.File("https://example.org/a.csv", "text/csv"),
        "done.",
        ev.Finished(),
    ),
    "steps": (
        START,
        ev.StepStarted("plan"),
        "First",
        ev.StepFinished("plan"),
        ev.StepStarted(),
        ev.Reasoning("Hm."),
        "second",
        ev.StepFinished(),
        ev.Finished(),
    ),
    "usage-length": (
        START,
        "Half an ans",
        ev.Usage(input_tokens=12, cached_tokens=4),
        ev.Usage(output_tokens=40, reasoning_tokens=8),
        ev.Finished("length"),
    ),
    "failed": (
        START,
        "So far",
        ev.Usage(input_tokens=3, output_tokens=2),
        ev.Failed("upstream_error", "The model did not answer.", 502),
    ),
    "stopped": (START, "So far", ev.ToolCallStarted("c1", "weather"), ev.Stopped("client")),
    "interrupted": (START, ev.Reasoning("Half a th"), ev.Interrupted("owner-lost")),
    # The owner was lost in the middle of a tool call; see flask_aistream/runs/restart.py.
    "restarted": (
        START,
        ev.StepStarted("plan"),
        "So far",
        ev.ToolCallStarted("c1", "weather"),
        ev.ToolCallArguments("c1", '{"city":'),
        ev.ToolCall("c1", "weather", '{"city":'),
        ev.ToolError("c1", "The process that made this answer was lost."),
        ev.StepFinished("plan"),
        ", and on.",
        ev.ToolCall("call-1-1", "weather", {"city": "Paris"}),
        ev.ToolResult("call-1-1", 21),
        "It is 21.",
        ev.Finished(),
    ),
    "odd": (START, *ODD, ev.Finished("other")),
}
