"""The documentation site: ``make site`` builds it into ``build/site``. It loads nothing from other hosts."""

from __future__ import annotations

import html
import typing as t
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import flask_aistream

project = "flask_aistream"
copyright = "flask_aistream contributors"
release = version = flask_aistream.__version__

extensions = ["myst_parser", "pallets_sphinx_themes"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Two domains of the theme cannot resolve links, and say so.
suppress_warnings = ["myst.domains"]

html_theme = "flask"
html_title = f"flask_aistream {release}"
html_show_sourcelink = False
html_sidebars = {
    "**": ["localtoc.html", "relations.html", "searchbox.html"],
    "index": ["searchbox.html"],
}

# tools/mermaid.sh fetches it. A classic script, because pages that are opened as files cannot load modules.
MERMAID = Path(__file__).parent.parent / "build" / "mermaid"
SCRIPT = "mermaid.tiny.js"
html_static_path = [str(MERMAID)] if (MERMAID / SCRIPT).exists() else []


class Mermaid(Directive):
    """A diagram: its source, which the script replaces by a picture."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        source = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="mermaid">{source}</pre>', format="html")]


def add_script(app: Sphinx, page: str, template: str, context: t.Any, doctree: t.Any) -> None:
    """Load the script in pages that have a diagram."""
    if html_static_path and 'class="mermaid"' in context.get("body", ""):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> None:
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", add_script)
