"""Which models answer: those that the environment has a key or an address for."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from example_app.models.base import Model
from flask_aistream import ChatRequest
from flask_aistream import ProviderError


def openai(environ: Mapping[str, str]) -> list[Model]:
    from example_app.models.openai_chat import models

    return models(environ)


def anthropic(environ: Mapping[str, str]) -> list[Model]:
    from example_app.models.anthropic_messages import models

    return models(environ)


def offline() -> Model:
    from example_app.models.offline import model

    return model()


# Imported only when chosen: the SDKs are not needed to try the application out.
CHOICES: list[tuple[tuple[str, ...], Callable[[Mapping[str, str]], list[Model]]]] = [
    (("OPENAI_API_KEY", "OPENAI_BASE_URL"), openai),
    (("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"), anthropic),
]


def choose(environ: Mapping[str, str]) -> list[Model]:
    """The models whose variables are set, else the one that quotes the documentation."""
    chosen = (make for names, make in CHOICES if any(environ.get(name) for name in names))
    return [model for make in chosen for model in make(environ)] or [offline()]


def answer_with(models: Sequence[Model]) -> Callable[[ChatRequest], t.Any]:
    """A provider that calls the model named in the request, or else the first one."""
    by_name = {model.name: model for model in models}

    def answer(request: ChatRequest) -> t.Any:
        name = request.params.get("model", models[0].name)
        if not isinstance(name, str) or name not in by_name:
            raise ProviderError(
                "model_unknown",
                f"There is no model {name!r}. Choose one of: {', '.join(by_name)}.",
                status=422,
            )
        return by_name[name].answer(request)

    return answer
