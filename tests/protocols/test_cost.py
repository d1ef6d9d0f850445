"""The CPU cost of encoding a text token, compared with the native protocol.

``python -m tests.protocols.test_cost`` prints the figures.
"""

from __future__ import annotations

import time

import pytest

from flask_aistream.core import events as ev
from flask_aistream.protocols.base import WireProtocol
from flask_aistream.protocols.table import PROTOCOLS
from tests.protocols.stories import CONTEXT
from tests.protocols.stories import START

PAGES = (1, 16, 256)
TOKENS = 4096
ROUNDS = 15
TRIES = 5
"""Other load makes one of the two slower for a while. A real regression fails every try."""
INTERN_POOL: list[ev.Event] = [" tok", " über", "…", " a", "\n\n", " stream", "ing", '"'] * (
    TOKENS // 8
)


def seconds(protocol: WireProtocol, page: int) -> float:
    """CPU seconds to encode ``TOKENS`` text deltas in pages of ``page``."""
    encoder = protocol.encoder(CONTEXT)
    encoder.encode(0, (START, "first"))
    pages = [(n, INTERN_POOL[n : n + page]) for n in range(0, TOKENS, page)]
    before = time.thread_time()
    for first, events in pages:
        encoder.encode(first, events)
    return time.thread_time() - before


def cheapest(names: list[str], page: int) -> dict[str, float]:
    """Best of several interleaved rounds, so that other load affects all protocols alike."""
    best = dict.fromkeys(names, float("inf"))
    for _ in range(ROUNDS):
        for name in names:
            best[name] = min(best[name], seconds(PROTOCOLS[name], page))
    return best


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", ["ai-sdk", "openai-chat", "ag-ui"])
def test_a_text_token_costs_at_most_one_and_a_half_times_the_native_one(
    name: str, page: int
) -> None:
    ratios = []
    for _ in range(TRIES):
        best = cheapest(["native", name], page)
        ratios.append(best[name] / best["native"])
        if ratios[-1] <= 1.5:
            return
    raise AssertionError(f"{name} costs {ratios} times what native does, in {TRIES} tries")


if __name__ == "__main__":
    for page in PAGES:
        best = cheapest(list(PROTOCOLS), page)
        for name, spent in best.items():
            ratio = spent / best["native"]
            print(
                f"{name:17} pages of {page:3}: {spent / TOKENS * 1e9:6.0f} ns a token, {ratio:.2f} x native"
            )
