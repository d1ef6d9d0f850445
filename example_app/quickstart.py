"""The ten-line app of the README: ``gunicorn -k gevent example_app.quickstart:app``."""

# mypy: allow-untyped-defs

from flask import Flask
from openai import OpenAI

from flask_aistream import AIStream

app = Flask(__name__)
ai = AIStream()
completions = OpenAI().chat.completions.with_streaming_response


@ai.provider
def chat(request):
    return completions.create(model="gpt-4o-mini", messages=request.messages, stream=True)


app.register_blueprint(ai, url_prefix="/ai")
