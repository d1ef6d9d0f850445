"""Registering the blueprint and its providers, and reading the configuration."""

from __future__ import annotations

import gc
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Blueprint
from flask import Flask
from flask import render_template_string
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Finished
from flask_aistream.errors import ConfigError
from flask_aistream.errors import RegistrationError
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.config import KEYS
from flask_aistream.web.config import Key
from flask_aistream.web.extension import install


def new_app(**config: t.Any) -> Flask:
    app = Flask("tests")
    app.testing = True
    app.config.update(config)
    return app


def test_the_ten_line_application_streams() -> None:
    ai = AIStream()

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        yield f"You said {request.prompt}."

    app = new_app()
    app.register_blueprint(ai, url_prefix="/ai")
    assert StreamClient(app).read("/ai/chat", json={"prompt": "Hi"}).text == "You said Hi."


def twice(app: Flask, ai: AIStream) -> list[str]:
    app.register_blueprint(ai, url_prefix="/one")
    app.register_blueprint(ai, url_prefix="/two", name="second")
    return ["/one", "/two"]


def nested(app: Flask, ai: AIStream) -> list[str]:
    api = Blueprint("api", __name__, url_prefix="/api")
    api.register_blueprint(ai, url_prefix="/ai")
    app.register_blueprint(api)
    return ["/api/ai"]


def nested_under_two_names(app: Flask, ai: AIStream) -> list[str]:
    api = Blueprint("api", __name__)
    api.register_blueprint(ai, url_prefix="/ai")
    app.register_blueprint(api, url_prefix="/v1")
    app.register_blueprint(api, url_prefix="/v2", name="v2")
    return ["/v1/ai", "/v2/ai"]


def without_prefix(app: Flask, ai: AIStream) -> list[str]:
    app.register_blueprint(ai)
    return [""]


def with_slash(app: Flask, ai: AIStream) -> list[str]:
    app.register_blueprint(ai, url_prefix="/ai/")
    return ["/ai"]


def two_blueprints(app: Flask, ai: AIStream) -> list[str]:
    other = AIStream("other")
    other.provider(name="chat")(Script("a"))
    app.register_blueprint(ai, url_prefix="/one")
    app.register_blueprint(other, url_prefix="/two")
    return ["/one", "/two"]


WAYS = pytest.mark.parametrize(
    "register",
    [twice, nested, nested_under_two_names, without_prefix, with_slash, two_blueprints],
)


@WAYS
def test_links_work_however_the_blueprint_is_registered(
    register: Callable[[Flask, AIStream], list[str]],
) -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app()
    for prefix in register(app, ai):
        streams = StreamClient(app)
        answer = streams.read(f"{prefix}/chat?prompt=Hi")
        assert answer.text == "a"
        data = answer.frames[0].data or ""
        assert f'"events":"{prefix}/runs/{answer.run}/events"' in data
        assert streams.read(f"{prefix}/runs/{answer.run}/events").events == answer.events
        assert app.test_client().get(f"{prefix}/health").status_code == 200
        for module in ("aistream.js", "aistream/run.js"):
            assert b"export" in app.test_client().get(f"{prefix}/static/{module}").data
    with app.test_request_context():
        urls = render_template_string("{{ aistream_url() }} {{ aistream_url('element') }}").split()
    for url in urls:
        assert b"export" in app.test_client().get(url).data


@WAYS
def test_errors_below_a_prefix_are_json_however_the_blueprint_is_registered(
    register: Callable[[Flask, AIStream], list[str]],
) -> None:
    ai = AIStream()
    app = new_app()
    for prefix in filter(None, register(app, ai)):
        response = app.test_client().get(f"{prefix}/no/such/path")
        assert response.mimetype == "application/json"
        assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_links_include_the_script_name() -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app(APPLICATION_ROOT="/shop")
    app.register_blueprint(ai, url_prefix="/ai")
    answer = StreamClient(app).read("/ai/chat?prompt=Hi", base_url="http://localhost/shop")
    assert f"/shop/ai/runs/{answer.run}/stop" in (answer.frames[0].data or "")


def test_links_fill_in_the_variables_of_a_prefix() -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app()
    app.register_blueprint(ai, url_prefix="/<tongue>/gespräch")
    app.url_defaults(lambda endpoint, values: values.setdefault("tongue", "de"))
    app.url_value_preprocessor(lambda endpoint, values: values and values.pop("tongue", None))
    answer = StreamClient(app).read("/de/gespräch/chat?prompt=Hi")
    assert f'"/de/gespr%C3%A4ch/runs/{answer.run}/stop"' in (answer.frames[0].data or "")


def test_without_a_prefix_the_applications_paths_keep_working() -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app()
    app.register_blueprint(ai)
    app.add_url_rule("/about", view_func=lambda: "us")
    client = app.test_client()
    assert client.get("/about").text == "us"
    assert client.get("/no/such/path").mimetype == "text/html"


def test_one_blueprint_keeps_two_applications_apart() -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    one, other = new_app(AISTREAM_RETRY_SECONDS=7), new_app()
    one.register_blueprint(ai, url_prefix="/ai")
    other.register_blueprint(ai, url_prefix="/else")
    answers = [StreamClient(one).read("/ai/chat?prompt=Hi")]
    answers.append(StreamClient(other).read("/else/chat?prompt=Hi"))
    assert [answer.frames[0].retry for answer in answers] == [7000, 1000]
    # A run of one application is unknown in the other, and so are its paths.
    client = other.test_client()
    assert client.get(f"/else/runs/{answers[0].run}").status_code == 404
    assert client.get("/ai/no/such/path").mimetype == "text/html"


def test_a_new_application_at_a_reused_address_has_its_own_state() -> None:
    # id() is used again; what was kept by it would be another application's.
    ai = AIStream()
    for number in range(10):
        app = new_app()
        app.register_blueprint(ai, url_prefix=f"/ai{number}")
        for older in range(number):
            assert app.test_client().get(f"/ai{older}/no/such/path").mimetype == "text/html"
        del app
        gc.collect()


def test_a_provider_may_be_added_after_the_registration() -> None:
    ai = AIStream()
    app = new_app()
    app.register_blueprint(ai, url_prefix="/ai")
    ai.provider(name="chat")(Script("a"))
    assert StreamClient(app).read("/ai/chat?prompt=Hi").text == "a"


def test_the_decorators_return_the_function() -> None:
    ai = AIStream()

    def chat(request: ChatRequest) -> str:
        return "a"

    assert ai.provider(chat) is chat
    assert ai.provider(name="other")(chat) is chat
    assert ai.identify(f := lambda: None) is f
    assert ai.authorize(g := lambda request: None) is g
    assert ai.provider_names == ("chat", "other")


def nameless(request: ChatRequest) -> str:
    return "a"


REFUSED: list[t.Any] = [
    *(
        pytest.param({"name": name}, nameless, "hide a route", id=name)
        for name in ("runs", "chats", "v1", "static", "health", "playground")
    ),
    *(
        pytest.param({"name": name}, nameless, "letters, digits", id=repr(name))
        for name in ("a/b", "a b", "é", "-a", ".", "a" * 65, "<x>", "a\n")
    ),
    pytest.param({"name": "taken"}, nameless, "already", id="taken"),
    pytest.param({"context": "session"}, nameless, '"app" or "request"', id="context"),
    pytest.param({}, partial(nameless), "no `__name__`", id="nameless"),
    pytest.param({"name": "chat"}, "chat", "must be a function", id="no function"),
    pytest.param({"name": "chat"}, lambda: "a", "one argument, the ChatRequest", id="no argument"),
    pytest.param({"name": "chat"}, lambda one, two: "a", "takes", id="two arguments"),
]


@pytest.mark.parametrize(("options", "provider", "says"), REFUSED)
def test_an_invalid_provider_is_refused_at_registration(
    options: dict[str, t.Any], provider: t.Any, says: str
) -> None:
    ai = AIStream()
    ai.provider(name="taken")(nameless)
    with pytest.raises(RegistrationError, match=says):
        ai.provider(**options)(provider)
    assert ai.provider_names == ("taken",)


# Configuration.

WRONG: list[t.Any] = [
    ("AISTREAM_HEARTBEAT_SECONDS", 0, "a positive number up to 3600, or None for no heartbeats"),
    ("AISTREAM_HEARTBEAT_SECONDS", "15", "positive number"),
    ("AISTREAM_HEARTBEAT_SECONDS", True, "positive number"),
    ("AISTREAM_DETACH_SECONDS", -1, "a number from 0 to 1000000000, or None for no limit"),
    ("AISTREAM_FLUSH_SECONDS", None, "from 0 to 60"),
    ("AISTREAM_MAX_RUNS", 1.5, "a positive whole number up to 1000000000000"),
    ("AISTREAM_STORE_BYTES", 1024, "a whole number from 1048576 to 1125899906842624"),
    ("AISTREAM_CORS_ORIGINS", "https://a.example", "list of origins"),
    ("AISTREAM_CORS_ORIGINS", ["https://a.example/"], "without a path or a slash"),
    ("AISTREAM_CORS_ORIGINS", ["a.example"], "list of origins"),
    ("AISTREAM_CORS_ORIGINS", ["https://*.example"], "list of origins"),
    ("AISTREAM_CORS_ORIGINS", ["*"], "list of origins"),
    ("AISTREAM_CORS_ORIGINS", ["https://A.example"], "list of origins"),
    ("AISTREAM_CORS_ORIGINS", ["null"], "list of origins"),
    ("AISTREAM_STORE", "mysql://", "`memory://`"),
    ("AISTREAM_STORE", 7, "`memory://`"),
    ("AISTREAM_STORE", "sqlite://", "`sqlite:////absolute"),
    ("AISTREAM_STORE", "sqlite:///", "`sqlite:////absolute"),
    ("AISTREAM_STORE", "sqlite:///:memory:", "`memory://`"),
    ("AISTREAM_STORE", "sqlite://runs.sqlite", "`sqlite:////absolute"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_a_wrong_value_is_refused_naming_key_value_and_valid_values(
    name: str, value: t.Any, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        new_app(**{name: value}).register_blueprint(AIStream())
    message = str(caught.value)
    assert name in message
    assert repr(value) in message
    assert says in message


HUGE = [float("inf"), float("nan"), 1e308, -1e308, 10**400, -(10**400), 10**5000]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_number_that_would_overflow_is_refused_naming_the_key(key: Key) -> None:
    for value in HUGE:
        with pytest.raises(ConfigError, match=f"^{key.name} is `.* but must be") as caught:
            new_app(**{key.name: value}).register_blueprint(AIStream())
        assert len(str(caught.value)) < 1000


def test_an_unknown_key_is_refused_naming_a_similar_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean AISTREAM_HEARTBEAT_SECONDS"):
        new_app(AISTREAM_HEARTBEAT=15).register_blueprint(AIStream())


def test_several_processes_without_a_shared_store_are_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flask_aistream.web.store.may_have_siblings", lambda: True)
    new_app(AISTREAM_STORE="memory://").register_blueprint(AIStream())
    assert "cannot resume or stop them. Leave it out" in caplog.text


def test_an_unknown_key_without_a_similar_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="lists all keys"):
        new_app(AISTREAM_X=15).register_blueprint(AIStream())


def test_a_key_set_after_registration_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app()
    app.register_blueprint(ai)
    app.config["AISTREAM_MAX_MESSAGES"] = 1
    response = app.test_client().get("/chat?prompt=Hi")
    assert response.status_code == 500
    assert response.get_json()["error"]["code"] == "internal_error"
    assert "AISTREAM_MAX_MESSAGES was set after the blueprint was registered" in caplog.text


RIGHT: list[tuple[str, t.Any]] = [
    ("AISTREAM_HEARTBEAT_SECONDS", None),
    ("AISTREAM_HEARTBEAT_SECONDS", 1),
    ("AISTREAM_DETACH_SECONDS", 0),
    ("AISTREAM_DETACH_SECONDS", None),
    ("AISTREAM_FLUSH_SECONDS", 0),
    ("AISTREAM_RUN_SECONDS", 1e9),
    ("AISTREAM_CORS_ORIGINS", None),
    ("AISTREAM_CORS_ORIGINS", "*"),
    ("AISTREAM_CORS_ORIGINS", []),
    ("AISTREAM_CORS_ORIGINS", {"http://localhost:5173", "https://a.example"}),
    ("AISTREAM_STORE", "memory://"),
]


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_an_application_works_with_any_valid_value(name: str, value: t.Any) -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a", "b"))
    app = new_app(**{name: value})
    app.register_blueprint(ai)
    assert StreamClient(app).read("/chat?prompt=Hi").text == "ab"


def test_defaults_are_set_in_the_configuration() -> None:
    app = new_app(AISTREAM_RETRY_SECONDS=7)
    app.register_blueprint(AIStream())
    assert app.config["AISTREAM_HEARTBEAT_SECONDS"] == 15.0
    assert app.config["AISTREAM_RETRY_SECONDS"] == 7
    assert install(app).settings.heartbeat_seconds == 15.0


def test_a_provider_that_needs_the_request_cannot_be_restarted() -> None:
    with pytest.raises(RegistrationError, match="no request to copy"):
        AIStream().provider(name="chat", context="request", restart=True)(Script("a"))


@pytest.mark.parametrize("restart", [False, True])
def test_only_restartable_runs_store_the_body_of_their_request(
    tmp_path: Path, restart: bool
) -> None:
    ai = AIStream()
    gate = Gate()
    ai.provider(name="chat", restart=restart)(Script("a", gate))
    app = new_app(AISTREAM_STORE=f"sqlite:///{tmp_path}/runs.sqlite")
    app.register_blueprint(ai)
    with StreamClient(app).open("/chat", json={"prompt": "Hi"}) as stream:
        gate.wait_reached()
        process = install(app).process
        request = ChatRequest.decode(process.store.open(stream.run).run.request)
        assert request.prompt == "Hi"
        assert request.body == ({"prompt": "Hi"} if restart else {})
        gate.open()
        assert list(stream)[-1] == Finished()
    assert process.store.open(stream.run).ended


@pytest.mark.parametrize("way", ["exempt", "token"])
def test_it_works_beside_flask_wtfs_csrf_protection(way: str) -> None:
    ai = AIStream()
    ai.provider(name="chat")(Script("a"))
    app = new_app(SECRET_KEY="secret")
    csrf = CSRFProtect(app)
    app.register_blueprint(ai, url_prefix="/ai")
    app.add_url_rule("/token", view_func=generate_csrf)
    client = app.test_client()
    refused = client.post("/ai/chat", json={"prompt": "Hi"})
    assert (refused.status_code, refused.mimetype) == (400, "application/json")
    headers = {}
    if way == "exempt":
        csrf.exempt(ai)
    else:
        headers["X-CSRFToken"] = client.get("/token").text
    assert client.post("/ai/chat", json={"prompt": "Hi"}, headers=headers).status_code == 200
