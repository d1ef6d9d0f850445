"""What an existing Flask application expects of an extension."""

from __future__ import annotations

import functools
import gc
import types
import typing as t
import uuid
from collections.abc import Callable
from collections.abc import Iterator

import pytest
from flask import Flask
from flask import Response
from flask import abort
from flask import redirect
from flask import request as flask_request
from flask.testing import FlaskClient
from flask_login import FlaskLoginClient
from flask_login import LoginManager
from flask_login import UserMixin
from flask_login import login_required
from flask_login import login_user

from flask_aistream import AIStream
from flask_aistream import ChatRequest
from flask_aistream import Run
from flask_aistream import RunEnded
from flask_aistream import run_ended
from flask_aistream.errors import RegistrationError
from flask_aistream.protocols.table import PROTOCOLS
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.signals import RunEndedSignal
from tests.runs.support import until


@pytest.fixture
def calls(ai: AIStream) -> list[ChatRequest]:
    """What the provider ``chat`` was called with."""
    calls: list[ChatRequest] = []

    @ai.provider
    def chat(request: ChatRequest) -> Iterator[str]:
        calls.append(request)
        yield "Hi"
        yield "!"

    return calls


def test_init_app_registers_the_blueprint(ai: AIStream, calls: list[ChatRequest]) -> None:
    app = Flask("tests")
    ai.init_app(app, url_prefix="/ai")
    assert StreamClient(app).read("/ai/chat?prompt=Hi").text == "Hi!"


def test_init_app_without_a_prefix_leaves_the_applications_404s_alone(ai: AIStream) -> None:
    app = Flask("tests")
    ai.init_app(app)
    assert app.test_client().get("/no/such/path").mimetype == "text/html"


def test_an_application_as_argument_names_init_app() -> None:
    with pytest.raises(RegistrationError, match=r"ai\.init_app\(app, url_prefix="):
        AIStream(Flask("tests"))  # type: ignore[arg-type]


# A view of the application's own: return ai.start(…).response()


@pytest.fixture
def view(app: Flask, ai: AIStream, calls: list[ChatRequest]) -> None:
    @app.route("/ask", methods=["GET", "POST"])
    def ask() -> Response:
        return ai.start("chat", "Hi", owner=flask_request.args.get("owner")).response()


@pytest.mark.usefixtures("view")
def test_a_view_that_starts_a_run_resumes_it_by_last_event_id(
    streams: StreamClient, calls: list[ChatRequest]
) -> None:
    first = streams.read("/ask")
    again = streams.read("/ask", headers={"Last-Event-ID": f"{first.run}:1"})
    assert (again.run, again.text) == (first.run, "!")
    assert streams.read(f"/ask?last_event_id={first.run}:0").text == "Hi!"
    ended = streams.open("/ask", headers={"Last-Event-ID": first.last_event_id})
    assert ended.response.status_code == 204
    assert len(calls) == 1


@pytest.mark.usefixtures("view")
def test_a_view_that_starts_a_run_deduplicates_by_idempotency_key(
    streams: StreamClient, calls: list[ChatRequest]
) -> None:
    key = {"Idempotency-Key": "0123456789abcdef"}
    first, again = (streams.read("/ask", method="POST", headers=key) for _ in range(2))
    assert (again.run, again.text) == (first.run, "Hi!")
    assert len(calls) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_view_starts_one_run_in_every_protocol(
    app: Flask, ai: AIStream, client: FlaskClient, calls: list[ChatRequest], protocol: str
) -> None:
    app.add_url_rule(
        "/ask-in",
        view_func=lambda: ai.start("chat", "Hi").response(protocol),
        methods=["GET", "POST"],
    )
    key = {"Idempotency-Key": "0123456789abcdef"}
    started = client.post("/ask-in", headers=key)
    text, run = started.text, started.headers["AIStream-Run"]
    assert client.post("/ask-in", headers=key).text == text
    for number in (0, 1):
        resumed = client.get("/ask-in", headers={"Last-Event-ID": f"{run}:{number}"})
        assert "!" in resumed.text
        assert (resumed.status_code, resumed.headers["AIStream-Run"]) == (200, run)
        # A format whose frames have no ids begins again.
        again = PROTOCOLS[protocol].stateful or number == 0
        assert ("Hi" in resumed.text) == again
    assert len(calls) == 1


@pytest.mark.usefixtures("view")
def test_a_view_does_not_resume_another_owners_run(
    streams: StreamClient, calls: list[ChatRequest]
) -> None:
    first = streams.read("/ask?owner=ann")
    other = streams.open("/ask?owner=bob", headers={"Last-Event-ID": f"{first.run}:0"})
    assert other.response.status_code == 404
    assert len(calls) == 1


@pytest.mark.usefixtures("view")
@pytest.mark.parametrize("cursor", ["42", "", "x:y"])
def test_a_view_ignores_a_last_event_id_that_is_not_ours(
    streams: StreamClient, calls: list[ChatRequest], cursor: str
) -> None:
    assert streams.read("/ask", headers={"Last-Event-ID": cursor}).text == "Hi!"
    assert len(calls) == 1


def test_a_cursor_of_one_provider_starts_a_run_of_another(
    app: Flask, ai: AIStream, streams: StreamClient, calls: list[ChatRequest]
) -> None:
    ai.provider(name="summary")(Script("short"))

    @app.get("/both")
    def both() -> Response:
        ai.start("summary", "Hi", background=True).wait(5)
        return ai.start("chat", "Hi").response()

    first = streams.read("/both")
    assert streams.read("/both", headers={"Last-Event-ID": f"{first.run}:0"}).run == first.run
    assert len(calls) == 1


# Owners.

OWNERS = [5, uuid.UUID(int=5), "5"]


@pytest.mark.parametrize("owner", OWNERS, ids=repr)
def test_an_owner_may_be_a_string_an_int_or_a_uuid(
    app: Flask, ai: AIStream, calls: list[ChatRequest], owner: t.Any
) -> None:
    ai.identify(lambda: owner)
    answer = StreamClient(app).read("/ai/chat?prompt=Hi")
    assert calls[0].owner == str(owner)
    with app.app_context():
        assert ai.attach(answer.run, owner=owner).text == "Hi!"
        assert ai.attach(answer.run, owner=str(owner)).run.owner == str(owner)
        assert ai.start("chat", "Hi", owner=owner).run.owner == str(owner)


@pytest.mark.parametrize(
    "owner", [True, 1.5, b"ann", object()], ids=lambda owner: type(owner).__name__
)
def test_another_kind_of_owner_is_the_programmers_error(
    app: Flask, ai: AIStream, calls: list[ChatRequest], owner: t.Any
) -> None:
    with app.app_context(), pytest.raises(TypeError, match="must be a str, an int or a UUID"):
        ai.start("chat", "Hi", owner=owner)
    assert not calls


# run_ended.


@pytest.fixture
def without_receivers() -> Iterator[None]:
    before = dict(run_ended.receivers)
    yield
    for receiver in list(run_ended.receivers.values()):
        function = receiver() if hasattr(receiver, "__callback__") else receiver
        if function is not None and receiver not in before.values():
            run_ended.disconnect(function)


def connect_here(app: Flask, heard: list[str]) -> None:
    @run_ended.connect
    def keep(sender: Flask, ended: RunEnded) -> None:
        heard.append(ended.text)


def connect_to_the_application(app: Flask, heard: list[str]) -> None:
    def keep(sender: Flask, ended: RunEnded) -> None:
        heard.append(ended.text)

    run_ended.connect(keep, app)


def connect_a_lambda(app: Flask, heard: list[str]) -> None:
    run_ended.connect(lambda sender, ended: heard.append(ended.text), app)


@pytest.mark.usefixtures("without_receivers")
@pytest.mark.parametrize("connect", [connect_here, connect_to_the_application, connect_a_lambda])
def test_a_receiver_inside_a_factory_hears_of_every_run(
    app: Flask, ai: AIStream, calls: list[ChatRequest], connect: Callable[[Flask, list[str]], None]
) -> None:
    heard: list[str] = []
    connect(app, heard)
    gc.collect()
    StreamClient(app).read("/ai/chat?prompt=Hi")
    until(lambda: bool(heard))
    assert heard == ["Hi!"]


def test_a_receiver_of_one_application_does_not_outlive_it() -> None:
    app = Flask("gone")
    connect_to_the_application(app, [])
    before = len(run_ended.receivers)
    del app
    gc.collect()
    assert len(run_ended.receivers) == before - 1
    assert not RunEndedSignal(Flask("other")).listening or before > 1


# Decorators.


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


@pytest.fixture
def guarded() -> Flask:
    """An application whose ``AIStream`` requires a login."""
    app = Flask("tests")
    app.testing = True
    app.secret_key = "s"
    app.test_client_class = FlaskLoginClient
    logins = LoginManager(app)
    logins.login_view = "login"
    logins.user_loader(User)
    ai = AIStream(decorators=[login_required])
    ai.provider(name="chat")(Script("Hi", "!"))
    app.register_blueprint(ai, url_prefix="/ai")

    @app.post("/login")
    def login() -> str:
        login_user(User("ann"))
        return "hello"

    return app


OPEN = {
    *("health", "static", "client", "client-module"),
    # They answer only to a token that is signed with the SECRET_KEY.
    *("doctor-process", "doctor-stream", "doctor-body"),
}
"""Endpoints that need no login."""


def test_a_decorator_that_redirects_to_a_login_is_a_401_on_every_other_route(
    guarded: Flask,
) -> None:
    client, tried = guarded.test_client(), 0
    for rule in guarded.url_map.iter_rules():
        blueprint, _, endpoint = rule.endpoint.partition(".")
        if blueprint != "aistream" or endpoint in OPEN:
            continue
        names = {**dict.fromkeys(rule.arguments, "unknown"), "provider": "chat"}
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule
            for name, value in {**names, "protocol": "text"}.items():
                path = path.replace(f"<{name}>", value).replace(f"<path:{name}>", value)
            response = client.open(path, method=method, json={"prompt": "Hi"})
            tried += 1
            if endpoint.startswith("playground"):  # A page, whose browser follows a redirect.
                assert response.status_code in (302, 401, 404), (method, path)
                continue
            assert response.status_code == 401, (method, path)
            assert "Location" not in response.headers
            assert "access-control-allow-origin" in response.headers
    assert tried > 20


@pytest.mark.parametrize("path", ["/ai/health", "/ai/static/aistream.js"])
def test_static_files_health_and_preflights_need_no_login(guarded: Flask, path: str) -> None:
    client = guarded.test_client()
    with client.get(path) as response:
        assert response.status_code == 200
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert client.options("/ai/chat", headers=preflight).status_code == 200


def test_a_logged_in_client_passes_the_decorator(guarded: Flask) -> None:
    answer = StreamClient(guarded, user=User("ann")).read("/ai/chat?prompt=Hi")
    assert answer.text == "Hi!"


def test_stream_client_logs_in_through_its_flask_client(guarded: Flask) -> None:
    streams = StreamClient(guarded)
    streams.client.post("/login")
    assert streams.read("/ai/chat?prompt=Hi").text == "Hi!"


def jwt_required() -> Callable[[t.Any], t.Any]:
    module = types.ModuleType("flask_jwt_extended.view_decorators")
    exec(
        "import functools\n"
        "def jwt_required(f):\n"
        "    @functools.wraps(f)\n"
        "    def inner(*args, **kwargs):\n"
        "        return f(*args, **kwargs)\n"
        "    return inner\n",
        module.__dict__,
    )
    return t.cast("Callable[[t.Any], t.Any]", module.jwt_required)


def harmless(function: t.Any) -> t.Any:
    @functools.wraps(function)
    def inner(*args: t.Any) -> t.Any:
        return function(*args)

    return inner


@pytest.mark.parametrize("decorator", [login_required, jwt_required()])
def test_a_provider_under_a_login_decorator_is_refused(decorator: t.Any) -> None:
    def chat(request: ChatRequest) -> str:
        return "Hi"

    for function in (decorator(chat), harmless(decorator(chat))):
        with pytest.raises(RegistrationError, match=r"AIStream\(decorators=\[…\]\)"):
            AIStream().provider(function)
    AIStream().provider(harmless(chat))


def test_a_provider_is_not_refused_for_another_decorator(app: Flask, ai: AIStream) -> None:
    ai.provider(name="chat")(harmless(Script("Hi")))
    assert StreamClient(app).read("/ai/chat?prompt=Hi").text == "Hi"


def test_a_decorators_abort_keeps_its_status(ai: AIStream) -> None:
    def refuse(view: t.Any) -> t.Any:
        return lambda **names: abort(418)

    app = Flask("tests")
    ai = AIStream(decorators=[refuse])
    ai.provider(name="chat")(Script("Hi"))
    app.register_blueprint(ai)
    assert app.test_client().get("/chat?prompt=Hi").status_code == 418


def test_a_providers_redirect_function_is_untouched(app: Flask) -> None:
    @app.get("/away")
    def away() -> t.Any:
        return redirect("/elsewhere")

    assert app.test_client().get("/away").status_code == 302


# Beside flask-cors, which leaves a response alone that has CORS headers already.


def cors_after_request(response: Response) -> Response:
    response.headers.setdefault("Access-Control-Allow-Origin", "https://own.example")
    return response


cors_after_request.__module__ = "flask_cors.extension"


@pytest.mark.parametrize(
    ("origins", "warns", "allowed"),
    [
        ("*", True, "*"),
        (["https://own.example"], False, "https://own.example"),
        (None, False, "https://own.example"),
    ],
)
def test_a_wider_policy_than_that_of_flask_cors_is_logged(
    ai: AIStream,
    calls: list[ChatRequest],
    caplog: pytest.LogCaptureFixture,
    origins: t.Any,
    warns: bool,
    allowed: str,
) -> None:
    app = Flask("tests")
    app.config["AISTREAM_CORS_ORIGINS"] = origins
    app.after_request(cors_after_request)
    ai.init_app(app, url_prefix="/ai")
    streams = StreamClient(app)
    for _ in range(2):
        answer = streams.read("/ai/chat?prompt=Hi", headers={"Origin": "https://own.example"})
    assert answer.response.headers["Access-Control-Allow-Origin"] == allowed
    assert caplog.text.count("flask-cors does not apply") == int(warns)


# Authorization of other actions than the start.


class Asked:
    """A callback of ``@ai.authorize(actions=…)`` that remembers its calls."""

    def __init__(self, *, allow: bool = True) -> None:
        self.calls: list[tuple[str, str | None]] = []
        self.allow = allow

    def __call__(self, action: str, run: Run | None) -> bool:
        self.calls.append((action, run.id if run else None))
        return self.allow


@pytest.mark.parametrize("allow", [True, False])
def test_authorize_with_actions_is_asked_for_reads_stops_and_lists(
    ai: AIStream, client: FlaskClient, calls: list[ChatRequest], *, allow: bool
) -> None:
    asked = Asked(allow=allow)
    ai.authorize(actions=("read", "stop", "list"))(asked)
    started = client.get("/ai/chat?prompt=Hi")
    assert started.status_code == 200
    assert not asked.calls
    run = started.headers["AIStream-Run"]
    routes = [
        ("GET", f"/ai/runs/{run}", "read", run),
        ("GET", f"/ai/runs/{run}/events", "read", run),
        ("GET", f"/ai/chat?last_event_id={run}:0", "read", run),
        ("GET", f"/ai/v1/responses/resp_{run}", "read", run),
        ("POST", f"/ai/runs/{run}/stop", "stop", run),
        ("POST", f"/ai/v1/responses/resp_{run}/cancel", "stop", run),
        ("GET", "/ai/v1/models", "list", None),
    ]
    for method, path, _, _ in routes:
        response = client.open(path, method=method)
        assert response.status_code == (200 if allow else 403), path
        response.close()
    assert asked.calls == [(action, named) for _, _, action, named in routes]


def test_authorize_with_some_actions_is_asked_for_those_only(
    ai: AIStream, client: FlaskClient, calls: list[ChatRequest]
) -> None:
    asked = Asked(allow=False)
    ai.authorize(actions=("stop",))(asked)
    run = client.get("/ai/chat?prompt=Hi").headers["AIStream-Run"]
    assert client.get(f"/ai/runs/{run}").status_code == 200
    assert client.post(f"/ai/runs/{run}/stop").status_code == 403


@pytest.mark.parametrize("actions", [("start",), ("write",), (), "read"])
def test_authorize_refuses_unknown_actions(ai: AIStream, actions: t.Any) -> None:
    with pytest.raises(RegistrationError, match='"read", "stop" and "list"'):
        ai.authorize(actions=actions)
