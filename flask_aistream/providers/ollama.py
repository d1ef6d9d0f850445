"""Ollama's client: responses of ``chat`` and ``generate``, as objects or (before 0.4) as dicts."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.tool_calls import ToolCallAssembler


class OllamaAdapter:
    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_call_assembler = ToolCallAssembler(accounting)
        self._called = False
        self._answers = 0

    def events(self, chunk: t.Any) -> Sequence[Event]:
        fields = fields_of(chunk)
        message = fields.get("message")
        said = self._generated(fields) if message is None else self._message(message)
        return said + self._done(fields) if fields.get("done") else said

    def close(self) -> Sequence[Event]:
        return ()

    def _message(self, message: t.Any) -> list[Event]:
        said: list[Event] = []
        if thinking := field_of(message, "thinking"):
            said.append(Reasoning(thinking))
        if content := field_of(message, "content"):
            said.append(content)
        for call in field_of(message, "tool_calls") or ():
            asked = field_of(call, "function")
            self._called = True
            said += self._tool_call_assembler.whole(
                None, field_of(asked, "name"), field_of(asked, "arguments")
            )
        return said

    def _generated(self, fields: t.Mapping[str, t.Any]) -> list[Event]:
        said: list[Event] = []
        if thinking := fields.get("thinking"):
            said.append(Reasoning(thinking))
        if text := fields.get("response"):
            said.append(text)
        if image := fields.get("image"):
            said.append(File(data_url("image/png", image), "image/png"))
        return said

    def _done(self, fields: t.Mapping[str, t.Any]) -> list[Event]:
        self._answers += 1  # Answers have no id of their own.
        usage = Usage(fields.get("prompt_eval_count"), fields.get("eval_count"))
        word = fields.get("done_reason")
        reason = reason_of(word) if word else "stop"  # Servers before 0.1.40 do not say why.
        if reason == "stop" and self._called:  # It says stop where it waits for a tool's answer.
            reason = "tool-calls"
        self._called = False
        used = self._accounting.used(f"ollama {self._answers}", usage)
        return [*used, Finished(reason)]
