"""``ask``: stream an answer into the terminal, from this application or from a server."""

from __future__ import annotations

import sys
import time
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field

import click
from flask.cli import ScriptInfo

from flask_aistream.cli.application import application
from flask_aistream.cli.remote import RemoteRun
from flask_aistream.core import events as ev
from flask_aistream.core.fold import STATUS
from flask_aistream.errors import ProviderNotFound
from flask_aistream.protocols.base import ParsedRequest
from flask_aistream.protocols.native import NATIVE
from flask_aistream.web import names
from flask_aistream.web.extension import Extension
from flask_aistream.web.handle import RunHandle
from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.start import Starter
from flask_aistream.web.start import start

SUCCEEDED, DID_NOT_SUCCEED, INTERRUPTED = 0, 1, 130
"""Exit statuses. 130 is the one of a program that Ctrl-C ended."""


class Answer(t.Protocol):
    """A run that is read here."""

    @property
    def id(self) -> str: ...

    def events(self) -> Iterator[ev.Event]: ...

    def stop(self) -> bool: ...


@click.command()
@click.argument("provider")
@click.argument("prompt", required=False)
@click.option("--url", help="Ask this server: the URL below which its AIStream is registered.")
@click.option("--resume", metavar="RUN", help="Read this run, or the rest of it after RUN:NUMBER.")
@click.pass_obj
def ask(
    info: ScriptInfo, provider: str, prompt: str | None, url: str | None, resume: str | None
) -> None:
    """Ask PROVIDER a PROMPT and print the answer as it arrives. Ctrl-C stops the run.

    The answer goes to standard output, everything else to standard error. A PROMPT of - is read from
    standard input.
    """
    if prompt == "-":
        prompt = sys.stdin.read()
    if url is not None:
        answer = RemoteRun(url, resume) if resume else remote_start(url, provider, prompt)
        raise SystemExit(print_answer(answer))
    with application(info) as (_, ext):
        handle = attached(ext, provider, resume) if resume else local_start(ext, provider, prompt)
        raise SystemExit(print_answer(handle))


def remote_start(url: str, provider: str, prompt: str | None) -> RemoteRun:
    try:
        return RemoteRun.start(url, provider, prompt)
    except OSError as error:
        raise click.ClickException(f"{url} does not answer: {error}.") from None


def local_start(ext: Extension, name: str, prompt: str | None) -> RunHandle:
    registry = registry_of(ext, name)
    parsed = NATIVE.read({} if prompt is None else {"prompt": prompt})
    return handle_of(ext, registry, name, parsed)


def handle_of(
    ext: Extension, registry: ProviderRegistry, name: str, parsed: ParsedRequest
) -> RunHandle:
    starter = Starter(None, names.CODE, names.CODE)
    log = start(ext, registry, registry.find(name), parsed, starter)
    return RunHandle(ext, log, registry.rendering)


def attached(ext: Extension, name: str, run_id: str) -> RunHandle:
    registry = registry_of(ext, name)
    return RunHandle(ext, ext.process.store.open(run_id.partition(":")[0]), registry.rendering)


def registry_of(ext: Extension, name: str) -> ProviderRegistry:
    """
    :raises ProviderNotFound: No blueprint of the application has such a provider.
    """
    for mount in ext.mounts.values():
        if name in mount.registry:
            return mount.registry
    known = ", ".join(
        provider for mount in ext.mounts.values() for provider in mount.registry.names
    )
    raise ProviderNotFound(f"There is no provider {name!r}. Registered: {known or 'none'}.")


@dataclass
class Progress:
    """Counts and times of an answer.

    :param began: Of ``clock``, in seconds.
    """

    clock: t.Callable[[], float] = time.monotonic
    began: float = field(init=False)
    first: float | None = None
    deltas: int = 0
    usage: ev.Usage | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def add(self, event: ev.Event) -> None:
        if isinstance(event, ev.Usage):
            self.usage = event
        if isinstance(event, (str, ev.Reasoning)):
            self.deltas += 1
            if self.first is None:
                self.first = self.clock() - self.began

    def __str__(self) -> str:
        seconds = self.clock() - self.began
        known = self.usage.output_tokens if self.usage else None
        tokens = self.deltas if known is None else known
        unit = "deltas" if known is None else "tokens"
        first = "" if self.first is None else f", the first after {self.first:.2f} s"
        return f"{tokens} {unit} in {seconds:.2f} s ({tokens / max(seconds, 0.001):.0f}/s){first}"


def print_answer(answer: Answer) -> int:
    """Print an answer to its end.

    :returns: The exit status of the command.
    """
    click.echo(f"Run {answer.id}", err=True)
    progress = Progress()
    outcome: ev.Terminal | None = None
    try:
        for event in answer.events():
            progress.add(event)
            print_event(event)
            if isinstance(event, ev.TERMINAL):
                outcome = event
    except KeyboardInterrupt:
        answer.stop()
        click.echo(f"\nStopped. {progress}", err=True)
        return INTERRUPTED
    click.echo(f"\n{ending(outcome)}. {progress}", err=True)
    return SUCCEEDED if isinstance(outcome, ev.Finished) else DID_NOT_SUCCEED


def print_event(event: ev.Event) -> None:
    match event:
        case str():
            click.echo(event, nl=False)
        case ev.Reasoning():
            click.secho(event.text, nl=False, err=True, dim=True)
        case ev.ToolCall() | ev.ToolApproval():
            click.secho(f"\n[{event.name} {event.arguments}]", err=True, dim=True)
        case ev.SourceUrl():
            click.secho(f"\n[{event.url}]", err=True, dim=True)
        case _:  # The other events are no text.
            pass


def ending(outcome: ev.Terminal | None) -> str:
    """How a run ended, as a sentence without its period."""
    match outcome:
        case ev.Failed():
            return f"Failed as {outcome.code}: {outcome.message.rstrip('.')}"
        case ev.Finished():
            return f"Finished: {outcome.reason}"
        case None:
            return "The log has no end"
        case _:
            return STATUS[type(outcome)].capitalize()
