"""Tables for papers: LaTeX that needs only the package booktabs; table.tex of a run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from xortune.core.formats import config_text, count, interval, number, plain
from xortune.core.formats import measured as rate
from xortune.reports.certified import lower
from xortune.reports.document import (
    EPOCHS,
    Column,
    ConfigRow,
    ConfigTable,
    Inline,
    Mono,
    Strong,
    Table,
    Text,
    measure_text,
    parameter_columns,
    table_of,
)
from xortune.reports.run import config_table
from xortune.reports.tables import Report, report_of
from xortune.runs.certificate import Certificate, CertifiedResult
from xortune.runs.run import Run

# -------------------------------------------------------------------------------------------------
# Tables for papers: LaTeX that needs nothing but `\usepackage{booktabs}`.

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


# -------------------------------------------------------------------------------------------------
# table.tex: the best configs of a run as a table for a paper.


def table_tex(run: Run) -> str:
    """The best configs: counts, rates, intervals, and what is certified of them.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate is damaged.
    """
    report = report_of(run)
    if report.best is None:
        empty = Table((Column("configuration"),), ())
        return latex_table(empty, caption="No configuration has finished yet.")
    given, certificate = config_table(run, report), run.certificate
    shown = given.rows[: given.first]
    keys = [f"{place}: {row.key}" for place, row in enumerate(shown, 1)]
    return latex_table(
        _best(given, certificate),
        caption=_caption(report, given, certificate),
        label=f"tab:{report.title}",
        comments=["The keys of the configurations, by row:", *keys],
    )


def _best(given: ConfigTable, certificate: Certificate | None) -> Table:
    """The first rows of the table of all configs."""
    fresh = {} if certificate is None else {found.key: found for found in certificate.finalists}
    names = ["solved", "rate, %", "interval, %"]
    if given.measure is not None:
        names.append("epochs" if given.measure == EPOCHS else given.measure)
    names += ["fresh seeds", "at least, %"] if fresh else []
    columns = [
        Column("", numeric=True),
        *parameter_columns(given),
        *(Column(name, numeric=True) for name in names),
    ]
    rows = [
        [
            str(place),
            *row.values,
            *_counts(row, measured=given.measure is not None),
            *(_fresh(fresh.get(row.key)) if fresh else ()),
        ]
        for place, row in enumerate(given.rows[: given.first], 1)
    ]
    return table_of(columns, rows)


def _counts(row: ConfigRow, *, measured: bool) -> tuple[str, ...]:
    return (
        f"{row.k}/{row.n}",
        rate(row.k / row.n, row.low, row.high).removesuffix(" %"),
        interval(row.low, row.high).removesuffix(" %"),
        *((measure_text(row),) if measured else ()),
    )


def _fresh(found: CertifiedResult | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return f"{found.k}/{found.n}", lower(found).removesuffix(" %")


def _caption(report: Report, given: ConfigTable, certificate: Certificate | None) -> str:
    shown = min(given.first, len(given.rows))
    what = (
        f"The best {shown} of {count(report.configs, 'configuration')}"
        if shown < report.configs
        else f"All {count(report.configs, 'configuration')}"
        if report.configs > 1
        else "The only configuration"
    )
    order = (
        "by the lower end of the 95 % Wilson interval of the seeds solved, as the search counted "
        "them"
        if report.looked_for is None
        else f"by {plain(report.looked_for.name)} over the seeds of the search"
    )
    sentences = [f"{what} of {report.title}, {order}: the first of many is partly luck."]
    if report.looked_for is not None:
        sentences.append("In brackets 95 % intervals over the seeds.")
    elif given.measure is not None:
        sentences.append("Epochs: what one success costs.")
    if certificate is not None and certificate.finalists:
        level = f"{number(100 * certificate.confidence)} %"
        sentences.append(
            "Fresh seeds: such as the search never saw; the lower bounds of the rate hold together "
            f"with {level} confidence."
        )
    if given.fixed:
        best = report.best
        assert best is not None
        same = config_text(best.point, [name for name, _ in given.fixed])
        sentences.append(f"The same in all: {same}.")
    return " ".join(sentences)
