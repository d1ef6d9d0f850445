"""Markdown on the page: growing text, unchecked text, and what the page changes in the library's output."""

from __future__ import annotations

import re
import typing as t

import pytest
from selenium.webdriver import Chrome

from tests.example.serving import Gunicorn

pytestmark = pytest.mark.browser

RENDER = """
const [text, steps, options, done] = arguments;
import("/static/markdown.js").then(({ render }) => {
  const element = document.createElement("div");
  for (let end = steps; end < text.length; end += steps) render(element, text.slice(0, end), options);
  render(element, text, options);
  done(element.innerHTML);
}, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def page(browser: Chrome, offline: Gunicorn, libraries: None) -> Chrome:
    browser.get(offline.url)
    return browser


def render(page: Chrome, text: str, steps: int = 1_000_000, **options: bool) -> str:
    html = t.cast(str, page.execute_async_script(RENDER, text, steps, options))
    return re.sub(r">\n+<", "><", html).replace("\n</", "</")


AWAY = 'target="_blank" rel="noopener noreferrer"'
TABLE = (
    '<div class="table" tabindex="0"><table><thead><tr><th>a</th><th class="right">b</th></tr></thead>'
    '<tbody><tr><td><code>x</code></td><td class="right">z|z</td></tr></tbody></table></div>'
)

CODE = '<div class="code"><p class="bar"><span>{}</span><button type="button">Copy</button></p><pre tabindex="0"><code>{}</code></pre></div>'

FORMS = [
    ("One\ntwo  \nthree", "<p>One\ntwo<br>\nthree</p>"),
    ("# A\n### B `c`", '<h3 class="level-1">A</h3><h5 class="level-3">B <code>c</code></h5>'),
    ("```\nnot closed", CODE.format("", "not closed")),
    ("- a\n  - b\n\n1. c", "<ul><li>a\n<ul><li>b</li></ul></li></ul><ol><li>c</li></ol>"),
    ("- [ ] a\n- [x] b", "<ul><li>☐ a</li><li>☑ b</li></ul>"),
    ("| a | b |\n|---|--:|\n| `x` | z\\|z |", TABLE),
    ("See https://example.org/a_b.", f'<p>See <a href="https://example.org/a_b" {AWAY}>https://example.org/a_b</a>.</p>'),
    ("![a](https://example.org/b.png)", f'<p><a href="https://example.org/b.png" {AWAY}>a</a></p>'),
    ("", ""),
]  # fmt: skip

# Each has a line that changes the block before it while the line grows.
GROWING = [
    "1. a\n\n2. b\n\nc",
    "- a\n\n  b\n\n- c\n**d**",
    "a\n---\n\n> b\nc\n\n    d\n",
    "```py\na = 1\n\n# b\n```\nc\n\n~~~\nd",
    "| a |\n|---|\n| b |\n\nc | d\n--|--\ne | f",
    "See [a] and [b].\n\nMore.\n\nLast.\n\n[a]: https://example.org/long\n[b]: https://example.org/b\n\nEnd",
]

HOSTILE = [
    ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
    ("`</code><script>`", "<p><code>&lt;/code&gt;&lt;script&gt;</code></p>"),
    ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
    ("[a](JavaScript:x)", "<p>[a](JavaScript:x)</p>"),
    ("[a](data:text/html,x)", "<p>[a](data:text/html,x)</p>"),
    ("[a](//example.org)", "<p>[a](//example.org)</p>"),
]

# Text that costs a parser its stack or quadratic time.
EXTREME = [
    ">" * 4000,
    "- " * 4000,
    "[" * 4000,
    "*a_" * 2000,
    "`" * 4000,
    "![" * 4000,
    "(" * 4000,
    "|" * 4000,
]


@pytest.mark.parametrize(("text", "html"), FORMS, ids=[repr(text) for text, _ in FORMS])
def test_a_form_becomes_the_nodes_of_the_page(page: Chrome, text: str, html: str) -> None:
    assert render(page, text) == html


@pytest.mark.parametrize("text", GROWING, ids=repr)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_text_looks_the_same_however_it_grew(page: Chrome, text: str, steps: int) -> None:
    assert render(page, text, steps) == render(page, text)


@pytest.mark.parametrize(("text", "html"), HOSTILE)
def test_what_could_do_harm_stays_text(page: Chrome, text: str, html: str) -> None:
    assert render(page, text) == html
    assert "href" not in render(page, text, relative=True)


@pytest.mark.parametrize("text", EXTREME, ids=[text[:3] for text in EXTREME])
def test_extreme_nesting_is_drawn_and_loses_no_text(page: Chrome, text: str) -> None:
    html = render(page, text, 400)
    assert not html.startswith("RangeError")
    assert html.count("&gt;") == text.count(">")


def test_links_to_other_pages_of_the_site_work_where_they_are_wanted(page: Chrome) -> None:
    assert render(page, "[a](docs/b.md#c)", relative=True) == '<p><a href="docs/b.md#c">a</a></p>'
    assert render(page, "[a](docs/b.md#c)") == "<p>[a](docs/b.md#c)</p>"


GROW = r"""
const [words, done] = arguments;
import("/static/markdown.js").then(({ render }) => {
  const element = document.body.appendChild(document.createElement("div"));
  const paragraphs = Array.from({ length: 100 }, (_, n) => `Paragraph ${n} of *many*.`).join("\n\n");
  const lines = Array.from({ length: 50 }, (_, n) => `line(${n})`).join("\n");
  render(element, paragraphs);
  const kept = [...element.children];
  const drawn = [];
  const watcher = new MutationObserver(() => {});
  watcher.observe(element, { childList: true, subtree: true });
  let text = `${paragraphs}\n\n\`\`\`py\n${lines}`;
  render(element, text);
  const button = element.querySelector("button");
  for (let n = 0; n < words; n++) {
    watcher.takeRecords();
    render(element, (text += ` word`));
    drawn.push(watcher.takeRecords().length);
  }
  done([Math.max(...drawn), kept.every((it, n) => it === element.children[n]), button === element.querySelector("button")]);
  element.remove();
}, (error) => done(String(error)));
"""


def test_of_a_long_answer_only_the_last_block_is_drawn_again(page: Chrome) -> None:
    """And a block of code keeps its button, which may have the focus."""
    drawn, kept, same_button = page.execute_async_script(GROW, 20)
    assert kept
    assert same_button
    assert drawn <= 4  # A language and a code, each removed and added.
