"""A delivery that a test holds in its hands."""

from __future__ import annotations

import socket
import threading
import typing as t

from flask_aistream.delivery.body import Delivery
from flask_aistream.delivery.registry import ConnectionRegistry


class FakeDelivery:
    def __init__(self) -> None:
        self.writing: bytes | None = None
        self.recalled = False
        self.recalls: list[int] = []

    def recall(self, milliseconds: int) -> None:
        self.recalls.append(milliseconds)


def registry_of(deliveries: t.Iterable[FakeDelivery], fd: int | None = None) -> ConnectionRegistry:
    registry = ConnectionRegistry(threading.Lock())
    for delivery in deliveries:
        registry.add(as_delivery(delivery), fd)
    return registry


def as_delivery(fake: FakeDelivery) -> Delivery:
    return t.cast(Delivery, fake)


def is_open(peer: socket.socket) -> bool:
    """Whether the other side of a non-blocking socket has neither closed nor shut it down."""
    try:
        return peer.recv(1) != b""
    except BlockingIOError:
        return True
