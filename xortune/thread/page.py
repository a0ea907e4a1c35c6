"""thread.md: the answer first, then every claim, then why the posts disagreed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from xortune.config import Config
from xortune.report.format import config_text, interval, number, percent
from xortune.report.markdown_document import escaped, table
from xortune.report.plot import Plot
from xortune.report.script import evaluate_command
from xortune.thread.claims import AS_POSTED, Variant
from xortune.thread.reasons import disagreements, sweep_section
from xortune.thread.settle import FRESH, Settled
from xortune.thread.sweep import Certified
from xortune.thread.verdict import ALPHA, Verdict
from xortune.thread.wording import at_least, figure, named, of_seeds, probability, variants

__all__ = ["answer", "page"]


def page(settled: Settled, figures: Sequence[Plot]) -> str:
    """The whole report.

    Args:
        settled: what was measured.
        figures: the report's; each is shown where its subject is.
    """
    shown = {
        figure.name: f"![{escaped(figure.alt)}]({figure.name}.svg)\n\n*{escaped(figure.note)}*"
        for figure in figures
    }
    parts: list[list[str]] = [
        ["# Learning XOR: the thread, settled", *answer(settled)],
        ["## Every claim", *_overview(settled, shown)],
        ["## Which is better", *_comparisons(settled)],
        ["## Why the posts disagreed", *disagreements(settled, shown)],
        ["## The sweep", *sweep_section(settled, shown)],
        ["## Claim by claim", *_claims(settled)],
        ["## How this was measured, and how to check it", *_method(settled)],
    ]
    return "\n\n".join(block for part in parts if len(part) > 1 for block in part) + "\n"


def answer(settled: Settled) -> list[str]:
    """What somebody who reads the thread today should do, in a paragraph or two."""
    blocks = []
    if settled.best and settled.best[0].outcome.successes:
        best = settled.best[0]
        config = best.config
        blocks.append(
            f"**What to do.** Put {config.activation} between the two layers of a network with "
            f"{config.hidden_dim} hidden units, clear the gradients before each step, train with "
            f"{config.loss} and {config.optimizer} at a learning rate of {number(config.lr)}, and "
            f"take an output above 0.5 for a 1. That solved XOR under {of_seeds(best)} seeds that "
            f"had no part in choosing it, so at least {at_least(best)} of all seeds do "
            f"(95 % confidence for the {len(settled.best)} best settings together). Half of "
            f"them needed fewer than {_half(best) + 1} epochs, the slowest {best.slowest}; the "
            "posts trained for 1,000 to 10,000."
        )
        blocks.append(
            "```sh\n"
            + evaluate_command(config, "xor", first=FRESH, seeds=len(settled.seeds))
            + "\n```"
        )
    told = _verdicts(settled)
    if told:
        blocks.append(f"**What the thread was worth.** {told}")
    return blocks


def _verdicts(settled: Settled) -> str:
    posted = [row for row in settled.rows if row.variant.name == AS_POSTED]
    counted = [row for row in posted if row.row.quoted.counted]
    sentences = []
    if counted:
        agree = [row for row in counted if row.verdict == Verdict.CONSISTENT]
        sentences.append(
            f"Of {len(counted)} quoted counts, {len(agree)} agree with what their scripts do under "
            f"{counted[0].n:,} seeds."
        )
    for verdict, text in (
        (Verdict.INCONSISTENT, "Refuted"),
        (Verdict.UNDECIDED, "Not decided"),
        (Verdict.NOT_TESTABLE, "Not testable"),
    ):
        ids = [row.row.id for row in posted if row.verdict == verdict]
        ids += [
            curve.place for curve, _, test in settled.curves if test and test.verdict == verdict
        ]
        if ids:
            sentences.append(f"{text}: {', '.join(ids)}.")
    if len(counted) > 1:
        low, high = min(counted, key=lambda r: r.rate), max(counted, key=lambda r: r.rate)
        sentences.append(
            f"What the posts disagreed about were different systems, from {percent(low.rate)} "
            f"({low.row.id}) to {percent(high.rate)} ({high.row.id}) of seeds, that differed in "
            "things the posts did not mention: whether gradients were cleared, how an output was "
            "judged, which learning rate the script really used."
        )
    return " ".join(sentences)


def _overview(settled: Settled, shown: dict[str, str]) -> list[str]:
    rows = [
        (
            row.row.id,
            escaped(row.row.system),
            escaped(row.row.quoted.shown),
            f"{row.k:,}/{row.n:,}",
            interval(row.low, row.high),
            str(row.verdict),
        )
        for row in settled.rows
        if row.variant.name == AS_POSTED
    ]
    head = ("claim", "system", "quoted", "measured", "95 % interval", "verdict")
    return [
        "Each system is what the posted script really did. Other ways of reading it are further "
        "down, all figures in [thread.csv](thread.csv).",
        table(head, rows),
        *figure(shown, "thread_claims"),
    ]


def _comparisons(settled: Settled) -> list[str]:
    rows = [
        (
            one.place,
            escaped(one.claim),
            f"{named(one.more)} {one.k_more:,}, {named(one.than)} {one.k_than:,}",
            f"{one.only_more:,} / {one.only_than:,}",
            probability(one.p_holm),
            str(one.verdict),
        )
        for one in settled.comparisons
    ]
    if not rows:
        return []
    head = ("claim", "words", "solved", "only the first / second", "p (Holm)", "verdict")
    return [
        f"Both of a pair had the same {settled.comparisons[0].n:,} seeds: McNemar's exact test.",
        table(head, rows),
    ]


def _claims(settled: Settled) -> list[str]:
    blocks = []
    for row in settled.claims.rows:
        found = variants(settled, row)
        blocks.append(f"### {row.id}: {escaped(row.system)}")
        blocks.append(f"> {escaped(row.words)}\n>\n> {escaped(row.place)}")
        blocks.append(
            f"**{str(found[AS_POSTED].verdict).capitalize()}.** {escaped(found[AS_POSTED].why)}"
        )
        rows = [
            (
                variant.name.replace("_", " "),
                escaped(variant.changes or "as posted"),
                escaped(_exact(variant)),
                f"{one.k:,}/{one.n:,}",
                interval(one.low, one.high),
                "" if one.p is None else probability(one.p),
                str(one.verdict),
            )
            for variant in row.variants
            for one in (found[variant.name],)
        ]
        head = (
            "variant",
            "what is different",
            "exactly",
            "measured",
            "95 % interval",
            "p",
            "verdict",
        )
        blocks.append(table(head, rows))
    return blocks


def _method(settled: Settled) -> list[str]:
    seeds = settled.seeds
    return [
        f"- Seeds {seeds.start:,} to {seeds.stop - 1:,} for every row and curve; the best cells "
        f"have seeds from {FRESH:,}. Seed s is `torch.manual_seed(s)` and torch's own "
        "initialisation, so each count can be checked with plain PyTorch; the exact configs are "
        "in [thread.csv](thread.csv).\n"
        "- Quoted and measured counts: Fisher's exact test, two-sided; Holm over the rows as "
        "posted, and over the other variants as a second family. A claim of *every* or *no* seed "
        "is refuted by one exception. "
        f"The level is {number(100 * ALPHA)} %.\n"
        "- That a count is consistent does not make it sharp: 100 seeds tell 80 % from 90 %, and "
        "not 97 % from 100 %.\n"
        "- Pairs: McNemar's exact test on shared seeds, Holm over all pairs "
        "([thread_comparisons.csv](thread_comparisons.csv)). Intervals of counts: Wilson's. Bands "
        "of curves hold for the whole line (Wilson at a level divided by the number of points; "
        "[thread_curves.csv](thread_curves.csv)).\n"
        "- All rows share their seeds, so that their counts rise and fall together: two intervals "
        "that overlap may still be told apart, pair by pair, and rows are no independent evidence. "
        "Each interval is for one row, chosen before looking, and in 5 of 100 such the true rate "
        "lies outside. The sweep's best were chosen by their counts there (the winner's curse): "
        "what is claimed of them rests on the other seeds.\n"
        "- Which of two rates a count comes from: beta-binomial likelihood after the measured "
        "counts, Jeffreys' prior.\n"
        f"- Made by `xortune thread` with torch {version('torch')}, numba {version('numba')} and "
        f"matplotlib {version('matplotlib')}."
    ]


def _exact(variant: Variant) -> str:
    """All settings, in a line."""
    if variant.numpy is not None:
        return ", ".join(f"{name} {number(v)}" for name, v in variant.numpy.model_dump().items())
    if variant.config is None:
        return ""
    point = Config.from_point(variant.config).point
    text = config_text(point, point)
    if variant.judge == "truncating":
        text += ", int(output)"
    if variant.stop_loss is not None:
        text += f", stop below {number(variant.stop_loss)}"
    if variant.same_weights_as is not None:
        other = Config.from_point(variant.same_weights_as).point
        text += f"; beside {config_text(other, other)}"
    return text


def _half(cell: Certified) -> int:
    """The epoch by which half of the solved seeds were solved for good."""
    solved = sorted(cell.outcome.solved_epoch[cell.outcome.solved].tolist())
    return int(solved[len(solved) // 2])
