"""Clients are asked to reconnect, some at a time."""

from __future__ import annotations

import socket

from flask_aistream.delivery.recall import Recall
from flask_aistream.delivery.recall import close_recalled
from tests.delivery.support import FakeDelivery
from tests.delivery.support import as_delivery
from tests.delivery.support import is_open
from tests.delivery.support import registry_of


def recall_of(deliveries: list[FakeDelivery]) -> Recall:
    numbers = iter(range(100, 1000))
    return Recall(registry_of(deliveries), random_ms=lambda low, high: next(numbers))


def test_each_client_is_given_its_own_reconnection_time() -> None:
    deliveries = [FakeDelivery(), FakeDelivery()]
    recall_of(deliveries).recall()
    assert [delivery.recalls for delivery in deliveries] == [[100], [101]]


def test_a_connection_that_opens_later_is_recalled_at_once() -> None:
    recall, late = recall_of([]), FakeDelivery()
    recall.opened(as_delivery(late))
    assert late.recalls == []
    recall.recall()
    recall.opened(as_delivery(late))
    assert late.recalls == [100]


def test_many_connections_are_recalled_in_batches() -> None:
    deliveries = [FakeDelivery() for _ in range(25)]
    recall = recall_of(deliveries)
    recalled = [recall.recall() and sum(bool(it.recalls) for it in deliveries) for _ in range(3)]
    assert recalled == [10, 20, False]
    assert all(len(delivery.recalls) == 1 for delivery in deliveries)


def test_the_rest_can_be_recalled_in_one_batch() -> None:
    deliveries = [FakeDelivery() for _ in range(25)]
    recall = recall_of(deliveries)
    assert recall.recall()
    assert not recall.recall(True)
    assert all(len(delivery.recalls) == 1 for delivery in deliveries)


def test_a_recalled_connection_is_shut_down_after_its_last_bytes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    delivery = FakeDelivery()
    ours.send(b"!")
    close_recalled(as_delivery(delivery), ours.fileno())
    delivery.recalled = True
    close_recalled(as_delivery(delivery), None)
    assert theirs.recv(10) == b"!"
    assert is_open(theirs)
    close_recalled(as_delivery(delivery), ours.fileno())
    assert not is_open(theirs)
