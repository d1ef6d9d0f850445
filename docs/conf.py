"""The documentation site: ``make site`` builds it into ``build/site``."""

from __future__ import annotations

import flask_aistream

project = "flask_aistream"
copyright = "flask_aistream contributors"
release = version = flask_aistream.__version__

extensions = ["myst_parser", "sphinxcontrib.mermaid", "pallets_sphinx_themes"]
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
