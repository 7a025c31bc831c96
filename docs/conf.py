"""The documentation's site (`make docs`): Markdown as it reads on GitHub too, links and anchors checked.

Every warning is an error there, so a link to a page, a heading or a file of this repository that isn't there fails.
"""

project = "scaleset-operator"
author = "The scaleset-operator authors"
project_copyright = author

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_title = "scaleset-operator"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
# `make docs ARGS="-b linkcheck"` asks other sites too.
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)"]
suppress_warnings = ["misc.highlighting_failure"]  # a quoted argument over two lines is good shell
html_static_path = ["_static"]
html_css_files = ["site.css"]
