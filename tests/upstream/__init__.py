"""A model vendor on this machine: speaks their wire formats, and remembers who asked and who left.

The model's name picks a story (``stories.py``); the path picks the dialect that words it. Only the
standard library is used, so it can be started from any environment::

    with Upstream() as upstream:                    # a thread of this process, a free port
        client = OpenAI(base_url=upstream.url + "/v1", api_key="none", max_retries=0)
        ...
        assert upstream.exchanges[-1].wait_ended() == "gone"

    python -m tests.upstream 9001 upstream.jsonl    # a process of its own, one JSON line a fact
"""

from tests.upstream.exchange import Exchange
from tests.upstream.server import Upstream

__all__ = ["Exchange", "Upstream"]
