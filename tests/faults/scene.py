"""One application with its store, its network and its readers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from tests import nginx
from tests.faults.client import Crowd
from tests.faults.client import Net
from tests.faults.client import Reader
from tests.faults.pages import Pages
from tests.faults.proxy import Proxy
from tests.faults.stores import PLACES
from tests.faults.stores import Unable
from tests.server.servers import DEADLINE
from tests.server.servers import Server
from tests.server.servers import free_port
from tests.server.servers import gunicorn
from tests.server.servers import wait_for

APP = "tests.faults.app:create_app()"

GRACE_SECONDS = 20

CONFIG = {
    "RETRY_SECONDS": 0.1,
    "HEARTBEAT_SECONDS": 0.5,
    "STORE_SECONDS": 3.0,
    "LOG_EVENTS": None,
}

LOCATION = """location / {{
  proxy_pass http://127.0.0.1:{target};
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1h;
}}"""


@dataclass(frozen=True)
class Setting:
    """What a fault happens to.

    :param options: Of gunicorn.
    :param config: Keys without their prefix.
    :param front: ``nginx``, or nothing.
    :param client: ``chromium``, or nothing.
    """

    store: str
    kind: str = "gevent"
    workers: int = 3
    options: tuple[str, ...] = ()
    config: Mapping[str, t.Any] = field(default_factory=dict)
    front: str = ""
    client: str = ""

    @property
    def key(self) -> str:
        return repr(self)

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.store, self.kind, self.front, self.client)))


class Service(Server):
    """A running gunicorn."""

    def __init__(self, setting: Setting, port: int, facts: Path, **config: t.Any) -> None:
        threads = ("--threads", "100") if setting.kind == "gthread" else ()
        workers = ("-w", str(setting.workers))
        command = gunicorn(setting.kind, *workers, *threads, grace=GRACE_SECONDS)
        # What is said last counts.
        self._launch(setting.kind, port, [*command, *setting.options], APP, facts, config)

    def workers(self) -> set[int]:
        """Processes whose parent is the arbiter."""
        found = set()
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # It has just gone.
                _, _, rest = status.read_text().rpartition(")")
                state, parent, *_ = rest.split()
                if int(parent) == self.process.pid and state != "Z":
                    found.add(int(status.parent.name))
        return found


class Scene:
    """Everything around one application, until ``close``.

    :ivar clock: File that says how many seconds the application's wall clock is wrong.
    :ivar leaving: Workers that were asked to leave.
    :ivar killed: Workers that were not asked.
    """

    def __init__(self, setting: Setting, folder: Path, net: Net) -> None:
        self.setting = setting
        self.folder = folder
        self.net = net
        self.leaving: set[int] = set()
        self.killed: set[int] = set()
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self._ended = contextlib.ExitStack()
        self._facts = folder / "facts.jsonl"
        try:
            self.store = PLACES[setting.store](folder)
            self._ended.callback(self.store.close)
            self.service = self._serve(free_port())
            self._ended.callback(self._stop)
            self.service.wait_ready()
            self.proxy = Proxy(net, self._front() if setting.front else self.service.port)
            self._ended.callback(self.proxy.close)
            self.crowd = self._readers()
        except BaseException:
            self._ended.close()
            raise

    def close(self) -> None:
        self._ended.close()

    def calm(self) -> None:
        """Wait until nothing of the last fault is left."""
        self.proxy.delay = 0.0
        self.proxy.flow()
        self.crowd.leave()
        self.clock.write_text("0")
        wait_for(self._is_calm, "the workers to be back", 2 * DEADLINE)
        self.leaving.clear()

    def restart(self) -> None:
        """Stop the service, wait for that, and start it again."""
        # An arbiter that is told to in the middle of a HUP first waits for its old workers.
        self.service.stop(2 * GRACE_SECONDS + DEADLINE)
        self.service = self._serve(self.service.port)
        self.service.wait_ready()

    def owner(self, reader: Reader) -> int:
        """The worker that makes a run."""
        return int(self.service.wait_fact("called", reader.run)["pid"])

    def signal_worker(self, pid: int, number: signal.Signals) -> None:
        self.leaving.add(pid)
        if number == signal.SIGKILL:
            self.killed.add(pid)
        os.kill(pid, number)

    def hup(self) -> None:
        self.leaving |= self.service.workers()
        self.service.process.send_signal(signal.SIGHUP)

    def stop_run(self, reader: Reader) -> None:
        """As anybody may, over a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=DEADLINE)
        with contextlib.closing(line):
            line.request("POST", f"/ai/runs/{reader.run}/stop")
            assert line.getresponse().status == 200

    def facts(self) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
        """The ledger: run → fact → lines."""
        found: dict[str, dict[str, list[dict[str, t.Any]]]] = {}
        for name in ("called", "ended"):
            for line in self.service.facts(name):
                about = found.setdefault(line["run"], {"called": [], "ended": []})
                about[name].append(line)
        return found

    def _serve(self, port: int) -> Service:
        config = {
            f"APP_AISTREAM_{key}": it for key, it in {**CONFIG, **self.setting.config}.items()
        }
        config["APP_AISTREAM_STORE"] = self.store.url
        config["CLOCK"] = str(self.clock)
        return Service(self.setting, port, self._facts, **config)

    def _stop(self) -> None:
        self.service.stop()  # Not the first one, if there was another.

    def _readers(self) -> Crowd | Pages:
        if not self.setting.client:
            crowd = Crowd(self.net, lambda: self.proxy.port)
            self._ended.callback(crowd.leave)
            return crowd
        pages = Pages()
        self._ended.callback(pages.close)
        pages.open(self.proxy.port)
        return pages

    def _front(self) -> int:
        """Start nginx before it."""
        if nginx.PROGRAM is None:
            raise Unable("nginx is not installed")
        location = LOCATION.format(target=self.service.port)
        return self._ended.enter_context(nginx.running_nginx(self.folder, location))

    def _is_calm(self) -> bool:
        assert self.service.process.poll() is None, self.service.output()
        workers = self.service.workers()
        # One that is still starting refuses to, where the store is the fault.
        booted = {it["pid"] for it in self.service.facts("booted")}
        return (
            len(workers) == self.setting.workers
            and workers <= booted
            and not workers & self.leaving
            and self.healthy()
        )

    def healthy(self) -> bool:
        """Whether a worker answers that it takes runs."""
        line = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=DEADLINE)
        with contextlib.closing(line):
            try:
                line.request("GET", "/ai/health")
                return line.getresponse().status == 200
            except OSError:
                return False


class Scenes:
    """Scenes by their setting; one is used for many faults."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._net = Net()
        self._open: dict[str, Scene] = {}
        self._number = itertools.count()

    def take(self, setting: Setting) -> Scene:
        if setting.key not in self._open:
            folder = self._folder / str(next(self._number))
            folder.mkdir()
            self._open[setting.key] = Scene(setting, folder, self._net)
        return self._open[setting.key]

    def drop(self, setting: Setting) -> None:
        """One that is not to be used again."""
        scene = self._open.pop(setting.key, None)
        if scene is not None:
            scene.close()

    def clear(self) -> None:
        """Close all there are."""
        with contextlib.ExitStack() as all_of_them:
            for scene in self._open.values():
                scene.service.leave()  # At once: leaving well takes a while.
                all_of_them.callback(scene.close)
            self._open.clear()

    def close(self) -> None:
        self.clear()
        self._net.close()
