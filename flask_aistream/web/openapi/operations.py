"""What each route answers, by its endpoint."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from flask_aistream.errors import ChatNotFound
from flask_aistream.errors import ProviderNotFound
from flask_aistream.errors import RequestError
from flask_aistream.errors import StoreUnavailable
from flask_aistream.errors import Unavailable
from flask_aistream.protocols.ai_sdk import AI_SDK
from flask_aistream.protocols.ai_sdk import VERSIONS
from flask_aistream.protocols.base import EVENT_STREAM
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.native import NATIVE
from flask_aistream.protocols.openai_responses import OPENAI_RESPONSES
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.web.openapi import errors
from flask_aistream.web.openapi import shapes
from flask_aistream.web.openapi.requests import CURSOR_TEXT
from flask_aistream.web.openapi.shapes import TEXT
from flask_aistream.web.openapi.shapes import Schema
from flask_aistream.web.openapi.shapes import choice
from flask_aistream.web.openapi.shapes import listing
from flask_aistream.web.openapi.shapes import record
from flask_aistream.web.openapi.shapes import reference

Content = Mapping[str, Schema]


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0]


JSON = "application/json"
EVENTS = media_type(EVENT_STREAM)
EMPTY: Content = {}
EVENT = reference("event")


@dataclass(frozen=True, slots=True)
class Operation:
    """One route.

    :param answers: Status → sentence and content by media type.
    :param errors: Classes of the errors that it raises.
    :param protocols: Protocols of its errors; several, if the path chooses one.
    :param query: Its query parameters.
    :param headers: Its request headers.
    :param body: Protocol of its request body.
    """

    summary: str
    answers: Mapping[str, tuple[str, Content]]
    errors: errors.Errors = ()
    protocols: tuple[WireProtocol, ...] = (NATIVE,)
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    body: WireProtocol | None = None


def stream_of(*protocols: WireProtocol) -> Content:
    """Bodies of streams. That of an event stream is described by each of its events."""
    kinds = [media_type(protocol.content_type) for protocol in protocols]
    return {kind: EVENT if kind == EVENTS else TEXT for kind in kinds}


def json_of(schema: Schema) -> Content:
    return {JSON: schema}


def start_operation(protocol: WireProtocol, method: str, fields: Mapping[str, Schema]) -> Operation:
    """The route that starts and resumes runs in a protocol.

    :param fields: Text fields of the body, which a ``GET`` has in its query.
    """
    answer = stream_of(protocol)
    if protocol.response_body is not None:
        answer = {**answer, **json_of(shapes.answer_of(protocol.response_body))}
    from_query = fields if method == "GET" else {}
    return Operation(
        "Start a run, or resume the one that a cursor names.",
        {
            "200": ("The run's events, or without streaming its answer", answer),
            "204": ("The client has all of an ended run, or only prefetches", EMPTY),
        },
        errors.START,
        (protocol,),
        {**OPTIONS.get(protocol.name, {}), **from_query},
        (CURSOR, KEY),
        protocol if method == "POST" else None,
    )


CURSOR = "Last-Event-ID"
KEY = "Idempotency-Key"

OPTIONS: Mapping[str, Mapping[str, Schema]] = {
    AI_SDK.name: {"version": choice(VERSIONS)},
    OPENAI_RESPONSES.name: {
        "starting_after": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
    },
}
"""Query parameters of the protocols' ``options``."""

EVERY = tuple(PROTOCOLS.values())
ENDED = ("The client has all of an ended run", EMPTY)
RESPONSE = shapes.answer_of(t.cast(t.Any, OPENAI_RESPONSES.response_body))
MODEL = record(id=TEXT, object={"const": "model"}, created=shapes.COUNT, owned_by=TEXT)
NULL: Schema = {"type": "null"}
CHAT_RUN = record(
    run=TEXT, provider=TEXT, created={"type": "number"}, status=TEXT, events=TEXT, stop=TEXT
)


def run_with(**fields: Schema) -> Schema:
    return {"allOf": [record(run=TEXT, **fields), reference("message")]}


OPERATIONS: Mapping[str, Operation] = {
    "run": Operation(
        "A run so far.",
        {
            "200": (
                "The run",
                json_of(
                    run_with(
                        provider=TEXT,
                        created={"type": "number"},
                        cursor=TEXT,
                        events=TEXT,
                        stop=TEXT,
                    )
                ),
            )
        },
        errors.READ,
    ),
    "events": Operation(
        "A run's events after a cursor, or all of them.",
        {"200": ("The events", stream_of(NATIVE)), "204": ENDED},
        errors.RESUME,
        query={"last_event_id": CURSOR_TEXT},
        headers=(CURSOR,),
    ),
    "events-in": Operation(
        "A run's events in any protocol.",
        {"200": ("The events", stream_of(*EVERY)), "204": ENDED},
        errors.RESUME,
        EVERY,
        query={
            "last_event_id": CURSOR_TEXT,
            **{k: v for row in OPTIONS.values() for k, v in row.items()},
        },
        headers=(CURSOR,),
    ),
    "stop": Operation(
        "Stop a run.",
        {
            "200": (
                "The run",
                json_of(run_with(stopped={"type": "boolean"}, events=shapes.COUNT)),
            )
        },
        errors.READ,
    ),
    "stop-by-key": Operation(
        "Stop the run that an idempotency key started.",
        {
            "200": (
                "The run",
                json_of(run_with(stopped={"type": "boolean"}, events=shapes.COUNT)),
            )
        },
        errors.FIND,
        headers=(KEY,),
    ),
    "health": Operation(
        "Readiness of this process.",
        {
            "200": ("It accepts runs", json_of(record(status={"const": "ok"}))),
            "503": ("It drains", json_of(record(status={"const": "draining"}))),
        },
    ),
    "ai-sdk-reconnect": Operation(
        "The latest run of a chat, from its start.",
        {
            "200": ("Its events", stream_of(AI_SDK)),
            "204": ("The chat has no run that can be found by its id", EMPTY),
        },
        (*errors.FIND, *errors.FOLLOW),
        (AI_SDK,),
        query=OPTIONS[AI_SDK.name],
    ),
    "ai-sdk-stop": Operation(
        "Stop the latest run of a chat.",
        {
            "200": (
                "Whether this request stopped it",
                json_of(record(run={"type": ["string", "null"]}, stopped={"type": "boolean"})),
            )
        },
        errors.FIND,
        (AI_SDK,),
    ),
    "openai-models": Operation(
        "The providers.",
        {
            "200": (
                "Each as a model",
                json_of(record(object={"const": "list"}, data=listing(MODEL))),
            )
        },
        errors.LIST,
        (OPENAI_RESPONSES,),
    ),
    "openai-model": Operation(
        "One provider.",
        {"200": ("As a model", json_of(MODEL))},
        (*errors.LIST, ProviderNotFound),
        (OPENAI_RESPONSES,),
    ),
    "openai-response": Operation(
        "A response so far, or its events.",
        {"200": ("The response", {**json_of(RESPONSE), **stream_of(OPENAI_RESPONSES)})},
        errors.FOLLOW,
        (OPENAI_RESPONSES,),
        query={"stream": choice(["true", "false"]), **OPTIONS[OPENAI_RESPONSES.name]},
    ),
    "openai-cancel": Operation(
        "Stop a response.",
        {"200": ("The response", json_of(RESPONSE))},
        errors.READ,
        (OPENAI_RESPONSES,),
    ),
    "openai-delete": Operation(
        "Stop a response, and delete it.",
        {
            "200": (
                "It is deleted",
                json_of(record(id=TEXT, object={"const": "response"}, deleted={"const": True})),
            )
        },
        (*errors.READ, RequestError, Unavailable),
        (OPENAI_RESPONSES,),
    ),
    "openai-compact": Operation(
        "Not offered.",
        {"404": ("Always", json_of(reference(f"{OPENAI_RESPONSES.name}-error")))},
        protocols=(OPENAI_RESPONSES,),
    ),
    "chat": Operation(
        "The runs of a chat, oldest first.",
        {
            "200": (
                "The runs",
                json_of(
                    record(chat=TEXT, runs=listing(CHAT_RUN), live={"anyOf": [CHAT_RUN, NULL]})
                ),
            )
        },
        (*errors.LIST, ChatNotFound, StoreUnavailable),
    ),
    "openapi": Operation(
        "This description.", {"200": ("OpenAPI 3.1", json_of({"type": "object"}))}, errors.LIST
    ),
}
"""Endpoint → operation, for the routes that are not in the table of protocols. Files are not described."""
