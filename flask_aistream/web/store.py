"""Choose an application's store, and refuse to start with one that cannot be opened."""

from __future__ import annotations

import logging
import os
from urllib.parse import quote

from flask import Flask

from flask_aistream.errors import ConfigError
from flask_aistream.errors import StoreUnavailable
from flask_aistream.server.detect import concurrency
from flask_aistream.server.gunicorn import announce
from flask_aistream.server.gunicorn import replaces_another
from flask_aistream.server.siblings import may_have_siblings
from flask_aistream.stores.urls import check_connection
from flask_aistream.stores.urls import without_password
from flask_aistream.stores.urls import without_secrets
from flask_aistream.web.config import Settings

logger = logging.getLogger("flask_aistream")

MEMORY = "memory://"
FILE = "aistream.sqlite"


def choose_store(app: Flask, settings: Settings, *, forked: bool = False) -> str | None:
    """URL of the application's store.

    :param forked: Asked in the process that will serve. A server may load the application before it forks.
    :returns: ``None``: ask again, after the fork.
    :raises ConfigError: The store that was configured cannot be opened.
    """
    if settings.store is None:
        if not forked:
            return None
        return shared_by_processes(app) if may_have_siblings() else MEMORY
    try:
        check_connection(settings.store, concurrency())
    except StoreUnavailable as error:
        refusal = cannot_be_opened(settings.store, error.cause)
        if not replaces_another():
            raise refusal from None
        # gunicorn ends the whole service when one worker does not start.
        logger.error("%s Until it can be, starts are answered with 503.", refusal)
    except ValueError as error:
        raise cannot_be_opened(settings.store, str(error)) from None
    if settings.store.startswith(MEMORY) and may_have_siblings():
        announce(
            f"flask_aistream: AISTREAM_STORE is `{settings.store}`, so each process keeps its own runs, and "
            "others cannot resume or stop them. Leave it out: then they share a file.",
            logging.WARNING,
        )
    return settings.store


def cannot_be_opened(url: str, cause: str) -> ConfigError:
    cause = without_secrets(cause, url).rstrip(".")
    return ConfigError(
        f"AISTREAM_STORE is `{without_password(url)}`, which cannot be opened: {cause}."
    )


def shared_by_processes(app: Flask) -> str:
    """A file in the instance folder, if it can be made."""
    path = os.path.join(app.instance_path, FILE)
    url = f"sqlite:///{quote(path)}"
    try:
        os.makedirs(app.instance_path, exist_ok=True)
        check_connection(url, concurrency())
    except (OSError, StoreUnavailable) as error:
        cause = error.cause if isinstance(error, StoreUnavailable) else error
        announce(
            f"flask_aistream: {path} cannot be opened ({cause}), so each process keeps its own runs, "
            "and others cannot resume or stop them. Set AISTREAM_STORE.",
            logging.WARNING,
        )
        return MEMORY
    announce(
        f"flask_aistream: the processes share their runs in {path}. Set AISTREAM_STORE for another place."
    )
    return url
