"""A real nginx with one location for each way to pass requests on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.doctor.here import accepts
from tests.server.servers import free_port
from tests.server.servers import wait_for

CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 100; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; {locations} }}
}}
"""
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
def running_nginx(folder: Path, locations: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Start nginx, and yield its URL.

    :param locations: Path → port of the application, and lines of the location. A path ends with a slash, and the
        application gets what comes after it.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is not installed: apt-get install nginx-light"
    port = free_port()
    blocks = [
        LOCATION.format(path=path, target=target, lines=lines)
        for path, (target, lines) in locations.items()
    ]
    file, log = folder / "nginx.conf", folder / "nginx.log"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, locations="".join(blocks)))
    process = subprocess.Popen(
        [program, "-e", str(log), "-c", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        return accepts(port)

    try:
        wait_for(listens, "nginx to listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
