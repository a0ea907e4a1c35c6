"""Labels that fit: shortened in the middle, broken into lines, never read as markup."""

from __future__ import annotations

import textwrap

from xortune.report.format import plain

__all__ = ["WRITTEN", "lines", "shortened"]

WRITTEN = 14
"""Signs of what is written beside a point."""


def shortened(label: str, most: int) -> str:
    """The label on one line of at most so many signs: its middle goes first.

    Configs begin alike and differ at the end, names the other way round.
    """
    label = plain(label)
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept // 2]}…{label[len(label) - kept // 2 :]}"


def lines(text: str, width: int) -> list[str]:
    """The text in lines of at most so many signs; lines that it has stay lines."""
    found = []
    for line in text.splitlines():
        found += textwrap.wrap(plain(line), width) or [""]
    return found
