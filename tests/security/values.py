"""Random values that look like what the parsers expect, often enough to get past their first check."""

from __future__ import annotations

import typing as t
from urllib.parse import urlencode

from hypothesis import strategies as st

from flask_aistream.protocols import ag_ui
from flask_aistream.protocols import ai_sdk
from flask_aistream.protocols import messages
from flask_aistream.protocols import native
from flask_aistream.protocols import openai_chat
from flask_aistream.protocols import openai_responses
from flask_aistream.protocols.openai_responses_echo import ECHOED
from flask_aistream.protocols.openai_responses_input import READERS

FIELDS = sorted(
    {
        *native.OWN_FIELDS,
        *ai_sdk.OWN_FIELDS,
        *ag_ui.OWN_FIELDS,
        *openai_chat.OWN_FIELDS,
        *openai_responses.OWN_FIELDS,
        *ECHOED,
        *("role", "content", "parts", "type", "text", "name", "url", "mediaType", "filename"),
        *("toolCallId", "toolName", "toolCalls", "tool_calls", "tool_call_id", "function"),
        *("state", "input", "rawInput", "output", "errorText", "arguments", "call_id"),
        *("source", "value", "mimeType", "image_url", "file", "file_data", "detail", "format"),
        *("include_usage", "previous_response_id", "store", "error"),
    }
)
"""Names of fields that any reader looks at."""

WORDS = sorted(
    {
        *messages.ROLES,
        *ag_ui.ROLES,
        *READERS,
        *messages.COMPLETED_STATES,
        *("text", "file", "tool-a", "dynamic-tool", "step-start", "reasoning", "data-x"),
        *("input_text", "output_text", "input_image", "input_file", "image", "data"),
        *("image/png", "audio/wav", "data:image/png;base64,AA", "data:,", "chat", "1", ""),
    }
)
"""Strings that any reader compares with."""

# Surrogates alone are valid in JSON.
CHARACTERS = st.characters(exclude_categories=())
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(CHARACTERS, max_size=20))
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
LEAVES: st.SearchStrategy[t.Any] = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)


def nested(inner: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.one_of(st.lists(inner, max_size=4), objects_of(inner))


def objects_of(inner: st.SearchStrategy[t.Any]) -> st.SearchStrategy[dict[str, t.Any]]:
    names = st.one_of(st.sampled_from(FIELDS), st.sampled_from(FIELDS), TEXTS)
    return st.dictionaries(names, inner, max_size=5)


JSON = st.recursive(LEAVES, nested, max_leaves=12)
"""Any value of JSON."""

MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": TEXTS},
        optional={
            "id": TEXTS,
            "content": st.one_of(TEXTS, JSON),
            "parts": st.lists(objects_of(JSON), max_size=3),
            "tool_calls": JSON,
            "tool_call_id": TEXTS,
        },
    ),
    max_size=3,
)

BODIES = st.one_of(
    objects_of(JSON),
    st.fixed_dictionaries(
        {"messages": MESSAGES},
        optional={"model": TEXTS, "id": TEXTS, "threadId": TEXTS, "stream": st.booleans()},
    ),
    st.fixed_dictionaries({"prompt": TEXTS}, optional={"id": TEXTS, "request_id": TEXTS}),
    st.fixed_dictionaries({"model": st.just("chat"), "input": st.one_of(MESSAGES, TEXTS, JSON)}),
)
"""An object, often one that a protocol accepts."""

LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
"""A header's value, as WSGI passes it on."""

ORIGINS = st.one_of(
    st.sampled_from(
        ["null", "http://localhost", "http://[", "http://a.test:port", "//", "file://"]
    ),
    st.from_regex(r"[a-z]{0,5}:?/{0,2}[\[\]a-z0-9.:@%]{0,12}", fullmatch=True),
    LATIN,
)

CURSORS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,70}:[0-9٠]{1,20}", fullmatch=True), LATIN)

CONTENT_TYPES = st.one_of(
    st.sampled_from(
        [
            "application/json",
            "application/json; charset=utf-16",
            "multipart/form-data",
            "multipart/form-data; boundary=b",
            "multipart/form-data; boundary=" + "b" * 300,
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=nonsense",
            "text/plain",
        ]
    ),
    LATIN,
)

HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.one_of(st.sampled_from(["text/event-stream", "*/*;q=x", "a/b;q=nan"]), LATIN),
        "Accept-Encoding": st.one_of(st.sampled_from(["gzip", "gzip;q=inf", "*"]), LATIN),
        "Authorization": st.one_of(st.sampled_from(["Basic !", "Bearer a", "Digest x"]), LATIN),
        "Content-Type": CONTENT_TYPES,
        "Cookie": st.one_of(LATIN, LATIN.map("aistream_visitor={}".format)),
        "Idempotency-Key": LATIN,
        "If-None-Match": LATIN,
        "Last-Event-ID": CURSORS,
        "Origin": ORIGINS,
        "Purpose": st.just("prefetch"),
        "Range": st.one_of(st.sampled_from(["bytes=0-0", "bytes=9999-", "bytes=-1"]), LATIN),
        "Referer": ORIGINS,
        "Sec-Fetch-Site": st.one_of(st.sampled_from(["same-origin", "cross-site"]), LATIN),
        "User-Agent": LATIN,
        "X-Forwarded-For": LATIN,
        "X-User": st.sampled_from(["ann", "bob"]),
    },
)

QUERIES = st.dictionaries(
    st.one_of(st.sampled_from([*FIELDS, "version", "starting_after", "stream"]), LATIN),
    st.one_of(TEXTS, CURSORS, LATIN),
    max_size=3,
)

QUERY_STRINGS = QUERIES.map(lambda query: urlencode(query, errors="surrogatepass"))
"""The same as it is sent; a surrogate becomes bytes that are not UTF-8."""
