"""Every server that is measured, as a row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

HERE = Path(__file__).parent
BUILT = Path("build") / "benchmarks"
"""Where the C programs are put, below the root of the project."""

GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "-k", "gevent", "-b", "127.0.0.1:{port}"),
    *("--worker-connections", "30000", "--backlog", "4096", "--log-level", "error"),
    "--no-control-socket",
)
UVICORN = (
    *(sys.executable, "-m", "uvicorn", "--port", "{port}", "--backlog", "4096"),
    *("--log-level", "error", "--no-access-log"),
)

NODE_MODELS = str(HERE / "node_models.mjs")

EVERYTHING = frozenset(
    {"flat", "tick", "paced", "capacity", "idle", "first", "fanout", "freed", "mixed"}
)


@dataclass(frozen=True, slots=True)
class Server:
    """A row of the table.

    :param label: In tables and plots.
    :param command: Its words; ``{port}`` becomes the port. One process that works.
    :param path: Of its streams, before the query.
    :param sync_path: Of streams from a provider that blocks, where that is another one.
    :param environ: Besides ours.
    :param kinds: Providers it takes: ``async``, ``sync``. The first one is what it is measured with.
    :param crowds: Whether a thousand blocking providers can run at once.
    :param does: Names of the workloads it takes part in.
    """

    name: str
    label: str
    command: tuple[str, ...]
    path: str = "/stream?kind=async"
    sync_path: str = "/stream?kind=sync"
    environ: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("async", "sync")
    crowds: bool = False
    does: frozenset[str] = EVERYTHING


LIMITS = frozenset({"flat", "tick", "paced", "first"})
"""What the limits are measured with: where a byte at least is sent for each token."""


def ours(name: str, label: str, does: frozenset[str], **environ: str) -> Server:
    return Server(
        name,
        label,
        (*GUNICORN, "benchmarks.servers.ours:app"),
        path="/ai/stream?prompt=x",
        sync_path="/ai/stream?prompt=x",
        environ=environ,
        kinds=("sync", "async"),
        crowds=True,
        does=does,
    )


END_TO_END = frozenset({"end_to_end"})


def over_a_model(name: str, label: str, command: tuple[str, ...], path: str = "/stream?") -> Server:
    """A server that calls a model through an SDK, or reads its response by hand."""
    return Server(name, label, command, path=path, does=END_TO_END)


def ours_over_a_model(provider: str, label: str) -> Server:
    command = (*GUNICORN, "benchmarks.servers.ours_sdk:app")
    return over_a_model(f"ours-{provider}", label, command, f"/ai/{provider}?prompt=x")


SERVERS = (
    ours("ours", "flask_aistream", EVERYTHING | {"growth", "stores", "protocols"}),
    ours(
        "ours-no-flush",
        "flask_aistream, flush interval 0",
        frozenset({"flat", "tick", "paced"}),
        AISTREAM_FLUSH_SECONDS="0",
    ),
    Server(
        "flask",
        "bare Flask generator, gunicorn gevent",
        (*GUNICORN, "benchmarks.servers.flask_generator:app"),
        kinds=("sync",),
        crowds=True,
    ),
    Server(
        "starlette",
        "Starlette StreamingResponse, uvicorn",
        (*UVICORN, "benchmarks.servers.starlette_response:app"),
    ),
    Server(
        "sse-starlette",
        "sse-starlette, uvicorn",
        (*UVICORN, "benchmarks.servers.sse_starlette_response:app"),
    ),
    Server(
        "fastapi",
        "FastAPI fastapi.sse, uvicorn",
        (*UVICORN, "benchmarks.servers.fastapi_response:app"),
        sync_path="/sync-stream?kind=sync",
    ),
    Server(
        "node",
        "Node http",
        ("node", str(HERE / "node_http.mjs"), "{port}"),
        kinds=("async",),
    ),
    Server(
        "gevent",
        "limit: gevent sendall",
        (sys.executable, "-m", "benchmarks.servers.gevent_sendall", "{port}"),
        kinds=("sync",),
        does=LIMITS,
    ),
    Server(
        "gevent-sleep",
        "limit: gevent sleep",
        (sys.executable, "-m", "benchmarks.servers.gevent_sleep"),
        path="",
        kinds=("sync",),
        does=frozenset({"alone"}),
    ),
    ours_over_a_model("lean", "flask_aistream, raw response, lean transport"),
    ours_over_a_model("raw", "flask_aistream, raw response, the SDK's transport"),
    ours_over_a_model("parsed", "flask_aistream, the SDK's parsed chunks"),
    ours_over_a_model("alone", "flask_aistream, no upstream"),
    over_a_model(
        "flask-sdk",
        "bare Flask generator + SDK, gunicorn gevent",
        (*GUNICORN, "benchmarks.servers.flask_sdk:app"),
    ),
    over_a_model(
        "fastapi-sdk",
        "FastAPI + async SDK, uvicorn",
        (*UVICORN, "benchmarks.servers.fastapi_sdk:app"),
    ),
    over_a_model("node-sdk", "Node + SDK", ("node", NODE_MODELS, "{port}", "sdk")),
    over_a_model("node-fetch", "Node + raw fetch", ("node", NODE_MODELS, "{port}", "fetch")),
    Server(
        "c",
        "limit: C epoll",
        (str(BUILT / "epoll"), "{port}"),
        kinds=("async",),
        does=LIMITS,
    ),
)

BY_NAME = {server.name: server for server in SERVERS}
