"""Proxies that are broken in one way each: one nginx with a location for each, before an application in this process.

``test_deployments.py`` has the same faults as whole deployments, and runs nightly.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_aistream.doctor.checks import Finding
from tests.doctor.app import create_app
from tests.doctor.here import diagnosed_at
from tests.doctor.here import served
from tests.doctor.nginx import GOOD
from tests.doctor.nginx import HTTP_1_1
from tests.doctor.nginx import running_proxies

SILENCE = 2.5

PROXIES = {
    "": GOOD,
    "compression": GOOD + "gzip on; gzip_min_length 0; gzip_types text/event-stream;",
    "timeout": GOOD + "proxy_read_timeout 1500ms;",
    "body size": HTTP_1_1,
}
"""Lines of the configuration, by the check that finds their fault."""

BARE = "ProxyFix"
"""A good proxy before an application without ProxyFix."""

COLLECTING = "buffering"
"""A good proxy before a middleware that reads the whole body."""

BODY = {"AISTREAM_MAX_BODY_BYTES": 1_200_000}
"""More than nginx accepts by default."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """What the checks find behind each proxy. All are examined at the same time, as they mostly wait."""
    app, bare, collecting = (create_app(it, **BODY) for it in ("", "no proxy fix", ""))
    collected = collecting.wsgi_app
    collecting.wsgi_app = lambda *args: [b"".join(collected(*args))]  # type: ignore[method-assign]

    def diagnosed(url: str) -> list[Finding]:
        return diagnosed_at(url, app, SILENCE)

    with served(app) as port, served(bare) as bare_port, served(collecting) as collecting_port:
        targets = {name: (port, lines) for name, lines in PROXIES.items()}
        targets |= {BARE: (bare_port, GOOD), COLLECTING: (collecting_port, GOOD)}
        locations = {f"/{n}/": target for n, target in enumerate(targets.values())}
        with running_proxies(tmp_path_factory.mktemp("nginx"), locations) as url:
            urls = [f"{url}{path}ai" for path in locations]
            with ThreadPoolExecutor(len(urls)) as pool:
                return dict(zip(targets, pool.map(diagnosed, urls), strict=True))


@pytest.mark.server
@pytest.mark.parametrize("check", [*PROXIES, BARE, COLLECTING])
def test_the_fault_of_a_proxy_is_named_and_nothing_else(
    findings: dict[str, list[Finding]], check: str
) -> None:
    assert [it.check for it in findings[check]] == ([check] if check else []), findings[check]


@pytest.mark.server
def test_a_post_that_is_refused_whatever_its_size_is_no_limit_of_size() -> None:
    app = create_app("csrf", AISTREAM_HEARTBEAT_SECONDS=None)
    with served(app) as port:
        found = diagnosed_at(f"http://127.0.0.1:{port}/ai", app, 0)
    assert [it.check for it in found] == ["CSRF"]
