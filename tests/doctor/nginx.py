"""A real nginx with one location for each way to pass requests on."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.nginx import running_nginx

LOCATION = """
location {path} {{
  proxy_pass http://127.0.0.1:{target}/;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  {lines}
}}
"""

HTTP_1_1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'
WHOLE_BODIES = "client_max_body_size 4m;"
GOOD = HTTP_1_1 + WHOLE_BODIES


@contextmanager
def running_proxies(folder: Path, locations: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Start nginx, and yield its URL.

    :param locations: Path → port of the application, and lines of the location. A path ends with a slash, and the
        application gets what comes after it.
    """
    blocks = [
        LOCATION.format(path=path, target=target, lines=lines)
        for path, (target, lines) in locations.items()
    ]
    with running_nginx(folder, "".join(blocks)) as port:
        yield f"http://127.0.0.1:{port}"
