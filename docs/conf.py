"""The site of the documentation, by Sphinx with MyST and Furo; it asks nothing of any other host.

    sphinx-build -W --keep-going -q -c docs . site      then open site/index.html

The sources are those of the repository, where they are: `docs/` and the pages elsewhere that these
lead to. So a link that works in a checkout works on the site, and the other way round. Warnings are
errors: a page that no list names, a link or an anchor that leads nowhere, a block that is not of
its language, a docstring that cannot be read.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the API is that of this checkout

from site_links import without_folders  # noqa: E402

import xortune  # noqa: E402

project = "xortune"
version = release = xortune.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "examples/*/*.md",
    "examples/*.md",
    "benchmarks/README.md",
    "reports/*.md",
    "reports/*/*.md",
    "xortune/reports/html/vendor/README.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["site", ".*", "**/.*", "**/runs", "build", "dist"]
suppress_warnings = ["toc.not_included"]  # reports and benchmarks; a test has an eye on docs/

myst_heading_anchors = 4  # as GitHub names them

default_role = "code"  # one backtick is code in docstrings
smartquotes = False  # quotes in prose are those of YAML and of shells, and -- is an option
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
napoleon_use_ivar = True  # an Attributes: section describes, and declares nothing twice
napoleon_use_rtype = False
add_module_names = True

html_theme = "furo"
html_title = "xortune"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "native"


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = without_folders(content[0], Path(app.srcdir) / f"{docname}.md")


def _whole_sentence(_: Sphinx, what: str, *found: object) -> None:
    """What stands before a colon in a property's docstring, Napoleon takes for its type."""
    *_, lines = found
    if what == "property" and isinstance(lines, list):
        lines.insert(0, "")


def _front_door(app: Sphinx, exception: Exception | None) -> None:
    """The site's own first page leads to that of docs/."""
    if exception is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(
            '<!doctype html><meta charset="utf-8"><title>xortune</title>'
            '<meta http-equiv="refresh" content="0; url=docs/index.html">'
            '<a href="docs/index.html">xortune</a>\n',
            encoding="utf-8",
        )
        # Sphinx copies no picture that a page names in HTML: the README's, light and dark.
        for picture in (ROOT / "reports").glob("picture-*.svg"):
            shutil.copy(picture, Path(app.outdir) / "reports")


def setup(app: Sphinx) -> None:
    """What Sphinx calls: the hooks above."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _whole_sentence, priority=400)  # before Napoleon
    app.connect("build-finished", _front_door)
