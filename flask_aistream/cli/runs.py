"""``runs``, ``tail`` and ``stop``: runs in the store that the processes of an application share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import click
from flask.cli import ScriptInfo

from flask_aistream.cli.application import application
from flask_aistream.cli.ask import print_answer
from flask_aistream.cli.display import json_option
from flask_aistream.cli.display import show
from flask_aistream.core.fold import STATUS
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import RunUnreadable
from flask_aistream.stores.base import Store
from flask_aistream.web.extension import Extension
from flask_aistream.web.handle import RunHandle

FINAL = frozenset(STATUS.values())


@click.command()
@click.option("--live", is_flag=True, help="Only those that have not ended.")
@json_option
@click.pass_obj
def runs(info: ScriptInfo, live: bool, as_json: bool) -> None:
    """List the runs of all processes, the newest first."""
    with application(info) as (_, ext):
        handles = [handle for handle in listed(ext) if not (live and handle.status in FINAL)]
        handles.sort(key=lambda handle: handle.run.created, reverse=True)
        rows = [
            {
                "run": handle.id,
                "provider": handle.run.provider,
                "status": handle.status,
                "owner": handle.run.owner or "",
                "age": f"{time.time() - handle.run.created:.0f} s",
            }
            for handle in handles
        ]
    show(rows, as_json=as_json, empty="The store has no runs.")


@click.command()
@click.argument("run")
@click.pass_obj
def tail(info: ScriptInfo, run: str) -> None:
    """Print the answer of RUN from its beginning, and go on as it arrives.

    The beginning of the run's id is enough if no other run has it.
    """
    with application(info) as (_, ext):
        raise SystemExit(print_answer(opened(ext, run)))


@click.command()
@click.argument("run")
@click.pass_obj
def stop(info: ScriptInfo, run: str) -> None:
    """Stop RUN, in whichever process it is executed.

    The beginning of the run's id is enough if no other run has it.
    """
    with application(info) as (_, ext):
        handle = opened(ext, run)
        ended = handle.stop()
    click.echo(f"Run {handle.id} is stopped." if ended else f"Run {handle.id} had ended before.")


def listed(ext: Extension) -> Iterator[RunHandle]:
    store = shared_store(ext)
    for run_id in store.all_runs():
        with contextlib.suppress(RunNotFound, RunUnreadable):  # Dropped in between.
            yield RunHandle(ext, store.open(run_id), {})


def opened(ext: Extension, run_id: str) -> RunHandle:
    """
    :param run_id: The id of a run, or the beginning of one.
    :raises click.ClickException: Several runs begin like this.
    :raises RunNotFound: The store has no such run.
    """
    store = shared_store(ext)
    found = [it for it in store.all_runs() if it.startswith(run_id)]
    if len(found) > 1 and run_id not in found:
        raise click.ClickException(f"{len(found)} runs begin with {run_id!r}. Give more of the id.")
    return RunHandle(ext, store.open(found[0] if len(found) == 1 else run_id), {})


def shared_store(ext: Extension) -> Store:
    """
    :raises click.ClickException: The runs are in the memory of the server's process.
    """
    ext.use_shared_store()
    store = ext.process.store
    if not store.shared:
        raise click.ClickException(
            "The runs are in the memory of the server's process, where no command can read them. Set "
            "AISTREAM_STORE, or use the server's own routes: ask --url … --resume …"
        )
    return store
