"""The documentation's site (`make docs`): Markdown as it reads on GitHub too, links and anchors checked.

Every warning is an error there, so a link to a page, a heading or a file of this repository that isn't there fails. So
does a page that would load something from elsewhere: the site is read where there is no internet, too.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

project = "scaleset-operator"
author = "The scaleset-operator authors"
project_copyright = author

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

smartquotes = False  # options are typed with two hyphens, and quoted with straight quotes

html_theme = "furo"
html_title = "scaleset-operator"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
# `make docs ARGS="-b linkcheck"` asks other sites too.
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)"]
suppress_warnings = ["misc.highlighting_failure"]  # a quoted argument over two lines is good shell
html_static_path = ["_static"]
html_css_files = ["site.css"]

ELSEWHERE = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//|\bfrom "https?://|@import"""
)


def stays_at_home(app: Any, problem: Exception | None) -> None:
    """No page loads a script, a style or a picture from another host."""
    if problem is None and app.builder.format == "html":
        strays = [page.name for page in Path(app.outdir).rglob("*.html") if ELSEWHERE.search(page.read_text("utf-8"))]
        if strays:
            raise ExtensionError(f"these pages load something from elsewhere: {', '.join(sorted(strays))}")


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("build-finished", stays_at_home)
