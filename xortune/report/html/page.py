"""A document as one HTML file that needs nothing beside it and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from xortune.report.document import ConfigTable, Document, Figure
from xortune.report.html.blocks import Drawer

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page"]


def page(document: Document) -> str:
    """The document as a page: the same text for an equal document.

    Scripts and styles are in it, and its Content-Security-Policy allows these alone, by their
    hashes: whatever a name in the data says, nothing of it runs and nothing is fetched. Attributes
    named `style`, with which Plotly places what it draws, are allowed where there are figures.
    """
    blocks = [block for section in document.sections for block in section.blocks]
    drawer = Drawer(_templates(), [block for block in blocks if isinstance(block, ConfigTable)])
    scripts = [_asset("assets/page.js")]
    if drawer.has_configs:
        scripts += [_asset("assets/recipes.js"), _asset("assets/configs.js")]
    figures = any(isinstance(block, Figure) for block in blocks)
    if figures:
        scripts += [_asset("vendor/plotly-basic.min.js"), _asset("assets/figures.js")]
    first, style = _asset("assets/theme.js"), _asset("assets/page.css")
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            title=drawer.plain(document.title),
            subtitle=drawer.plain(document.subtitle),
            sections=[drawer.section(section) for section in document.sections],
            first_script=first,
            scripts=scripts,
            style=style,
            script_hashes=[_hash(script) for script in [first, *scripts]],
            figures=figures,
            style_hash=_hash(style),
        )
    )


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("xortune.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _asset(name: str) -> str:
    return files("xortune.report.html").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _hash(text: str) -> str:
    """As a Content-Security-Policy names what it allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
