"""What each WSGI server does with streams, measured: the table of ``docs/howto/other-servers.md``."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.server.servers import ROOT
from tests.server.servers import facts_in
from tests.server.servers import free_port
from tests.server.servers import gunicorn
from tests.server.servers import wait_for
from tests.server.wire import Stream
from tests.server.wire import call

WSGI = "tests.server.wsgi:app"
PATIENCE = 4.0
"""Seconds in which Stop or a disconnect has to end the provider."""

APACHE = """
ServerName localhost
ServerRoot {folder}
User nobody
Group nogroup
PidFile {folder}/pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess site processes={workers} threads=20 python-path={root}:{packages}
WSGIProcessGroup site
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {folder}/site.wsgi
<Directory />
    AllowOverride None
</Directory>
<Directory {folder}>
    Require all granted
</Directory>
"""
MODULES = Path("/usr/lib/apache2/modules")


def program(name: str, *arguments: str) -> Callable[[int, int, Path], list[str]]:
    """A command of the virtual environment. ``{port}`` and ``{workers}`` are replaced."""
    path = str(Path(sys.executable).parent / name)
    return lambda port, workers, folder: [
        path,
        *(it.format(port=port, workers=workers) for it in arguments),
    ]


def gunicorn_command(kind: str, *options: str) -> Callable[[int, int, Path], list[str]]:
    return lambda port, workers, folder: [
        part.format(port=port, app=WSGI)
        for part in gunicorn(kind, "-w", str(workers), *options, grace=2)
    ]


def apache(port: int, workers: int, folder: Path) -> list[str]:
    settings = "".join(
        f"os.environ[{name!r}] = {value!r}\n"
        for name, value in os.environ.items()
        if name.startswith(("APP_", "FACTS", "INSTANCE"))
    )
    (folder / "site.wsgi").write_text(
        f"import os\n{settings}from tests.server.wsgi import app as application\n"
    )
    packages = next(it for it in sys.path if it.endswith("site-packages"))
    values = {"folder": folder, "port": port, "workers": workers, "modules": MODULES, "root": ROOT}
    (folder / "apache.conf").write_text(APACHE.format(packages=packages, **values))
    folder.chmod(0o777)
    return [
        shutil.which("apache2") or "/usr/sbin/apache2",
        "-f",
        f"{folder}/apache.conf",
        "-DFOREGROUND",
    ]


@dataclass(frozen=True, slots=True)
class OtherServer:
    """
    :param command: Port, number of processes and a folder → command line.
    :param many: Whether it can have several processes.
    """

    label: str
    command: Callable[[int, int, Path], list[str]]
    many: bool = True

    @property
    def installed(self) -> bool:
        return shutil.which(self.command(1, 1, Path("/nowhere"))[0]) is not None


SERVERS = {
    "gevent": OtherServer("gunicorn, gevent", gunicorn_command("gevent")),
    "gthread": OtherServer("gunicorn, gthread", gunicorn_command("gthread", "--threads", "20")),
    "flask": OtherServer(
        "`flask run`", program("flask", "--app", WSGI, "run", "--port", "{port}"), many=False
    ),
    "uwsgi": OtherServer(
        "uWSGI, threads",
        program(
            "pyuwsgi", "--http-socket", "127.0.0.1:{port}", "--module", WSGI, "--master", "--lazy-apps",
            "--processes", "{workers}", "--threads", "20", "--die-on-term", "--need-app",
        ),
    ),
    "mod_wsgi": OtherServer("Apache, mod_wsgi", apache),
    "waitress": OtherServer(
        "waitress",
        program("waitress-serve", "--listen", "127.0.0.1:{port}", "--threads", "20", WSGI),
        many=False,
    ),
    "hypercorn": OtherServer(
        "hypercorn", program("hypercorn", "-b", "127.0.0.1:{port}", "-w", "{workers}", f"wsgi:{WSGI}")
    ),
    "uvicorn": OtherServer(
        "uvicorn, `--interface wsgi` (a2wsgi)",
        program(
            "uvicorn", "--interface", "wsgi", "--port", "{port}", "--workers", "{workers}",
            "--log-level", "warning", WSGI,
        ),
    ),
    "granian": OtherServer(
        "granian",
        program(
            "granian", "--interface", "wsgi", "--port", "{port}", "--workers", "{workers}",
            "--blocking-threads", "20", WSGI,
        ),
    ),
}  # fmt: skip


class Running:
    """A server process of one kind."""

    def __init__(self, server: OtherServer, folder: Path, workers: int, **config: str) -> None:
        self.facts = folder / "facts.jsonl"
        self.facts.touch()
        self.facts.chmod(0o666)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {
            "FACTS": str(self.facts),
            "INSTANCE": str(folder),
            "PYTHONUNBUFFERED": "1",
            **config,
        }
        instance = {"APP_AISTREAM_DETACH_SECONDS": "1", **environ}
        os.environ.update(instance)  # Apache takes them from its configuration.
        try:
            command = server.command(self.port, workers, folder)
        finally:
            for name in instance:
                os.environ.pop(name, None)
        self.output = folder / "output"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **instance},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_for(self._answers, f"{server.label} to answer", 30)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            return call(self.url, "/ai/health")[0] == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def closed(self, run: str) -> bool:
        return bool(facts_in(self.facts, "closed", run))

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)


def within(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def counting(here: Running, n: int = 400, pause: float = 0.05) -> Stream:
    return Stream(here.url, "/ai/count", {"prompt": "?", "n": n, "pause": pause})


def streams(here: Running) -> bool:
    """The first token arrives long before the last one."""
    begun = time.monotonic()
    stream = counting(here, 60)
    stream.until("1 ")
    first = time.monotonic() - begun
    stream.rest()
    return first < (time.monotonic() - begun) / 2


def resumes(here: Running) -> bool:
    """A client that was cut off gets the rest, once."""
    stream = counting(here, 40)
    stream.until("5 ")
    stream.leave()
    again = Stream(here.url, "/ai/count?prompt=?&n=40", Last_Event_ID=stream.cursor)
    text, _ = again.rest()
    return text == "".join(f"{number} " for number in range(6, 40))


def stops(here: Running) -> bool:
    stream = counting(here)
    stream.until("3 ")
    answer = call(here.url, f"/ai/runs/{stream.run}/stop", {})
    return bool(answer[1].get("stopped")) and within(lambda: here.closed(stream.run))


def frees(here: Running) -> bool:
    """A provider is ended soon after its client has disconnected."""
    stream = counting(here)
    stream.until("3 ")
    stream.leave()
    return within(lambda: here.closed(stream.run))


def crowds(here: Running) -> bool:
    """Twelve streams at once, and another request meanwhile."""
    opened = [counting(here, 60) for _ in range(12)]
    for stream in opened:
        stream.until("1 ")
    begun = time.monotonic()
    call(here.url, "/ai/health")
    quick = time.monotonic() - begun < 1.0
    return quick and all(stream.rest()[0].endswith("59 ") for stream in opened)


COLUMNS: dict[str, Callable[[Running], bool]] = {
    "streams": streams,
    "12 streams at once": crowds,
    "resume": resumes,
    "Stop": stops,
    "freed after a disconnect": frees,
}


def safely(column: Callable[[Running], bool], here: Running) -> bool:
    try:
        return column(here)
    except (
        OSError,
        AssertionError,
        http.client.HTTPException,
        ValueError,
        TypeError,
        AttributeError,
    ):
        return False


def measure(server: OtherServer, folder: Path) -> dict[str, bool | None]:
    """Each column of the table with one process, and ``many workers``: resume and Stop, six times, with two."""
    found: dict[str, bool | None] = {}
    (folder / "one").mkdir(mode=0o777)
    here = Running(server, folder / "one", 1)
    try:
        for name, column in COLUMNS.items():
            found[name] = safely(column, here)
    finally:
        here.stop()
    found["many workers"] = None
    if server.many:
        (folder / "two").mkdir(mode=0o777)
        here = Running(server, folder / "two", 2)
        try:
            found["many workers"] = all(
                safely(column, here) for _ in range(6) for column in (resumes, stops)
            )
        finally:
            here.stop()
    return found


def row(label: str, found: dict[str, t.Any]) -> str:
    marks = {True: "yes", False: "**no**", None: "one process"}
    return f"| {label} | {' | '.join(marks[it] for it in found.values())} |"
