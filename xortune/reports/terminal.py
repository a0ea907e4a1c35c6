"""What the terminal shows of a run and of a comparison: the best ten at 80 columns."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import Any

from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from xortune.certificates.plan import ComparisonPlan, RatePlan, Speed
from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import RunComparison, notes
from xortune.comparisons.runs import answer as runs_answer
from xortune.comparisons.sequential import SequentialComparison
from xortune.core.formats import config_text, count, duration, plain, value
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.reports.analysis import (
    WORST,
    Report,
    certified_lines,
    certified_table,
    differing,
    left_out,
    report_of,
)
from xortune.reports.comparison import (
    MOST_SENTENCES,
    AnyComparison,
    compared,
    contestants_table,
    pairs_table,
    published_answer,
)
from xortune.reports.document import (
    FIRST,
    Column,
    Table,
    lines_of,
    numbers,
    paragraphs_of,
    table_of,
    texts,
)
from xortune.reports.drawing.model import shortened
from xortune.reports.figures.common import KEY
from xortune.reports.progress import facts_table
from xortune.reports.run import config_table, front_table
from xortune.runs.certificate import CERTIFICATE
from xortune.runs.manifest import imported_from
from xortune.runs.run import Run
from xortune.spaces.model import FIRST as FIRST_SEEDS


def _print(console: Console, *texts: str, whole: bool = False) -> None:
    """Print texts as they are; a command or a path stays on one line, so that it can be copied."""
    for text in texts:
        console.print(Text(plain(text)), soft_wrap=whole)


def drawn(given: Table) -> rich_table.Table:
    """A table with its numbers at the right; texts may break."""
    return _rich([_Shown(*one) for one in zip(given.columns, _columns(given), strict=True)])


def _columns(given: Table) -> list[Sequence[str]]:
    return [*zip(*given.rows, strict=True)] if given.rows else [()] * len(given.columns)


# -------------------------------------------------------------------------------------------------
# Configs in a table that has one row for each, whatever the width: parameters make room.

LONGEST_CELL = 16  # signs of a parameter's name or value where not all find room in full


@dataclass(frozen=True)
class _Shown:
    """A column of the terminal, with a cell for each row, and a style for all or for each."""

    column: Column
    cells: Sequence[str]
    style: str | Sequence[str] = ""

    @property
    def width(self) -> int:
        return 2 + max(cell_len(plain(text)) for text in (*self.head, *self.cells))

    @property
    def head(self) -> list[str]:
        """The lines of its heading."""
        return self.column.name.split("\n")

    def shortened(self) -> _Shown:
        """Of cells that are not long, below a name that may break after its underscores."""
        cells = [shortened(cell, LONGEST_CELL) for cell in self.cells]
        room, lines = max(map(len, cells), default=0), [""]
        for part in re.findall(r"[^_]*_+|[^_]+", shortened(self.column.name, LONGEST_CELL)):
            if lines[-1] and len(lines[-1] + part) > room:
                lines.append("")
            lines[-1] += part
        return replace(self, column=replace(self.column, name="\n".join(lines)), cells=cells)


def _key_digits(keys: Sequence[str]) -> int:
    """How many digits tell these keys apart, as many as in figures at least."""
    return next(n for n in count_from(KEY) if len({key[:n] for key in keys}) == len(set(keys)))


def _keys(keys: Sequence[str], digits: int) -> _Shown:
    return _Shown(Column("key"), [key[:digits] for key in keys], "cyan")


def _parameters(points: Sequence[Point], names: Sequence[str]) -> list[_Shown]:
    """A column for each parameter; empty where a config does not have it."""
    return [
        _Shown(Column(name), [value(p[name]) if name in p else "" for p in points])
        for name in names
    ]


def _print_rows(
    console: Console,
    front: Sequence[_Shown],
    parameters: Sequence[_Shown],
    key: _Shown,
    *,
    bar: _Shown | None = None,
    order: Sequence[str] = (),
) -> bool:
    """Print a row for each config, and which parameters found no room: whether the bar was drawn.

    The columns in `front` and the key are always there, the bar, after the first two, if there is
    room beside the parameters. The first parameter in `order` gets room first.
    """
    room = console.width + 2 - sum(one.width for one in (*front, key))  # the last has no padding
    kept = {one.column.name: one for one in parameters}
    left: list[str] = []
    if sum(one.width for one in parameters) > room:
        given = {name: one.shortened() for name, one in kept.items()}
        kept = {}
        for name in dict.fromkeys([*(n for n in order if n in given), *given]):
            if given[name].width <= room - sum(one.width for one in kept.values()):
                kept[name] = given[name]
        left = [name for name in given if name not in kept]
        kept = {name: one for name, one in given.items() if name in kept}
    columns = [*front, *kept.values(), key]
    room -= sum(one.width for one in kept.values())
    drawn = bar is not None and console.width >= BAR_FROM and bar.width <= room
    if bar is not None and drawn:
        columns.insert(2, bar)
    console.print(_rich(columns, whole=True))
    if left:
        _print(console, f"No room here for {', '.join(left)}: table.csv has all.")
    return drawn


def _rich(columns: Sequence[_Shown], *, whole: bool = False) -> rich_table.Table:
    """For a terminal, with numbers at the right; if `whole`, no text breaks, but for headings."""
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for one in columns:
        table.add_column(
            Text("\n".join(map(plain, one.head))),
            justify="right" if one.column.numeric else "left",
            vertical="bottom" if whole else "top",
            overflow="fold",
            no_wrap=whole or one.column.numeric,
        )
    for row in range(len(columns[0].cells)):
        styles = [one.style if isinstance(one.style, str) else one.style[row] for one in columns]
        table.add_row(*(Text(plain(c.cells[row]), s) for c, s in zip(columns, styles, strict=True)))
    return table


# -------------------------------------------------------------------------------------------------
# An interval of a rate as a bar of text.

WIDTH = 10  # signs of a bar


def interval_bar(low: float, high: float, *, blocks: bool = True) -> str:
    """A bar from 0 to 100 %: full up to the lower end of an interval, shaded up to the upper.

    The full part is never longer than the lower end, by less than an eighth of a sign shorter, and
    the shade never shorter than the upper end. Without Unicode's `blocks` it is of `#` and `-`.
    """
    # What rounding adds to 0.3 * 10 is no sign of its own.
    shaded = math.ceil(round(high * WIDTH, 9))
    full, part = divmod(math.floor(round(low * WIDTH * 8, 9)), 8)
    if not blocks:
        return ("#" * full).ljust(shaded, "-").ljust(WIDTH)
    bar = "█" * full + " ▏▎▍▌▋▊▉"[part] * (part > 0)
    return bar.ljust(shaded, "░").ljust(WIDTH)


# -------------------------------------------------------------------------------------------------
# A run.

BAR_FROM = 70  # columns of a terminal that has room for bars

FILES = (
    *("report.html", "report.md", "table.csv", "table.tex", "seeds.parquet", "failures.txt"),
    CERTIFICATE,
)


def render_best(run: Run, console: Console) -> None:
    """Print the best ten configs; colours follow the console, which honours NO_COLOR.

    Raises:
        InputError: the run's blocks contradict each other.
    """
    report = report_of(run)
    if (origin := imported_from(run.manifest)) is not None:
        _print(console, origin.sentence)
    if report.best is None:
        _print(console, "No configuration has finished yet.")
    else:
        _print_configs(run, report, console)
    if run.certificate is not None:
        render_certificate(run, console)
    elif report.solved and report.again is not None:
        here = report.again.replace(" RUN ", f" {shlex.quote(plain(str(run.path)))} ")
        _print(console, f"  {here}", whole=True)
    if report.stopped is not None:
        done = count(report.proposals, "proposal")
        _print(console, f"Stopped early, after {done}: {report.stopped}; --resume continues it.")
    if (left := left_out(run.manifest)) is not None:
        sentence, command = left
        _print(console, sentence)
        _print(console, f"  {command}", whole=True)
    files = [run.path / name for name in FILES]
    _print(console, *(str(file) for file in files if file.exists()), whole=True)


def _print_configs(run: Run, report: Report, console: Console) -> None:
    given = config_table(run, report, FIRST)
    assert report.best is not None
    points = [result.point for result in report.top]
    varied = differing(report.top, report.varied)
    if same := config_text(report.best.point, report.fixed):
        _print(console, f"The same in all: {same}")
    if alike := config_text(points[0], [n for n in report.varied if n not in varied]):
        same = f"The same in these {len(points)}" if len(points) > 1 else "The configuration"
        _print(console, f"{same}: {alike}")
    measure = given.measure if run.is_network or report.looked_for else None
    styles = [NOTED.get(row.note, "") for row in given.rows]
    front = [
        _Shown(Column("", numeric=True), [str(place) for place, _ in enumerate(given.rows, 1)]),
        _Shown(Column("solved", numeric=True), [row.solved for row in given.rows], styles),
        _Shown(Column("95 % CI", numeric=True), [row.interval for row in given.rows]),
    ]
    if measure is not None:
        name = measure.removesuffix(" to solve")
        front.append(_Shown(Column(name, numeric=True), [row.measure for row in given.rows]))
    if report.score is not None:
        name = f"{shortened(report.score.name, LONGEST_CELL)} ({report.score.worst})"
        cells = ["{} ({})".format(*row.score_texts) for row in given.rows]
        front.append(_Shown(Column(name, numeric=True), cells))
    blocks = console.encoding.startswith("utf")
    digits = _key_digits(run.results.keys)
    bars = _print_rows(
        console,
        front,
        _parameters(points, varied),
        _keys([row.key for row in given.rows], digits),
        bar=_Shown(
            Column(""), [interval_bar(r.low, r.high, blocks=blocks) for r in given.rows], styles
        ),
        order=[effect.name for effect in report.effects],
    )
    if (found := front_table(run, report.varied)) is not None:
        _print(console, f"The Pareto front. {found.about}")
        if found.results:
            columns = zip(found.table.columns, _columns(found.table), strict=True)
            _print_rows(
                console,
                [_Shown(*one) for one in columns][2:],
                _parameters([r.point for r in found.results], found.names),
                _keys([r.key for r in found.results], digits),
            )
        if found.more:
            _print(console, f"... and {found.more:,} more: the column front of table.csv.")
    told = {"report": report, "bars": bars, "epochs": measure}
    _print(console, *lines_of("remarks.txt.jinja", **told))


NOTED = {"best subset": "green", "stopped early": "dim", "fewer seeds": "dim"}
"""Colours of counts, by `ConfigRow.note`."""


def _part(given: Table, names: Set[str]) -> Table:
    """The columns of a table with these names."""
    kept = [at for at, column in enumerate(given.columns) if column.name in names]
    rows = tuple(tuple(row[at] for at in kept) for row in given.rows)
    return Table(tuple(given.columns[at] for at in kept), rows)


def render_certificate(run: Run, console: Console) -> None:
    """Print the finalists of the last complete attempt on fresh seeds, and the other attempts."""
    certificate = run.certificate
    assert certificate is not None
    if finalists := certificate.finalists:
        varied = report_of(run).varied
        table = certified_table(certificate, run)
        points = [found.point for found in finalists]
        named = zip(table.columns, _columns(table), strict=True)
        shown = [(column, cells) for column, cells in named if column.numeric]
        worst = shown.pop()[1] if table.columns[-1].name == WORST else ()
        _print_rows(
            console,
            [_Shown(column, cells) for column, cells in shown],
            _parameters(points, differing(finalists, varied)),
            _keys([one.key for one in finalists], digits := _key_digits(run.results.keys)),
        )
        for found, text in zip(finalists, worst, strict=False):
            _print(console, f"{found.key[:digits]}, {WORST}: {text}")
        _print(console, str(certificate))
    _print(console, *certified_lines(certificate))
    if certificate.finalists:
        _print(console, "gap: how far the search's rate lay above that of fresh seeds.")


# -------------------------------------------------------------------------------------------------
# A comparison, and what `--json` says of it.


def render_comparison(comparison: AnyComparison, files: Sequence[Path], console: Console) -> None:
    """Print what was compared with what, the answer, and where the files are."""
    if isinstance(comparison, RunComparison):
        first, *others = runs_answer(comparison)
        _print(console, first)
        console.print(drawn(_narrower(contestants_table(comparison))))
        if len(others) > MOST_SENTENCES:  # their table instead, as much as there is room for
            shown = {"A", "B", "difference", "95 % interval", "p (Holm)", "ahead"}
            console.print(drawn(_part(pairs_table(comparison), shown)))
            others = []
        lines = [*others, *notes(comparison)]
    elif isinstance(comparison, Comparison):
        console.print(facts_table(compared(comparison)))
        lines = published_answer(comparison)
    else:
        rests = (
            f"{comparison.n:,} seeds of each from {comparison.first_seed}, at most "
            f"{comparison.max_seeds:,}; looked at after each, wrong with probability "
            f"{comparison.alpha:g} at most."
        )
        lines = [*comparison.lines, rests]
    _print(console, *lines)
    _print(console, *map(str, files), whole=True)


def _narrower(given: Table) -> Table:
    """The contestants at 80 columns: a number of theirs in one column, and no rate beside k/n."""
    names = [column.name for column in given.columns]
    at = next((place for place, name in enumerate(names) if name.endswith("_median")), None)
    if at is None:
        return given
    name, worst = names[at].removesuffix("_median"), names[at + 1].rpartition("_")[2]
    heads = {names.index("95 % interval"): "95 % CI", at: f"{name} ({worst})"}
    kept = [place for place in range(len(names)) if names[place] != "rate" and place != at + 1]
    return Table(
        tuple(replace(given.columns[p], name=heads.get(p, names[p])) for p in kept),
        tuple(
            tuple(f"{row[at]} ({row[at + 1]})" if p == at else row[p] for p in kept)
            for row in given.rows
        ),
    )


def comparison_json(comparison: AnyComparison, files: Sequence[Path]) -> dict[str, Any]:
    """The answer and what it rests on, with the names of comparison.csv.

    Of a sequential one `best` is the label of the one that is proven better.
    """
    if isinstance(comparison, Comparison):
        reference, summary = comparison.reference, comparison.summary
        found = {
            "run": str(comparison.run),
            "reference": str(reference.path),
            "columns": dict(reference.columns),
            "assumed": list(reference.assumptions),
            "not_used": list(reference.unused),
            "where": dict(comparison.where),
            "not_in_reference": dict(comparison.fixed),
            "only_reference": len(comparison.only_reference),
            "only_run": len(comparison.only_run),
            **asdict(summary),
            "share": summary.share,
            "differing": _records(comparison.differing),
            "groups": _records(comparison.groups),
        }
    elif isinstance(comparison, SequentialComparison):
        labels = {None: None} | dict(enumerate(comparison.labels))
        n, names = comparison.n, ("n", "max_seeds", "first_seed", "alpha")
        counted = zip(comparison.labels, comparison.points, comparison.k, strict=True)
        found = {
            "sequential": True,
            "best": labels[comparison.best],
            **{name: getattr(comparison, name) for name in names},
            "contestants": [
                {"label": label, "config": point.as_dict(), "k": k, "n": n}
                for label, point, k in counted
            ],
            "pairs": [
                asdict(pair) | {name: labels[getattr(pair, name)] for name in ("a", "b", "ahead")}
                for pair in comparison.pairs
            ],
        }
    else:
        contestants = zip(comparison.contestants, comparison.epochs.of, strict=True)
        found = {
            "answer": runs_answer(comparison),
            "alpha": comparison.alpha,
            "first_is_worse": comparison.first_is_worse,
            "contestants": [
                {
                    "label": one.label,
                    "key": one.key,
                    "config": None if one.point is None else one.point.as_dict(),
                    "k": one.outcome.successes,
                    "n": one.outcome.n,
                    "rate": one.outcome.rate,
                    **dict(zip(("low", "high"), one.outcome.interval(), strict=True)),
                    "seeds_from": one.origin,
                    "first_seed": int(one.outcome.seeds[0]),
                    "middle_epochs": middle and middle.middle,
                    "facts": dict(one.facts),
                    "notes": list(one.notes),
                }
                for one, middle in contestants
            ],
            "pairs": _records(comparison.table),
        }
    return found | {"files": [str(path) for path in files]}


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


# -------------------------------------------------------------------------------------------------
# What a plan, a space and the seeds of one configuration say.


def render_outcome(outcome: Outcome, console: Console) -> None:
    """How many seeds are solved, and what the others ended as."""
    low, high = outcome.interval()
    _print(console, *lines_of("outcome.txt.jinja", outcome=outcome, low=low, high=high))


def render_plan(planned: RatePlan | ComparisonPlan, speed: Speed, console: Console) -> None:
    """How many seeds a claim needs, and how long they take by what was measured."""
    each, point = speed.seconds_for_each, speed.config.point
    rows: list[tuple[str, ...]]
    if isinstance(planned, RatePlan):
        columns = numbers("failures", "seeds", "time here", "likely from", "gate, at best")
        rows = [
            (
                str(claim.failures),
                f"{claim.seeds:,}",
                duration(claim.seeds * each),
                f"{100 * claim.passes_from:.3f} %",
                f"{claim.gate_seeds:,}",
            )
            for claim in planned.claims
        ]
    else:
        columns = [*numbers("seeds for each", "time here"), *texts("which")]
        ways = (
            (planned.independent, "different seeds, Fisher's test (Boschloo's: at least as often)"),
            (planned.shared, "the same seeds, exact McNemar test; failures independent"),
            (planned.nested, "the same, if the better one solves all that the worse one does"),
        )
        rows = [(f"{seeds:,}", duration(2 * seeds * each), way) for seeds, way in ways]
    told = {"speed": speed, "each": duration(each), "config": config_text(point, point)}
    first, *others = lines_of("plan.txt.jinja", planned=planned, **told)
    _print(console, first)
    console.print(drawn(table_of(columns, rows)))
    _print(console, *others)


def space_facts(what: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of each line about a space, by what `spaces.space` says of it."""
    at_once = [rung for rung in what["ladder"][1:] if rung <= FIRST_SEEDS]
    lines = paragraphs_of("space.txt.jinja", **what, at_once=at_once)
    return [(label, text) for label, _, text in (line.partition(": ") for line in lines)]


def render_space(what: Mapping[str, Any], console: Console) -> None:
    """What a space holds and what searching it may cost."""
    console.print(facts_table(space_facts(what)))
