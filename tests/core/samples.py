"""At least one event of every type."""

from __future__ import annotations

from flask_aistream.core import events as ev

EVENTS: list[ev.Event] = [
    "text",
    "",
    "漢字 😀 \u2028 \r\n \ud83d",
    ev.RunStarted("r", "chat"),
    ev.Reasoning("hm"),
    ev.ToolCallStarted("c", "weather"),
    ev.ToolCallArguments("c", '{"city":'),
    ev.ToolCall("c", "weather", {"city": ["Paris", None, 1.5]}),
    ev.ToolApproval("c", "pay", {"euro": 5}),
    ev.ToolResult("c", {"degrees": 21}),
    ev.ToolError("c", "broken"),
    ev.SourceUrl("s", "https://example.org/"),
    ev.SourceUrl("s", "https://example.org/", "Example"),
    ev.SourceDocument("d", "Report", "application/pdf"),
    ev.SourceDocument("d", "Report", "application/pdf", "report.pdf"),
    ev.File("data:image/png;base64,AA==", "image/png"),
    ev.Data("progress", {"done": 0.5}),
    ev.Data("progress", None, "p1"),
    ev.Usage(1, 2, 3, 4),
    ev.Usage(),
    ev.StepStarted("plan"),
    ev.StepFinished("plan"),
    ev.Finished(),
    ev.Finished("tool-calls"),
    ev.Stopped("detach"),
    ev.Failed("quota", "No more today.", 429),
    ev.Interrupted("owner-lost"),
]
