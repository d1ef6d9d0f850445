"""The folders are the diagram: an import only points to a lower layer."""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_aistream"

LAYERS = {
    "errors": 0,
    "timing": 0,
    "core": 1,
    "sse": 1,
    "protocols": 2,
    "providers": 2,
    "stores": 2,
    "runs": 3,
    "server": 3,
    "delivery": 4,
    "web": 5,
    # What only re-exports, or is made for applications, stands on top of everything.
    "testing": 6,
    "gunicorn_conf": 6,
    "__init__": 6,
}
TOP = max(LAYERS.values())
PURE = {"errors", "core", "sse", "protocols", "providers"}

# Who may import what is neither ours nor Python's own. Anything else has no place in the package.
THIRD_PARTIES = {
    "flask": {"web", "testing", "__init__"},
    "werkzeug": {"web", "testing"},
    "blinker": {"web"},
    "click": {"web"},
    "flask_login": {"web"},
    "gevent": {"server", "runs"},
    "greenlet": {"server", "runs"},
    "gunicorn": {"server"},
    "redis": {"stores"},
    "celery": {"runs", "web"},
    "prometheus_client": {"telemetry"},
    "opentelemetry": {"telemetry"},
}
# runs/ may know gevent in one place only: where asyncio is bridged.
GEVENT_IN_RUNS = {"runs/bridge.py"}

# Doors to sockets, files, clocks and threads.
IMPURE = {
    *(
        "asyncio",
        "concurrent",
        "multiprocessing",
        "queue",
        "sched",
        "selectors",
        "signal",
        "socket",
    ),
    *(
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "http",
        "urllib",
        "os",
        "pathlib",
        "shutil",
    ),
    *("sqlite3", "logging"),
}
# Names are worked on, nothing is opened.
PURE_PARTS = {"urllib.parse", "http.HTTPStatus"}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    own = layer_of(path)
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("flask_aistream.")}
    # A name that is no layer comes from the package itself, which stands on top.
    too_high = {name for name in ours - {own} if LAYERS.get(name, TOP) >= LAYERS[own]}
    assert not too_high, f"{own} is beside or below {too_high}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_its_own_layer_knows_a_third_party(path: Path) -> None:
    foreign = {package_of(name) for name in imports(path)} - sys.stdlib_module_names
    foreign -= {"flask_aistream"}
    unknown = {name for name in foreign if layer_of(path) not in THIRD_PARTIES.get(name, set())}
    assert not unknown, f"{layer_of(path)} must not import {unknown}"


@pytest.mark.parametrize("path", [m for m in MODULES if m.parts[0] == "runs"], ids=str)
def test_in_runs_only_the_asyncio_bridge_knows_gevent(path: Path) -> None:
    if {package_of(name) for name in imports(path)} & {"gevent", "greenlet"}:
        assert path.as_posix() in GEVENT_IN_RUNS


@pytest.mark.parametrize(
    "path", [m for m in MODULES if m.parts[0].removesuffix(".py") in PURE], ids=str
)
def test_up_to_the_providers_everything_is_pure(path: Path) -> None:
    impure = {name for name in imports(path) if package_of(name) in IMPURE}
    assert {name for name in impure if not name.startswith(tuple(PURE_PARTS))} == set()


@pytest.mark.parametrize(
    "layer", sorted({path.parts[0] for path in MODULES if len(path.parts) > 1})
)
def test_every_folder_says_its_rule(layer: str) -> None:
    tree = ast.parse((PACKAGE / layer / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{layer}/__init__.py has no docstring"


def test_every_folder_has_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= LAYERS.keys()


def layer_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def package_of(name: str) -> str:
    return name.partition(".")[0]


def imports(path: Path) -> set[str]:
    """Dotted names a module imports at any depth: also lazily, also for its types."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) for name in imported_by(node)}


def imported_by(node: ast.AST) -> t.Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            # `from flask_aistream import web` names the layer only after the import.
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.ImportFrom():
            yield "relative imports hide the layer"
