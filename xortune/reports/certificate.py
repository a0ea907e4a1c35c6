"""The finalists of a certificate in a report: fresh seeds beside the counts of the search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from xortune.comparisons.contestants import certified_outcome
from xortune.core.formats import config_text, decimals, duration, lower_percent, number, plain
from xortune.core.point import Point
from xortune.reports.analysis import report_of
from xortune.reports.document import Table, lines_of, numbers, table_of, texts
from xortune.reports.parameters import differing
from xortune.runs.certificate import LEDGER, Certificate, CertifiedResult
from xortune.runs.results import Score
from xortune.runs.run import Run
from xortune.stats.proportions import unpaired_difference

BOUND = "rate at least"  # the column of the lower bounds
WORST = "worst neighbour"  # the last column of a certificate with neighbours


def certified_table(certificate: Certificate, run: Run) -> Table:
    """The finalists, each with its largest bound; the attempt that has it, if they differ."""
    report = report_of(run)
    differ = differing(certificate.finalists, report.varied) or report.varied
    score = report.score
    several = len({one.attempt for one in certificate.finalists}) > 1
    has_neighbours = any(one.neighbours for one in certificate.finalists)
    heads = ["attempt"] if several else []
    heads += [f"{score.name} ({score.worst})"] if score else []
    heads += [WORST] if has_neighbours else []
    rows = [
        (
            config_text(one.point, differ) or "the only setting",
            f"{one.search.text} {one.search.rate_text}",
            f"{one.text} {one.rate_text}",
            _gap(one),
            lower_percent(one.lower_bound),
            *([str(one.attempt)] if several else []),
            *([_fresh_score(run, score, one)] if score else []),
            *([_worst_neighbour(one)] if has_neighbours else []),
        )
        for one in certificate.finalists
    ]
    columns = numbers("search", "fresh seeds", "gap", BOUND, *heads)
    return table_of([*texts("configuration"), *columns], rows)


def bound_first(table: Table) -> Table:
    """The same with the bounds in the second column: a telephone has room for two."""
    names = [heading.text for heading in table.headings]
    order = [0, names.index(BOUND)]
    order += [at for at in range(len(names)) if at not in order]
    return table_of(
        [table.headings[at] for at in order], [[row[at] for at in order] for row in table.rows]
    )


def _fresh_score(run: Run, score: Score, one: CertifiedResult) -> str:
    """The median of the trainer's own number on fresh seeds, and its worse decile."""
    certified = certified_outcome(run, run.certificate, one.key, one.attempt)
    if certified is None:
        return "–"
    median, worst = score.of(certified[1])
    return "–" if math.isnan(median) else f"{number(median)} ({number(worst)})"


def certified_lines(certificate: Certificate) -> list[str]:
    """What the bounds guarantee together, and the other attempts."""
    return lines_of("certificate.txt.jinja", certificate=certificate, ledger=LEDGER)


def left_out(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why the search did not make the certificate it was to make, and the command that does."""
    entry = manifest.get("not_certified")
    if entry is None:
        return None
    seconds = entry.get("seconds")
    takes = "does it" if seconds is None else f"takes about {duration(seconds)}"
    return f"Not certified: {plain(entry['why'])}. This {takes}:", plain(entry["command"])


def _gap(result: CertifiedResult) -> str:
    """The gap in percentage points, with the decimals that its interval supports."""
    search = result.search
    ends = unpaired_difference(search.k, search.n, result.k, result.n, alpha=0.05)
    digits = decimals(*ends)
    gap = round(100 * result.gap, digits)
    return f"{gap:+.{digits}f}" if gap else "0"


def _worst_neighbour(result: CertifiedResult) -> str:
    worst = result.worst_neighbour
    if worst is None:
        return "–"
    moved = config_text(Point({worst.parameter: worst.value}), [worst.parameter])
    text = f"{worst.rate_text} ({moved})"
    bound = result.neighbourhood_bound
    return text if bound is None else f"{text}; all at least {lower_percent(bound)}"
