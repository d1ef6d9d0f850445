"""Streams in an application that already has users: access control, errors, billing.

``docs/howto/existing-application.md`` quotes it. Log-in and bills stand for what such an application has anyway.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# Written like most applications: without annotations.

import os
import secrets

from flask import Flask
from flask import session
from openai import AsyncOpenAI

from flask_aistream import AccessDenied
from flask_aistream import AIStream
from flask_aistream import ProviderError
from flask_aistream import SourceUrl
from flask_aistream import run_ended

ai = AIStream()


@ai.identify
def caller():
    return session.get("user_id")


@ai.authorize
def check(request):
    if request.owner is None:
        raise AccessDenied("Log in to ask.", status=401)
    if request.params.get("model") == "large" and request.owner not in SUBSCRIBERS:
        raise AccessDenied("The large model is for subscribers.")


client = AsyncOpenAI()


@ai.provider
async def support(request):
    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=request.messages, stream=True
    )
    async for chunk in stream:
        yield chunk


@ai.provider
def search(request):
    pages = [page for page in PAGES if request.prompt.lower() in page["title"].lower()]
    if not pages:
        raise ProviderError("nothing_found", "No page speaks of that.", status=404)
    for page in pages:
        yield SourceUrl(page["url"], page["url"], page["title"])
        yield page["title"] + "\n"


@run_ended.connect
def bill(app, ended):
    BILLS.append((ended.run.owner, ended.outcome, ended.usage, ended.text))


SUBSCRIBERS = {"ada"}
PAGES = [{"title": "Opening hours", "url": "https://shop.example/hours"}]
BILLS: list[object] = []


def create_app():
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY") or secrets.token_hex()
    app.config["AISTREAM_CORS_ORIGINS"] = ["https://shop.example"]
    app.config["AISTREAM_MAX_RUNS_PER_OWNER"] = 3
    app.register_blueprint(ai, url_prefix="/ai")

    @app.post("/login/<user>")
    def log_in(user):
        session["user_id"] = user
        return user

    return app
