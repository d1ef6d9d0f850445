"""Build the wheel and use it as a user would: empty environment, gunicorn, one stream."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
import venv
import zipfile
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_aistream"

PATIENCE = 20.0
"""Seconds for the server to start, and for each answer."""

QUIET = ("--log-level", "warning", "--no-control-socket")

END = b'"action":"terminate"'

APP = """\
from flask import Flask
from flask_aistream import AIStream

ai = AIStream()

@ai.provider
def chat(request):
    yield "Hello"
    yield f", {request.prompt}"

app = Flask(__name__)
app.register_blueprint(ai, url_prefix="/ai")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = build(place / "dist")
        check_contents(wheel)
        gunicorn = install(wheel, place / "empty")
        (place / "hello.py").write_text(APP, encoding="utf-8")
        with serving(gunicorn, place) as port:
            check_answers(port)
    print(f"{wheel.name}: installs by itself, serves a stream and its client")


def build(folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    # The index refuses packages whose description it cannot render.
    run(sys.executable, "-m", "twine", "check", "--strict", *folder.iterdir())
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    ours = (
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    missing = {path.relative_to(ROOT).as_posix() for path in ours} - there
    if missing:
        sys.exit(f"Not in the wheel: {', '.join(sorted(missing))}. See package_data in setup.cfg.")


def install(wheel: Path, folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[gunicorn]")
    return folder / "bin" / "gunicorn"


@contextmanager
def serving(gunicorn: Path, place: Path) -> t.Iterator[int]:
    """A server in ``place``, where the source tree cannot be imported by accident."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Passed open, so that no other process can take the port in between.
    command = [
        str(gunicorn),
        "-k",
        "gevent",
        "-b",
        f"fd://{listener.fileno()}",
        *QUIET,
        "hello:app",
    ]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(command, cwd=place, env=environ, pass_fds=[listener.fileno()])
    try:
        with listener:
            yield listener.getsockname()[1]
    finally:
        server.terminate()
        server.wait(PATIENCE)


def check_answers(port: int) -> None:
    status, body = get(port, "/ai/chat?prompt=world")
    if status != 200 or END not in body or b"world" not in body:
        sys.exit(f"No stream, but {status}: {body[:2000]!r}")
    status, body = get(port, "/ai/static/aistream.js")
    if status != 200 or b"export" not in body:
        sys.exit(f"No client, but {status}: {body[:200]!r}")


def get(port: int, path: str) -> tuple[int, bytes]:
    """The answer, read to the end of the body or to the terminal event."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path)
    response = connection.getresponse()
    body, deadline = b"", time.monotonic() + PATIENCE
    while END not in body and time.monotonic() < deadline and (data := response.read1()):
        body += data
    connection.close()
    return response.status, body


def run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, check=False, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
