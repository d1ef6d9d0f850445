"""A real nginx in front of a server of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server.servers import accepts
from tests.server.servers import free_port
from tests.server.servers import wait_for

PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")

CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {http}
  server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""


@contextmanager
def running_nginx(folder: Path, server: str, http: str = "") -> Iterator[int]:
    """Start nginx, and yield its port.

    :param folder: For its files.
    :param server: Lines of its ``server`` block.
    :param http: Lines of its ``http`` block.
    """
    assert PROGRAM is not None, "nginx is not installed. On Debian: apt-get install nginx-light."
    port = free_port()
    file, log = folder / "nginx.conf", folder / "nginx.log"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, http=http, server=server))
    process = subprocess.Popen(
        [PROGRAM, "-e", str(log), "-c", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        return accepts(port)

    try:
        wait_for(listens, "nginx to listen")
        yield port
    finally:
        process.terminate()
        process.wait()
