r"""Tables for papers: LaTeX that needs nothing but `\usepackage{booktabs}`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from xortune.report.document import Inline, Mono, Strong, Table, Text
from xortune.report.format import plain

__all__ = ["latex_escaped", "latex_table"]

NOTES = (
    r"Needs \usepackage{booktabs} and no other package.",
    r"If it is too wide: \resizebox{\textwidth}{!}{...} of graphicx around the tabular.",
    "A sign that pdflatex cannot set without further packages is written as its code point: "
    "[U+1F600].",
)

MANY = 8
"""Columns, from which on they are smaller and closer."""

COMMANDS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    # After \\ a bracket or a star would be an argument of it.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
    # What babel makes active in some languages, and what becomes a curly quote.
    '"': r"\char34{}",
    "`": r"\char96{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}

ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""Combining marks, and the commands for them that every encoding of fonts has."""


def latex_table(
    table: Table, *, caption: str = "", label: str = "", comments: Iterable[str] = ()
) -> str:
    r"""A table as a float with `booktabs` rules, numbers at the right.

    Args:
        table: what is drawn.
        caption: plain text; empty: the table's own.
        label: for `\ref`, of letters, digits, `:`, `.` and `-`; empty: none.
        comments: lines above it.
    """
    about = caption or table.caption
    size = r"\small" if len(table.columns) < MANY else r"\footnotesize\tabcolsep=3pt"
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [f"% {plain(note)}" for note in (*NOTES, *comments)]
    lines += [r"\begin{table}", f"  \\centering{size}"]
    if about:
        lines.append(f"  \\caption{{{latex_escaped(about)}}}")
    if label:
        lines.append(f"  \\label{{{re.sub(r'[^A-Za-z0-9:.-]', '-', label)}}}")
    lines += [
        f"  \\begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        _row(latex_escaped(column.name) for column in table.columns),
        r"    \midrule",
        *(_row(map(_text, row)) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex_escaped(text: str) -> str:
    """Plain text as LaTeX sets it in any encoding of fonts; see `NOTES`."""
    shown = "".join(map(_sign, unicodedata.normalize("NFC", plain(text))))
    # Two of these would become one longer sign.
    return re.sub(r"([-,'])(?=\1)", r"\1{}", shown)


def _row(cells: Iterable[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _text(text: Text) -> str:
    return "".join(map(_inline, text))


def _inline(part: Inline) -> str:
    match part:
        case str():
            return latex_escaped(part)
        case Strong(text):
            return f"\\textbf{{{latex_escaped(text)}}}"
        case Mono(text):
            return f"\\texttt{{{latex_escaped(text)}}}"
    return latex_escaped(part.text)


def _sign(sign: str) -> str:
    if sign in COMMANDS:
        return COMMANDS[sign]
    if sign.isascii():
        return sign
    base, *marks = tuple(unicodedata.normalize("NFD", sign))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        return f"\\{ACCENTS[marks[0]]}{{{base}}}"
    if sign.isspace():
        return " "
    return f"{{[}}U+{ord(sign):04X}{{]}}"
