"""The command group, with all of its commands."""

from __future__ import annotations

from flask.cli import AppGroup

from flask_aistream.cli.ask import ask
from flask_aistream.cli.doctor import doctor
from flask_aistream.cli.listing import config
from flask_aistream.cli.listing import providers
from flask_aistream.cli.listing import routes
from flask_aistream.cli.runs import runs
from flask_aistream.cli.runs import stop
from flask_aistream.cli.runs import tail

group = AppGroup("aistream", help="Try providers, follow and stop runs, and inspect the set-up.")

for command in (ask, config, doctor, providers, routes, runs, stop, tail):
    group.add_command(command)
