"""The modules of the JavaScript client, as the blueprint serves them."""

from __future__ import annotations

import gzip
import hashlib
import re
import string
import typing as t
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path

from flask import Blueprint
from flask import Response
from flask import abort
from flask import request
from flask import url_for
from flask.blueprints import BlueprintSetupState

STATIC = Path(__file__).resolve().parents[1] / "static"

ENTRY = STATIC / "aistream.js"

IMPORT = re.compile(r'^import [^;]+ from "([^"]+)";\n', re.MULTILINE)
REEXPORT = re.compile(r'^(export [^;]+) from "([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=[a-z])", re.MULTILINE)
COMMENT = re.compile(r"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)$\n?", re.MULTILINE)
TRAILING_COMMENT = re.compile(r"(?<=[;,{(]) // .*$", re.MULTILINE)
LITERAL = re.compile(r'("(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)')
INDENT = re.compile(r"^[ \n]+", re.MULTILINE)
SPACE = re.compile(r" *([=(){}\[\],;:?<>|&*!]+) *| ([+-]) (?![+-])")
LINE_END = re.compile(r"(?<=[;,{}()])\n")
PRIVATE = re.compile(r"#[A-Za-z]\w*")
"""What a browser does not need. No module has a template literal of several lines, a regular expression with a space,
or `; // ` in a string; each ends its statements with semicolons."""


class ClientFile(t.NamedTuple):
    """A module as it is served."""

    content: bytes
    compressed: bytes
    etag: str


def add(blueprint: Blueprint) -> None:
    """Add the rules. Without a prefix, the application's own ``/static/<path>`` ranks below them."""
    blueprint.add_url_rule("/static/aistream.js", "client", lambda: client_file("aistream.js"))
    blueprint.add_url_rule(
        "/static/aistream/<module>",
        "client-module",
        lambda module: client_file(f"aistream/{module}"),
    )
    blueprint.record(add_template_function)


def add_template_function(state: BlueprintSetupState) -> None:
    """Add ``aistream_url()`` to every template of the application.

    ``aistream_url("element")`` is the URL of another module. Of several blueprints, the last one
    registered counts.
    """
    name = ".".join(filter(None, (state.name_prefix, state.name)))

    def aistream_url(module: str | None = None) -> str:
        if module is None:
            return url_for(f"{name}.client")
        return url_for(f"{name}.client-module", module=f"{module}.js")

    state.app.template_context_processors[None].append(lambda: {"aistream_url": aistream_url})


def client_file(name: str) -> Response:
    """A module, which browsers keep and revalidate: after an upgrade, no page mixes two versions."""
    file = client_files().get(name)
    if file is None:
        abort(404)
    packed = request.accept_encodings["gzip"] > 0
    response = Response(file.compressed if packed else file.content, mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.vary.add("Accept-Encoding")
    response.set_etag(f"{file.etag}-gzip" if packed else file.etag)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    return t.cast(Response, response.make_conditional(request))


@cache
def client_files() -> dict[str, ClientFile]:
    """Every module by its path below ``static``, read once a process.

    ``aistream.js`` holds the modules that it imports: one request instead of a chain of nine, and less to send.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in STATIC.rglob("*.js")}
    texts[ENTRY] = joined(texts)
    return {path.relative_to(STATIC).as_posix(): pack(text) for path, text in texts.items()}


def joined(texts: dict[Path, str]) -> str:
    """``aistream.js``, preceded by the modules it imports. The top-level names of these modules differ."""
    order: list[Path] = []

    def visit(path: Path) -> None:
        text = texts[path]
        for name in [*IMPORT.findall(text), *(name for _, name in REEXPORT.findall(text))]:
            imported = (path.parent / name).resolve()
            if imported not in order:
                visit(imported)
        order.append(path)

    visit(ENTRY)
    inner = (EXPORT.sub("", IMPORT.sub("", texts[path])) for path in order[:-1])
    text = "".join([*inner, REEXPORT.sub(r"\1;\n", IMPORT.sub("", texts[ENTRY]))])
    return with_short_names(COMMENT.sub("", text))


def with_short_names(text: str) -> str:
    """A script without comments whose private members have names of one or two letters."""
    ranked = [name for name, _ in Counter(PRIVATE.findall(text)).most_common()]
    letters = string.ascii_letters
    short = dict(zip(ranked, [*letters, *map("".join, product(letters, repeat=2))], strict=False))
    return PRIVATE.sub(lambda found: "#" + short[found[0]], text)


def pack(text: str) -> ClientFile:
    text = INDENT.sub("", TRAILING_COMMENT.sub("", COMMENT.sub("", text)))
    parts = LITERAL.split(text)
    parts[::2] = (LINE_END.sub("", SPACE.sub(r"\1\2", code)) for code in parts[::2])
    content = "".join(parts).encode()
    etag = hashlib.sha256(content).hexdigest()[:20]
    return ClientFile(content, gzip.compress(content, 9, mtime=0), etag)
