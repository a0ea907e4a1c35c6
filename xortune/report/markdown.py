"""report.md: draws the values of `tables.report_of`, and computes none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from xortune.outcome import Status
from xortune.report.certified import certified_lines, certified_rows, header, left_out
from xortune.report.format import config_text, count, interval, number, percent, plain, value
from xortune.report.front import FrontTable, front_table
from xortune.report.tables import Report, report_of
from xortune.run import ConfigResult, Run
from xortune.run_certificate import Certificate

__all__ = ["escaped", "markdown", "table"]

SHOWN_MEMBERS, SHOWN_REASONS = 20, 20


def markdown(run: Run) -> str:
    """The report of a run as Markdown, the same text for the same run directory.

    Raises:
        InputError: the run's blocks contradict each other.
    """
    report, certificate = report_of(run), run.certificate
    certified = [] if certificate is None else [_certified(certificate, report)]
    parts = [
        [f"# xortune: {escaped(report.title)}"],
        ["## The answer", *_answer(report), *_unfinished(report), *_left_out(run)],
        *certified,
        ["## What was asked", *_asked(report)],
        ["## The best ten", *_best(report)],
        *_front(front_table(run, report.varied)),
        ["## Not distinguishable from the best", *_tied(report)],
        ["## Which parameters matter", *_effects(report)],
        ["## How seeds failed", *_failures(report)],
        ["## Evaluations without an outcome", *_no_outcome(report)],
        ["## Do it again", *_reproduce(report)],
        ["## What the numbers mean, and how they mislead", *_meaning(report)],
    ]
    return "\n\n".join(block for part in parts for block in part) + "\n"


def escaped(text: str) -> str:
    """The text as it is, on one line, wherever Markdown or HTML would read something into it."""
    text = plain(text)
    for sign, entity in zip(
        "&<>|`*$", ["&amp;", "&lt;", "&gt;", "&#124;", "&#96;", "&#42;", "&#36;"], strict=True
    ):
        text = text.replace(sign, entity)
    text = re.sub(r"([\\\[\]~])", r"\\\1", text)
    # Inside a word an underscore means nothing: hidden_dim stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last `numbers` columns are aligned right; cells are escaped already."""
    left = len(header) - numbers
    rule = [":--" if index < left else "--:" for index in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(plain(line.rstrip("\r")) for line in text.rstrip("\r\n").split("\n"))
    return f"{fence}{language}\n{lines}\n{fence}"


def _named(result: ConfigResult, names: Sequence[str]) -> str:
    text = escaped(config_text(result.point, names)) or "the only setting"
    return f"{text} (`{result.key}`)"


def _solved(result: ConfigResult) -> str:
    outcome = result.outcome
    return (
        f"{outcome.successes} of {count(outcome.n, 'seed')}, {percent(outcome.rate)} "
        f"(95 % interval {interval(*outcome.interval())})"
    )


def _answer(report: Report) -> list[str]:
    best = report.best
    if best is None:
        return ["No configuration has finished yet, so there is no answer."]
    visited = count(report.configs, "configuration")
    if not report.solved:
        return [
            f"Nothing solved the task: {visited} trained, {count(report.seeds, 'seed')} in all, "
            "and not one of the seeds was solved. How they failed is below; a larger or another "
            "search space, or more epochs, is the next thing to try."
        ]
    lines = [
        f"The best of {visited} is **{_named(best, report.parameters)}**: it solved "
        f"{_solved(best)}."
        if report.configs > 1
        else f"The only configuration, **{_named(best, report.parameters)}**, solved "
        f"{_solved(best)}."
    ]
    others = len(report.tied.members) - 1
    if others > 0:
        lines.append(
            f"{count(others, 'other configuration')} cannot be told from the best of those that "
            f"got the full {count(report.tied.full, 'seed')}."
        )
    return lines


def _certified(certificate: Certificate, report: Report) -> list[str]:
    names = header(certificate)
    rows = [[escaped(cell) for cell in row] for row in certified_rows(certificate, report.varied)]
    return [
        "## The winners on seeds that the search never saw",
        "The search's own counts are those of winners, and so are partly luck. The gap is how far "
        "they lay above the rate on fresh seeds, in percentage points.",
        *([table(names, rows, numbers=len(names) - 1)] if rows else []),
        *(escaped(line) for line in certified_lines(certificate)),
        "Everything needed to check this is in `certificate.json`.",
    ]


def _unfinished(report: Report) -> list[str]:
    if report.complete:
        return []
    return ["The search was interrupted before its end; `--resume` continues it."]


def _left_out(run: Run) -> list[str]:
    left = left_out(run.manifest)
    if left is None:
        return []
    sentence, command = left
    return [f"**{escaped(sentence)}**", _fenced(command, "sh")]


def _asked(report: Report) -> list[str]:
    rows = [(label, escaped(text)) for label, text in report.asked]
    done = (
        f"{count(report.proposals, 'proposal')}, {count(report.configs, 'configuration')}, "
        f"{count(report.seeds, 'seed')}"
    )
    blocks = [table(("what", "value"), [*rows, ("done", done)])]
    if report.space is not None:
        blocks += ["The search space:", _fenced(report.space, "yaml")]
    return blocks


def _best(report: Report) -> list[str]:
    if not report.top:
        return ["Nothing to show yet."]
    rows = []
    for place, result in enumerate(report.top, 1):
        outcome = result.outcome
        epochs = outcome.epochs_to_solve
        rows.append(
            [
                str(place),
                *(_cell(result, name) for name in report.varied),
                f"`{result.key}`",
                f"{outcome.successes}/{outcome.n}",
                percent(outcome.rate),
                interval(*outcome.interval()),
                "–" if epochs is None else number(round(epochs)),
                str(result.trials),
            ]
        )
    header = ["", *(escaped(name) for name in report.varied), "key"]
    header += ["solved", "rate", "95 % interval", "epochs to solve", "trials"]
    blocks = [table(header, rows, numbers=5)]
    best = report.top[0]
    fixed = [name for name in report.parameters if name not in report.varied]
    if text := config_text(best.point, fixed):
        blocks.append(f"The same in all: {escaped(text)}.")
    blocks.append(
        "The order is the lower end of the interval, then the epochs to solve, then the key. All "
        "configurations are in `table.csv`, all seeds in `seeds.parquet`."
    )
    return blocks


def _cell(result: ConfigResult, name: str) -> str:
    return escaped(value(result.point[name])) if name in result.point else ""


def _front(front: FrontTable | None) -> list[list[str]]:
    if front is None:
        return []
    blocks = ["## The Pareto front", escaped(front.about)]
    if front.rows:
        *names, config, key = front.header
        rows = [
            [escaped(text), f"`{key}`", *map(escaped, cells)] for *cells, text, key in front.rows
        ]
        blocks.append(table([config, key, *map(escaped, names)], rows, numbers=len(names)))
    if front.more:
        blocks.append(f"... and {front.more:,} more: the column `front` of `table.csv`.")
    return [blocks]


def _tied(report: Report) -> list[str]:
    tied = report.tied
    if report.best is not None and not report.solved:
        return ["No seed was solved, so nothing can be told apart."]
    if tied.compared == 0:
        text = (
            "No configuration got the full "
            f"{count(tied.full, 'seed')}, so none is compared with the best."
            if report.configs
            else "Nothing to compare yet."
        )
        return [text]
    stopped = (
        f" {count(tied.stopped, 'configuration')} got fewer: stopped early, since another was shown"
        " to be better or enough others were as good; that is not tied."
        if tied.stopped
        else ""
    )
    if tied.compared == 1:
        return [
            f"Only one configuration got the full {count(tied.full, 'seed')}; there is nothing to "
            f"compare it with.{stopped}"
        ]
    found = (
        "The best of them beats each of the others"
        if len(tied.members) == 1
        else "The best of them, listed first, does not beat the others listed"
    )
    blocks = [
        f"{tied.compared:,} configurations got the full {count(tied.full, 'seed')}.{stopped} "
        f"{found} (one-sided exact McNemar test on shared seeds, 5 % spent over all comparisons). "
        "With a probability of at least 95 %, the list holds the truly best of them:"
    ]
    rows = [
        [_named(member, report.varied), f"{member.outcome.successes}/{member.outcome.n}"]
        for member in tied.members[:SHOWN_MEMBERS]
    ]
    blocks.append(table(("configuration", "solved"), rows, numbers=1))
    if len(tied.members) > SHOWN_MEMBERS:
        blocks.append(f"... and {len(tied.members) - SHOWN_MEMBERS:,} more.")
    return blocks


def _effects(report: Report) -> list[str]:
    if not report.effects:
        return ["No parameter differs between the configurations, so there is nothing to compare."]
    blocks = [
        "Mean success rate at each level, **among the configs visited**: every configuration "
        "counts once, and the interval (95 %, bootstrap over configurations) says how far chance "
        "among them reaches. A search visits good regions more often, so this is no fair survey "
        "of the space. Below 5 configurations there is no interval."
    ]
    for effect in report.effects:
        share = "" if effect.importance is None else f" (importance {percent(effect.importance)})"
        rows = [
            [
                escaped(level.label),
                f"{level.configs:,}",
                percent(level.rate),
                "–" if level.interval is None else interval(*level.interval),
            ]
            for level in effect.levels
        ]
        blocks += [
            f"### {escaped(effect.name)}{share}",
            table(("level", "configs", "mean rate", "95 % interval"), rows, numbers=3),
        ]
    return blocks


def _failures(report: Report) -> list[str]:
    total = sum(report.failures.counts.values())
    if not total:
        return ["No seed has been trained yet."]
    rows = [
        [status.label.replace("_", " "), f"{found:,}", percent(found / total)]
        for status, found in report.failures.counts.items()
    ]
    blocks = [
        f"Over all {count(total, 'seed')} of all configurations:",
        table(("ended as", "seeds", "share"), rows, numbers=2),
    ]
    if report.failures.counts[Status.SOLVED] != total and report.failures.patterns:
        shown = [
            [f"`{_short(pattern)}`", f"{found:,}"] for pattern, found in report.failures.patterns
        ]
        blocks += [
            "The most frequent wrong patterns (one digit for each judged row, in their order):",
            table(("pattern", "seeds"), shown, numbers=1),
        ]
    return blocks


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 32 else f"{pattern[:29]}..."


def _no_outcome(report: Report) -> list[str]:
    if not report.no_outcome:
        return ["Every block of seeds that was tried has an outcome."]
    rows = [
        [
            escaped(row.reason if len(row.reason) <= 300 else row.reason[:297] + "..."),
            str(row.given_up),
            str(row.retried),
            f"`{row.example.block.point.key}`, {count(row.example.block.count, 'seed')} from "
            f"{row.example.block.first}",
        ]
        for row in report.no_outcome[:SHOWN_REASONS]
    ]
    blocks = [
        "The seeds of a block that was given up count as crashed, and so as not solved.",
        table(("reason", "given up", "tried again", "for example"), rows),
    ]
    if len(report.no_outcome) > SHOWN_REASONS:
        blocks.append(f"... and {len(report.no_outcome) - SHOWN_REASONS:,} other reasons.")
    return blocks


def _reproduce(report: Report) -> list[str]:
    blocks = []
    if report.reproduce:
        rows = [(label, escaped(text)) for label, text in report.reproduce]
        blocks.append(table(("what", "value"), rows))
    if report.script is not None:
        blocks += [
            "One seed of the best configuration in plain PyTorch; it prints the prediction for "
            "each row:",
            _fenced(report.script, "python"),
        ]
    elif report.best is not None:
        blocks.append(
            "There is no plain PyTorch script here: one is written for the built-in network on a "
            "task that its name defines and that has at most 32 rows."
        )
    return blocks or ["The manifest of this run does not say how it was started."]


def _meaning(report: Report) -> list[str]:
    return [
        "- **solved** k/n: of n seeds, k ended with every judged row on the right side of 0.5. A "
        "seed that diverged or crashed counts as not solved; nothing is averaged away.\n"
        "- **95 % interval** (Wilson): where the true success rate lies, for a configuration "
        "chosen *before* looking. 8 of 8 seeds is 67.5 % or more, not 100 %.\n"
        "- **The winner's count is optimistic.** It won partly by luck: with 200 configurations "
        "that are all truly 90 %, the best count of 100 seeds shows about 97 %. Believe only "
        "seeds that the search never saw, as in the command below.\n"
        "- **epochs to solve** is what one success costs: the epochs spent by all seeds, failures "
        "at the full budget, over the successes. It never outweighs a seed.\n"
        "- **trials** counts the complete proposals of the configuration.\n"
        "- **Not distinguishable** does not mean equal: with more seeds the list gets shorter.\n"
        "- **Which parameters matter** describes the configurations visited, not the space.",
        *(
            ["The best configuration on fresh seeds:", _fenced(report.again, "sh")]
            if report.again and report.solved
            else []
        ),
    ]
