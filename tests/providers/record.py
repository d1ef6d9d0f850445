"""Record what SDKs of this environment yield: ``python -m tests.providers.record openai-chat …``.

Makes ``tests/recorded/SDK-VERSION.jsonl``, a line for each call and story, so that what an SDK of some
version looks like stays tested where that version is not installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

from tests.providers.collect import drain
from tests.providers.frozen import freeze
from tests.providers.sdks import SDKS
from tests.providers.sdks import calls
from tests.upstream import Upstream

STORIES = ["reasoning", "tools", "sources"]
# Calls that give the same chunks as another, or put the whole answer so far into each, or (a run of an
# agent) give an object that is more than its fields.
LEFT_OUT = {
    "astream",
    "async",
    "async .stream()",
    "async chat",
    ".stream()",
    "run",
    "several modes",
    "stream returned",
}
RECORDED = Path(__file__).parents[1] / "recorded"


def main(*sdks: str) -> None:
    """
    :param sdks: Names of rows of ``SDKS``.
    """
    RECORDED.mkdir(exist_ok=True)
    lines: dict[str, list[str]] = {}
    with Upstream() as upstream:
        for sdk, call in calls():
            if sdk not in sdks or call.name in LEFT_OUT or not call.exists():
                continue
            version = importlib.metadata.version(SDKS[sdk][0])
            for model in STORIES:
                chunks = drain(call.ask(upstream.url, model)).chunks
                line = {"call": call.name, "story": model, "carries": call.carries.to_json()}
                line["chunks"] = [freeze(chunk) for chunk in chunks]
                text = json.dumps(line, separators=(",", ":"), ensure_ascii=True)
                lines.setdefault(f"{sdk}-{version}", []).append(text)
    for name, recorded in lines.items():
        (RECORDED / f"{name}.jsonl").write_text("\n".join(recorded) + "\n")
        sys.stdout.write(f"{name}: {sum(map(len, recorded))} bytes\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
