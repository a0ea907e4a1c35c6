"""The report of a run as a document: the answer first, then what it rests on, the words last."""

from __future__ import annotations

from collections.abc import Container, Sequence

from xortune.imported import imported_from, is_imported
from xortune.report.document import Block, Document, Figure, Section
from xortune.report.figures.of_run import figures_of
from xortune.report.format import count, plain
from xortune.report.front import front_table
from xortune.report.numbers import numbers
from xortune.report.run_answer import answer, certificate
from xortune.report.run_configs import configs, front, tied
from xortune.report.run_sections import asked, failures, no_outcome, parameters, reproduce
from xortune.report.tables import Report, report_of
from xortune.report.words import (
    BAND,
    EPOCHS,
    FAILURES,
    FRONT,
    GIVEN,
    IMPORTANCE,
    INTERVAL,
    LOOKS,
    PARAMETERS,
    SHARED_SEEDS,
    SOLVED,
    SUCCESS,
    TIED,
    TRIALS,
    WINNER,
    Word,
    certified,
    words,
)
from xortune.run import Run

__all__ = ["run_document"]

SECTION_OF = {
    "ranking": "configs",
    "front": "front",
    "importance": "parameters",
    "slices": "parameters",
    "contour": "parameters",
    "parallel-coordinate": "parameters",
    "success-by-epoch": "epochs",
    "failures": "failures",
    "decision-surface": "learned",
    "seeds-spent": "seeds",
    "history": "history",
}
"""Where each figure stands, above what its section says."""


def run_document(run: Run) -> Document:
    """All that the report of a run says, the same for the same run directory.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate or objectives are
            damaged.
    """
    report, fresh = report_of(run), run.certificate
    on_front = front_table(run, report.varied)
    given: list[tuple[str, str, Sequence[Block]]] = [
        ("answer", "The answer", answer(run, report)),
        (
            "certificate",
            "The winners on seeds that the search never saw",
            [] if fresh is None else certificate(fresh, report),
        ),
        ("configs", "The configurations, best first", configs(run, report)),
        ("front", "The Pareto front", [] if on_front is None else front(on_front)),
        ("tied", "Not distinguishable from the best", tied(report)),
        ("parameters", "Which parameters matter", parameters(report)),
        ("numbers", "Numbers of the seeds", numbers(report)),
        ("epochs", "How soon seeds are solved", []),
        ("failures", "How seeds failed", failures(report)),
        ("learned", "What was learned", []),
        ("seeds", "Where the seeds went", []),
        ("history", "How the search went", []),
        ("more", "More figures", []),
        ("asked", "What was asked", asked(report)),
        ("no-outcome", "Evaluations without an outcome", no_outcome(report)),
        ("reproduce", "Do it again", reproduce(report)),
    ]
    figures: dict[str, list[Figure]] = {}
    for plot in figures_of(run):
        figures.setdefault(SECTION_OF.get(plot.name, "more"), []).append(Figure(plot))
    sections = [
        Section(name, heading, (*figures.get(name, ()), *blocks))
        for name, heading, blocks in given
        if blocks or name in figures
    ]
    sections.append(words(_used(run, report, figures)))
    return Document(f"xortune: {report.title}", _subtitle(run, report), tuple(sections))


def _subtitle(run: Run, report: Report) -> str:
    """How much this is the report of."""
    configs, seeds = count(report.configs, "configuration"), count(report.seeds, "seed")
    asked = dict(report.asked)
    named = [f"{name} {asked[name]}" for name in ("task", "sampler") if name in asked]
    origin = imported_from(run.manifest)
    told = [] if origin is None else [f"imported from {plain(origin.source)}"]
    return ", ".join([f"{configs}, {seeds} in all", *told, *named])


def _share_seeds(run: Run) -> bool:
    """A search's configs all have the first ones; what was imported may have any."""
    same = len({result.outcome.seeds.tobytes() for result in run.results}) < 2
    return same or not is_imported(run.manifest)


def _used(run: Run, report: Report, figures: Container[str]) -> list[Word]:
    """The entries for what this report shows."""
    solved = SOLVED if run.manifest.get("trainer", "network") == "network" else SUCCESS
    if is_imported(run.manifest):
        solved = GIVEN
    if report.best is None:
        return [solved]
    used = [solved, INTERVAL]
    if report.solved and report.configs > 1:
        used.append(WINNER)
    if run.certificate is not None:
        used.append(certified(run.certificate.confidence))
    if report.tied.stopped and report.looked_for is None:
        used.append(LOOKS)
    if report.configs > 1 and _share_seeds(run):
        used.append(SHARED_SEEDS)
    used += [EPOCHS, TRIALS] if report.best.outcome.epochs else [TRIALS]
    if "epochs" in figures:
        used.append(BAND)
    if report.solved and report.tied.compared > 1 and report.looked_for is None:
        used.append(TIED)
    if run.front is not None:
        used.append(FRONT)
    if report.effects:
        used.append(PARAMETERS)
    if any(effect.importance is not None for effect in report.effects):
        used.append(IMPORTANCE)
    return [*used, FAILURES]
