"""What a report computes of a run, subject by subject; `report_of` puts all in a `Report`.

The best subset, the Pareto front, how seeds failed, what pruning came to, which
parameters matter, what was asked for.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xortune.core.formats import count, duration, number, percent, plain
from xortune.core.outcome import SeedCount, Status
from xortune.core.seeds import IgnoredSeed
from xortune.core.trainer import NOT_FINISHED, VOID, is_failure
from xortune.racing.objectives import SeedSummary, estimates, mean_price, only_statistic, summary_of
from xortune.racing.statement import Statement
from xortune.reports.document import cached_per_run
from xortune.reports.parameters import ParameterEffect, columns_of, parameter_effects, weights_of
from xortune.reports.scripts import Commands, commands_of, space_of
from xortune.runs.best import BestSubset
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.manifest import SPACE, stopped_because
from xortune.runs.results import ConfigResult, ConfigResults, Score, number_names, score_of
from xortune.runs.run import Run
from xortune.runs.status import busy_share, moment
from xortune.spaces.model import SECONDS, Objective

# -------------------------------------------------------------------------------------------------
# Which configs are on the Pareto front.


class FrontRow(NamedTuple):
    """A config, its estimate for each objective, and whether it is on the front."""

    result: ConfigResult
    seen: SeedSummary
    estimate: dict[str, float]
    on_front: bool

    def cost(self, objective: Objective) -> float:
        """The estimate with the sign by which less is better."""
        estimate = self.estimate[objective.name]
        return -estimate if objective.maximize else estimate


@cached_per_run
def compared_for_front(run: Run) -> tuple[FrontRow, ...]:
    """The configs with the full seeds, best first; none in a run with one objective."""
    if run.front is None:
        return ()
    rows, objectives = [], run.objectives
    for place in np.flatnonzero(run.results.counts.n >= run.full_seeds).tolist():
        result = run.results[place]
        seen = summary_of(result.outcome, objectives)
        amounts = estimates(objectives, result.point, seen)
        estimate = {o.name: amount for o, amount in zip(objectives, amounts, strict=True)}
        rows.append(FrontRow(result, seen, estimate, bool(run.front[place])))
    return tuple(rows)


# -------------------------------------------------------------------------------------------------
# How seeds failed, and what produced no outcome.


@dataclass(frozen=True)
class Failures:
    """How seeds failed, over all configs.

    Attributes:
        counts: seeds for each status, `Status.SOLVED` included.
        patterns: the most frequent wrong prediction patterns with their number of seeds.
        reasons: why seeds of a user's trainer failed, the most frequent first, each with its number
            of seeds, and the config's key and the seed of an example.
        printed: whether the output of some of them is known.
    """

    counts: dict[Status, int]
    patterns: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, int, str, int], ...]
    printed: bool


CONFIGS_AT_ONCE = 10_000  # configs whose seeds are in memory at once


def failures_of(results: ConfigResults, top: int | None = 5) -> Failures:
    """How the seeds of these configs failed, with the `top` most frequent wrong patterns."""
    totals = results.counts.status.sum(axis=0).tolist()
    seeds_of_pattern: Counter[str] = Counter()
    for start in range(0, len(results), CONFIGS_AT_ONCE):
        seeds = results.seeds(np.arange(start, min(start + CONFIGS_AT_ONCE, len(results))))
        codes, names = seeds.patterns()
        counts = np.bincount(codes[seeds.status == Status.WRONG_PATTERN], minlength=len(names))
        seeds_of_pattern.update(dict(zip(names, counts.tolist(), strict=True)))
    order = sorted((-n, name) for name, n in seeds_of_pattern.items() if n and name)
    seeds_of_reason: Counter[str] = Counter()
    examples: dict[str, tuple[str, int]] = {}
    printed = False
    for result in results if results.detailed else ():
        details = result.outcome.details
        printed = printed or bool(details.output)
        seeds_of_reason.update(details.failed.values())
        for seed, reason in details.failed.items():
            examples.setdefault(reason, (result.key, seed))
    return Failures(
        counts=dict(zip(Status, totals, strict=True)),
        patterns=tuple((name, -negative) for negative, name in order[:top]),
        reasons=tuple((text, n, *examples[text]) for text, n in seeds_of_reason.most_common()),
        printed=printed,
    )


@dataclass(frozen=True)
class NoOutcome:
    """Evaluations that produced no outcome, for one reason.

    Attributes:
        retried: attempts that were repeated.
        given_up: blocks without an outcome after all attempts; their seeds count as crashed.
        example: the first of them.
    """

    reason: str
    retried: int
    given_up: int
    example: Evaluation


def _no_outcome(evaluations: Evaluations) -> tuple[NoOutcome, ...]:
    """One value for each reason, the one that lost most blocks first."""
    reasons: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations.where(evaluations.column("outcome") == 0):
        if is_failure(evaluation.error):
            reasons.setdefault(evaluation.error or "no reason given", []).append(evaluation)
    rows = [
        NoOutcome(reason, sum(not e.final for e in failed), sum(e.final for e in failed), failed[0])
        for reason, failed in reasons.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.given_up, -row.retried, row.reason)))


# -------------------------------------------------------------------------------------------------
# What pruning came to.


class PrunedSeeds(NamedTuple):
    """The seeds that a search's pruner would end.

    Attributes:
        pruner: its name.
        ended: seeds that ended where it pruned them: they count as failed.
        trained_on: the others of them, drawn at random; those of them that succeeded are k.
    """

    pruner: str
    ended: int
    trained_on: SeedCount


def pruned_seeds(run: Run) -> PrunedSeeds | None:
    """What pruning came to; None if the search has no pruner."""
    space = space_of(run)
    if space is None or space.search.pruner is None:
        return None
    states = Counter(
        int(line.outcome.status[seed - line.block.first])
        for line in run.evaluations
        if line.outcome is not None
        for seed in line.outcome.details.pruned
    )
    ended = states[Status.PRUNED]
    on = SeedCount(states[Status.SOLVED], states.total() - ended)
    return PrunedSeeds(space.search.pruner.name, ended, on)


# -------------------------------------------------------------------------------------------------
# Which parameters matter.


@dataclass(frozen=True)
class ParameterImportance:
    """Which parameters matter, or why this is not known.

    Attributes:
        effects: of each parameter that varies, the most important first.
        configs: all of them.
        better: how many are the better tenth.
        needed: minimum of `better`; `configs` must be at least twice as many.
        tied: how many tie for the last place of the better tenth, if they are too many.
    """

    effects: tuple[ParameterEffect, ...]
    configs: int
    better: int
    needed: int
    tied: int

    @property
    def few(self) -> bool:
        """Whether there are too few configs for the importance of parameters."""
        return not self.tied and (self.better < self.needed or self.configs < 2 * self.needed)


def importance_of(run: Run) -> ParameterImportance:
    """Which parameters matter: their effects, with the importance that the manifest has."""
    manifest = run.manifest
    resampled = manifest.get("importance_resampled") or {}
    effects = parameter_effects(
        columns_of(run),
        run.results.counts.rate,
        manifest.get("importance") or {},
        resampled.get("chance", ()),
        weights_of(run),
    )
    sizes = (resampled.get(name, 0) for name in ("configs", "better", "needed", "tied"))
    return ParameterImportance(effects, *sizes)


# -------------------------------------------------------------------------------------------------
# What was asked for, the time it took, and what is in no count.

ASKED = {
    "note": "note",
    "tags": "tags",
    "task": "task",
    "trainer": "what is trained",
    "imported": "imported",
    "seeds_at_once": "seeds at once",
    "seeds_ahead": "seeds ahead",
    "engine": "engine",
    "sampler": "sampler",
    "trials": "proposals asked for",
    "objectives": "objectives",
    "ladder": "seeds: rungs",
    "seed": "seed of the search",
    "time_budget": "time budget",
    "started": "started",
    "finished": "finished",
    "stopped": "stopped because",
    "proven": "ended early, since this was proven",
}
"""Entries of the manifest with the settings of the search, and their labels in a report."""

Rows: TypeAlias = tuple[tuple[str, str], ...]
"""Rows of a label and a text."""


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        asked: what was asked for, and the time it took: rows of a label and a text.
        space: the text of the space file; None if the run has none.
        reproduce: what a repetition needs: rows of a label and a text.
    """

    asked: Rows
    space: str | None
    reproduce: Rows


def settings_of(run: Run) -> Settings:
    """What was asked for, and what a repetition needs."""
    return Settings(
        asked=(
            *(*_rows_asked(run), *_rows_audited(run)),
            *(*_rows_of_time(run), *_rows_uncounted(run)),
        ),
        space=run.space_text if (run.path / SPACE).exists() else None,
        reproduce=_reproduce(run.manifest),
    )


def _rows_asked(run: Run) -> Iterator[tuple[str, str]]:
    """The settings of the search, and what it took over from another run."""
    for name, label in ASKED.items():
        if (entry := run.manifest.get(name)) is None:
            continue
        if name == "objectives":
            yield label, ", ".join(f"{plain(o['name'])} ({o['direction']})" for o in entry)
        else:
            yield label, _entry_text(entry)
    if (old := run.manifest.get("taken_over")) is not None:
        taken = {0: "none", 1: "the best"}.get(len(old["points"]), "the best two")
        proposed = f"{taken} of {count(old['configs'], 'configuration')} of {plain(old['source'])}"
        second = ", the second unless the first solved no seed" if len(old["points"]) > 1 else ""
        yield (
            "taken over",
            f"{proposed}, proposed first{second}; seeds begin at {old['first_seed']:,}",
        )
    if (price := price_of(run)) is not None:
        yield "price of a seed", f"{price}{_unpriced(run, price)}"


def price_of(run: Run) -> str | None:
    """What a seed of the run costs: `seconds` or a number; None if seeds have no price."""
    space = space_of(run)
    return None if space is None else space.seeds.price


def _unpriced(run: Run, price: str) -> str:
    """Which configurations have no price, as the end of a sentence; empty if all have one."""
    if price == SECONDS:
        return ""
    numbers = (one.outcome.details.values.get(price, ()) for one in run.results)
    without = sum(mean_price(one) is None for one in numbers)
    if not without:
        return ""
    return (
        f"; no seed of {count(without, 'configuration')} has one above 0, so that the mean price "
        "of the others is taken"
    )


def _rows_of_time(run: Run) -> Iterator[tuple[str, str]]:
    """The time of the trainings; none for a published run that has no times."""
    if not (seconds := float(run.evaluations.column("seconds").sum())):
        return
    yield "training time, over all workers", f"{number(round(seconds, 1))} s"
    if seeds := int(run.results.counts.n.sum()):
        yield "time of a seed", f"{duration(seconds / seeds)}, the mean of {seeds:,}"
    if (share := busy_share(run)) is not None:
        yield "use of workers", busy_sentence(*share)
    began, ended = (moment(run.manifest.get(name)) for name in ("started", "finished"))
    if began is not None and ended is not None and ended > began:
        yield "from start to end", duration(ended - began)


def _rows_audited(run: Run) -> Iterator[tuple[str, str]]:
    """How many seeds trained as one model, and whether they train so alone."""
    if run.audit is None:
        return
    lines = (run.evaluations, run.checks)
    n = sum(int(part.column("count")[part.column("final") > 0].sum()) for part in lines)
    if sentence := run.audit.sentence(n):
        yield "seeds in stacks", plain(sentence)


def _rows_uncounted(run: Run) -> Iterator[tuple[str, str]]:
    """The seeds that are in no count, and why."""
    not_finished = run.evaluations.with_error(NOT_FINISHED)
    for label, uncounted, why in (
        ("made by other versions, not counted", run.set_aside, ""),
        ("not finished, in no count", not_finished, ", proven worse meanwhile"),
    ):
        if uncounted:
            seeds, configs = int(uncounted.column("count").sum()), len(uncounted.keys)
            yield label, f"{number(seeds)} seeds of {number(configs)} configurations{why}"
    lines = run.evaluations.lines
    if gone := int((lines.column("count") * lines.column("final"))[lines.replaced].sum()):
        yield (
            "replaced, in no count",
            f"{number(gone)} seeds, from stacks or because of their results",
        )
    if void := run.evaluations.void:
        why_void = Counter(str(line.error).removeprefix(VOID) for line in void)
        reasons = "; ".join(f"{plain(one)} ({times})" for one, times in why_void.most_common(3))
        yield "void, in no count", f"{number(len(void))} seeds could not be tried: {reasons}"


def busy_sentence(workers: tuple[int, int], share: float) -> str:
    """How much of the time in which workers, the fewest to the most, were there they trained."""
    least, most = workers
    verb = "was" if most == 1 else "were"
    fewer = "" if least == most else f"{least:,} to "
    return f"{fewer}{count(most, 'worker')} {verb} busy {percent(share)} of the time"


def _entry_text(entry: Any) -> str:
    """An entry of a manifest in a cell of a table."""
    if isinstance(entry, Mapping):
        return ", ".join(f"{plain(str(name))} {_entry_text(part)}" for name, part in entry.items())
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        return ", ".join(map(_entry_text, entry))
    return plain(str(entry))


def _reproduce(manifest: Mapping[str, Any]) -> Rows:
    """What a repetition needs."""
    command = manifest.get("command")
    entries = {
        "command": command if command is None or isinstance(command, str) else shlex.join(command),
        "seed of the search": manifest.get("seed"),
        "git commit": manifest.get("git_commit"),
        "versions": manifest.get("versions"),
    }
    rows = ((label, _entry_text(one)) for label, one in entries.items() if one is not None)
    return tuple((label, text) for label, text in rows if text)


# -------------------------------------------------------------------------------------------------
# The values of a run's report.


def ignored_seed(run: Run) -> str:
    """That the training seems to ignore its seed, in a sentence; empty if it does not."""
    results = run.results
    if run.is_network or not results.detailed:
        return ""
    score = score_of(run.objectives, ())
    look = IgnoredSeed(() if score is None else [score.name], several=len(results) > 1)
    for place in np.flatnonzero(results.counts.n > 1).tolist():
        look.see(results.keys[place], results[place].outcome.details.values)
        if look.differs:
            break
    return look.sentence


def score_in(run: Run) -> Score | None:
    """The number that the figures show; None if seeds have none."""
    outcomes = [result.outcome for result in run.results[:10]]
    score = run.score
    return score if score is not None and score.name in number_names(outcomes) else None


@dataclass(frozen=True)
class Totals:
    """How many configs, seeds and proposals a run has, and how many seeds were solved."""

    configs: int
    seeds: int
    proposals: int
    solved: int


@dataclass(frozen=True)
class End:
    """How a search ended.

    Attributes:
        complete: whether the search did all that it was to do.
        stopped: why it ended early; None if it did not.
        statement: what a race for the best success rate can say of its answer; None of others,
            and where nothing succeeded.
        seed_limit: the most seeds after the last proposal if they ended it; None if they did not.
        is_priced: whether what so many seeds of the best cost may have ended it before.
    """

    complete: bool
    stopped: str | None
    statement: Statement | None
    seed_limit: int | None
    is_priced: bool


@dataclass(frozen=True)
class Report:
    """The values of a run's report; see `report_of`.

    Attributes:
        title: the run's name.
        totals: how many configs, seeds and proposals there are.
        top: the best ten configs, best first.
        best: the first of them; None in a run without results.
        tied: the configs that may be the best; None where nothing is said of that.
        full: the number of seeds of a config that was not stopped early.
        looked_for: the number of a user's trainer that is the only objective; None otherwise.
        score: the number of a user's trainer that is shown beside k / n, if none is the objective.
        varied: parameters that differ among the configs; all of them if there is one config.
        fixed: the others.
        importance: which parameters matter.
        failures: how seeds failed.
        pruned: what pruning came to; None if the search has no pruner.
        no_outcome: evaluations without an outcome, by their reasons.
        end: how the search ended.
        settings: what was asked for.
        commands: what trains the best config again.
    """

    title: str
    totals: Totals
    top: tuple[ConfigResult, ...]
    best: ConfigResult | None
    tied: BestSubset | None
    full: int
    looked_for: Objective | None
    score: Score | None
    varied: tuple[str, ...]
    fixed: tuple[str, ...]
    importance: ParameterImportance
    failures: Failures
    pruned: PrunedSeeds | None
    no_outcome: tuple[NoOutcome, ...]
    end: End
    settings: Settings
    commands: Commands


@cached_per_run
def report_of(run: Run) -> Report:
    """Every value of a run's report."""
    results, manifest = run.results, run.manifest
    failures, importance = failures_of(results), importance_of(run)
    differ = {effect.name for effect in importance.effects}
    varied = tuple(n for n in run.parameters if n in differ or len(results) < 2)
    looked_for = only_statistic(run.objectives)
    return Report(
        title=plain(str(manifest.get("name") or run.path.resolve().name)),
        totals=Totals(
            configs=len(results),
            seeds=int(results.counts.n.sum()),
            proposals=int(results.trials.sum()),
            solved=failures.counts[Status.SOLVED],
        ),
        top=results[:10],
        best=results[0] if results else None,
        tied=run.indistinguishable,
        full=run.full_seeds,
        looked_for=looked_for,
        score=None if looked_for else score_in(run),
        varied=varied,
        fixed=tuple(name for name in run.parameters if name not in varied),
        importance=importance,
        failures=failures,
        pruned=pruned_seeds(run),
        no_outcome=_no_outcome(run.evaluations),
        end=End(
            complete=manifest.get("complete") is not False,
            stopped=stopped_because(manifest),
            statement=run.statement if failures.counts[Status.SOLVED] else None,
            seed_limit=manifest.get("seed_limit"),
            is_priced=price_of(run) is not None,
        ),
        settings=settings_of(run),
        commands=commands_of(run),
    )
