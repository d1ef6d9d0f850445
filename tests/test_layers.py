"""The folders are the diagram: imports point to lower folders, and modules import each other in no circle.

Imports count at any depth: in functions and under ``TYPE_CHECKING``, too.
"""

from __future__ import annotations

import ast
import functools
import sys
import typing as t
from pathlib import Path

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
    # Made for applications and operators, from everything below.
    "upstream": 6,
    "testing": 6,
    "gunicorn_conf": 6,
    "__init__": 6,
    "telemetry": 6,
    "doctor": 7,
    "cli": 8,
}
PURE = {"errors", "core", "sse", "protocols", "providers"}

CIRCLES: set[frozenset[str]] = set()
"""Circles that are still tolerated. One that is gone has to be deleted here."""

# Layers, or single modules, that may import a package that is neither ours nor Python's.
THIRD_PARTIES = {
    "flask": {"web", "testing", "telemetry", "doctor", "cli", "__init__"},
    "click": {"cli"},
    "rich": {"cli"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry"},
    "werkzeug": {"web", "testing"},
    "blinker": {"web"},
    "flask_login": {"web"},
    "itsdangerous": {"web"},
    "gevent": {"server"},
    "greenlet": {"server", "runs.bridge"},
    "gunicorn": {"server"},
    "redis": {"stores"},
    "celery": {"web"},
    "msgspec": {"providers.fast_json"},
    "orjson": {"providers.fast_json"},
    "httpx": {"upstream"},
    "httpx2": {"upstream"},
    "urllib3": {"upstream"},
    "certifi": {"upstream"},
}

# Modules of Python that reach sockets, files, clocks, threads or processes.
IMPURE = frozenset(
    {
        *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue"),
        *("sched", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess"),
        *("tempfile", "threading", "time", "urllib"),
    }
)
# They work on names only.
PURE_PARTS = ("urllib.parse", "http.HTTPStatus")


def test_an_import_only_points_to_a_lower_layer() -> None:
    upwards = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted(names & imports().keys())
        if layer_of(name) != layer_of(module) and rank_of(name) >= rank_of(module)
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert set(circles(imports())) == CIRCLES


def test_a_third_party_is_known_to_its_own_layer_only() -> None:
    foreign = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted({name.partition(".")[0] for name in names - imports().keys()})
        if name not in sys.stdlib_module_names
        and not {module, layer_of(module)} & THIRD_PARTIES.get(name, set())
    ]
    assert not foreign


def test_core_sse_protocols_and_providers_are_pure() -> None:
    impure = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in sorted(names)
        if layer_of(module) in PURE
        and name.partition(".")[0] in IMPURE
        and not name.startswith(PURE_PARTS)
    ]
    assert not impure


def test_every_folder_has_a_layer_and_states_its_rule() -> None:
    assert {layer_of(module) for module in imports()} == LAYERS.keys()
    silent = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


def test_a_circle_is_found_whatever_its_length() -> None:
    graph = {"a": {"b"}, "b": {"c", "x"}, "c": {"a"}, "d": {"a"}, "x": {"x.y"}, "x.y": {"x"}}
    assert set(circles(graph)) == {frozenset("abc"), frozenset({"x", "x.y"})}


def circles(graph: t.Mapping[str, t.Collection[str]]) -> t.Iterator[frozenset[str]]:
    """Each group of modules that reach each other."""
    reached = {module: reachable(graph, module) for module in graph}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
    }
    return (group for group in groups if group)


def reachable(graph: t.Mapping[str, t.Collection[str]], module: str) -> set[str]:
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = set(graph[ahead.pop()]) & graph.keys() - found
        found |= new
        ahead.extend(new)
    return found


def layer_of(module: str) -> str:
    return module.partition(".")[0]


def rank_of(module: str) -> int:
    return LAYERS[layer_of(module)]


def module_of(path: Path) -> str:
    """``web.routes`` for ``flask_aistream/web/routes.py``; a folder's ``__init__`` has the folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imported_by(node: ast.AST) -> t.Iterator[str]:
    """Dotted names that a statement imports: modules, or names in one."""
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.ImportFrom():
            yield "relative imports hide the layer"


def imports_of(path: Path) -> set[str]:
    """What a module imports: our modules by their short names, everything else as it is written."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {resolved(name) for node in ast.walk(tree) for name in imported_by(node)}


def resolved(name: str) -> str:
    if name.partition(".")[0] != PACKAGE.name:
        return name
    short = name.removeprefix(f"{PACKAGE.name}.")
    owners = (short, short.rpartition(".")[0])
    return next((module for module in owners if module in MODULES), "__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports() -> dict[str, set[str]]:
    return {module: imports_of(path) for module, path in MODULES.items()}
