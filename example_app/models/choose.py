"""Which model answers: the first one that the environment has a key or an address for."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping

from example_app.models.base import Model


def openai(environ: Mapping[str, str]) -> Model:
    from example_app.models.openai_chat import model

    return model(environ)


def anthropic(environ: Mapping[str, str]) -> Model:
    from example_app.models.anthropic_messages import model

    return model(environ)


def offline() -> Model:
    from example_app.models.offline import model

    return model()


# Imported only when chosen: the SDKs are not needed to try the application out.
CHOICES: list[tuple[tuple[str, ...], Callable[[Mapping[str, str]], Model]]] = [
    (("OPENAI_API_KEY", "OPENAI_BASE_URL"), openai),
    (("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"), anthropic),
]


def choose(environ: Mapping[str, str]) -> Model:
    """The first model whose variables are set, else the one that quotes the documentation."""
    chosen = (make for names, make in CHOICES if any(environ.get(name) for name in names))
    make = next(chosen, None)
    return make(environ) if make else offline()
