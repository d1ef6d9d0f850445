"""The OpenAPI document of one registration of a blueprint."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from flask import Flask
from werkzeug.routing import Rule

from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.web.config import Settings
from flask_aistream.web.openapi import errors
from flask_aistream.web.openapi import shapes
from flask_aistream.web.openapi.operations import CURSOR
from flask_aistream.web.openapi.operations import JSON
from flask_aistream.web.openapi.operations import KEY
from flask_aistream.web.openapi.operations import OPERATIONS
from flask_aistream.web.openapi.operations import Content
from flask_aistream.web.openapi.operations import Operation
from flask_aistream.web.openapi.operations import media_type
from flask_aistream.web.openapi.operations import start_operation
from flask_aistream.web.openapi.requests import CURSOR_TEXT
from flask_aistream.web.openapi.requests import KEY_TEXT
from flask_aistream.web.openapi.requests import body_of
from flask_aistream.web.openapi.requests import form_of
from flask_aistream.web.openapi.requests import text_fields
from flask_aistream.web.openapi.shapes import TEXT
from flask_aistream.web.openapi.shapes import Schema
from flask_aistream.web.openapi.shapes import choice
from flask_aistream.web.openapi.shapes import reference
from flask_aistream.web.parse import FORMS
from flask_aistream.web.registry import ProviderRegistry

VERSION = "1"
"""Of the routes, which keep their paths and fields from release to release."""

METHODS = ("GET", "POST", "DELETE")
"""HEAD and OPTIONS follow from them."""

VARIABLE = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")
"""A variable of a URL rule, with its converter."""

STARTS = {"start" if name == "native" else name: row for name, row in PROTOCOLS.items()}


def document_of(
    app: Flask, settings: Settings, registry: ProviderRegistry, name: str, root: str
) -> Schema:
    """Describe the routes of a registration.

    :param name: Of the registration, the prefix of its endpoints.
    :param root: Path below which the application is served; ``/`` usually.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": app.name, "version": VERSION},
        "servers": [{"url": root}],
        "paths": Paths(settings, registry, name).of(app),
        "components": {"schemas": components(settings, registry)},
    }


def components(settings: Settings, registry: ProviderRegistry) -> Mapping[str, Schema]:
    bodies = {
        f"{it.name}-request": body_of(it, settings, registry.names) for it in PROTOCOLS.values()
    }
    failures = {f"{it.name}-error": shapes.error_of(it) for it in PROTOCOLS.values()}
    return {"message": shapes.message(), "event": shapes.EVENT, **bodies, **failures}


class Paths:
    """The ``paths`` of a document."""

    def __init__(self, settings: Settings, registry: ProviderRegistry, name: str) -> None:
        self._settings = settings
        self._registry = registry
        self._prefix = f"{name}."
        providers = choice(registry.names) if registry.names else TEXT
        self._variables: Mapping[str, Schema] = {
            "provider": providers,
            "name": providers,
            "protocol": choice(PROTOCOLS),
        }

    def of(self, app: Flask) -> Schema:
        paths: dict[str, Schema] = {}
        for rule in app.url_map.iter_rules():
            for method in METHODS:
                operation = self._operation(rule, method)
                if operation is not None:
                    path = VARIABLE.sub(r"{\1}", rule.rule)
                    paths.setdefault(path, {})[method.lower()] = self._described(
                        rule, method, operation
                    )
        return paths

    def _operation(self, rule: Rule, method: str) -> Operation | None:
        """The operation of a method of a route; ``None`` for a file, and for a route that is not ours."""
        if method not in (rule.methods or ()) or not rule.endpoint.startswith(self._prefix):
            return None
        endpoint = rule.endpoint.removeprefix(self._prefix)
        protocol = STARTS.get(endpoint)
        if protocol is None:
            return OPERATIONS.get(endpoint)
        fields = text_fields(self._body(protocol))
        return start_operation(protocol, method, fields)

    def _body(self, protocol: WireProtocol) -> Schema:
        return body_of(protocol, self._settings, self._registry.names)

    def _described(self, rule: Rule, method: str, operation: Operation) -> Schema:
        described: Schema = {
            "operationId": f"{method.lower()}-{rule.endpoint}",
            "summary": operation.summary,
            "parameters": [*self._parameters(rule, operation)],
            "responses": responses(operation),
        }
        if operation.body is not None:
            described["requestBody"] = {"required": True, "content": self._contents(operation.body)}
        return described

    def _contents(self, protocol: WireProtocol) -> Schema:
        body = {JSON: {"schema": reference(f"{protocol.name}-request")}}
        if protocol.form is None:
            return body
        form = {"schema": form_of(protocol, self._body(protocol))}
        return {**body, **dict.fromkeys(FORMS, form)}

    def _parameters(self, rule: Rule, operation: Operation) -> t.Iterator[Schema]:
        for name in VARIABLE.findall(rule.rule):
            yield parameter("path", name, self._variables.get(name, TEXT), required=True)
        for name, schema in operation.query.items():
            yield parameter("query", name, schema)
        for name in operation.headers:
            yield parameter("header", name, HEADERS[name])


HEADERS: Mapping[str, Schema] = {CURSOR: CURSOR_TEXT, KEY: KEY_TEXT}


def parameter(place: str, name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"in": place, "name": name, "required": required, "schema": schema}


def responses(operation: Operation) -> Schema:
    answers = {
        status: {"description": sentence, **content_of(content)}
        for status, (sentence, content) in operation.answers.items()
    }
    failed: dict[str, list[Schema]] = {}
    for protocol in operation.protocols:
        failed.setdefault(media_type(protocol.error_type), []).append(
            reference(f"{protocol.name}-error")
        )
    bodies = {kind: {"anyOf": found} for kind, found in failed.items()}
    refusals = {
        status: {
            "description": f"{errors.SENTENCES[status]}: {', '.join(codes)}",
            **content_of(bodies),
            **({"headers": RETRY_AFTER} if status in errors.RETRIED else {}),
        }
        for status, codes in errors.by_status(operation.errors).items()
    }
    return {**refusals, **answers}


RETRY_AFTER: Schema = {
    "Retry-After": {"required": True, "description": "Seconds to wait.", "schema": shapes.COUNT}
}


def content_of(content: Content) -> Schema:
    return (
        {"content": {kind: {"schema": schema} for kind, schema in content.items()}}
        if content
        else {}
    )
