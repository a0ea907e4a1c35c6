"""The answer of a run in its report: which config, how sure, and what fresh seeds say of it."""

from __future__ import annotations

from xortune.imported import imported_from
from xortune.report.certified import certified_lines, certified_rows, header, left_out, lower
from xortune.report.document import Block, Code, Column, Inline, Mono, Strong, said, table_of
from xortune.report.format import count, interval, measured, number, plain
from xortune.report.numbers import looked_for
from xortune.report.run_configs import named
from xortune.report.tables import Report
from xortune.run import ConfigResult, Run
from xortune.run_certificate import Certificate

__all__ = ["answer", "certificate"]


def answer(run: Run, report: Report) -> list[Block]:
    """The best config with its counts, what is certified, and who cannot be told from it."""
    origin = imported_from(run.manifest)
    told = [] if origin is None else [said(plain(origin.sentence))]
    return [*told, *_found(run, report), *_unfinished(report), *_left_out(run)]


def certificate(given: Certificate, report: Report) -> list[Block]:
    """The finalists on seeds that the search never saw."""
    names = header(given)
    columns = [Column(names[0]), *(Column(name, numeric=True) for name in names[1:])]
    rows = certified_rows(given, report.varied)
    return [
        said(
            "The search's own counts are those of winners, and so are partly luck. The gap is how "
            "far they lay above the rate on fresh seeds, in percentage points."
        ),
        *([table_of(columns, rows)] if rows else []),
        *(said(line) for line in certified_lines(given)),
        said("Everything needed to check this is in ", Mono("certificate.json"), "."),
    ]


def _found(run: Run, report: Report) -> list[Block]:
    best = report.best
    if best is None:
        return [said("No configuration has finished yet, so there is no answer.")]
    visited = count(report.configs, "configuration")
    if not report.solved:
        return [
            said(
                f"Nothing solved the task: {visited} trained, {count(report.seeds, 'seed')} in "
                "all, and not one of the seeds was solved. How they failed is below; a larger or "
                f"another search space{', or more epochs,' if run.is_network else ''} is the next "
                "thing to try."
            ),
            *looked_for(report),
        ]
    name: list[Inline] = [Strong(named(best.point, report.varied)), " (", Mono(best.key), ")"]
    told = (
        said(f"The best of {visited} is ", *name, f": it solved {_solved(best)}.")
        if report.configs > 1
        else said("The only configuration, ", *name, f", solved {_solved(best)}.")
    )
    blocks: list[Block] = [told, *looked_for(report)]
    blocks += _fresh(run.certificate, best, report)
    others = len(report.tied.members) - 1
    if others > 0 and report.looked_for is None:
        verb = "cannot be told from the best of those that"
        blocks.append(
            said(
                f"{count(others, 'other configuration')} {verb} got the full "
                f"{count(report.tied.full, 'seed')}."
            )
        )
    return blocks


def _fresh(given: Certificate | None, best: ConfigResult, report: Report) -> list[Block]:
    """What the last complete attempt says: of the best, and of whoever leads on fresh seeds."""
    finalists = () if given is None else given.finalists
    if given is None or not finalists:
        luck = "That is a winner's count, and so partly luck: " if report.configs > 1 else ""
        what = "it has not been tried on seeds that the search never saw."
        return [said(luck + what if luck else what.capitalize())]
    level = f"{number(100 * given.confidence)} % confidence"
    blocks: list[Block] = []
    for found in finalists:
        if found.key == best.key:
            blocks += [
                said(
                    f"On {count(found.n, 'seed')} that the search never saw it solved {found.k:,}: "
                    f"with {level}, it solves ",
                    Strong(f"at least {lower(found)}"),
                    " of all seeds.",
                )
            ]
    first = finalists[0]
    if first.key != best.key:
        blocks.append(
            said(
                f"Of {count(len(finalists), 'finalist')} on fresh seeds, the first is ",
                Strong(named(first.point, report.varied)),
                " (",
                Mono(first.key),
                f"): {first.k:,} of {count(first.n, 'seed')}, ",
                f"with {level} at least {lower(first)}.",
            )
        )
    return blocks


def _solved(result: ConfigResult) -> str:
    outcome = result.outcome
    low, high = outcome.interval()
    return (
        f"{outcome.successes:,} of {count(outcome.n, 'seed')}, {measured(outcome.rate, low, high)} "
        f"(95 % interval {interval(low, high)})"
    )


def _unfinished(report: Report) -> list[Block]:
    if report.complete:
        return []
    return [
        said(
            "The search ended before its end"
            + (f" ({plain(report.stopped)}); " if report.stopped else ": it was interrupted; "),
            Mono("--resume"),
            " continues it.",
        )
    ]


def _left_out(run: Run) -> list[Block]:
    left = left_out(run.manifest)
    if left is None:
        return []
    sentence, command = left
    return [said(Strong(sentence)), Code(command, "sh")]
