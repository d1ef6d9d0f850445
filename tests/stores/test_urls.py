"""Passwords in URLs are shown nowhere, however they are written."""

from __future__ import annotations

import pytest

from flask_aistream.stores.urls import without_password
from flask_aistream.stores.urls import without_secrets

SECRET = "hunter2"

URLS = [
    ("redis://:hunter2@host/0", "redis://:***@host/0"),
    ("redis://ann:hunter2@host:6379/0", "redis://ann:***@host:6379/0"),
    ("redis://ann:hunter2/@host", "redis://ann:***@host"),
    ("redis://ann:hunter2#@host", "redis://ann:***@host"),
    ("redis://ann:a@hunter2@host", "redis://ann:***@host"),
    ("redis://ann:a%40hunter2@host", "redis://ann:***@host"),
    ("redis://ann%3Ahunter2@host", "redis://***@host"),
    ("redis://hunter2@host", "redis://***@host"),
    ("redis+sentinel://:hunter2@a:1,b:2/main/0", "redis+sentinel://:***@a:1,b:2/main/0"),
    ("redis://host?password=hunter2", "redis://host?password=***"),
    ("redis://host?PASSWORD=hunter2&db=1", "redis://host?PASSWORD=***&db=1"),
    ("redis://host?db=1&Password=hunter2", "redis://host?db=1&Password=***"),
    ("redis://host?p%61ssword=hunter2", "redis://host?p%61ssword=***"),
    ("redis://host?sentinel_password=hunter2;db=1", "redis://host?sentinel_password=***;db=1"),
    ("redis://host?pwd=hunter2", "redis://host?pwd=***"),
    ("redis://host?auth_token=hunter2", "redis://host?auth_token=***"),
    ("unix://ann:hunter2@/run/redis.sock?db=0", "unix://ann:***@/run/redis.sock?db=0"),
    ("ann:hunter2@host", "ann:***@host"),
    ("hunter2@host", "***@host"),
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "redis://host:6379/0",
        "redis://host?db=1",
        "sqlite:////home/a@b/runs.sqlite",
        "sqlite:////a:b@c.sqlite",
        "",
    ],
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert without_password(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:hunter2@host/0", "AUTH hunter2 failed"),
        ("redis://ann:p%40hunter2@host", "p@hunter2 is wrong, as is p%40hunter2"),
        ("redis://ann%3Ahunter2@host", "ann:hunter2 is no user"),
        ("redis://host?password=hunter2&db=x", "hunter2 and x are no numbers"),
        ("redis://host?a=b&PASSWORD=hunter2", "'PASSWORD=hunter2' is unknown"),
    ],
)
def test_a_drivers_message_does_not_show_it_either(url: str, said: str) -> None:
    assert SECRET in said
    assert SECRET not in without_secrets(said, url)
    assert without_secrets("connection refused", url) == "connection refused"
