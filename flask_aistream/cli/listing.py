"""What an application has: ``providers``, ``routes`` and ``config``."""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import ScriptInfo

from flask_aistream.cli.application import application
from flask_aistream.cli.display import json_option
from flask_aistream.cli.display import show
from flask_aistream.stores.urls import without_password
from flask_aistream.web.config import KEYS
from flask_aistream.web.config import value_of


@click.command()
@json_option
@click.pass_obj
def providers(info: ScriptInfo, as_json: bool) -> None:
    """List the providers and their options."""
    with application(info) as (_, ext):
        rows = [
            {
                "provider": provider.name,
                "url": f"{mount.prefix}/{provider.name}",
                "function": function_name(provider.call),
                "context": provider.context,
                "restart": provider.restart,
                "text only": provider.text_only,
            }
            for mount in ext.mounts.values()
            for provider in mount.registry
        ]
    show(rows, as_json=as_json, empty="No provider is registered. Decorate one: @ai.provider.")


@click.command()
@json_option
@click.pass_obj
def routes(info: ScriptInfo, as_json: bool) -> None:
    """List the routes that the blueprints add to the application."""
    with application(info) as (app, ext):
        rows = [
            {"methods": " ".join(sorted(methods - {"OPTIONS", "HEAD"})), "path": path}
            for path, methods, blueprint in rules_of(app)
            if blueprint in ext.mounts
        ]
    show(rows, as_json=as_json, empty="The application has no routes of an AIStream.")


@click.command()
@json_option
@click.pass_obj
def config(info: ScriptInfo, as_json: bool) -> None:
    """List the effective configuration, and which keys the application sets."""
    with application(info) as (_, ext):
        rows = [
            {
                "key": key.name,
                "value": shown(value_of(ext.settings, key)),
                "unit": key.unit,
                "from": "default" if value_of(ext.settings, key) == key.default else "application",
            }
            for key in KEYS
        ]
    show(rows, as_json=as_json, empty="")


def rules_of(app: Flask) -> list[tuple[str, set[str], str]]:
    """Path, methods and blueprint of each rule, sorted by path."""
    return sorted(
        (rule.rule, set(rule.methods or ()), rule.endpoint.rpartition(".")[0])
        for rule in app.url_map.iter_rules()
    )


def function_name(function: object) -> str:
    module = getattr(function, "__module__", type(function).__module__)
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def shown(value: object) -> object:
    return without_password(value) if isinstance(value, str) else value
