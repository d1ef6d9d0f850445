"""``tail`` and ``stop``: runs in the store that the processes of an application share."""

from __future__ import annotations

import click
from flask.cli import ScriptInfo

from flask_aistream.cli.application import application
from flask_aistream.cli.ask import print_answer
from flask_aistream.web.extension import Extension
from flask_aistream.web.handle import RunHandle


@click.command()
@click.argument("run")
@click.pass_obj
def tail(info: ScriptInfo, run: str) -> None:
    """Print the answer of RUN from its beginning, and go on as it arrives."""
    with application(info) as (_, ext):
        raise SystemExit(print_answer(opened(ext, run)))


@click.command()
@click.argument("run")
@click.pass_obj
def stop(info: ScriptInfo, run: str) -> None:
    """Stop RUN, in whichever process it is executed."""
    with application(info) as (_, ext):
        ended = opened(ext, run).stop()
    click.echo(f"Run {run} is stopped." if ended else f"Run {run} had ended before.")


def opened(ext: Extension, run_id: str) -> RunHandle:
    """
    :raises click.ClickException: The store is in the memory of the server's process.
    :raises RunNotFound: The store has no such run.
    """
    ext.use_shared_store()
    store = ext.process.store
    if not store.shared:
        raise click.ClickException(
            "The runs are in the memory of the server's process, where no command can read them. Set "
            "AISTREAM_STORE, or use the server's own routes: ask --url … --resume …"
        )
    return RunHandle(ext, store.open(run_id), {})
