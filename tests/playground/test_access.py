"""Where the playground exists, who sees which runs, and who is refused."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask import abort
from flask import redirect
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_aistream import AIStream
from flask_aistream import Usage
from flask_aistream.core.events import Stopped
from flask_aistream.errors import RegistrationError
from flask_aistream.testing import Gate
from flask_aistream.testing import Script
from flask_aistream.testing import StreamClient
from flask_aistream.web.extension import install
from flask_aistream.web.playground import route

RUNS = "/ai/playground/api/runs"
CHOICES = "/ai/playground/api/choices"
PAGE = "/ai/playground"
OTHER_SITE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def as_user(name: str) -> dict[str, str]:
    return {"X-User": name}


def new_ai() -> AIStream:
    """Callers are named by a header; ``ops`` is the operator."""
    ai = AIStream()
    ai.identify(lambda: request.headers.get("X-User"))
    ai.operator(lambda: request.headers.get("X-User") == "ops")
    ai.provider(name="chat")(Script("Hel", "lo", Usage(output_tokens=7)))
    return ai


def make_app(ai: AIStream, *, debug: bool = False, **config: t.Any) -> Flask:
    app = Flask("played")
    app.debug = debug
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.config["AISTREAM_PLAYGROUND"] = True
    app.config.update(config)
    ai.init_app(app, url_prefix="/ai")
    return app


@pytest.fixture
def ai() -> AIStream:
    return new_ai()


@pytest.fixture
def app(ai: AIStream) -> Flask:
    return make_app(ai)


@pytest.fixture
def gate(ai: AIStream) -> Iterator[Gate]:
    """Where the provider ``waits`` waits."""
    gate = Gate()
    ai.provider(name="waits")(Script("Well,", gate))
    yield gate
    gate.open()


def listed(client: FlaskClient, query: str = "", **request: t.Any) -> dict[str, dict[str, t.Any]]:
    response = client.get(f"{RUNS}{query}", **request)
    assert response.status_code == 200
    return {row["run"]: row for row in response.get_json()["runs"]}


def told(response: TestResponse) -> str:
    """All of an error but its reference, which is another one in each response."""
    error = response.get_json()["error"]
    del error["reference"]
    return str(error)


class TestWhereItExists:
    @pytest.mark.parametrize(
        ("debug", "key", "status"),
        [
            (False, None, 404),
            (True, None, 200),
            (False, True, 200),
            (True, True, 200),
            (True, False, 404),
            (False, False, 404),
        ],
    )
    def test_it_is_on_in_debug_mode_or_by_its_key(
        self, ai: AIStream, debug: bool, key: bool | None, status: int
    ) -> None:
        client = make_app(ai, debug=debug, AISTREAM_PLAYGROUND=key).test_client()
        for path in (PAGE, f"{PAGE}/main.js", CHOICES, RUNS):
            assert client.get(path).status_code == status

    def test_outside_of_debug_mode_it_needs_an_operator(self) -> None:
        sentence = "AISTREAM_PLAYGROUND is True .* decorate a function with @ai.operator before"
        with pytest.raises(RegistrationError, match=sentence):
            make_app(AIStream())
        make_app(AIStream(), AISTREAM_PLAYGROUND=None)
        make_app(AIStream(), debug=True)

    def test_no_provider_may_have_its_name(self, ai: AIStream) -> None:
        with pytest.raises(RegistrationError, match="hide a route"):
            ai.provider(name="playground")(Script())

    def test_it_is_at_each_prefix_of_the_application(self, ai: AIStream) -> None:
        app = make_app(ai)
        app.register_blueprint(ai, url_prefix="/second/bot", name="second")
        client = app.test_client()
        for prefix in ("/ai", "/second/bot"):
            assert client.get(f"{prefix}/playground").status_code == 200
            assert client.get(f"{prefix}/playground/api/choices").status_code == 200


class TestThePage:
    def test_it_has_a_strict_policy_and_nothing_inline(self, app: Flask) -> None:
        response = app.test_client().get(PAGE)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        page = response.get_data(as_text=True)
        assert not re.search(r" style=| on\w+=|<style|<script(?![^>]* src=)", page)

    def test_all_that_it_loads_is_of_this_server(self, app: Flask) -> None:
        client = app.test_client()
        texts = {path.name: path.read_text("utf-8") for path in route.PAGE.iterdir()}
        page = texts.pop("index.html")
        wanted = re.findall(r'(?:src|href)="([^"#]+)"', page)
        for name, text in texts.items():
            imports = re.findall(r'^import .* from "(\.[^"]+)";', text, re.MULTILINE)
            wanted += [f"playground/{it}" for it in imports]
            assert not re.search(r"@import|\burl\(", text), name
        assert {Path(it).name for it in wanted} == {*texts, "aistream.js"}
        for it in wanted:
            path = f"/ai/{it}".replace("/playground/../", "/").replace("/./", "/")
            response = client.get(path)
            assert response.status_code == 200
            assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("name", ["nothing.js", "..%2froute.py", "route.py", "api"])
    def test_nothing_else_is_served(self, app: Flask, name: str) -> None:
        assert app.test_client().get(f"{PAGE}/{name}").status_code == 404

    def test_it_is_revalidated_and_its_data_is_never_stored(self, app: Flask) -> None:
        client = app.test_client()
        for path in (PAGE, f"{PAGE}/main.js"):
            response = client.get(path)
            assert response.headers["Cache-Control"] == "no-cache"
            again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
            assert again.status_code == 304
        for path in (CHOICES, RUNS):
            assert client.get(path).headers["Cache-Control"] == "no-store"

    def test_a_login_page_is_reached_from_the_page_and_401_from_its_scripts(self) -> None:
        ai = AIStream(decorators=[lambda view: lambda **names: redirect("/login")])
        ai.operator(lambda: True)
        client = make_app(ai).test_client()
        assert client.get(PAGE).location == "/login"
        assert client.get(CHOICES).status_code == client.get(RUNS).status_code == 401


class TestChoices:
    def test_they_are_the_providers_and_the_protocols_that_are_served(self, ai: AIStream) -> None:
        app = make_app(ai, AISTREAM_PROTOCOLS=["native", "openai-chat", "html", "ai-sdk"])
        choices = app.test_client().get(CHOICES).get_json()
        assert [it["name"] for it in choices["providers"]] == ["chat"]
        assert {it["name"]: (it["path"], it["resumes"]) for it in choices["protocols"]} == {
            "native": ("/<provider>", "cursor"),
            "ai-sdk": ("/<provider>/ai-sdk", "start"),
            "openai-chat": ("/v1/chat/completions", None),
            "html": ("/<provider>/html", "cursor"),
        }

    def test_a_caller_that_may_not_list_gets_none_unless_it_is_an_operator(
        self, ai: AIStream
    ) -> None:
        ai.authorize(actions=("list",))(lambda action, run: False)
        client = make_app(ai).test_client()
        for path in (CHOICES, RUNS):
            assert client.get(path, headers=as_user("ann")).status_code == 403
            assert client.get(path, headers=as_user("ops")).status_code == 200


class TestRuns:
    def test_a_caller_sees_its_own_ones(self, app: Flask) -> None:
        streams = StreamClient(app)
        hers = streams.read("/ai/chat?prompt=Hi", headers=as_user("ann")).run
        his = streams.read("/ai/chat?prompt=Hi", headers=as_user("bob")).run
        anonymous = streams.read("/ai/chat?prompt=Hi").run
        client = app.test_client()
        assert listed(client, headers=as_user("ann")).keys() == {hers}
        assert listed(client).keys() == set()
        assert listed(client, headers=as_user("ops")).keys() == {hers, his, anonymous}

    def test_an_anonymous_run_is_listed_to_those_who_know_its_id(self, app: Flask) -> None:
        streams = StreamClient(app)
        anonymous = streams.read("/ai/chat?prompt=Hi").run
        hers = streams.read("/ai/chat?prompt=Hi", headers=as_user("ann")).run
        found = listed(app.test_client(), f"?run={anonymous}&run={hers}&run=nothing")
        assert found.keys() == {anonymous}
        assert found[anonymous]["own"]

    def test_a_row_says_how_the_run_stands(self, app: Flask, gate: Gate) -> None:
        streams = StreamClient(app)
        hers = streams.read("/ai/chat", json={"prompt": "Hi"}, headers=as_user("ann")).run
        with streams.open("/ai/waits", json={"prompt": "Hi"}, headers=as_user("ann")) as stream:
            next(stream)
            next(stream)
            found = listed(app.test_client(), headers=as_user("ann"))
        running, ended = found[stream.run or ""], found[hers or ""]
        assert list(found) == [stream.run, hers]
        assert (running["provider"], running["status"], running["ended"]) == (
            "waits",
            "running",
            False,
        )
        assert (running["tokens"], running["readers"], running["own"]) == (1, 1, True)
        assert (ended["status"], ended["tokens"], ended["own"]) == ("finished", 7, True)
        assert 0 <= ended["seconds"] < 10

    def test_an_operator_sees_whose_a_run_is(self, app: Flask) -> None:
        StreamClient(app).read("/ai/chat", json={"prompt": "Hi"}, headers=as_user("ann"))
        (row,) = listed(app.test_client(), headers=as_user("ops")).values()
        assert (row["owner"], row["own"]) == ("ann", False)

    def test_another_aistream_has_its_own_runs(self, ai: AIStream) -> None:
        app = make_app(ai)
        other = AIStream("other")
        other.operator(lambda: True)
        other.provider(name="chat")(Script("secret"))
        other.init_app(app, url_prefix="/other")
        run = StreamClient(app).read("/other/chat", json={"prompt": "Hi"}).run
        client = app.test_client()
        assert listed(client, f"?run={run}", headers=as_user("ops")) == {}
        stop = client.post(f"{RUNS}/{run}/stop", headers=as_user("ops"))
        assert stop.status_code == 404


class TestStop:
    def test_an_operator_stops_a_run_of_another_caller(self, app: Flask, gate: Gate) -> None:
        with StreamClient(app).open(
            "/ai/waits", json={"prompt": "Hi"}, headers=as_user("ann")
        ) as stream:
            gate.wait_reached()
            client, path = app.test_client(), f"{RUNS}/{stream.run}/stop"
            assert client.post(path, headers=as_user("bob")).status_code == 404
            assert client.post(path).status_code == 404
            answer = client.post(path, headers=as_user("ops"))
            assert answer.get_json() == {"run": stream.run, "stopped": True}
            assert not client.post(path, headers=as_user("ops")).get_json()["stopped"]
            assert isinstance([*stream][-1], Stopped)
        log = install(app).process.store.open(stream.run or "")
        assert log.terminal == Stopped("operator")

    def test_to_others_an_existing_run_and_none_are_the_same(self, app: Flask) -> None:
        run = StreamClient(app).read("/ai/chat", json={"prompt": "Hi"}, headers=as_user("ann")).run
        client = app.test_client()
        theirs = client.post(f"{RUNS}/{run}/stop", headers=as_user("bob"))
        unknown = client.post(f"{RUNS}/unknown/stop", headers=as_user("bob"))
        assert theirs.status_code == unknown.status_code == 404
        assert told(theirs).replace(run or "", "unknown") == told(unknown)

    def test_a_link_stops_nothing(self, app: Flask) -> None:
        assert app.test_client().get(f"{RUNS}/x/stop", headers=as_user("ops")).status_code == 405


class TestOperator:
    @pytest.mark.parametrize("verdict", [None, 1, "yes"])
    def test_a_verdict_that_is_no_bool_is_the_programmers_error(
        self, ai: AIStream, verdict: t.Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ai.operator(lambda: verdict)
        assert make_app(ai).test_client().get(RUNS).status_code == 500
        assert "@ai.operator returned" in caplog.text

    def test_it_may_abort(self, ai: AIStream) -> None:
        ai.operator(lambda: abort(403))
        assert make_app(ai).test_client().get(RUNS).status_code == 403

    LOCAL: t.ClassVar[list[t.Any]] = [
        pytest.param("127.0.0.1", "localhost:5000", {}, True, id="this machine"),
        pytest.param("::1", "[::1]:5000", {}, True, id="IPv6"),
        pytest.param("::ffff:127.0.0.1", "127.0.0.1", {}, True, id="IPv4 in IPv6"),
        pytest.param("127.0.0.1", "app.localhost", {}, True, id="a name below localhost"),
        pytest.param("192.168.0.7", "localhost", {}, False, id="another machine"),
        pytest.param("127.0.0.1", "evil.example", {}, False, id="a name that was rebound"),
        pytest.param("127.0.0.1", "[::1", {}, False, id="a malformed name"),
        pytest.param("", "localhost", {}, False, id="no address"),
        pytest.param(
            "127.0.0.1", "localhost", {"X-Forwarded-For": "8.8.8.8"}, False, id="through a proxy"
        ),
    ]

    @pytest.mark.parametrize(("address", "host", "headers", "operates"), LOCAL)
    def test_in_debug_mode_without_one_it_is_everybody_on_this_machine(
        self, address: str, host: str, headers: dict[str, str], operates: bool
    ) -> None:
        client = make_app(AIStream(), debug=True).test_client()
        response = client.get(
            RUNS,
            environ_overrides={"REMOTE_ADDR": address, "HTTP_HOST": host},
            headers=headers,
        )
        assert response.get_json()["operator"] is operates

    def test_outside_of_debug_mode_without_one_it_is_nobody(self) -> None:
        app = make_app(AIStream(), debug=True)
        app.debug = False
        assert not app.test_client().get(RUNS).get_json()["operator"]


class TestOtherSites:
    @pytest.mark.parametrize(
        ("method", "path"), [("GET", RUNS), ("GET", CHOICES), ("POST", f"{RUNS}/x/stop")]
    )
    @pytest.mark.parametrize("headers", [OTHER_SITE, {"Origin": "http://localhost:3000"}])
    def test_their_pages_are_refused_also_without_credentials(
        self, method: str, path: str, headers: dict[str, str]
    ) -> None:
        client = make_app(AIStream(), debug=True).test_client()
        response: TestResponse = client.open(path, method=method, headers=headers)
        assert response.status_code == 403

    def test_a_listed_origin_is_not(self, ai: AIStream) -> None:
        app = make_app(ai, AISTREAM_CORS_ORIGINS=[OTHER_SITE["Origin"]])
        response = app.test_client().get(RUNS, headers={**OTHER_SITE, **as_user("ops")})
        assert response.status_code == 200
