"""Each check finds its fault in what was measured, and nothing in a healthy deployment."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from flask_aistream.doctor.checks import CHECKS
from flask_aistream.doctor.checks import diagnose
from flask_aistream.doctor.subject import Site
from flask_aistream.doctor.subject import Subject
from flask_aistream.doctor.subject import Timing
from flask_aistream.web.extension import install
from tests.lazy import LazyModule

if t.TYPE_CHECKING:
    from tests.doctor import app as shop
else:
    shop = LazyModule("tests.doctor.app")

MEASURED: dict[str, dict[str, t.Any]] = {
    "gevent": {"process": {"gevent_unpatched": True}},
    "sync worker": {"process": {"worker": "sync"}},
    "wrapper": {"process": {"wrapper": "asgiref's WsgiToAsgi serves one request at a time."}},
    "memory store": {"process": {"siblings": True, "store": "memory"}},
    "blocking package": {"process": {"blocking": ["grpc"]}},
    "ProxyFix": {"process": {"forwarded": True, "proxy_fix": False}},
    "debug": {"process": {"debug": True}},
    "buffering": {"timing": Timing((1.5, 1.5, 1.5, 1.5, 1.5, 3.0))},
    "compression": {"timing": Timing((1.5,), "gzip")},
    "timeout": {"timing": Timing((0.0, 0.3, 0.6, 0.9, 1.2), cut_after=1.0)},
    "playground": {"operated": True},
    "CORS": {"cors": None},
    "body size": {"largest_body": 512 * 1024},
    "HTTP/2": {"protocols": frozenset({"http/1.1"})},
    "url": {"problem": "https://example.org does not answer: refused."},
}
"""What differs from a healthy deployment, by the check that finds it."""

IN_THE_APPLICATION = {
    "CSRF": "csrf",
    "database pool": "pool",
    "parsed chunks": "parsed chunks",
}
"""Faults of ``tests/doctor/app.py``, by the check that finds them without a URL."""

ELSEWHERE = {"store", "flask-cors"}
"""Checks that ``test_deployments.py`` and the next test cover."""

HEALTHY = Site(
    "https://example.org/ai",
    {"worker": "gevent", "siblings": True, "store": None, "forwarded": True, "proxy_fix": True},
    Timing((0.0, 0.3, 0.6, 0.9, 1.2, 4.5)),
    4 * 1024**2,
    frozenset({"h2"}),
    "*",
)


def subject(fault: str = "", site: Site | None = None, **config: t.Any) -> Subject:
    app = shop.create_app(fault, **config)
    ext = install(app)
    return Subject(app, ext.settings, ext.mounts, site, "https://pages.example")


def found(subject: Subject) -> list[str]:
    return [finding.check for finding in diagnose(subject)]


def test_every_check_is_tested() -> None:
    tested = MEASURED.keys() | IN_THE_APPLICATION.keys() | ELSEWHERE
    assert tested == {check.name for check in CHECKS}


def test_nothing_is_found_in_a_healthy_deployment() -> None:
    assert found(subject(site=HEALTHY)) == []
    assert found(subject("raw response")) == []


@pytest.mark.parametrize("check", MEASURED)
def test_a_fault_is_found_in_what_was_measured(check: str) -> None:
    assert found(subject(site=replace(HEALTHY, **MEASURED[check]))) == [check]


def test_a_proxy_that_holds_back_the_last_frame_is_found() -> None:
    timing = Timing((0.3, 0.6, 0.9, 1.2, 4.5, 4.5))
    assert found(subject(site=replace(HEALTHY, timing=timing))) == ["buffering"]


@pytest.mark.parametrize("check", IN_THE_APPLICATION)
def test_a_fault_is_found_in_the_application(check: str) -> None:
    assert found(subject(IN_THE_APPLICATION[check])) == [check]


def test_a_database_pool_suffices_for_a_limited_number_of_runs() -> None:
    assert found(subject("pool", AISTREAM_MAX_RUNS=15)) == []
    assert found(subject("pool", AISTREAM_MAX_RUNS=16)) == ["database pool"]


def test_a_blueprint_that_is_exempt_from_csrf_tokens_is_healthy() -> None:
    examined = subject("csrf")
    examined.app.extensions["csrf"].exempt(examined.app.blueprints["aistream"])
    assert found(examined) == []


def test_flask_cors_beside_the_default_policy_is_found() -> None:
    def hook(response: t.Any) -> t.Any:
        return response

    hook.__module__ = "flask_cors.extension"
    examined = subject()
    examined.app.after_request(hook)
    assert found(examined) == ["flask-cors"]
    narrower = subject(AISTREAM_CORS_ORIGINS=["https://pages.example"])
    narrower.app.after_request(hook)
    assert found(narrower) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080/ai", "http://localhost/ai"])
def test_a_local_url_may_be_in_debug_mode_and_without_tls(address: str) -> None:
    site = replace(HEALTHY, url=address, protocols=None, process={"debug": True})
    assert found(subject(site=site)) == []
