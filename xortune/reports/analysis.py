"""What a report computes of a run: effects, best subset, failures, certificate, commands."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.contestants import certified_outcome
from xortune.core.config import SOFTMAX_LIKE, Config
from xortune.core.errors import InputError
from xortune.core.formats import (
    config_text,
    count,
    decimals,
    duration,
    lower_percent,
    number,
    percent,
    plain,
    value,
)
from xortune.core.outcome import Status
from xortune.core.point import Point, as_float
from xortune.core.seeds import HAND
from xortune.core.task import Task
from xortune.core.trainer import NO_FAILURES, NOT_FINISHED
from xortune.racing.grants import aim_of
from xortune.racing.objectives import estimates, only_statistic, summary_of
from xortune.racing.top_two import Ending, Group, ending
from xortune.reports.document import (
    MISSING,
    Table,
    environment,
    lines_of,
    numbers,
    table_of,
    texts,
)
from xortune.runs.certificate import LEDGER, Certificate, CertifiedResult
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.manifest import SPACE, busy_share, is_imported, stopped_because
from xortune.runs.results import (
    ConfigResult,
    ConfigResults,
    Score,
    measured_names,
    number_names,
    score_of,
)
from xortune.runs.run import Run
from xortune.runs.status import moment
from xortune.spaces.model import Objective, SearchSpace, weighs_seeds
from xortune.stats.proportions import mcnemar_greater, unpaired_difference

# -------------------------------------------------------------------------------------------------
# A cache for what several figures and tables of a run use.

T = TypeVar("T")


def cached_per_run(function: Callable[[Run], T]) -> Callable[[Run], T]:
    """Cache the function's result for the lifetime of a run, which never changes."""
    cache: WeakKeyDictionary[Run, T] = WeakKeyDictionary()

    @wraps(function)
    def cached(run: Run) -> T:
        if run not in cache:
            cache[run] = function(run)
        return cache[run]

    return cached


# -------------------------------------------------------------------------------------------------
# One parameter over many configs: its distinct values, its numbers, quantile bins of them.


@dataclass(frozen=True, eq=False)
class ParameterColumn:
    """A parameter over C configs.

    Attributes:
        values: the V distinct values; `MISSING` if it is inactive in a config.
        codes: int32, shape (C,): indices into `values`.
    """

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def reals(self) -> NDArray[np.float64]:
        """Shape (V,): each distinct value, NaN if it is not a number."""
        real = (as_float(v) if type(v) in (int, float) else math.nan for v in self.values)
        return np.fromiter(real, np.float64, len(self.values))

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (C,): the value of each config, NaN if it is not a number."""
        return self.reals[self.codes]

    def labels(self, codes: Sequence[int]) -> list[str]:
        """A distinct label for each of these values."""
        values = [self.values[code] for code in codes]
        short = ["(not active)" if one is MISSING else value(one) for one in values]
        # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the number.
        uses = Counter(short)
        return [
            plain(repr(one)) if uses[label] > 1 and one is not MISSING else label
            for one, label in zip(values, short, strict=True)
        ]


def column_of(values: Sequence[Any]) -> ParameterColumn:
    """The column of a parameter that has these values in C configs."""
    if bool in (types := set(map(type, values))) and len(types) > 1:
        # True == 1 in Python, but they are different values of a parameter.
        pairs = column_of([(type(one) is bool, one) for one in values])
        return ParameterColumn(tuple(one for _, one in pairs.values), pairs.codes)
    code_of = {one: code for code, one in enumerate(dict.fromkeys(values))}
    codes = np.fromiter(map(code_of.__getitem__, values), np.int32, len(values))
    return ParameterColumn(tuple(code_of), codes)


def quantile_bins(
    numbers: NDArray[np.float64], count: int
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Sort N numbers into at most `count` bins of about equal size, none of them empty.

    Returns:
        Labels in ascending order, `[low, high]` for the first bin and `(low, high]` for the others;
        and the bin of each number, shape (N,).
    """
    cuts = np.quantile(numbers, np.linspace(0, 1, count + 1))
    if (numbers == np.floor(numbers)).all():
        cuts = np.floor(cuts)  # for whole numbers, up to 7.67 means up to 7
    cuts = np.unique(cuts)
    bins = np.clip(np.searchsorted(cuts, numbers) - 1, 0, max(len(cuts) - 2, 0))
    kept, which = np.unique(bins, return_inverse=True)
    lows, highs = cuts[kept].tolist(), cuts[np.minimum(kept + 1, len(cuts) - 1)].tolist()
    labels = tuple(
        f"{'(' if index else '['}{number(low)}, {number(high)}]"
        for index, low, high in zip(kept.tolist(), lows, highs, strict=True)
    )
    return labels, which


@cached_per_run
def columns_of(run: Run) -> dict[str, ParameterColumn]:
    """The column of each parameter; configs are in the order of `Run.results`."""
    return {name: column_of(run.results.values(name, MISSING)) for name in run.parameters}


def varying(run: Run) -> tuple[str, ...]:
    """The parameters that differ between the configs of a run."""
    return tuple(name for name, column in columns_of(run).items() if len(column.values) > 1)


def differing(
    results: Sequence[ConfigResult | CertifiedResult], names: Sequence[str]
) -> tuple[str, ...]:
    """The parameters that differ between these few configs."""
    columns = {name: column_of([r.point.get(name, MISSING) for r in results]) for name in names}
    return tuple(name for name, column in columns.items() if len(column.values) > 1)


# -------------------------------------------------------------------------------------------------
# Which parameters matter: the mean success rate at each level, among the configs visited.

MIN_CONFIGS = 5  # for a bootstrap interval
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
MOST_LEVELS = 25  # of a table that can still be read; the bootstrap of each level takes time
RESAMPLES = 1000


@dataclass(frozen=True)
class Level:
    """One value, or one bin of values, of a parameter.

    Attributes:
        label: the value, or the bin as `(low, high]`.
        configs: how many configs have it.
        rate: the mean of their success rates, each with the same weight whatever its seeds.
        interval: its 95 % bootstrap interval over configs; None below 5 configs, or if all have
            the same rate.
    """

    label: str
    configs: int
    rate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter that differs between configs.

    Attributes:
        levels: the bins, and at most the `MOST_LEVELS` most frequent values.
        importance: Optuna's, as a share of one; None if the manifest has none.
        by_chance: whether so large a share comes about by chance, where no parameter matters.
        spread: the standard deviation of the rates of all levels. The weight of a level is its
            number of configs minus one, because a single config says nothing about its level.
        left_out: the number of levels that are not in `levels`.
    """

    name: str
    levels: tuple[Level, ...]
    importance: float | None
    spread: float
    left_out: int = 0
    by_chance: bool = False


def parameter_effects(
    columns: Mapping[str, ParameterColumn],
    rates: NDArray[np.float64],
    importance: Mapping[str, float],
    by_chance: Collection[str] = (),
) -> tuple[ParameterEffect, ...]:
    """The effects of all parameters that vary, ordered by importance, then by spread.

    The unit is the config, because the seeds of one config are not an independent sample of a
    level: all configs have the same weight, and the bootstrap resamples configs.
    """
    effects = [
        replace(
            _effect(name, column, rates, importance.get(name)),
            by_chance=name in importance and name in by_chance,
        )
        for name, column in columns.items()
        if len(column.values) > 1
    ]
    return tuple(sorted(effects, key=lambda e: (-(e.importance or 0.0), -e.spread)))


def _effect(
    name: str, column: ParameterColumn, rates: NDArray[np.float64], importance: float | None
) -> ParameterEffect:
    bins, grouped = _grouped(column)
    ids, which, configs = np.unique(grouped, return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=rates) / configs
    # A text may have a different value in each config: keep the bins and the most frequent values.
    most_frequent = np.lexsort((-configs, ids >= len(bins)))[: len(bins) + MOST_LEVELS]
    kept = sorted(most_frequent.tolist())
    codes = [int(ids[at]) - len(bins) for at in kept if ids[at] >= len(bins)]
    labels = [*bins, *column.labels(codes)]
    with ThreadPoolExecutor() as pool:  # NumPy's random draws release the GIL
        levels = list(pool.map(level_of, labels, [rates[which == at] for at in kept]))
    if not bins:
        levels.sort(key=lambda level: (-level.rate, level.label))
    spread, weights = 0.0, configs - 1
    if weights.any():
        mean = np.average(means, weights=weights)
        spread = float(np.sqrt(np.average((means - mean) ** 2, weights=weights)))
    return ParameterEffect(name, tuple(levels), importance, spread, len(ids) - len(kept))


def _grouped(column: ParameterColumn) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Group the numbers of a column into bins if it has too many distinct ones.

    Returns:
        The labels of B bins, none without bins; and for each config, shape (C,), its bin if below
        B, otherwise B plus the code of its value.
    """
    reals, numbers = column.reals, column.numbers
    if np.unique(reals[~np.isnan(reals)]).size <= MAX_LEVELS:
        return (), column.codes
    numeric = ~np.isnan(numbers)
    labels, bins = quantile_bins(numbers[numeric], 4)
    which = column.codes + len(labels)
    which[numeric] = bins
    return labels, which


def level_of(label: str, rates: NDArray[np.float64]) -> Level:
    """The level of C >= 1 configs with these success rates, shape (C,)."""
    interval = None
    if rates.size >= MIN_CONFIGS and np.ptp(rates):
        distinct, configs = np.unique(rates, return_counts=True)
        interval = _bootstrap_interval(tuple(distinct.tolist()), tuple(configs.tolist()))
    return Level(label, int(rates.size), float(rates.mean()), interval)


@lru_cache(maxsize=256)  # tables and figures ask for the same levels
def _bootstrap_interval(rates: tuple[float, ...], configs: tuple[int, ...]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of these distinct rates, by their configs."""
    # To resample configs is to draw the count of each distinct rate from a multinomial.
    size = sum(configs)
    draws = np.random.default_rng(0).multinomial(size, np.array(configs) / size, size=RESAMPLES)
    means = (draws * np.array(rates)).sum(axis=1) / size
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# -------------------------------------------------------------------------------------------------
# Which configs are indistinguishable from the best one.


@dataclass(frozen=True)
class BestSubset:
    """The configs that are indistinguishable from the best.

    Attributes:
        full: the number of seeds of a config that is compared.
        compared: how many configs had them, the best included.
        stopped: how many configs had fewer, because they were stopped early.
        members: the best, and those indistinguishable from it, best first.
    """

    full: int
    compared: int
    stopped: int
    members: ConfigResults


ALPHA = 0.05  # maximum probability that the truly best config is not in the best subset


def best_subset(results: ConfigResults, full: int) -> BestSubset:
    """The configs that the observed best does not beat, among those with the full seeds.

    With m configs compared, a config leaves the set when the observed best beats it in a one-sided
    exact McNemar test, on the seeds that both had, at level alpha / (m - 1). The truly best config
    leaves only if *some* other config beats it at that level; each of the m - 1 others does so with
    probability at most alpha / (m - 1), so by the union bound the set holds the truly best of the
    compared configs with probability at least 1 - alpha, whichever of them looks best. This
    accounts for the choice of the best. Which configs got the full seeds was decided on the first
    of the same seeds: a truly best config that was stopped there is not compared.

    Args:
        results: best first, as in `Run.results`.
        full: `Run.full_seeds`.

    Source:
        Subset selection: Gupta (1965), Technometrics 7, 225-245; simultaneous comparison with the
        best: Hsu (1981), Annals of Statistics 9, 1026-1034.
    """
    compared = np.flatnonzero(results.counts.n >= full)
    members = compared
    if len(compared) > 1:
        only_best, only_other = _discordant(results, compared)
        is_beaten = mcnemar_greater(only_best, only_other) <= ALPHA / (len(compared) - 1)
        is_beaten[0] = False  # the best itself
        members = compared[~is_beaten]
    stopped = len(results) - len(compared)
    return BestSubset(full, len(compared), stopped, results.chosen(members))


CONFIGS_AT_ONCE = 10_000  # configs whose seeds are in memory at once


def _discordant(results: ConfigResults, compared: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count shared seeds that only the best solved (row 0), or only the other config (row 1).

    Int64, shape (2, C): one column for each config compared; the first is the best itself.
    """
    best = results[int(compared[0])].outcome
    pairs = np.zeros((2, len(compared)), np.int64)
    for start in range(0, len(compared), CONFIGS_AT_ONCE):
        part = compared[start : start + CONFIGS_AT_ONCE]
        seeds = results.seeds(part)
        at = np.minimum(np.searchsorted(best.seeds, seeds.seed), best.n - 1)
        shared = best.seeds[at] == seeds.seed
        by_best, by_other = best.solved[at], seeds.status == Status.SOLVED
        for row, differ in enumerate((by_best & ~by_other, by_other & ~by_best)):
            counts = np.bincount(seeds.config[shared & differ], minlength=len(part))
            pairs[row, start : start + len(part)] = counts
    return pairs


# -------------------------------------------------------------------------------------------------
# Which configs are on the Pareto front.


class FrontRow(NamedTuple):
    """A config, its estimate for each objective, and whether it is on the front."""

    result: ConfigResult
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
        amounts = estimates(objectives, result.point, summary_of(result.outcome, objectives))
        estimate = {o.name: amount for o, amount in zip(objectives, amounts, strict=True)}
        rows.append(FrontRow(result, estimate, bool(run.front[place])))
    return tuple(rows)


# -------------------------------------------------------------------------------------------------
# The finalists of a certificate: fresh seeds beside the counts of the search.

WORST = "worst neighbour"  # the last column of a certificate with neighbours


def certified_table(certificate: Certificate, run: Run) -> Table:
    """The finalists, each with its largest bound; the attempt that has it, if they differ."""
    report = report_of(run)
    score = report.score
    several = len({one.attempt for one in certificate.finalists}) > 1
    has_neighbours = any(one.neighbours for one in certificate.finalists)
    heads = ["attempt"] if several else []
    heads += [f"{score.name} ({score.worst})"] if score else []
    heads += [WORST] if has_neighbours else []
    rows = [
        (
            config_text(one.point, report.varied) or "the only setting",
            f"{one.search.k}/{one.search.n} {one.search.rate_text}",
            f"{one.k}/{one.n} {one.rate_text}",
            _gap(one),
            lower_percent(one.lower_bound),
            *([str(one.attempt)] if several else []),
            *([_fresh_score(run, score, one)] if score else []),
            *([_worst_neighbour(one)] if has_neighbours else []),
        )
        for one in certificate.finalists
    ]
    columns = numbers("search", "fresh seeds", "gap", "rate at least", *heads)
    return table_of([*texts("configuration"), *columns], rows)


def _fresh_score(run: Run, score: Score, one: CertifiedResult) -> str:
    """The median of the trainer's own number on fresh seeds, and its worse decile."""
    certified = certified_outcome(run, run.certificate, one.key, one.attempt)
    if certified is None:
        return "–"
    median, worst = score.of(certified[1])
    return "–" if math.isnan(median) else f"{number(median)} ({number(worst)})"


def certified_lines(certificate: Certificate) -> list[str]:
    """What the bounds guarantee together, and the other attempts."""
    return lines_of("certificate.txt.jinja", certificate=certificate, ledger=LEDGER)


def left_out(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why the search did not make the certificate it was to make, and the command that does."""
    entry = manifest.get("not_certified")
    if entry is None:
        return None
    seconds = entry.get("seconds")
    takes = "does it" if seconds is None else f"takes about {duration(seconds)}"
    return f"Not certified: {plain(entry['why'])}. This {takes}:", plain(entry["command"])


def _gap(result: CertifiedResult) -> str:
    """The gap in percentage points, with the decimals that its interval supports."""
    search = result.search
    low, high = unpaired_difference(search.k, search.n, result.k, result.n)
    digits = decimals(float(low), float(high))
    gap = round(100 * result.gap, digits)
    return f"{gap:+.{digits}f}" if gap else "0"


def _worst_neighbour(result: CertifiedResult) -> str:
    worst = result.worst_neighbour
    if worst is None:
        return "–"
    moved = config_text(Point({worst.parameter: worst.value}), [worst.parameter])
    text = f"{worst.rate_text} ({moved})"
    bound = result.neighbourhood_bound
    return text if bound is None else f"{text}; all at least {lower_percent(bound)}"


# -------------------------------------------------------------------------------------------------
# A config as a PyTorch script, and as the command that trains it.

MAX_ROWS = 32  # of a task whose inputs are written into a script


def plain_script(config: Config, task: Task, seed: int) -> str | None:
    """PyTorch that trains a config under one seed and prints its predictions.

    None for a task with held-out rows, or with more than `MAX_ROWS` rows.
    """
    if task.held_out_inputs is not None or task.inputs.shape[0] > MAX_ROWS:
        return None
    return _script("script.py.jinja", config, task, seed=seed)


def counting_script(config: Config, task: Task, seeds: Sequence[range], expected: int) -> str:
    """PyTorch that trains a config under these seeds and prints how many it solves.

    Beside its count it prints `expected`, the count of the run.
    """
    return _script("counting.py.jinja", config, task, seeds=seeds, expected=expected)


def _script(name: str, config: Config, task: Task, **values: Any) -> str:
    softmax = config.activation in SOFTMAX_LIKE
    template = environment().get_template(name)
    text = template.render(config=config, task=task, softmax=softmax, tensor=_tensor, **values)
    return text.rstrip("\n")


def _tensor(rows: NDArray[np.float32]) -> str:
    """The numbers with as few digits as float32 needs."""
    return f"torch.tensor({[[float(str(number)) for number in row] for row in rows]})"


FRESH_SEED, FRESH_SEEDS = HAND.start, 1000
"""The first of the seeds that a reader trains the best config under, and how many."""


def evaluate_command(config: Config, task: str) -> str:
    """The command that trains a config under fresh seeds."""
    words = ["xortune", "evaluate", "--activation", config.activation or "none"]
    words += ["--loss", config.loss, "--optimizer", config.optimizer, "--lr", repr(config.lr)]
    if config.momentum:
        words += ["--momentum", repr(config.momentum)]
    words += ["--hidden-dim", str(config.hidden_dim), "--epochs", str(config.epochs)]
    if not config.zero_grad:
        words.append("--no-zero-grad")
    if task != "xor":
        words += ["--task", task]
    return shlex.join([*words, "--seeds", str(FRESH_SEEDS), "--first-seed", str(FRESH_SEED)])


def certify_command(run: Run, seeds: int, path: str = "RUN") -> str | None:
    """The command that trains a run's best on fresh seeds; None if the space file is missing."""
    command = f"xortune certify {shlex.quote(path)} --seeds {seeds}"
    if run.is_network:
        return command
    if (space := space_of(run)) is None:
        return None
    # Only the user knows what trained a function from Python, or imported results.
    return command if space.trainer else f"{command} --trainer FILE.py:FUNCTION"


# -------------------------------------------------------------------------------------------------
# The values of a run's report.

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


@dataclass(frozen=True)
class NoOutcome:
    """Evaluations that produced no outcome, for one reason.

    Attributes:
        retried: attempts that were repeated.
        given_up: blocks without an outcome after all attempts; their seeds count as crashed.
    """

    reason: str
    retried: int
    given_up: int
    example: Evaluation


class Report:
    """The values of a run's report; see `report_of`."""

    def __init__(self, run: Run) -> None:
        results, manifest = run.results, run.manifest
        importance = manifest.get("importance") or {}
        resampled = manifest.get("importance_resampled") or {}
        by_chance = resampled.get("chance", ())
        effects = parameter_effects(columns_of(run), results.counts.rate, importance, by_chance)
        differ = {effect.name for effect in effects}
        self.title = plain(str(manifest.get("name") or run.path.resolve().name))
        self.varied = tuple(n for n in run.parameters if n in differ or len(results) < 2)
        self.fixed = [name for name in run.parameters if name not in self.varied]
        self.top = results[:10]
        self.best = results[0] if results else None
        self.configs = len(results)
        self.seeds = int(results.counts.n.sum())
        self.proposals = int(results.trials.sum())
        self.failures = failures_of(results)
        self.solved = self.failures.counts[Status.SOLVED]
        self.tied = best_subset(results, run.full_seeds)
        self.effects = effects
        # The configs, those in the better tenth, and the minimum for that tenth.
        configs, better, needed, tied = (
            resampled.get(name, 0) for name in ("configs", "better", "needed", "tied")
        )
        few = better < needed or configs < 2 * needed
        self.too_few_for_importance = (configs, better, needed) if few and not tied else None
        # How many configs tie for the last place of the better tenth, if that leaves no tenth.
        self.tied_for_importance = (configs, tied) if tied else None
        # The number of a user's trainer that is the only objective; None otherwise.
        self.looked_for = only_statistic(run.objectives)
        # The number of a user's trainer that is shown beside k / n, if none is the objective.
        self.score = None if self.looked_for else score_in(run)
        self.ending = ending_of(run)
        self.complete = manifest.get("complete") is not False
        self.stopped = stopped_because(manifest)
        self.no_outcome = _no_outcome(run.evaluations)
        self.asked = _asked(run)
        self.space = run.space_text if (run.path / SPACE).exists() else None
        self.reproduce = _reproduce(manifest)
        self.script, self.run_as, self.again = _scripts(run)


def ending_of(run: Run) -> Ending | None:
    """What a search for the best success rate can say of its answer; None of others."""
    space, counts = space_of(run), run.results.counts
    if space is None or len(run.results) < 2 or is_imported(run.manifest):
        return None
    if len(space.seeds.ladder) < 2 or not weighs_seeds(space.objectives, space.stop):
        return None
    sizes = Counter(zip(counts.k.tolist(), counts.n.tolist(), strict=True))
    return ending([Group(k, n, members, 0) for (k, n), members in sizes.items()], aim_of(space))


def score_in(run: Run) -> Score | None:
    """The number that the figures show; None if seeds have none."""
    outcomes = [result.outcome for result in run.results[:10]]
    score = score_of(run.objectives, measured_names(outcomes))
    return score if score is not None and score.name in number_names(outcomes) else None


@cached_per_run
def report_of(run: Run) -> Report:
    """Every value of a run's report."""
    return Report(run)


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


def busy_sentence(workers: int, share: float) -> str:
    """How much of the time in which workers were there they trained."""
    verb = "was" if workers == 1 else "were"
    return f"{count(workers, 'worker')} {verb} busy {percent(share)} of the time"


def _asked(run: Run) -> tuple[tuple[str, str], ...]:
    """What was asked for, and the time it took, as rows of a label and a text."""
    rows = [
        (label, ", ".join(f"{plain(o['name'])} ({o['direction']})" for o in entry))
        if name == "objectives"
        else (label, _entry_text(entry))
        for name, label in ASKED.items()
        if (entry := run.manifest.get(name)) is not None
    ]
    if seconds := sum(run.evaluations.seconds):  # a published run may have none
        rows.append(("training time, over all workers", f"{number(round(seconds, 1))} s"))
        if seeds := int(run.results.counts.n.sum()):
            rows.append(("time of a seed", f"{duration(seconds / seeds)}, the mean of {seeds:,}"))
        if (share := busy_share(run.manifest)) is not None:
            rows.append(("use of workers", busy_sentence(*share)))
        began, ended = (moment(run.manifest.get(name)) for name in ("started", "finished"))
        if began is not None and ended is not None and ended > began:
            rows.append(("from start to end", duration(ended - began)))
    for label, uncounted, why in (
        ("made by other versions, not counted", run.set_aside, ""),
        (
            "not finished, in no count",
            run.evaluations.with_error(NOT_FINISHED),
            ", proven worse meanwhile",
        ),
    ):
        if uncounted:
            seeds, configs = int(uncounted.column("count").sum()), len(uncounted.keys)
            rows.append((label, f"{number(seeds)} seeds of {number(configs)} configurations{why}"))
    return tuple(rows)


def _entry_text(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return ", ".join(f"{plain(str(name))} {_entry_text(part)}" for name, part in entry.items())
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        return ", ".join(map(_entry_text, entry))
    return plain(str(entry))


def _no_outcome(evaluations: Evaluations) -> tuple[NoOutcome, ...]:
    reasons: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations.where(evaluations.column("outcome") == 0):
        if evaluation.error not in NO_FAILURES:
            reasons.setdefault(evaluation.error or "no reason given", []).append(evaluation)
    rows = [
        NoOutcome(reason, sum(not e.final for e in failed), sum(e.final for e in failed), failed[0])
        for reason, failed in reasons.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.given_up, -row.retried, row.reason)))


def _reproduce(manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    command = manifest.get("command")
    entries = {
        "command": command if command is None or isinstance(command, str) else shlex.join(command),
        "seed of the search": manifest.get("seed"),
        "git commit": manifest.get("git_commit"),
        "versions": manifest.get("versions"),
    }
    rows = ((label, _entry_text(one)) for label, one in entries.items() if one is not None)
    return tuple((label, text) for label, text in rows if text)


def space_of(run: Run) -> SearchSpace | None:
    """The run's space; None if its file is gone, or a file that it names."""
    try:
        return run.asked
    except InputError:
        return None


def task_argument(run: Run) -> str | None:
    """The run's task as an argument of `xortune evaluate --task`; None for a user's trainer."""
    if not run.is_network:
        return None
    task = named_task(run.manifest)
    return "FILE.csv" if task is None else task.name


def named_task(manifest: Mapping[str, Any]) -> Task | None:
    """The built-in task of a run; None for a task from a file."""
    name = manifest.get("task")
    if not isinstance(name, str) or name.endswith(".csv"):
        return None
    try:
        task = Task.named(name)
    except InputError:
        return None
    # A task from xor.csv has the name xor, too.
    return task if manifest.get("task_fingerprint", task.fingerprint) == task.fingerprint else None


def _scripts(run: Run) -> tuple[str | None, str | None, str | None]:
    """The best config as a PyTorch script, as a user's command, and the command for fresh seeds."""
    if not run.results:
        return None, None, None
    best = run.results[0]
    seeds, solved = best.outcome.seeds, best.outcome.seeds[best.outcome.solved]
    if (name := task_argument(run)) is not None:
        task, config = named_task(run.manifest), Config.from_point(best.point)
        seed = int((solved if solved.size else seeds)[0])
        script = None if task is None else plain_script(config, task, seed)
        return script, None, evaluate_command(config, name)
    text, space = None, space_of(run)
    if space is not None and (command := space.command) is not None:
        argv = command.template.argv(best.point.as_dict(), int(seeds[0]))
        text = "\n".join(map(plain, shlex.join(argv).split("\n")))  # a value may have lines
    return None, text, certify_command(run, FRESH_SEEDS)
