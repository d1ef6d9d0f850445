"""The pages, each under a Content-Security-Policy that allows nothing inline but what it names."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from flask import Blueprint
from flask import Response
from flask import abort
from flask import current_app
from flask import make_response
from flask import render_template
from flask import request
from flask import session

from example_app.manual.passages import CODE
from example_app.manual.passages import MARKDOWN
from example_app.manual.passages import ROOT
from example_app.manual.passages import files

pages = Blueprint("pages", __name__)

POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY.format(scripts="", styles=""),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# The page of every tutorial: one file that works from a disk as well, with the address in it.
PLAIN = Path(__file__).with_name("plain.html")
ADDRESS = "http://127.0.0.1:8080/"


@pages.after_request
def protect(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@pages.get("/")
def chat() -> str:
    return render_template(
        "chat.html", models=current_app.config["EXAMPLE_MODELS"], user=session.get("user")
    )


@pages.get("/plain")
def plain() -> Response:
    """The plain page, naming this server in full; a saved copy works from anywhere."""
    text = PLAIN.read_text("utf-8").replace(ADDRESS, request.host_url)
    response = make_response(text)
    policy = POLICY.format(scripts=hashes("script", text), styles=hashes("style", text))
    response.headers["Content-Security-Policy"] = policy
    return response


def hashes(element: str, page: str) -> str:
    """What a policy calls the inline content of ``element``.

    Source: W3C Content Security Policy Level 3, "hash-source".
    """
    contents = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@pages.get("/favicon.ico")
def icon() -> Response:
    return current_app.send_static_file("icon.svg")


@pages.get("/manual/<path:name>")
def manual(name: str) -> str:
    """A file that the offline model quotes from; no other file can be asked for."""
    readable = {path.relative_to(ROOT).as_posix(): path for path in files(ROOT, MARKDOWN + CODE)}
    if name not in readable:
        abort(404)
    return render_template("manual.html", name=name, text=readable[name].read_text("utf-8"))
