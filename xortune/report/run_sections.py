"""The other sections of a run's report: parameters, failures, what was asked, doing it again."""

from __future__ import annotations

from xortune.outcome import Status
from xortune.report.document import (
    Block,
    Code,
    Column,
    Inline,
    Mono,
    Strong,
    Subheading,
    Table,
    said,
    table_of,
)
from xortune.report.format import count, interval, measured, percent, plain
from xortune.report.levels import ParameterEffect
from xortune.report.printed import PRINTED
from xortune.report.tables import Report

__all__ = ["asked", "failures", "no_outcome", "parameters", "reproduce"]

SHOWN_REASONS = 20

WHAT = (Column("what"), Column("value"))


def asked(report: Report) -> list[Block]:
    """What was asked and done, and the space file."""
    done = (
        f"{count(report.proposals, 'proposal')}, {count(report.configs, 'configuration')}, "
        f"{count(report.seeds, 'seed')}"
    )
    blocks: list[Block] = [table_of(WHAT, [*report.asked, ("done", done)])]
    if report.space is not None:
        blocks += [said("The search space:"), Code(report.space, "yaml")]
    return blocks


def parameters(report: Report) -> list[Block]:
    """Mean rates per level of each parameter that differs."""
    if not report.effects:
        return [
            said("No parameter differs between the configurations, so there is nothing to compare.")
        ]
    blocks: list[Block] = [
        said(
            "Mean success rate at each level, ",
            Strong("among the configs visited"),
            ": every configuration counts once, and the interval (95 %, bootstrap over "
            "configurations) says how far chance among them reaches. A search visits good regions "
            "more often, so this is no fair survey of the space. Below 5 configurations, and where "
            "all have the same rate, there is no interval.",
        )
    ]
    if report.too_few_for_importance is not None:
        configs, better, needed = report.too_few_for_importance
        blocks.append(
            said(
                "How important each parameter is cannot be said: that compares the better tenth of "
                f"the configurations with all of them, and takes {2 * needed} with {needed} in the "
                f"better tenth. Here are {configs:,} with {better:,}."
            )
        )
    for effect in report.effects:
        share = "" if effect.importance is None else f" (importance {percent(effect.importance)})"
        blocks += [Subheading(f"{effect.name}{share}"), _levels(effect)]
        if effect.left_out:
            blocks.append(
                said(
                    f"... and {count(effect.left_out, 'other value')}, each in as few "
                    "configurations as the rarest of these or in fewer."
                )
            )
    return blocks


CONSTANT = (Status.ALL_ZERO, Status.ALL_ONE)
"""Patterns of their own: where nothing has a pattern, nobody asks for them."""


def failures(report: Report) -> list[Block]:
    """How the seeds of all configs ended."""
    total = sum(report.failures.counts.values())
    if not total:
        return [said("No seed has been trained yet.")]
    columns = [
        Column("ended as"),
        Column("seeds", numeric=True),
        Column("share", numeric=True),
    ]
    rows = [
        (_ended(status, report), f"{found:,}", percent(found / total))
        for status, found in report.failures.counts.items()
        if found or status not in CONSTANT or report.failures.patterns
    ]
    blocks: list[Block] = [
        said(f"Over all {count(total, 'seed')} of all configurations:"),
        table_of(columns, rows),
    ]
    if report.failures.counts[Status.SOLVED] != total and report.failures.patterns:
        columns = [Column("pattern"), Column("seeds", numeric=True)]
        shown: list[tuple[Inline, ...]] = [
            (Mono(_short(pattern)), f"{found:,}") for pattern, found in report.failures.patterns
        ]
        blocks += [
            said(
                "The most frequent wrong patterns (one digit for each judged row, in their order):"
            ),
            table_of(columns, shown),
        ]
    return [*blocks, *_reasons(report)]


def _ended(status: Status, report: Report) -> str:
    """A status in words; where nothing has a pattern, none can be wrong."""
    other = status == Status.WRONG_PATTERN and not report.failures.patterns
    return "no success" if other else status.label.replace("_", " ")


def _reasons(report: Report) -> list[Block]:
    """Why seeds failed, in the words of what trained them."""
    found = report.failures.reasons
    if not found:
        return []
    columns = [
        Column("reason"),
        Column("seeds", numeric=True),
        Column("for example"),
        Column("seed", numeric=True),
    ]
    rows: list[tuple[Inline, ...]] = [
        (plain(reason), f"{often:,}", Mono(key), str(seed))
        for reason, often, key, seed in found[:SHOWN_REASONS]
    ]
    blocks: list[Block] = [said("Why they crashed or diverged:"), table_of(columns, rows)]
    if len(found) > SHOWN_REASONS:
        blocks.append(said(f"... and {len(found) - SHOWN_REASONS:,} other reasons."))
    if report.failures.printed:
        blocks.append(said("The end of what they printed is in ", Mono(PRINTED), "."))
    return blocks


def no_outcome(report: Report) -> list[Block]:
    """Evaluations that came to nothing, by their reason."""
    if not report.no_outcome:
        return [said("Every block of seeds that was tried has an outcome.")]
    columns = [
        Column("reason"),
        Column("given up", numeric=True),
        Column("tried again", numeric=True),
        Column("for example"),
        Column("seeds"),
    ]
    rows: list[tuple[Inline, ...]] = [
        (
            row.reason if len(row.reason) <= 300 else row.reason[:297] + "...",
            str(row.given_up),
            str(row.retried),
            Mono(row.example.block.point.key),
            f"{count(row.example.block.count, 'seed')} from {row.example.block.first}",
        )
        for row in report.no_outcome[:SHOWN_REASONS]
    ]
    blocks: list[Block] = [
        said("The seeds of a block that was given up count as crashed, and so as not solved."),
        table_of(columns, rows),
    ]
    if len(report.no_outcome) > SHOWN_REASONS:
        blocks.append(said(f"... and {len(report.no_outcome) - SHOWN_REASONS:,} other reasons."))
    return blocks


def reproduce(report: Report) -> list[Block]:
    """The command, the versions, the best config as a script and on fresh seeds."""
    blocks: list[Block] = []
    if report.reproduce:
        blocks.append(table_of(WHAT, report.reproduce))
    if report.again and report.solved:
        blocks += [said("The best configuration on fresh seeds:"), Code(report.again, "sh")]
    if report.script is not None:
        blocks += [
            said(
                "One seed of the best configuration in plain PyTorch; it prints the prediction for "
                "each row:"
            ),
            Code(report.script, "python"),
        ]
    elif report.run_as is not None:
        blocks += [said("One seed of the best configuration:"), Code(report.run_as, "sh")]
    elif report.best is not None:
        blocks.append(
            said(
                "There is no plain PyTorch script here: one is written for the built-in network on "
                "a task that its name defines and that has at most 32 rows."
            )
        )
    return blocks or [said("The manifest of this run does not say how it was started.")]


def _levels(effect: ParameterEffect) -> Table:
    columns = [
        Column("level"),
        *(Column(name, numeric=True) for name in ("configs", "mean rate", "95 % interval")),
    ]
    rows = [
        (
            level.label,
            f"{level.configs:,}",
            measured(level.rate, *(level.interval or (0.0, 1.0))),
            "–" if level.interval is None else interval(*level.interval),
        )
        for level in effect.levels
    ]
    return table_of(columns, rows)


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 32 else f"{pattern[:29]}..."
