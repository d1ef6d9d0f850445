"""``doctor``: what is wrong with a deployment, each with its cure."""

from __future__ import annotations

import json

import click
from flask.cli import ScriptInfo

from flask_aistream.cli.application import application
from flask_aistream.doctor.checks import CHECKS
from flask_aistream.doctor.checks import Finding
from flask_aistream.doctor.checks import diagnose
from flask_aistream.doctor.probe import examine
from flask_aistream.doctor.subject import Subject
from flask_aistream.web.config import MEGABYTE
from flask_aistream.web.diagnosis import token_for

MARGIN = 1.0
"""Seconds of silence beyond a heartbeat."""


@click.command()
@click.argument("url", required=False)
@click.option("--origin", help="Also check that pages of this origin may read the streams.")
@click.option("--quick", is_flag=True, help="Skip the silence of one heartbeat, 16 s by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_obj
def doctor(
    info: ScriptInfo, url: str | None, origin: str | None, quick: bool, as_json: bool
) -> None:
    """Examine the application, and the deployment behind the public URL of its blueprint.

    The exit status is 1 if anything was found.
    """
    with application(info) as (app, ext):
        settings = ext.settings
        site = None
        if url is not None:
            heartbeat = settings.heartbeat_seconds
            silence = 0.0 if quick or heartbeat is None else heartbeat + MARGIN
            most = settings.max_body_bytes or MEGABYTE
            site = examine(url, token_for(app), silence=silence, body=most, origin=origin)
        findings = list(diagnose(Subject(app, settings, ext.mounts, site, origin)))
    report(findings, as_json=as_json)
    raise SystemExit(int(bool(findings)))


def report(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return
    for finding in findings:
        click.secho(f"✗ {finding.check}: {finding.problem}", fg="red")
        click.echo(f"  Cure: {finding.cure}")
    if not findings:
        click.secho(f"✓ {len(CHECKS)} checks found nothing.", fg="green")
