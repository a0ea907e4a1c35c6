"""The report's account of why the posts disagreed, and of the sweep."""

from __future__ import annotations

from xortune.report.format import config_text, interval, number, percent
from xortune.report.markdown_document import escaped, table
from xortune.thread.claims import AS_POSTED
from xortune.thread.settle import Settled
from xortune.thread.sweep import EPOCHS
from xortune.thread.wording import at_least, figure, of_seeds, probability, share, times, variants

__all__ = ["disagreements", "sweep_section"]


def disagreements(settled: Settled, shown: dict[str, str]) -> list[str]:
    """One section for each thing that the posts did not mention."""
    return [
        *_headed("### Gradients that were never cleared", _accumulating(settled)),
        *_headed("### Judging by int(output)", _truncating(settled)),
        *_headed("### The option that was ignored", _ignored(settled)),
        *_headed("### The learning rate", _learning_rate(settled, shown)),
        *_headed("### Hidden units", _hidden_units(settled, shown)),
        *_headed("### The NumPy version", _numpy(settled)),
    ]


def _headed(heading: str, blocks: list[str]) -> list[str]:
    return [heading, *blocks] if blocks else []


def _accumulating(settled: Settled) -> list[str]:
    rows = []
    for row in settled.claims.rows:
        found = variants(settled, row)
        posted, cleared = found[AS_POSTED], found.get("zero_grad")
        if cleared is not None and posted.variant.judge == "half":
            rows.append((row.id, escaped(row.system), share(posted), share(cleared)))
    blocks = []
    same = next((r for r in settled.rows if r.row.id == "T11"), None)
    if same is not None:
        blocks.append(
            "A script that never calls `zero_grad()` takes each step with the sum of all gradients "
            f"so far. That is SGD with momentum 1: in {same.k:,} of {same.n:,} seeds all weights "
            "are the same, to the last bit, after every step (T11)."
        )
    if rows:
        head = ("claim", "system", "as posted", "gradients cleared")
        blocks += ["What it did to the posts' networks:", table(head, rows, numbers=2)]
    return blocks


def _truncating(settled: Settled) -> list[str]:
    rows = []
    for row in settled.claims.rows:
        found = variants(settled, row)
        for variant in row.variants:
            other = {"as_posted": "half"}.get(variant.name, f"{variant.name}_half")
            if variant.judge == "truncating" and other in found:
                name = escaped(variant.changes or row.system)
                rows.append((row.id, name, share(found[variant.name]), share(found[other])))
    if not rows:
        return []
    head = ("claim", "system", "int(output)", "output > 0.5")
    return [
        "`int(output)` cuts everything after the decimal point off: 0.999 becomes 0, and only an "
        "output that float32 has rounded to exactly 1.0 counts as a 1. The same networks, judged "
        "in both ways:",
        table(head, rows, numbers=2),
    ]


def _ignored(settled: Settled) -> list[str]:
    if not settled.explanations:
        return []
    rows = []
    for one in settled.explanations:
        found = variants(settled, one.row)
        first, second = (found[name] for name in one.names)
        rows.append(
            (
                one.row.id,
                one.row.quoted.shown,
                f"{percent(first.rate)} (p {probability(first.p)})",
                f"{percent(second.rate)} (p {probability(second.p)})",
                times(one.ratio),
            )
        )
    head = ("claim", "quoted", "with 0.03", "with 0.001", "likelier with 0.03")
    joint = 1.0
    for one in settled.explanations:
        joint *= one.ratio
    blocks = [
        "The script of posts 13 and 14 reads `--learning_rate` and then sets "
        "`learning_rate = 0.03`. So the counts that name 0.001 should come from 0.03. Do they? "
        "The last column says how many times likelier the quoted count is after what 0.03 gave "
        "than after what 0.001 gave (beta-binomial).",
        table(head, rows, numbers=4),
        f"All together: {times(joint)} times likelier with 0.03."
        if joint > 1
        else f"All together: {times(1 / joint)} times likelier with 0.001.",
    ]
    blocks += [
        f"{one.row.id} also quotes {one.row.quoted.all_zero} of {one.row.quoted.n} with four "
        f"zeros, which is {times(one.all_zero[0] / one.all_zero[1])} times likelier with 0.03."
        for one in settled.explanations
        if one.all_zero is not None
    ]
    return blocks


def _learning_rate(settled: Settled, shown: dict[str, str]) -> list[str]:
    blocks = []
    for curve, lines, test in settled.curves:
        if curve.name != "lr":
            continue
        if test is not None:
            blocks.append(
                f'"{escaped(curve.claim)}" ({curve.place}) is {test.verdict} with what is '
                "measured: "
                f"{test.k_beside:,} of {test.n:,} seeds at {number(curve.beside or 0.0)}, "
                f"{test.k_best:,} at {number(test.best)} (McNemar's p, Holm over the curve: "
                f"{probability(test.p_holm)})."
            )
        for one in lines:
            enough = [v for v, k in zip(curve.points, one.k, strict=True) if k >= 0.95 * one.n]
            if enough:
                blocks.append(
                    f"{escaped(one.line.name.capitalize())}: 95 % of the seeds or more from "
                    f"{number(min(enough))} to {number(max(enough))}."
                )
    return [*blocks, *figure(shown, "thread_lr")]


def _hidden_units(settled: Settled, shown: dict[str, str]) -> list[str]:
    blocks = []
    for curve, lines, _ in settled.curves:
        if curve.name == "hidden_dim":
            rates = {v: k / lines[0].n for v, k in zip(curve.points, lines[0].k, strict=True)}
            at = [v for v in (2, 5, 9, 10, 15, 20) if v in rates]
            listed = ", ".join(f"{percent(rates[v])} with {v}" for v in at)
            blocks.append(f"The network of {curve.place}: {listed}.")
    return [*blocks, *figure(shown, "thread_hidden_dim")]


def _numpy(settled: Settled) -> list[str]:
    rows = [
        (escaped(row.variant.changes or "by hand, as assumed"), share(row))
        for row in settled.rows
        if row.row.id == "T13"
    ]
    if not rows:
        return []
    because = next(row.row.because for row in settled.rows if row.row.id == "T13")
    return [escaped(because), table(("variant", "solved"), rows, numbers=1)]


def sweep_section(settled: Settled, shown: dict[str, str]) -> list[str]:
    """The cells by what they are made of, and the best once more."""
    sweep = settled.sweep
    if sweep is None:
        return []
    cells = len(sweep.cells)
    epochs = "" if sweep.epochs == EPOCHS else f" (the thread's script has {EPOCHS:,})"
    blocks = [
        f"{cells:,} cells, {sweep.n} seeds each, {sweep.epochs:,} epochs{epochs}: "
        f"{sweep.solved:,} ({percent(sweep.solved / cells)}) solved every seed, "
        f"{sweep.unsolved:,} ({percent(sweep.unsolved / cells)}) none.",
        *figure(shown, "thread_sweep"),
    ]
    for effect in sweep.effects:
        rows = [
            (
                escaped(level.label),
                f"{level.configs}",
                percent(level.rate),
                "" if level.interval is None else interval(*level.interval),
            )
            for level in sorted(effect.levels, key=lambda level: (-level.rate, level.label))
        ]
        blocks.append(table((effect.name, "cells", "mean rate", "95 % interval"), rows, numbers=3))
    if not settled.best:
        return blocks
    blocks.append(
        f"A cell that solved {sweep.n} of {sweep.n} was also lucky. So the first "
        f"{len(settled.best)} (fewest epochs to solve among equals) were trained once more, under "
        f"{len(settled.seeds):,} seeds that the sweep did not have. The bounds are Clopper and "
        "Pearson's, and hold together with 95 % confidence:"
    )
    best = [
        (
            escaped(config_text(cell.config.point, ("activation", "loss", "optimizer"))),
            f"{cell.search_k}/{cell.search_n}",
            of_seeds(cell),
            at_least(cell),
            number(round(cell.outcome.epochs_to_solve or 0.0, 1)),
        )
        for cell in settled.best
    ]
    head = ("cell", "sweep", "fresh seeds", "at least", "epochs to solve")
    blocks.append(table(head, best, numbers=4))
    return blocks
