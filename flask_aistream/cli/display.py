"""Rows for a terminal: a table, drawn by ``rich`` where it is installed, or JSON."""

from __future__ import annotations

import importlib.util
import json
import typing as t
from collections.abc import Sequence

import click

Row = t.Mapping[str, t.Any]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def show(rows: Sequence[Row], *, as_json: bool, empty: str) -> None:
    """Print rows that all have the same keys.

    :param empty: The sentence printed instead of a table without rows.
    """
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=str))
    elif not rows:
        click.echo(empty)
    elif importlib.util.find_spec("rich") is not None:
        rich_table(rows)
    else:
        plain_table(rows)


def plain_table(rows: Sequence[Row]) -> None:
    lines = [tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def rich_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table)
