"""Ollama: responses of ``chat`` and ``generate``, as objects or as JSON."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from flask_aistream.core.events import Event
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import Usage
from flask_aistream.providers.accounting import Accounting
from flask_aistream.providers.base import AnswerState
from flask_aistream.providers.failure import raise_if_error
from flask_aistream.providers.finish import reason_of
from flask_aistream.providers.plain import Fields
from flask_aistream.providers.plain import count_of
from flask_aistream.providers.plain import data_url
from flask_aistream.providers.plain import field_of
from flask_aistream.providers.plain import fields_of
from flask_aistream.providers.plain import items_of
from flask_aistream.providers.plain import text_of
from flask_aistream.providers.tool_calls import ToolCallAssembler


class OllamaAdapter:
    """The end marker is ``done: true``."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._tool_calls = ToolCallAssembler(accounting)
        self.answer = AnswerState(accounting)

    @property
    def incomplete(self) -> bool:
        return self.answer.incomplete

    def events(self, chunk: t.Any) -> Sequence[Event]:
        if self.answer.over:
            return ()
        fields = fields_of(chunk)
        message = fields.get("message")
        if message is None and fields.get("response") is None:
            raise_if_error(fields)
        events = self._generated(fields) if message is None else self._message(fields_of(message))
        done = fields.get("done")
        if (events or not done) and self.answer.begin():
            self._tool_calls.called = False
        return events + self._done(fields) if done else events

    def done(self) -> Sequence[Event]:
        self.answer.end()
        return ()

    def close(self) -> Sequence[Event]:
        return ()

    def _message(self, message: Fields) -> list[Event]:
        events: list[Event] = []
        if thinking := text_of(message.get("thinking")):
            events.append(Reasoning(thinking))
        if content := text_of(message.get("content")):
            events.append(content)
        for call in items_of(message.get("tool_calls")):
            function = fields_of(field_of(call, "function"))
            name = text_of(function.get("name"))
            events += self._tool_calls.whole(None, name, function.get("arguments"))
        return events

    def _generated(self, fields: Fields) -> list[Event]:
        events: list[Event] = []
        if thinking := text_of(fields.get("thinking")):
            events.append(Reasoning(thinking))
        if text := text_of(fields.get("response")):
            events.append(text)
        if image := text_of(fields.get("image")):
            events.append(File(data_url("image/png", image), "image/png"))
        return events

    def _done(self, fields: Fields) -> list[Event]:
        usage = Usage(count_of(fields, "prompt_eval_count"), count_of(fields, "eval_count"))
        word = fields.get("done_reason")
        reason = reason_of(word) if word else "stop"  # Servers before 0.1.40 send none.
        if reason == "stop" and self._tool_calls.called:  # It reports stop while a tool is awaited.
            reason = "tool-calls"
        if not self.answer.open:
            self.answer.renew()
        self.answer.end(last=True)
        return [*self._accounting.used(self.answer.call, usage), Finished(reason)]
