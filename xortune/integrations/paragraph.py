"""A certificate as a paragraph: for the methods of a paper, or a model card."""

from __future__ import annotations

from xortune.core.counts import rate_of
from xortune.core.errors import InputError
from xortune.core.formats import count, percent, plain, value
from xortune.reports.tables import certify_command, lower
from xortune.runs.certificate import Attempt, CertifiedResult
from xortune.runs.manifest import is_imported
from xortune.runs.run import Run

BOUNDS = {
    "clopper-pearson": "one-sided Clopper-Pearson",
    "anytime": "one-sided, valid at any number of seeds",
    "sequence": "one-sided, of a fixed sequence of tests",
}

BY = {"own": "own success rate", "neighbourhood": "neighbourhood's lowest success rate"}


def paragraph(run: Run, key: str | None = None) -> str:
    """What was searched, how the configuration was chosen, and what fresh seeds say of it.

    Raises:
        InputError: no attempt to certify is complete, or there is no such finalist.
    """
    certificate = run.certificate
    attempt = None if certificate is None else certificate.latest
    if certificate is None or attempt is None:
        command = certify_command(run, 1_000, str(run.path))
        raise InputError(
            "a paragraph describes a certificate, and the run has no complete one",
            place=str(run.path),
            fix=None if command is None else f"make one: `{command}`",
        )
    found = certificate.best if key is None else certificate.finalist(key)
    sentences = [
        *_searched(run, found),
        *_selected(attempt, found),
        *_measured(attempt, found, certificate.confidence),
    ]
    if rule := run.manifest.get("success"):
        sentences.append(f"A training succeeds if {plain(str(rule))}.")
    return " ".join(sentences) + "\n"


def _searched(run: Run, found: CertifiedResult) -> list[str]:
    """How many configurations and seeds, and what was counted of this one."""
    who = f"A search (xortune, sampler {plain(str(run.manifest.get('sampler', 'unknown')))}) tried"
    if is_imported(run.manifest):
        who = "Results from elsewhere, imported into xortune, have"
    trainings = count(sum(result.outcome.n for result in run.results), "training")
    settings = ", ".join(f"{plain(name)} = {value(found.point[name])}" for name in found.point)
    return [
        f"{who} {count(len(run.results), 'configuration')} in {trainings}, each configuration "
        "under several random seeds.",
        f"In the search, the configuration with {settings} (key {found.key}) succeeded for "
        f"{found.search_k:,} of {count(found.search_n, 'seed')}; the search selected by such "
        "counts, so they are no estimate.",
    ]


def _selected(attempt: Attempt, found: CertifiedResult) -> list[str]:
    """The rule of selection, and which of the finalists this is."""
    fresh = "fresh seeds that the search had not used"
    if attempt.bound == "sequence":
        return [
            f"The finalists of the search were tested in its order, each under at most "
            f"{attempt.seeds:,} {fresh}, until one was not proven to reach {attempt.min_rate:g}. "
            f"This one is number {found.rank} in that order."
        ]
    trained = f"trained under {attempt.seeds:,} {fresh}"
    if len(attempt.finalists) == 1:
        return [f"It was the only finalist, number {found.rank} of the search, and was {trained}."]
    place, of = attempt.finalists.index(found) + 1, BY[attempt.by]
    order = f"Among them this one is number {place} in the order of the lower bounds of their {of}."
    if place == 1:
        order = f"This one was selected because it has the highest lower bound of its {of}."
    return [f"The {len(attempt.finalists)} finalists of the search were each {trained}.", order]


def _measured(attempt: Attempt, found: CertifiedResult, confidence: float) -> list[str]:
    """The count on fresh seeds, and what is proven."""
    seeds = f"{found.n:,} fresh seeds {found.first} to {found.first + found.n - 1}"
    number, all_of_them = attempt.number, count(len(attempt.finalists), "finalist")
    which = {1: "st", 2: "nd", 3: "rd"}.get(0 if number in (11, 12, 13) else number % 10, "th")
    return [
        f"It succeeded for {found.k:,} of the {seeds} ({rate_of(found.k, found.n)}).",
        f"Its success rate is therefore at least {lower(found)}.",
        f"The lower bounds ({BOUNDS[attempt.bound]}) of all {all_of_them}, in this attempt to "
        f"certify, the {number}{which}, and in all others, hold together with confidence "
        f"{percent(confidence)}.",
    ]
