"""Certification: which fresh seeds the finalists of a search and their neighbours still need."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from xortune.certificates.gate import check_goal, checked_statistic
from xortune.certificates.ledger import account_in_ledger, digest
from xortune.core.errors import (
    InputError,
    check_count,
    check_number,
    check_share,
    refuse_given,
    refuse_unknown,
)
from xortune.core.seeds import CERTIFY, NEIGHBOURS
from xortune.core.success import has_rule, is_cost
from xortune.core.trainer import Trainer, is_void, missing_seeds
from xortune.racing.objectives import constrained
from xortune.runs.certificate import (
    CERTIFICATE,
    LEDGER,
    Certificate,
    asked_json,
    certificate_of,
    limits_of,
    purpose_of,
    risk_of,
    sequence_step,
    test_of,
    value_of,
    write_certificate,
)
from xortune.runs.evaluation import (
    MAX_IN_ACCOUNT,
    Criterion,
    Evaluation,
    NumberAsked,
    Purpose,
    SeedsToTrain,
)
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.runs.store import JOURNAL
from xortune.spaces.neighbours import neighbours
from xortune.stats.planning import seeds_for_lower_bound
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY


@dataclass(frozen=True)
class CertifyRequest:
    """The options of `certify`. An equal request continues an interrupted attempt.

    Attributes:
        top: number of finalists: the first of the search's own order that solved any seed.
        seeds: seeds of each finalist; with `extend`, additional seeds.
        confidence: with which all bounds of all attempts hold together.
        extendable: begin an attempt to which seeds may be added later, with the anytime bound.
        extend: add seeds to the last attempt, which must be extendable; its finalists stay, and all
            other options.
        neighbourhood: also train each finalist with its settings moved by this fraction.
        by: `own` or `neighbourhood`: whose lower bounds order the finalists.
        min_rate: prove this rate, finalist after finalist, with up to `seeds` each.
        asked: the statistic of a number to certify in place of a rate; its `goal` is proven as
            `min_rate` is.
        key: of the only finalist, in place of the search's first.

    Raises:
        InputError: an option is out of range or does not go with another.
    """

    top: int
    seeds: int
    confidence: float = 0.95
    extendable: bool = False
    extend: bool = False
    neighbourhood: float | None = None
    by: Criterion = "own"
    min_rate: float | None = None
    asked: NumberAsked | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        check_count("top", self.top, most=1000)
        check_count("seeds", self.seeds, most=len(CERTIFY))
        check_share("confidence", self.confidence)
        if self.min_rate is not None:
            check_share("min_rate", self.min_rate)
        if self.is_sequence:
            self._check_sequence()
        if self.neighbourhood is not None:
            good = "above 0, such as 0.2"
            check_number("neighbourhood", self.neighbourhood, lambda r: 0 < r < math.inf, good)
        refuse_unknown(self.by, ("own", "neighbourhood"), f"{self.by!r}", field="by")
        if self.by == "neighbourhood" and self.neighbourhood is None:
            raise InputError(
                "'neighbourhood' needs measured neighbours",
                field="by",
                allowed="together with a neighbourhood",
                fix="give --neighbourhood 0.2 too",
            )

    @property
    def is_sequence(self) -> bool:
        """Whether one claim is proven, finalist after finalist."""
        return self.min_rate is not None or (self.asked is not None and self.asked.goal is not None)

    def _check_sequence(self) -> None:
        refuse_given(
            "where bounds are shown, not with what is to be proven",
            extendable=self.extendable,
            neighbourhood=self.neighbourhood,
        )
        self.refuse_unprovable(1)

    def refuse_unprovable(self, number: int) -> None:
        """Refuse seeds that cannot prove what is asked in an attempt with this number.

        Raises:
            InputError: not even all seeds without a failure prove it.
        """
        if not self.is_sequence:
            return
        alpha, most = risk_of(number, self.confidence, 1), MAX_SEEDS_OF_BOUNDARY
        if self.min_rate is not None:
            what, sort = f"a rate of {self.min_rate:g}", "a rate"
            least = seeds_for_lower_bound(self.min_rate, confidence=1 - alpha)
        else:
            assert self.asked is not None
            what, sort = f"{self.asked.name} {self.asked.side} {self.asked.goal:g}", "what"
            least = test_of(self.asked, most=1, alpha=alpha).least or most + 1
        if not least <= self.seeds <= most:
            which = "" if number == 1 else f" in attempt {number} of this account"
            raise InputError(
                f"{self.seeds:,} seeds for {what}{which}",
                field="seeds",
                allowed=f"{least:,} to {most:,}"
                if least <= most
                else f"{sort} that {most:,} seeds can prove",
            )


# -------------------------------------------------------------------------------------------------
# The seeds that an attempt to certify finalists still has to train.
#
# The run's journal tells which attempt was begun last, whether it is the requested one, and which
# seeds are fresh. `driver.certify` trains the seeds like the blocks of a search. Every block goes
# into the journal with its purpose. So the certificate follows from the journal alone, and an
# attempt is never forgotten: an interrupted one continues with the same finalists and seeds, and
# one that disappoints stays on record and has spent its share of alpha. `runs.certificate` says
# what a certificate promises.
#
# The first seed of an attempt is drawn from the run and the request, so that nobody can choose a
# request by the seeds of an earlier certificate. The same request draws the same seeds, even after
# the directory was deleted.

SEED_DRAWS = 64
"""Maximum number of draws of a first seed until none of the attempt's seeds is in the run."""

_TRAINER = ("trainer", "source", "success", "metric", "task_fingerprint")
"""Facts of the trainer that the draw depends on: what a solved seed means, not the versions."""


def number_asked(
    run: Run,
    of: str | None = None,
    least: float | None = None,
    most: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> NumberAsked | None:
    """The statistic of a number to certify; None: the success rate.

    Args:
        run: a run.
        of: the statistic; that of the search if not given, unless a rule judges its seeds.
        least: what it is to be proven to be, at least.
        most: the same, at most.
        bounds: of the number, in place of the space's, which are those of its objectives' number.

    Raises:
        InputError: no statistic of a number of the run, or no claim that can be tested.
    """
    sought = {one.name: one for one in run.objectives if one.number and one.required is None}
    if least is not None and most is not None:
        raise InputError(
            "both a least and a greatest value", field="max", allowed="one of --min and --max"
        )
    goal = most if least is None else least
    if of is None:
        ruled = has_rule(run.manifest.get("success")) and goal is None
        of = next(iter(sought), None) if not ruled else None
        if of is None:
            refuse_given("of a number, with of, such as return_iqm", min=least, max=most)
            return None
    number, _ = checked_statistic(of)
    known = run.results[0].outcome.number_names if run.results else ()
    refuse_unknown(number, known, f"the seeds have no number {number!r}", field="of")
    objective = sought.get(of)
    maximize = objective.maximize if objective else not is_cost(number)
    maximize = maximize if goal is None else most is None
    if bounds is None and number in {one.number for one in sought.values()}:
        bounds = run.limits
    failed = objective.failed if objective and objective.maximize == maximize else None
    asked = NumberAsked(of, maximize, failed, bounds, None if goal is None else float(goal))
    if goal is not None:
        check_goal(goal, limits_of(asked, np.empty(0)), "min" if maximize else "max")
    return asked


def tasks_of(
    run: Run, trainer: Trainer, request: CertifyRequest, *, accept: bool
) -> list[SeedsToTrain]:
    """Return everything that a request still has to train.

    Args:
        run: whose journal nobody else writes to.
        trainer: trains the seeds.
        request: the options.
        accept: begin a new attempt if the last one was begun by another engine or other versions.

    Raises:
        InputError: nothing to certify, an attempt that cannot be extended or was begun by another
            engine or version, no neighbours, or no fresh seeds left.
    """
    tasks = (
        _extension(run, trainer, request.seeds)
        if request.extend
        else _attempt(run, trainer, request, accept=accept)
    )
    _refuse_seen(tasks, run)
    return tasks


def _attempt(
    run: Run, trainer: Trainer, request: CertifyRequest, *, accept: bool
) -> list[SeedsToTrain]:
    """Return the rest of the last attempt if it is the requested one, else a new attempt.

    An attempt of another engine or other versions is never continued, because one count must not
    mix their seeds; with `accept` a new one begins. Neighbours spend nothing of an attempt's share
    of alpha, so measuring them later needs no new attempt.
    """
    number, begun = _last(run.checks)
    purposes = _purposes(run, request, number)
    if not purposes:
        raise InputError(
            "no configuration solved a seed" if run.results else "no configuration is finished yet",
            place=str(run.path),
            fix="search further, or search another space",
        )
    if begun and _same(begun, purposes):
        purposes = _continued(purposes, begun)
        is_foreign = _made_by_others(begun, trainer)
        rest = _tasks(run, trainer, purposes, begun, request.neighbourhood)
        if any(task.seeds for task in rest):
            if not is_foreign:
                return rest
            if not accept:
                raise InputError(
                    f"another engine or other versions began attempt {number}; one count cannot "
                    "contain seeds of both",
                    field="accept_versions",
                    place=str(run.path),
                    fix="finish it with what began it, or begin another with --accept-versions",
                )
        elif not is_foreign and request.by != purpose_of(begun[-1]).by:
            raise InputError(
                f"attempt {number} has all of this already, in another order",
                field="by",
                fix="`neighbourhood_lower_bound` is in certificate.json; gate and export take "
                "another finalist with --key",
            )
    return _new_attempt(run, trainer, request, number + 1)


def _new_attempt(
    run: Run, trainer: Trainer, request: CertifyRequest, attempt: int
) -> list[SeedsToTrain]:
    """Return what a new attempt trains, after it has been written into the ledger beside the run.

    If the same attempt was made before and the run was deleted, it has its number again where the
    same seeds give the same results.
    """
    purposes = _purposes(run, request, attempt)
    first = _first(CERTIFY, run, trainer, purposes, [])
    identity = identity_of(trainer.describe())
    facts = digest({**_facts(run, trainer, purposes), "first": first, "made": identity})
    own = max((purpose.number for purpose in run.checks.lines.purposes.values()), default=0)
    asked = request.asked
    with account_in_ledger(run, trainer, None if asked is None else asked.number) as account:
        again = None
        if account is not None and (run.is_network or run.manifest.get("deterministic") is True):
            again = account.number_of(facts)
        number = again or 1 + max(own, 0 if account is None else account.number)
        if number > MAX_IN_ACCOUNT:
            raise InputError(
                f"{number - 1:,} attempts were made in this account",
                place=LEDGER,
                allowed=f"{MAX_IN_ACCOUNT:,}: hardly any risk is left",
            )
        request.refuse_unprovable(number)
        name, beside = (None, None) if account is None else (account.name, account.beside or None)
        purposes = [replace(one, spent=number, account=name, beside=beside) for one in purposes]
        tasks = _tasks(run, trainer, purposes, [], request.neighbourhood)
        _refuse_seen(tasks, run)
        if account is not None and again is None:
            account.enter(number, facts, run, request.confidence)
    return tasks


def _continued(purposes: Sequence[Purpose], begun: Sequence[Evaluation]) -> list[Purpose]:
    """Return the purposes with the number that their attempt has."""
    last = purpose_of(begun[-1])
    return [
        replace(one, spent=last.spent, account=last.account, beside=last.beside) for one in purposes
    ]


def _last(checks: Iterable[Evaluation]) -> tuple[int, list[Evaluation]]:
    """Return the number of the last attempt (0: none) and its lines."""
    lines = list(checks)
    number = max((purpose_of(line).attempt for line in lines), default=0)
    return number, [line for line in lines if purpose_of(line).attempt == number]


def finalists_of(run: Run, top: int) -> list[ConfigResult]:
    """The first `top` configurations of the search's order, without those that solved no seed.

    Where a rate is required, these are the answer and its neighbours in the objective: of the
    configurations that are better in it, and of those that are worse, each the first in the
    search's order, of an objective that is as near as any. The best objective comes first: the
    first of them that fresh seeds prove is the answer.
    """
    if (objective := constrained(run.objectives)) is None:
        return [result for result in run.results[:top] if result.outcome.successes]
    results = run.results
    if not results:
        return []
    cost = results.measured(objective) * (-1.0 if objective.maximize else 1.0)
    solved = results.counts.k > 0
    better, worse = solved & (cost < cost[0]), solved & (cost > cost[0])
    if objective.is_parameter:
        # Of a parameter the next value; what was measured has no next one.
        better &= cost == cost[better].max(initial=-math.inf)
        worse &= cost == cost[worse].min(initial=math.inf)
    found = [np.flatnonzero(chosen)[:1] for chosen in (solved[:1], better, worse)]
    places = np.concatenate(found)[:top]
    return [results[int(at)] for at in places[np.argsort(cost[places])].tolist()]


def _purposes(
    run: Run, request: CertifyRequest, attempt: int, first: int | None = None
) -> list[Purpose]:
    """Return the purpose of each finalist of the request in that attempt."""
    finalists = finalists_of(run, request.top)
    ranks = list(range(1, len(finalists) + 1))
    if request.key is not None:
        ranks = [run.results.keys.index(request.key) + 1]
        finalists = [run.results[ranks[0] - 1]]
    objective = constrained(run.objectives)
    required = None if objective is None else objective.required
    return [
        Purpose(
            kind="certify",
            attempt=attempt,
            finalist=result.key,
            rank=rank,
            finalists=len(finalists),
            seeds=request.seeds,
            confidence=request.confidence,
            extendable=request.extendable,
            search_k=result.outcome.successes,
            search_n=result.outcome.n,
            moved=None,
            by=request.by,
            neighbours=0,
            first=first,
            min_rate=request.min_rate,
            required=None if required is None or request.min_rate else required.rate,
            asked=request.asked,
            search_value=_value_of(result, request.asked),
        )
        for rank, result in zip(ranks, finalists, strict=True)
    ]


def _value_of(result: ConfigResult, asked: NumberAsked | None) -> float | None:
    """The statistic of the search's seeds; None if it is infinite, or not asked."""
    if asked is None:
        return None
    value = value_of(asked, asked.numbers(result.outcome))
    return value if math.isfinite(value) else None


def _same(begun: Sequence[Evaluation], purposes: Sequence[Purpose]) -> bool:
    """Return whether an attempt has the requested finalists, seeds, confidence and bound.

    If it ordered the finalists by their own bounds, it may now order them by their neighbours', but
    not the reverse.
    """
    by = purposes[0].by
    requested = {purpose.finalist: purpose for purpose in purposes}
    return (by == "neighbourhood" or purpose_of(begun[-1]).by == "own") and all(
        before.first is not None
        and requested.get(before.finalist)
        == replace(
            before,
            kind="certify",
            moved=None,
            by=by,
            neighbours=0,
            first=None,
            spent=None,
            account=None,
            beside=None,
        )
        for before in map(purpose_of, begun)
    )


def _tasks(
    run: Run,
    trainer: Trainer,
    purposes: Sequence[Purpose],
    begun: Sequence[Evaluation],
    neighbourhood: float | None,
) -> list[SeedsToTrain]:
    """Return what an attempt still lacks.

    All finalists get the same seeds, so that they can be compared; each neighbourhood has its own.
    """
    seeds = purposes[0].seeds
    first = _first(CERTIFY, run, trainer, purposes, begun)
    if first + seeds > CERTIFY.stop:
        raise InputError(
            f"{seeds:,} fresh seeds are asked for, and {max(0, CERTIFY.stop - first):,} are left",
            field="seeds",
            place=str(run.path),
            fix="certify with fewer seeds",
        )
    purposes = [replace(purpose, first=first) for purpose in purposes]
    if purposes[0].is_sequence:
        return _next_of_sequence(run, purposes, begun)
    near = around_from = _first(NEIGHBOURS, run, trainer, purposes, begun)
    trained: dict[tuple[str, str, str], list[Evaluation]] = defaultdict(list)
    for line in begun:
        trained[purpose_of(line).kind, purpose_of(line).finalist, line.block.point.key].append(line)
    # Neighbours that an earlier call finished count even if this call moves by another fraction.
    measured = {
        (finalist, key)
        for (kind, finalist, key), lines in trained.items()
        if kind == "neighbourhood"
        and sum(line.block.count for line in lines if line.final) == seeds
    }
    tasks, around = [], list[SeedsToTrain]()
    for purpose in purposes:
        key = purpose.finalist
        own = _to_train(run, purpose, range(first, first + seeds), trained["certify", key, key])
        tasks.append(own)
        if neighbourhood is None:
            continue
        span = range(near, near + seeds)
        near = span.stop
        if near > NEIGHBOURS.stop:
            raise InputError("no seeds are left for neighbours", field="neighbourhood")
        for name, moved in neighbours(own.point, run.asked, neighbourhood, trainer.check):
            reason = replace(purpose, kind="neighbourhood", moved=name, first=around_from)
            rest = _missing(span, trained["neighbourhood", key, moved.key])
            around.append(SeedsToTrain(moved, rest, own.proposal, reason))
            measured.add((key, moved.key))
    number = len(measured)
    if neighbourhood is None:
        number = purpose_of(begun[-1]).neighbours if begun else 0
    elif purposes[0].by == "neighbourhood" and not around:
        raise InputError(
            "no finalist has a setting that can be moved",
            field="by",
            allowed="own",
            fix="leave it out",
        )
    return [
        replace(task, purpose=task.purpose and replace(task.purpose, neighbours=number))
        for task in tasks + around
    ]


def _to_train(
    run: Run, purpose: Purpose, span: range, trained: Iterable[Evaluation]
) -> SeedsToTrain:
    """Return what a finalist lacks of some seeds, under the proposal of its search."""
    line = run.evaluations.of_keys([purpose.finalist])[0]
    return SeedsToTrain(line.block.point, _missing(span, trained), line.proposal, purpose)


def _missing(seeds: range, lines: Iterable[Evaluation]) -> tuple[range, ...]:
    return tuple(missing_seeds(seeds, (line.block for line in lines if line.final)))


def _next_of_sequence(
    run: Run, purposes: Sequence[Purpose], begun: Sequence[Evaluation]
) -> list[SeedsToTrain]:
    """Return the seeds of the first undecided finalist up to the first seed that can prove it.

    All finalists have the same seeds. Empty if the last is proven or one is given up.
    """
    for purpose in purposes:
        assert purpose.first is not None
        trained = [line for line in begun if purpose_of(line).finalist == purpose.finalist]
        step = sequence_step(trained, purpose)
        if step.proven is None:
            span = range(purpose.first, purpose.first + step.needed)
            return [_to_train(run, purpose, span, trained)]
        if not step.proven:
            break
    return []


def next_of_sequence(
    run: Run, request: CertifyRequest, lines: Sequence[Evaluation]
) -> list[SeedsToTrain]:
    """Return what the sequence of a request needs next, after these further lines.

    Seeds that are void in these lines are not tried again.
    """
    number, begun = _last([*run.checks, *lines])
    purposes = _purposes(run, request, number, purpose_of(begun[-1]).first)
    void = [line.block for line in lines if is_void(line.error)]

    def tried(task: SeedsToTrain) -> SeedsToTrain:
        own = [block for block in void if block.point.key == task.point.key]
        parts = chain.from_iterable(missing_seeds(part, own) for part in task.seeds)
        return replace(task, seeds=tuple(parts))

    return [tried(task) for task in _next_of_sequence(run, _continued(purposes, begun), begun)]


def _extension(run: Run, trainer: Trainer, seeds: int) -> list[SeedsToTrain]:
    """Return additional seeds for the finalists of the last attempt."""
    certificate = certificate_of(run.checks)
    if certificate is None:
        raise InputError(
            "the run has no attempt to extend", field="extend", fix="begin one with --extendable"
        )
    attempt = certificate.attempts[-1]
    another = "begin another attempt: without --extend, or with --extendable"
    if attempt.bound != "anytime":
        raise InputError(
            f"attempt {attempt.number} was planned for {attempt.seeds:,} seeds, and its "
            "bound holds for exactly this number",
            field="extend",
            allowed="an attempt that was begun as extendable",
            fix=another,
        )
    _, begun = _last(run.checks)
    lines = [line for line in begun if purpose_of(line).kind == "certify"]
    if _made_by_others(lines, trainer):
        raise InputError(
            f"another engine or other versions made attempt {attempt.number}; one count cannot "
            "contain seeds of both",
            field="extend",
            fix=another,
        )
    if not attempt.complete and len({purpose_of(line).seeds for line in lines}) == 1:
        raise InputError(
            f"attempt {attempt.number} was interrupted before its {attempt.seeds:,} seeds",
            field="extend",
            fix="finish it first: the same command without --extend",
        )
    planned = attempt.seeds if not attempt.complete else attempt.seeds + seeds
    last = purpose_of(begun[-1])
    known = {purpose_of(line).finalist: purpose_of(line) for line in reversed(lines)}
    purposes = [replace(known[one.key], seeds=planned, by=last.by) for one in attempt.finalists]
    return _tasks(run, trainer, purposes, begun, None)


def _first(
    seeds: range,
    run: Run,
    trainer: Trainer,
    purposes: Sequence[Purpose],
    begun: Sequence[Evaluation],
) -> int:
    """Return the first seed of an attempt within a range.

    For a new attempt it is drawn in the lower half of the range, so that seeds can be added later,
    and drawn again if the run has used any of the attempt's seeds.
    """
    known = [purpose_of(line).first for line in begun if line.block.first in seeds]
    if known and known[0] is not None:
        return known[0]
    request = purposes[0]
    count = request.seeds * (len(purposes) if seeds is NEIGHBOURS else 1)
    trained = (run.evaluations, run.checks)
    starts = np.concatenate([lines.column("first") for lines in trained])
    stops = starts + np.concatenate([lines.column("count") for lines in trained])
    facts = {**_facts(run, trainer, purposes), "range": seeds.start}
    room = max(len(seeds) - count, 0) // 2 + 1
    for draw in range(SEED_DRAWS):
        text = json.dumps({**facts, "draw": draw}, sort_keys=True)
        number = int.from_bytes(hashlib.sha256(text.encode()).digest())
        first = seeds.start + number % room
        if not ((stops > first) & (starts < first + count)).any():
            return first
    return int(stops[starts < seeds.stop].max(initial=seeds.start))


def _facts(run: Run, trainer: Trainer, purposes: Sequence[Purpose]) -> dict[str, Any]:
    """Return what the seeds of an attempt are drawn from."""
    identity, request = identity_of(trainer.describe()), purposes[0]
    return {
        "space": run.asked.text,
        "seed": run.manifest.get("seed"),
        "trainer": {name: identity[name] for name in _TRAINER if name in identity},
        "attempt": request.attempt,
        "finalists": [purpose.finalist for purpose in purposes],
        "asked": [request.seeds, request.confidence, request.extendable]
        + ([] if request.min_rate is None else [request.min_rate])
        + ([] if request.asked is None else [asked_json(request.asked)]),
    }


def _refuse_seen(tasks: Sequence[SeedsToTrain], run: Run) -> None:
    """Refuse seeds that the journal has outside this attempt, whatever their range."""
    attempts = {task.purpose.attempt for task in tasks if task.purpose}
    purposes = [run.checks.lines.purposes[line] for line in run.checks.places.tolist()]
    others = np.array([one.attempt not in attempts for one in purposes], np.bool_)
    for lines in (run.evaluations, run.checks.where(others)):
        starts = lines.column("first")
        stops = starts + lines.column("count")
        for part in (part for task in tasks for part in task.seeds):
            seen = np.flatnonzero((starts < part.stop) & (stops > part.start))
            if seen.size:
                block = lines[int(seen[0])].block
                raise InputError(
                    f"seeds {part.start} to {part.stop - 1} are not fresh: config "
                    f"{block.point.key} was trained under {block.first} to {block.seeds.stop - 1}",
                    field="seeds",
                    place=str(run.path / JOURNAL),
                    fix="begin another attempt, without --extend",
                )


def _made_by_others(lines: Sequence[Evaluation], trainer: Trainer) -> bool:
    """Return whether another engine or other versions trained one of these lines."""
    own = fingerprint_of(identity_of(trainer.describe()))
    return any(line.fingerprint not in (None, own) for line in lines)


def save_certificate(run: Run, more: Sequence[Evaluation] = ()) -> Certificate | None:
    """Write certificate.json if the run has an attempt, and return its content.

    Raises:
        InputError: the directory cannot be written.
    """
    certificate = certificate_of((*run.checks, *more))
    if certificate is not None:
        write_certificate(run.path, certificate, run.manifest)
    elif run.checks.lines.audits:  # its seeds may have been replaced
        (run.path / CERTIFICATE).unlink(missing_ok=True)
    return certificate
