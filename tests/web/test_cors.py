"""CORS headers, and the refusal of cross-site requests with credentials."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_aistream import AIStream
from flask_aistream.testing import Script
from tests.web.conftest import MakeApp

FRIEND = "https://friend.example"
STRANGER = "https://stranger.example"

ANSWERS: list[t.Any] = [
    pytest.param("GET", "/ai/chat?prompt=Hi", 200, id="stream"),
    pytest.param("GET", "/ai/chat", 422, id="bad request"),
    pytest.param("GET", "/ai/fails?prompt=Hi", 500, id="failed provider"),
    pytest.param("GET", "/ai/nobody?prompt=Hi", 404, id="unknown provider"),
    pytest.param("GET", "/ai/runs/unknown", 404, id="unknown run"),
    pytest.param("GET", "/ai/no/such/path", 404, id="unknown path"),
    pytest.param("PUT", "/ai/chat", 405, id="wrong method"),
    pytest.param("GET", "/ai/static/nothing.js", 404, id="unknown file"),
    pytest.param("GET", "/ai/static/aistream.js", 200, id="client"),
    pytest.param("GET", "/ai/health", 200, id="health"),
    pytest.param("OPTIONS", "/ai/chat", 200, id="options"),
]


@pytest.fixture(autouse=True)
def _providers(ai: AIStream) -> None:
    ai.provider(name="chat")(Script("a"))
    ai.provider(name="fails")(Script(ValueError()))


def ask(app: Flask, method: str, path: str, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    # Its own cookie jar would replace the header.
    client = app.test_client(use_cookies=False)
    response = client.open(path, method=method, headers=named)
    response.get_data()
    response.close()
    return response


def preflight(app: Flask, origin: str, path: str = "/ai/chat", headers: str = "") -> TestResponse:
    return ask(
        app,
        "OPTIONS",
        path,
        Origin=origin,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers=headers,
    )


def allowed(response: TestResponse) -> tuple[str | None, str | None]:
    """Whose pages may read it, and whether with credentials. Each header comes once."""
    assert len(response.headers.getlist("Access-Control-Allow-Origin")) <= 1
    return (
        response.headers.get("Access-Control-Allow-Origin"),
        response.headers.get("Access-Control-Allow-Credentials"),
    )


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
@pytest.mark.parametrize("origin", [STRANGER, "null", ""])
def test_by_default_any_page_may_read_without_credentials(
    app: Flask, method: str, path: str, status: int, origin: str
) -> None:
    response = ask(app, method, path, Origin=origin)
    assert response.status_code == status
    assert allowed(response) == ("*", None)
    assert "Origin" in response.vary


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_with_a_list_only_listed_pages_may_read_also_with_credentials(
    make_app: MakeApp, method: str, path: str, status: int
) -> None:
    app = make_app(cors_origins=[FRIEND, "http://localhost:5173"])
    friend, stranger = (ask(app, method, path, Origin=origin) for origin in (FRIEND, STRANGER))
    assert friend.status_code == stranger.status_code == status
    assert allowed(friend) == (FRIEND, "true")
    assert allowed(stranger) == (None, None)
    assert "Origin" in friend.vary
    assert "Origin" in stranger.vary


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_without_cors_no_header_is_set(
    make_app: MakeApp, method: str, path: str, status: int
) -> None:
    response = ask(make_app(cors_origins=None), method, path, Origin=STRANGER)
    assert response.status_code == status
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "origin",
    [
        "https://friend.example.evil.example",
        "https://evil-friend.example",
        "http://friend.example",
        "https://friend.example:8443",
        "https://friend.example/",
        "HTTPS://friend.example",
        "null",
        "",
        "*",
    ],
)
def test_a_similar_origin_is_not_allowed(make_app: MakeApp, origin: str) -> None:
    app = make_app(cors_origins=[FRIEND])
    assert allowed(ask(app, "GET", "/ai/health", Origin=origin)) == (None, None)


@pytest.mark.parametrize("path", ["/ai/chat", "/ai/runs/unknown/stop", "/ai/runs/unknown/events"])
def test_a_preflight_allows_what_clients_send(app: Flask, path: str) -> None:
    response = preflight(app, STRANGER, path, "authorization, content-type, last-event-id")
    assert response.status_code == 200
    methods = set(response.headers["Access-Control-Allow-Methods"].split(", "))
    headers = {
        name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(", ")
    }
    assert methods >= {"GET", "POST"}
    assert headers >= {"content-type", "authorization", "last-event-id", "idempotency-key"}
    assert int(response.headers["Access-Control-Max-Age"]) > 0


def test_a_preflight_of_an_unlisted_origin_allows_nothing(make_app: MakeApp) -> None:
    response = preflight(make_app(cors_origins=[FRIEND]), STRANGER)
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_the_headers_a_client_acts_on_are_exposed(app: Flask) -> None:
    response = ask(app, "GET", "/ai/chat?prompt=Hi", Origin=STRANGER)
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert set(exposed.split(", ")) == {
        "AIStream-Run",
        "Retry-After",
        "x-request-id",
        "x-should-retry",
        "x-vercel-ai-ui-message-stream",
    }


def test_a_cors_header_that_the_application_set_is_not_doubled(make_app: MakeApp) -> None:
    app = make_app(cors_origins=[FRIEND])

    @app.after_request
    def cors_of_its_own(response: t.Any) -> t.Any:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        return response

    assert allowed(ask(app, "GET", "/ai/health", Origin=FRIEND)) == (FRIEND, "true")


def test_the_applications_own_paths_get_no_cors_headers(app: Flask) -> None:
    response = ask(app, "GET", "/elsewhere", Origin=STRANGER)
    assert allowed(response) == (None, None)


# Credentials. The test client asks http://localhost.

SENT: list[t.Any] = [
    # origin, Sec-Fetch-Site, may
    pytest.param(None, None, True, id="no browser"),
    pytest.param("http://localhost", None, True, id="own page"),
    pytest.param("http://localhost", "same-origin", True, id="own page, said so"),
    pytest.param(None, "same-origin", True, id="own page's EventSource"),
    pytest.param(None, "none", True, id="typed into the address bar"),
    pytest.param(STRANGER, None, False, id="another site"),
    pytest.param(STRANGER, "cross-site", False, id="another site, said so"),
    pytest.param(None, "cross-site", False, id="another site's link or image"),
    pytest.param("null", "cross-site", False, id="a sandboxed frame"),
    pytest.param("null", None, False, id="a file"),
    pytest.param("http://evil.localhost", "same-site", False, id="a sibling domain"),
    pytest.param("http://localhost:9999", "same-site", False, id="another port"),
    # Behind a proxy that ends TLS and that nobody told us about, we see http.
    pytest.param("https://localhost", "same-origin", True, id="own page behind a proxy"),
    pytest.param("https://localhost", None, True, id="the same in an older browser"),
    pytest.param("http://localhost.evil.example", None, False, id="a name that begins like ours"),
    pytest.param("http://[", None, False, id="a malformed origin"),
    pytest.param("http://[", "cross-site", False, id="a malformed origin of another site"),
    pytest.param(STRANGER, "nonsense", False, id="an unknown Sec-Fetch-Site"),
]

PATHS = [
    ("GET", "/ai/chat?prompt=Hi"),
    ("POST", "/ai/chat"),
    ("GET", "/ai/runs/unknown"),
    ("GET", "/ai/runs/unknown/events"),
    ("POST", "/ai/runs/unknown/stop"),
]


@pytest.mark.parametrize(("origin", "site", "may"), SENT)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_cross_site_request_with_cookies_is_refused(
    app: Flask, method: str, path: str, origin: str | None, site: str | None, may: bool
) -> None:
    headers = {"Cookie": "session=1", "Origin": origin, "Sec_Fetch_Site": site}
    response = ask(app, method, path, **{name: it for name, it in headers.items() if it})
    assert (response.status_code == 403) is not may
    if not may:
        assert response.get_json()["error"]["code"] == "access_denied"


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_cross_site_request_without_cookies_is_allowed(
    app: Flask, method: str, path: str
) -> None:
    response = ask(app, method, path, Origin=STRANGER, Sec_Fetch_Site="cross-site")
    assert response.status_code != 403


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_listed_page_may_send_cookies(make_app: MakeApp, method: str, path: str) -> None:
    app = make_app(cors_origins=[FRIEND])
    sent = {"Cookie": "session=1", "Sec_Fetch_Site": "cross-site"}
    assert ask(app, method, path, Origin=FRIEND, **sent).status_code != 403
    assert ask(app, method, path, Origin=STRANGER, **sent).status_code == 403


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"Referer": "http://evil.test/page"}, False),
        ({"Referer": "http://["}, False),
        ({"Referer": "http://localhost/page"}, True),
        ({"Referer": "http://evil.test/", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Authorization": "Basic YTpi", "Origin": STRANGER, "Cookie": ""}, False),
        ({"Authorization": "Negotiate YTpi", "Sec-Fetch-Site": "cross-site", "Cookie": ""}, False),
        ({"Authorization": "Bearer token", "Origin": STRANGER, "Cookie": ""}, True),
        ({"Authorization": "Basic YTpi", "Cookie": ""}, True),
    ],
    ids=str,
)
def test_credentials_of_another_site_are_recognised(
    app: Flask, headers: dict[str, str], may: bool
) -> None:
    sent = {"Cookie": "session=1", **headers}
    client = app.test_client(use_cookies=False)
    with client.post("/ai/chat", json={"prompt": "Hi"}, headers=sent) as response:
        assert (response.status_code == 403) is not may


BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"
LINK = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"User-Agent": BROWSER, "Accept": LINK, "Cookie": "session=1"}, False),
        ({"User-Agent": BROWSER, "Accept": "image/avif,*/*", "Cookie": "session=1"}, False),
        ({"User-Agent": BROWSER, "Accept": LINK, "Authorization": "Basic YTpi"}, False),
        ({"User-Agent": BROWSER, "Accept": LINK}, True),
        ({"User-Agent": BROWSER, "Accept": LINK, "Cookie": "aistream_visitor=x"}, True),
        ({"User-Agent": BROWSER, "Accept": "text/event-stream", "Cookie": "session=1"}, True),
        ({"User-Agent": "curl/8.9", "Accept": "*/*", "Authorization": "Basic YTpi"}, True),
        (
            {
                "User-Agent": BROWSER,
                "Accept": LINK,
                "Cookie": "session=1",
                "Sec-Fetch-Site": "none",
            },
            True,
        ),
        (
            {
                "User-Agent": BROWSER,
                "Accept": LINK,
                "Cookie": "session=1",
                "Referer": "http://localhost/",
            },
            True,
        ),
    ],
    ids=str,
)
def test_a_get_start_that_looks_like_a_foreign_link_is_refused(
    app: Flask, headers: dict[str, str], may: bool
) -> None:
    client = app.test_client(use_cookies=False)
    with client.get("/ai/chat?prompt=Hi", headers=headers) as response:
        assert (response.status_code == 403) is not may
    # An existing run may be read: its id cannot be guessed.
    assert client.get("/ai/runs/unknown", headers=headers).status_code == 404


def test_a_refused_cross_site_request_starts_no_run(ai: AIStream, client: FlaskClient) -> None:
    script = Script("a")
    ai.provider(name="costly")(script)
    client.set_cookie("session", "1")
    client.post("/ai/costly", json={"prompt": "Hi"}, headers={"Origin": STRANGER})
    client.get("/ai/costly?prompt=Hi", headers={"Sec-Fetch-Site": "cross-site"})
    assert script.requests == []


def test_the_refusal_has_cors_headers(client: FlaskClient) -> None:
    client.set_cookie("session", "1")
    response = client.get("/ai/chat?prompt=Hi", headers={"Origin": STRANGER})
    assert allowed(response) == ("*", None)
    assert "AISTREAM_CORS_ORIGINS" in response.get_json()["error"]["message"]
