"""Markdown on the page: few forms, made of nodes, and nothing that is not among them."""

from __future__ import annotations

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
def page(browser: Chrome, offline: Gunicorn) -> Chrome:
    browser.get(offline.url)
    return browser


def render(page: Chrome, text: str, steps: int = 1_000_000, **options: bool) -> str:
    return t.cast(str, page.execute_async_script(RENDER, text, steps, options))


PRE = '<pre tabindex="0"><code>'
AWAY = 'target="_blank" rel="noopener noreferrer"'

FORMS = [
    ("One\ntwo", "<p>One\ntwo</p>"),
    ("One\n\n\ntwo\n", "<p>One</p><p>two</p>"),
    ("# A\n### B `c`", '<h3 class="level-1">A</h3><h5 class="level-3">B <code>c</code></h5>'),
    ("#hashtag", "<p>#hashtag</p>"),
    ("a **b *c* d** `**e**`", "<p>a <strong>b <em>c</em> d</strong> <code>**e**</code></p>"),
    ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
    ("``a ` b``", "<p><code>a ` b</code></p>"),
    ("```py\na = 1\n\n# b\n```\nc", f"{PRE}a = 1\n\n# b</code></pre><p>c</p>"),
    ("```\nnot closed", f"{PRE}not closed</code></pre>"),
    ("- a\n- b\n  go on\n\n- c", "<ul><li>a</li><li>b go on</li><li>c</li></ul>"),
    ("- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
    ("3. a\n4. b\n\nc", '<ol start="3"><li>a</li><li>b</li></ol><p>c</p>'),
    ("> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    (
        "| a | b |\n|---|---|\n| `x|y` | z\\|z |",
        '<div class="table" tabindex="0"><table><tr><th>a</th><th>b</th></tr>'
        "<tr><td><code>x|y</code></td><td>z|z</td></tr></table></div>",
    ),
    (
        "| a |\n|---|\n| grow",
        '<div class="table" tabindex="0"><table><tr><th>a</th></tr><tr><td>grow</td></tr></table></div>',
    ),
    ("[a *b*](https://example.org/)", f'<p><a href="https://example.org/" {AWAY}>a <em>b</em></a></p>'),
    ("See https://example.org/a_b.", f'<p>See <a href="https://example.org/a_b" {AWAY}>https://example.org/a_b</a>.</p>'),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "html"), FORMS, ids=[repr(text) for text, _ in FORMS])
@pytest.mark.parametrize("steps", [1, 3, 1_000_000])
def test_a_form_becomes_its_nodes_however_the_text_grew(
    page: Chrome, text: str, html: str, steps: int
) -> None:
    assert render(page, text, steps) == html


HOSTILE = [
    ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
    ("`</code><script>`", "<p><code>&lt;/code&gt;&lt;script&gt;</code></p>"),
    ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
    ("[a](javascript:alert`1`)", "<p><span>a</span></p>"),
    ("[a](JavaScript:x)", "<p><span>a</span></p>"),
    ("[a](data:text/html,x)", "<p><span>a</span></p>"),
    ("[a](//example.org)", "<p><span>a</span></p>"),
]


@pytest.mark.parametrize(("text", "html"), HOSTILE)
def test_what_could_do_harm_stays_text(page: Chrome, text: str, html: str) -> None:
    assert render(page, text) == html
    assert "href" not in render(page, text, relative=True)


def test_links_to_other_pages_of_the_site_work_where_they_are_wanted(page: Chrome) -> None:
    assert render(page, "[a](docs/b.md#c)", relative=True) == '<p><a href="docs/b.md#c">a</a></p>'
    assert render(page, "[a](docs/b.md#c)") == "<p><span>a</span></p>"


def test_a_long_answer_keeps_the_nodes_that_did_not_change(page: Chrome) -> None:
    kept = page.execute_async_script("""
        const done = arguments[0];
        import("/static/markdown.js").then(({ render }) => {
          const element = document.createElement("div");
          render(element, "One\\n\\ntwo");
          const first = element.firstChild;
          render(element, "One\\n\\ntwo three");
          done([first === element.firstChild, element.textContent]);
        });
    """)
    assert kept == [True, "Onetwo three"]
