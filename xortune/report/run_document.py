"""The report of a run as a document: the answer first, then what it rests on, the words last."""

from __future__ import annotations

from collections.abc import Iterable

from xortune.report.document import Block, Document, Figure, Section
from xortune.report.format import count
from xortune.report.front import front_table
from xortune.report.plot import Plot
from xortune.report.run_answer import answer, certificate
from xortune.report.run_configs import configs, front, tied
from xortune.report.run_sections import asked, failures, no_outcome, parameters, reproduce
from xortune.report.tables import Report, report_of
from xortune.report.words import (
    CERTIFIED,
    EPOCHS,
    FAILURES,
    FRONT,
    IMPORTANCE,
    INTERVAL,
    LOOKS,
    PARAMETERS,
    SHARED_SEEDS,
    SOLVED,
    TIED,
    TRIALS,
    WINNER,
    Word,
    words,
)
from xortune.run import Run

__all__ = ["run_document"]


def run_document(run: Run) -> Document:
    """All that the report of a run says, the same for the same run directory.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate or objectives are
            damaged.
    """
    report, certified = report_of(run), run.certificate
    on_front = front_table(run, report.varied)
    sections = [_section("answer", "The answer", answer(run, report))]
    if certified is not None:
        heading = "The winners on seeds that the search never saw"
        sections.append(_section("certificate", heading, certificate(certified, report)))
    ten = "The best ten" if report.configs > 10 else "All configurations, best first"
    sections.append(_section("configs", ten, configs(run, report)))
    if on_front is not None:
        sections.append(_section("front", "The Pareto front", front(on_front)))
    sections += [
        _section("tied", "Not distinguishable from the best", tied(report)),
        _section("parameters", "Which parameters matter", parameters(report)),
        _section("failures", "How seeds failed", failures(report)),
        _section("asked", "What was asked", asked(report)),
        _section("no-outcome", "Evaluations without an outcome", no_outcome(report)),
        _section("reproduce", "Do it again", reproduce(report)),
        words(_used(run, report)),
    ]
    return Document(f"xortune: {report.title}", _subtitle(report), tuple(sections))


def _subtitle(report: Report) -> str:
    """How much this is the report of."""
    configs, seeds = count(report.configs, "configuration"), count(report.seeds, "seed")
    asked = dict(report.asked)
    named = [f"{name} {asked[name]}" for name in ("task", "sampler") if name in asked]
    return ", ".join([f"{configs}, {seeds} in all", *named])


def _section(
    anchor: str, heading: str, blocks: Iterable[Block], figures: Iterable[Plot] = ()
) -> Section:
    return Section(anchor, heading, (*map(Figure, figures), *blocks))


def _used(run: Run, report: Report) -> list[Word]:
    """The entries for what this report shows."""
    if report.best is None:
        return [SOLVED]
    used = [SOLVED, INTERVAL]
    if report.solved and report.configs > 1:
        used.append(WINNER)
    if run.certificate is not None:
        used.append(CERTIFIED)
    if report.tied.stopped:
        used.append(LOOKS)
    if report.configs > 1:
        used.append(SHARED_SEEDS)
    used += [EPOCHS, TRIALS]
    if report.solved and report.tied.compared > 1:
        used.append(TIED)
    if run.front is not None:
        used.append(FRONT)
    if report.effects:
        used.append(PARAMETERS)
    if any(effect.importance is not None for effect in report.effects):
        used.append(IMPORTANCE)
    return [*used, FAILURES]
