"""Contestants of a comparison: which config of a run, its fresh seeds, and how it was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.errors import InputError, check_type, kind_of, nearest, with_kind
from xortune.core.formats import count
from xortune.core.outcome import NO_DETAILS, Details, Outcome
from xortune.core.point import Point
from xortune.core.success import Rule, parse_success, rule_in
from xortune.core.task import Task
from xortune.core.version import VERSION
from xortune.runs.certificate import Attempt, Certificate, certificate_of
from xortune.runs.manifest import (
    imported_from,
    last_identity,
    last_search,
    provenance,
    two_results,
)
from xortune.runs.results import ConfigResults
from xortune.runs.run import Run, load_run
from xortune.runs.sessions import changed_trainer
from xortune.runs.store import url_of

# -------------------------------------------------------------------------------------------------
# Candidates and contestants: a config of a run, and the same with fresh seeds. Each contestant has
# seeds that had no part in choosing it. Two with the same seeds are compared seed by seed, others
# as independent samples.

Origin: TypeAlias = Literal["certificate", "trained", "given"]
"""The origin of a contestant's seeds: its run's certificate, trained for the comparison, given."""

OWN, RULE = "its source", "rule for success"
"""Facts of a contestant that a user's own trainer trained: its source, and what a success is."""

_JUDGES = ("trainer", "source", "success", "metric")
"""Entries of an identity that must be equal for solved seeds to mean the same."""

MOST_NAMED = 1_000  # keys that are compared with a mistyped one
SEARCHED = "search counts"  # a fact: k/n of the seeds by which a search chose the config
IMPORTED = "imported from"  # a fact of a contestant by the seeds of an imported run


@dataclass(frozen=True, eq=False)
class Contestant:
    """A config under fresh seeds.

    Attributes:
        label: its name, different from all others.
        key: key of the config; empty for a given outcome.
        point: the config; None for a given outcome.
        outcome: what its seeds came to.
        origin: where the seeds are from.
        facts: how it was found and trained, by name.
        notes: warnings about its seeds.
        rule: the rule for success of a user's own trainer; None if there is none or it is unknown.
        twice: two results of one seed, in a sentence, if its seeds are known not to determine their
            results; then they are compared as independent samples.
    """

    label: str
    key: str
    point: Point | None
    outcome: Outcome
    origin: Origin
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rule: Rule | None = None
    twice: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A config or an outcome that is to be compared.

    Attributes:
        label: its name.
        point: the config; None for an outcome.
        task: name and fingerprint of its task; None if unknown.
        facts: how it was found.
        run: the run that it is from; None for a config by itself.
        known: the contestant with the seeds that it has already: a given outcome, those of its
            run's last complete attempt, or imported ones; None if it has only those that chose it.
        identity: known facts of the trainer of these seeds.
    """

    label: str
    point: Point | None
    task: tuple[str, str] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None
    known: Contestant | None = None
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether it comes with all its seeds, and is not trained."""
        return self.known is not None and self.known.origin == "given"

    @property
    def twice(self) -> str:
        """Two results of one seed, in a sentence; see `Contestant`."""
        return "" if self.run is None else two_results(self.run.manifest)


def candidate_of(run: Run, key: str | None, label: str) -> Candidate:
    """Return a config of a run as a candidate: the one with the key, else the search's first.

    Not the certificate's first: that is the best of several by the very seeds to be compared, which
    therefore flatter it. The search's first was chosen before these seeds were trained.
    """
    assert run.best is not None  # refuses a run in which nothing has finished
    result = run.results[0 if key is None else place_of(run, key, at=str(run.path))]
    facts = {**_facts(run), SEARCHED: result.outcome.count.text}
    fingerprint = run.manifest.get("task_fingerprint")
    task = None if fingerprint is None else (str(run.manifest.get("task", "")), str(fingerprint))
    candidate = Candidate(label, result.point, task, facts=facts, run=run)
    if certified := certified_outcome(run, certificate_of(run.checks), result.key):
        attempt, outcome = certified
        versions = provenance(run.manifest, attempt.fingerprints, attempt.number)
        facts = _fresh(outcome, trained_by(versions))
        notes = _notes(attempt, result.key, named=key is not None)
        return replace(
            candidate,
            known=_contestant(candidate, outcome, "certificate", facts, notes),
            identity={name: str(versions[name]) for name in _JUDGES if name in versions},
        )
    origin, several = imported_from(run.manifest), len(run.results) > 1
    if origin is None or (several and key is None):
        # The best of several imported configs was chosen by its count, which is partly luck.
        return candidate
    notes = (
        f"its seeds are those that were imported with {len(run.results)} configurations: if it was "
        "picked by their counts, they flatter it",
    )
    facts = {
        RULE: origin.success,
        IMPORTED: origin.source,
        "imported seeds": _extent(result.outcome),
    }
    given = _contestant(candidate, result.outcome, "given", facts, notes if several else ())
    return replace(candidate, known=given, identity={"success": origin.success})


def place_of(run: Run, key: str, *, at: str) -> int:
    """Return the place in a run's results of the config whose key is or begins with `key`.

    Raises:
        InputError: there is none, or several; the error names `at`, where the key was given.
    """
    check_type(at, key, str, "the key of a config, or its beginning")
    keys = run.results.keys
    places = [place for place, other in enumerate(keys) if key and other.startswith(key)]
    if len(places) == 1:
        return places[0]
    known = [keys[place] for place in places or range(len(keys))][:MOST_NAMED]
    close = nearest(key, known)
    raise InputError(
        f"{len(places):,} keys begin with {key!r}"
        if places
        else f"no configuration has the key {key!r}",
        place=at,
        allowed="a key of the run's table.csv, or a beginning that no other key has",
        fix=close if len(close) < 200 else f"{known[0]!r} is one of them",
    )


def certified_outcome(
    run: Run, certificate: Certificate | None, key: str, number: int | None = None
) -> tuple[Attempt, Outcome] | None:
    """Return an attempt and the config's outcome in it; None if it is not in it.

    The attempt is the last complete one if its number is not given.
    """
    if certificate is None or (attempt := certificate.latest) is None:
        return None
    if number is not None:
        attempt = next(one for one in certificate.attempts if one.number == number)
    purposes = (run.checks.lines.purposes[line] for line in run.checks.places.tolist())
    own = [(one.kind, one.attempt) == ("certify", attempt.number) for one in purposes]
    results = ConfigResults(run.checks.where(np.array(own, np.bool_)).of_keys([key]))
    return (attempt, results[0].outcome) if results else None


def trained_contestant(
    candidate: Candidate, outcome: Outcome, notes: tuple[str, ...], identity: Mapping[str, str]
) -> Contestant:
    """Return the candidate with seeds that a trainer of this identity trained here and now."""
    if candidate.run is not None:
        run = candidate.run
        changed = changed_trainer(run.manifest, identity)
        changes = ", ".join(
            f"{name}: {before} -> {now}"
            for name, before, now in changed
            if name != "engine_fallback"  # it follows from the engine
        )
        if changes:
            notes += (
                f"its search ran with another trainer or other versions ({changes}): its config is"
                " compared as it trains now",
            )
    trainer = trained_by({**identity, "versions": {"xortune": VERSION}})
    facts = {**_own_facts(identity), **_fresh(outcome, trainer)}
    found = _contestant(candidate, outcome, "trained", facts, notes)
    return replace(found, twice=outcome.details.twice or found.twice)


def known_facts(
    contestants: Sequence[Contestant],
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Return the facts that differ between contestants, and those that are equal for all.

    Returns:
        (differing, equal): by name; the first with the fact of each contestant, empty if unknown.
    """
    names = dict.fromkeys(name for one in contestants for name in one.facts)
    rows = {name: tuple(one.facts.get(name, "") for one in contestants) for name in names}
    differing = {name: values for name, values in rows.items() if len(set(values)) > 1}
    return differing, {name: values[0] for name, values in rows.items() if name not in differing}


def refuse_different_tasks(candidates: Sequence[Candidate]) -> None:
    """Raise an InputError if configs learned different tasks."""
    known = [(one.label, one.task) for one in candidates if one.task is not None]
    for label, (name, fingerprint) in known[1:]:
        first, (first_name, first_fingerprint) = known[0]
        if fingerprint != first_fingerprint:
            same = " of other data" if name == first_name else ""
            raise InputError(
                f"{first} learned {first_name} and {label} {name}{same}",
                field="runs",
                allowed="runs of the same task: rates on different tasks cannot be compared",
                fix="to compare them anyway, add --different-tasks",
            )


def refuse_different_trainers(known: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Raise an InputError if trainers or rules for success differ.

    Args:
        known: the label of each contestant, and the identity of what trained its seeds; unknown
            entries count as equal.
    """
    for name in _JUDGES:
        having = [(label, identity) for label, identity in known if name in identity]
        for label, identity in having[1:]:
            first, before = having[0][0], having[0][1][name]
            value = identity[name]
            if value == before:
                continue
            if name == "trainer":
                problem = f"{first} was trained by {_named(before)} and {label} by {_named(value)}"
            elif name == "source":
                problem = (
                    f"{first} and {label} were trained by {_named(identity['trainer'])} of "
                    f"different source: {before[:12]} and {value[:12]}"
                )
            else:
                problem = f"{first} counts {before!r} as solved and {label} {value!r}"
            raise InputError(
                problem,
                field="runs",
                allowed="runs of one trainer and one rule for success: rates of others are not "
                "of the same thing",
                fix="to compare them anyway, add --different-tasks",
            )


def _named(trainer: str) -> str:
    return "the built-in network" if trainer == "network" else trainer


def rule_of(facts: Mapping[str, str]) -> Rule | None:
    """Return the rule for success among these facts; None if there is none that can be parsed."""
    return rule_in(facts.get(RULE))  # it may be the name of an imported column


def trained_by(facts: Mapping[str, object]) -> str:
    """Format engine and versions of an identity, of `provenance` or of a trainer's description."""
    given = facts.get("versions")
    versions = given if isinstance(given, Mapping) else {}
    parts = [str(facts[name]) for name in ("engine", "device") if facts.get(name)]
    packages = {name: facts.get(name, versions.get(name)) for name in ("torch", "numba", "xortune")}
    parts += [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(parts)


def _contestant(
    candidate: Candidate,
    outcome: Outcome,
    origin: Origin,
    facts: Mapping[str, str],
    notes: tuple[str, ...],
) -> Contestant:
    known, point = {**candidate.facts, **facts}, candidate.point
    assert point is not None  # an outcome is a contestant already
    return Contestant(
        *(candidate.label, point.key, point, outcome, origin, known, notes, rule_of(known)),
        twice=candidate.twice,
    )


def _fresh(outcome: Outcome, trainer: str) -> dict[str, str]:
    """Return the facts of seeds that a certificate or a comparison trained."""
    trained = {"fresh seeds trained by": trainer} if trainer else {}
    return {**trained, "fresh seeds": _extent(outcome)}


def _extent(outcome: Outcome) -> str:
    return f"{outcome.n:,}, {outcome.seeds[0]} to {outcome.seeds[-1]}"


def _notes(attempt: Attempt, key: str, *, named: bool) -> tuple[str, ...]:
    notes = []
    first = attempt.finalists[0].key
    if named and len(attempt.finalists) > 1:
        notes.append(
            f"its seeds are those by which its certificate orders {len(attempt.finalists)} "
            "finalists: if it was picked by that order, they flatter it"
        )
    elif first != key:
        notes.append(
            f"its certificate puts {first} first, by the very seeds that would be compared here; "
            "what is compared is the search's own first, which they did not choose"
        )
    if attempt.number > 1:
        notes.append(
            f"its seeds are those of attempt {attempt.number} to certify, and those before are not "
            "counted: if it was tried again because of what they said, p is too small; seeds that "
            "are trained for the comparison (--seeds) have no such choice in them"
        )
    if attempt.bound == "sequence":
        notes.append(
            "its certificate stopped at the seed that decided it: then p is too small; seeds that "
            "are trained for the comparison (--seeds) have no such choice in them"
        )
    if attempt.bound == "anytime":
        notes.append(
            "its certificate may have been extended once its counts were known: then p is too small"
        )
    return tuple(notes)


def _own_facts(identity: Mapping[str, str]) -> dict[str, str]:
    """Return the facts of a user's own trainer; none of the built-in network."""
    if not identity.get("source"):
        return {}
    facts = {"what is trained": "trainer", OWN: "source", RULE: "success"}
    return {name: identity[entry] for name, entry in facts.items() if identity.get(entry)}


def _facts(run: Run) -> dict[str, str]:
    """Return how the run was made, the most important facts first."""
    manifest = run.manifest
    session, identity = last_search(manifest), last_identity(manifest)
    facts: dict[str, object] = {
        "run": run.path.resolve().name,
        "space": manifest.get("name"),
        "task": manifest.get("task"),
        "sampler": manifest.get("sampler"),
        "trials": int(run.results.trials.sum()),
        "rungs": ", ".join(map(str, manifest.get("ladder") or ())),
        "sampler's seed": manifest.get("seed"),
        "engine": identity.get("engine"),
        **_own_facts(identity),
        "searched": session.get("finished") or session.get("started"),
        "host": session.get("host"),
        "platform": session.get("platform"),
        "git commit": session.get("git_commit"),
        **session.get("versions", {}),
    }
    return {name: str(fact) for name, fact in facts.items() if fact not in (None, "")}


def in_order(outcome: Outcome, seeds: NDArray[np.int64]) -> Outcome:
    """The outcome of some of its seeds, in their order."""
    ascending = np.argsort(outcome.seeds)
    kept = ascending[np.searchsorted(outcome.seeds, seeds, sorter=ascending)]
    details = outcome.details
    if details is not NO_DETAILS:
        values = {name: numbers[kept] for name, numbers in details.values.items()}
        among = set(outcome.seeds[kept].tolist())
        failed, output = (
            {seed: text for seed, text in texts.items() if seed in among}
            for texts in (details.failed, details.output)
        )
        details = Details(values, failed, output=output, audit=details.audit)
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
        details=details,
    )


# -------------------------------------------------------------------------------------------------
# The arguments of `compare`: runs, their directories, configs of them, outcomes.

Compared: TypeAlias = Run | str | os.PathLike[str] | Config | Mapping[str, object] | Outcome


def candidates_of(
    items: Sequence[Compared],
    labels: Sequence[str] | None,
    task: Task,
    success: str | None = None,
) -> list[Candidate]:
    """Return what is to be compared.

    Args:
        items: runs, their directories, configs, dicts, outcomes.
        labels: a name for each; None for names of their own.
        task: what a `Config` learns.
        success: the rule by which the seeds of an `Outcome` succeeded; None if unknown.

    Raises:
        InputError: an item cannot be compared, a directory is no run, or labels or rule are wrong.
    """
    rule = None if success is None else parse_success(success)
    located = [_located(item, task, rule) for item in items]
    names = _labels([named for _, *named in located], labels)
    return [make(name) for (make, *_), name in zip(located, names, strict=True)]


def _located(
    item: Compared, task: Task, rule: Rule | None
) -> tuple[Callable[[str], Candidate], str, str]:
    """Return what makes the candidate from its label, its short name and its full name."""
    if isinstance(item, Outcome):
        return partial(_given, item, rule), "outcome", "outcome"
    if isinstance(item, Config | Mapping):
        if isinstance(item, Config):
            point, learned = item.point, (task.name, task.fingerprint)
        else:  # parameters of a function that is given separately
            point, learned = Point(item), None
        made = partial(Candidate, point=point, task=learned)
        return made, f"config {point.key[:8]}", f"config {point.key}"
    if not isinstance(item, Run | str | os.PathLike):
        raise InputError(
            kind_of(item),
            field="runs",
            allowed="runs, their directories, DIRECTORY#KEY, configs, dicts, outcomes",
        )
    key = None
    if isinstance(item, Run):
        run = item
    else:
        text = os.fspath(item)
        directory, sign, named = text.rpartition("#")
        # `Path.exists` raises where the name, with the key, is too long for a file.
        is_there = os.path.exists(text)  # noqa: PTH110
        if sign and directory and (url_of(text) is not None or not is_there):
            run, key = load_run(directory), named
        else:
            run = load_run(item)
    short, full = run.path.resolve().name, str(run.path)
    if key is not None:
        short, full = f"{short}#{key[:8]}", f"{full}#{key}"
    return partial(candidate_of, run, key), short, full


def _given(outcome: Outcome, rule: Rule | None, label: str) -> Candidate:
    facts = {} if rule is None else {RULE: str(rule)}
    twice = outcome.details.twice or ""
    known = Contestant(label, "", None, outcome, "given", facts, rule=rule, twice=twice)
    return Candidate(label, None, known=known)


def _labels(names: Sequence[Sequence[str]], given: Sequence[str] | None) -> list[str]:
    """Return a distinct label for each: the short name, or the full one if that is ambiguous."""
    check_type("labels", given, Sized | None, "one text for each")
    if isinstance(given, str):  # which is a sequence of texts, too
        raise InputError(with_kind(given), field="labels", allowed="a list with a text for each")
    if given is None:
        short, full = ([pair[at] for pair in names] for at in (0, 1))
        labels = [
            long if short.count(name) > 1 and full.count(long) == 1 else name
            for name, long in names
        ]
        before = [labels[:place].count(name) for place, name in enumerate(labels)]
        labels = [
            f"{name} ({n + 1})" if n else name for name, n in zip(labels, before, strict=True)
        ]
    elif len(given) == len(names) and all(isinstance(name, str) and name for name in given):
        labels = list(given)
    else:
        raise InputError(
            f"{count(len(given), 'label')} for {len(names)} to compare",
            field="labels",
            allowed="one text for each",
        )
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"{twice!r} is given twice", field="labels", allowed="one for each")
    return labels
