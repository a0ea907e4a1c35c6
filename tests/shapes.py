"""What a page shows of a command, and what the command prints: alike but for numbers."""

from __future__ import annotations

import re

__all__ = ["unprinted"]


def shape(line: str) -> str:
    """A line without its numbers, bars and widths, which another CPU may have others of."""
    return " ".join(re.sub(r"[█▉▊▋▌▍▎▏░]+", "", re.sub(r"\d[\d.,e]*", "0", line)).split())


def unprinted(shown: str, printed: str) -> list[str]:
    """The lines of a page's block that the command does not print, but for numbers.

    Rows of a table, which begin with a number, are compared by their number of words: which
    configuration is the third may depend on the CPU. `…` stands for lines left out.
    """
    lines = {shape(line) for line in printed.splitlines()}
    widths = {len(line.split()) for line in lines if line.startswith("0 ")}
    return [
        line
        for line in shown.splitlines()
        if line.strip() != "…" and shape(line) not in lines
        if not (shape(line).startswith("0 ") and len(shape(line).split()) in widths)
    ]
