"""Reads the text of LaTeX back, for the tests of what is written."""

import re

NAMED = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "char34": '"', "char96": "`", "textendash": "–",
}  # fmt: skip


def read(latex):
    """What one reads on the paper, of text without accents and formulas."""
    text = re.sub(r"\\([a-z0-9]+)\{\}", lambda found: NAMED[found[1]], latex)
    text = re.sub(r"(?<=[-,'])\{\}", "", text)
    text = re.sub(r"\{([\[\]*])\}", r"\1", text)
    return re.sub(r"\\([&%$#_{}])", r"\1", text)
