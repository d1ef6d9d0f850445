"""The medians as bars: one panel a figure, as SVG, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.goals import BY_NAME
from benchmarks.results import Results
from benchmarks.servers.table import BY_NAME as SERVERS

PANELS = (
    ("flat", "speed"),
    ("tick", "speed"),
    ("paced", "cpu"),
    ("capacity", "held"),
    ("capacity", "share_4000"),
    ("idle", "memory_10000"),
    ("first", "p50"),
    ("fanout", "speed"),
    ("end_to_end", "openai_held"),
    ("end_to_end", "openai_cpu_80"),
)
COLUMNS = 2

WIDTH = 460
TOP, LABEL, BAR, GAP = 36, 200, 14, 6
OURS, PEER, LIMIT = "#0b6e4f", "#8a94a6", "#d3d8e0"
STYLE = "font: 12px system-ui, sans-serif; fill: #1c2430"


def render(results: Results) -> str:
    there = [panel for panel in PANELS if bars(results, *panel)]
    rows = -(-len(there) // COLUMNS)
    most = max((len(bars(results, *panel)) for panel in there), default=0)
    high = TOP + most * (BAR + GAP) + TOP // 2
    width, height = COLUMNS * WIDTH, rows * high
    body = "".join(
        f'<g transform="translate({i % COLUMNS * WIDTH} {i // COLUMNS * high})">'
        f"{''.join(draw(results, *panel))}</g>\n"
        for i, panel in enumerate(there)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="{STYLE}" role="img">\n'
        f'<title>Medians of each server</title>\n<rect width="100%" height="100%" fill="#fff"/>\n'
        f"{body}</svg>\n"
    )


def bars(results: Results, workload: str, metric: str) -> list[tuple[str, float]]:
    """Name and median of each server that has one."""
    pair = BY_NAME[workload, metric]
    found = ((name, results.median(*pair, name)) for name in SERVERS)
    return [(name, value) for name, value in found if value is not None]


def draw(results: Results, workload: str, metric: str) -> Iterator[str]:
    row, column = BY_NAME[workload, metric]
    found = bars(results, workload, metric)
    most = max(value for _, value in found) or 1.0
    title = f"{row.title}: {column.title} ({column.better} is better)"
    yield f'<text x="10" y="22" font-weight="600">{escape(title)}</text>\n'
    for place, (name, value) in enumerate(found):
        y = TOP + place * (BAR + GAP)
        # The text of the value needs room at the end of the longest bar.
        length = value / most * (WIDTH - LABEL - 80)
        color = OURS if name.startswith("ours") else LIMIT if is_limit(name) else PEER
        yield f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(short(name))}</text>\n'
        yield f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{color}"/>\n'
        yield f'<text x="{LABEL + length + 5:.1f}" y="{y + 11}">{value:,.{column.digits}f}</text>\n'


def is_limit(name: str) -> bool:
    return SERVERS[name].label.startswith("limit")


def short(name: str) -> str:
    return SERVERS[name].label.partition(", gunicorn")[0].partition(", uvicorn")[0]
