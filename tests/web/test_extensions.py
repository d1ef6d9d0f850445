"""Beside the extensions that applications use, as they document their use."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import LoginManager
from flask_login import UserMixin
from flask_login import login_user

from flask_aistream import AIStream
from flask_aistream.errors import RegistrationError
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from tests.lazy import LazyModule

if t.TYPE_CHECKING:
    import flask_cors
    import flask_jwt_extended
    import flask_limiter
    import flask_talisman
else:
    flask_cors = LazyModule("flask_cors")
    flask_jwt_extended = LazyModule("flask_jwt_extended")
    flask_limiter = LazyModule("flask_limiter")
    flask_talisman = LazyModule("flask_talisman")

ORIGIN = {"Origin": "https://shop.example"}


@pytest.fixture
def app(ai: AIStream) -> Flask:
    """An application with the provider ``chat``, whose ``AIStream`` is not registered yet."""
    ai.provider(name="chat")(Script("a", "b"))
    app = Flask("tests")
    app.testing = True
    app.secret_key = "a-secret-key-that-is-long-enough-for-sha256"
    return app


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def test_flask_logins_users_own_their_runs(app: Flask, ai: AIStream) -> None:
    LoginManager(app).user_loader(User)
    app.post("/login/<name>", endpoint="login")(lambda name: str(login_user(User(name))))
    ai.init_app(app, url_prefix="/ai")
    ann, bob, nobody = (StreamClient(app) for _ in range(3))
    ann.client.post("/login/ann")
    bob.client.post("/login/bob")
    answer = ann.read("/ai/chat", json={"prompt": "Hi"})
    assert answer.text == "ab"
    for stranger in (bob, nobody):
        assert stranger.client.get(f"/ai/runs/{answer.run}").status_code == 404
        assert stranger.client.post(f"/ai/runs/{answer.run}/stop").status_code == 404
    assert ann.client.get(f"/ai/runs/{answer.run}").status_code == 200
    # The session cookie makes a page of another site one that is refused.
    assert ann.client.post("/ai/chat", json={"prompt": "Hi"}, headers=ORIGIN).status_code == 403


def test_flask_talisman_sends_its_headers_with_streams_and_forces_https(
    app: Flask, ai: AIStream
) -> None:
    flask_talisman.Talisman(app)
    ai.init_app(app, url_prefix="/ai")
    streams = StreamClient(app)
    answer = streams.read("/ai/chat?prompt=Hi", base_url="https://localhost")
    assert answer.text == "ab"
    headers = answer.response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "no-transform" in headers["Cache-Control"]
    assert streams.open("/ai/chat?prompt=Hi").response.status_code == 302


def limited(app: Flask, ai: AIStream, *defaults: str) -> FlaskClient:
    limiter = flask_limiter.Limiter(
        flask_limiter.util.get_remote_address, app=app, storage_uri="memory://"
    )
    limiter.limit(*defaults)(ai)
    ai.init_app(app, url_prefix="/ai")
    return app.test_client()


def test_flask_limiter_limits_the_blueprint_with_errors_of_the_protocol(
    app: Flask, ai: AIStream
) -> None:
    client = limited(app, ai, "2 per minute")
    for status in (200, 200, 429):
        with client.post("/ai/chat", json={"prompt": "Hi"}) as response:
            assert response.status_code == status
    error = response.get_json()["error"]
    assert error["code"] == "too_many_requests"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        # Our default is wider than their policy, which the log says.
        ("*", ["https://shop.example"], "*"),
        (["https://shop.example"], "*", "https://shop.example"),
        (["https://other.example"], ["https://shop.example"], "https://shop.example"),
        (None, ["https://shop.example"], "https://shop.example"),
    ],
)
def test_flask_cors_keeps_one_set_of_headers(
    app: Flask,
    ai: AIStream,
    caplog: pytest.LogCaptureFixture,
    ours: t.Any,
    theirs: t.Any,
    allowed: str,
) -> None:
    flask_cors.CORS(app, origins=theirs, supports_credentials=True)
    app.config["AISTREAM_CORS_ORIGINS"] = ours
    ai.init_app(app, url_prefix="/ai")
    answer = StreamClient(app).read("/ai/chat?prompt=Hi", headers=ORIGIN)
    assert answer.response.headers.getlist("Access-Control-Allow-Origin") == [allowed]
    assert ("flask-cors does not apply" in caplog.text) == (ours == "*")


def test_flask_jwt_extended_guards_all_routes_as_a_decorator(app: Flask) -> None:
    app.config["JWT_SECRET_KEY"] = app.secret_key
    flask_jwt_extended.JWTManager(app)
    ai = AIStream(decorators=[flask_jwt_extended.jwt_required()])
    ai.identify(flask_jwt_extended.get_jwt_identity)
    ai.provider(name="chat")(Script("a", "b"))
    ai.init_app(app, url_prefix="/ai")
    streams = StreamClient(app)
    for token in ({}, {"Authorization": "Bearer x.y.z"}):
        refused = streams.open("/ai/chat?prompt=Hi", headers=token)
        assert refused.response.status_code in (401, 422)
        assert refused.response.mimetype == "application/json"
    with app.app_context():
        token = {
            "Authorization": f"Bearer {flask_jwt_extended.create_access_token(identity='ann')}"
        }
    answer = streams.read("/ai/chat?prompt=Hi", headers=token)
    assert answer.text == "ab"
    assert streams.client.get(f"/ai/runs/{answer.run}").status_code == 401
    assert streams.client.get(f"/ai/runs/{answer.run}", headers=token).status_code == 200


def test_decorators_of_flask_jwt_extended_below_a_provider_are_refused() -> None:
    def chat(request: object) -> str:
        return "a"

    with pytest.raises(RegistrationError, match="flask_jwt_extended"):
        AIStream().provider(flask_jwt_extended.jwt_required()(chat))
