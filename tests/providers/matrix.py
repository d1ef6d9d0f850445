"""Test the adapters with other versions of the SDKs: ``python -m tests.providers.matrix [ROW …]``.

Each row is an environment under ``.cache/sdks``, made once. ``--record`` also records anew what the row's
SDKs yield. The whole takes some minutes, most of them for the installation.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("flask", "hypothesis", "pytest", "pytest-timeout")


@dataclass(frozen=True)
class Row:
    """
    :param requirements: What pip is to install; beside an old SDK, also what it needs to be old.
    :param sdks: Names of ``SDKS`` that this row is about.
    """

    requirements: tuple[str, ...]
    sdks: tuple[str, ...]


OLD_HTTPX = "httpx<0.28"
ROWS = {
    "newest": Row(
        ("-r", "tests/requirements-sdks.txt"),
        (
            "anthropic",
            "google-genai",
            "langchain",
            "langgraph",
            "ollama",
            "openai-chat",
            "openai-responses",
            "pydantic-ai",
        ),
    ),
    "litellm": Row(("litellm",), ("litellm",)),
    "transformers": Row(("transformers",), ()),
    "openai-1.20": Row(("openai==1.20.0", OLD_HTTPX), ("openai-chat",)),
    "openai-1.66": Row(("openai==1.66.0",), ("openai-responses",)),
    "anthropic-0.27": Row(("anthropic==0.27.0", OLD_HTTPX), ("anthropic",)),
    "google-genai-1.0": Row(("google-genai==1.0.0",), ("google-genai",)),
    "litellm-1.75": Row(("litellm==1.75.0", "openai<2"), ("litellm",)),
    "ollama-0.2": Row(("ollama==0.2.0",), ("ollama",)),
    "ollama-0.4": Row(("ollama==0.4.0",), ("ollama",)),
    "langchain-0.3": Row(
        ("langchain-core==0.3.0", "langchain-openai==0.2.0", OLD_HTTPX), ("langchain",)
    ),
    "langgraph-0.2": Row(
        ("langgraph==0.2.60", "langchain-openai==0.2.0", OLD_HTTPX), ("langgraph",)
    ),
    "pydantic-ai-1.10": Row(
        ("pydantic-ai-slim[openai]==1.10.0", "genai-prices==0.0.36", "opentelemetry-api<1.37"),
        ("pydantic-ai",),
    ),
}


NEWEST = {"newest", "litellm", "transformers"}


def main(*words: str) -> int:
    """
    :returns: How many rows failed.
    """
    names = [word for word in words if word in ROWS] or list(ROWS)
    failed = [name for name in names if not passes(name, ROWS[name], "--record" in words)]
    sys.stdout.write(f"{len(names) - len(failed)} passed, failed: {failed or 'none'}\n")
    return len(failed)


def passes(name: str, row: Row, record: bool) -> bool:
    sys.stdout.write(f"\n{name}\n")
    sys.stdout.flush()
    python = made(ROOT / ".cache" / "sdks" / name, row.requirements)
    # Pages and their examples are about the newest.
    what = "tests/providers" if name in NEWEST else "tests/providers/test_sdks.py"
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", what]
    if record:
        tests += ["--ignore", "tests/providers/test_recorded.py"]
    passed = subprocess.run(tests, cwd=ROOT, check=False).returncode == 0
    if record and passed and row.sdks:
        command = [python, "-W", "ignore", "-m", "tests.providers.record", *row.sdks]
        subprocess.run(command, cwd=ROOT, check=True)
    return passed


def made(place: Path, requirements: tuple[str, ...]) -> str:
    """The interpreter of an environment with these packages."""
    python = str(place / "bin" / "python")
    done = place / "requirements"
    wanted = " ".join((*TOOLS, *requirements))
    if not done.exists() or done.read_text() != wanted:
        venv.create(place, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *TOOLS, *requirements], cwd=ROOT, check=True)
        done.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
