"""A bare Flask generator over the SDK, as tutorials have it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator

from anthropic import Anthropic
from flask import Flask
from flask import Response
from flask import request
from openai import OpenAI

from benchmarks.servers import models

app = Flask(__name__)
openai = OpenAI(**models.OPENAI)
anthropic = Anthropic(**models.ANTHROPIC)


@app.get("/stream")
def stream() -> Response:
    ask = models.request_of(request.args)
    if request.args.get("wire") != "anthropic":
        chunks, text_of = openai.chat.completions.create(**ask), models.text_of_openai
    else:
        chunks, text_of = anthropic.messages.create(**ask), models.text_of_anthropic

    def generate() -> Iterator[str]:
        for number, chunk in enumerate(chunks):
            if text := text_of(chunk):
                yield frame(number, text)

    return Response(generate(), mimetype="text/event-stream")


def frame(number: int, text: t.Any) -> str:
    return f"id: {number}\ndata: {json.dumps({'text': text})}\n\n"
