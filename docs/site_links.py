"""Links of the repository's pages, as the site needs them."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["without_folders"]

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def without_folders(text: str, page: Path) -> str:
    """The page with links to folders led to their README, or to nothing where there is none.

    GitHub shows a folder; a site has pages only.

    Args:
        text: of the page.
        page: where it lies.
    """

    def led(match: re.Match[str]) -> str:
        words, target = match.groups()
        folder = page.parent / target.partition("#")[0]
        if "://" in target or target.startswith("#") or not folder.is_dir():
            return match[0]
        readme = folder / "README.md"
        return f"[{words}]({target.rstrip('/')}/README.md)" if readme.is_file() else words

    return LINK.sub(led, text)
