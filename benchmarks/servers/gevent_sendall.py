"""A limit: gevent and one ``sendall`` a token. No HTTP server, no framework, no JSON encoder."""

from __future__ import annotations

import sys
from socket import IPPROTO_TCP
from socket import TCP_NODELAY
from socket import socket
from urllib.parse import parse_qsl
from urllib.parse import urlsplit

from gevent import monkey

monkey.patch_all()

from gevent.server import StreamServer  # noqa: E402

from benchmarks.servers.tokens import Plan  # noqa: E402
from benchmarks.servers.tokens import provider  # noqa: E402

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def serve(connection: socket, address: object) -> None:
    # Else the second write waits 40 ms for the delayed acknowledgement of the first.
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while request := connection.recv(65536):
        query = dict(parse_qsl(urlsplit(request.split(b" ", 2)[1].decode()).query))
        connection.sendall(HEAD)
        for number, text in enumerate(provider(Plan.of(query))):
            block = f'id: {number}\ndata: {{"text":"{text}"}}\n\n'
            connection.sendall(f"{len(block):x}\r\n{block}\r\n".encode())
        connection.sendall(b"0\r\n\r\n")


if __name__ == "__main__":
    StreamServer(("127.0.0.1", int(sys.argv[1])), serve, backlog=4096).serve_forever()
