"""The application that a command works on."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator

import click
from flask import Flask
from flask.cli import ScriptInfo

from flask_aistream.errors import AIStreamError
from flask_aistream.web.extension import KEY
from flask_aistream.web.extension import Extension


@contextlib.contextmanager
def application(info: ScriptInfo) -> Iterator[tuple[Flask, Extension]]:
    """The loaded application and its extension, in an application context.

    Errors of the package end the command with their message instead of a traceback.

    :raises click.ClickException: The application has no ``AIStream``, or the command failed.
    """
    try:
        app = info.load_app()
        ext = t.cast("Extension | None", app.extensions.get(KEY))
        if ext is None:
            raise click.ClickException(
                f"The application {app.name!r} has no AIStream. Register one: ai.init_app(app)."
            )
        with app.app_context():
            yield app, ext
    except AIStreamError as error:
        raise click.ClickException(str(error)) from None
