"""What a report says of a run, as values: parameters, the best subset, certificates, commands."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.contestants import certified_outcome
from xortune.core.config import SOFTMAX_LIKE, Config
from xortune.core.errors import InputError
from xortune.core.formats import config_text, decimals, duration, number, plain, value
from xortune.core.outcome import Status, rate_of
from xortune.core.point import Point
from xortune.core.seeds import HAND
from xortune.core.task import Task
from xortune.core.trainer import NO_FAILURES, NOT_FINISHED
from xortune.racing.objectives import summed_only
from xortune.reports.document import Table, environment, lines_of, numbers, table_of, texts
from xortune.runs.certificate import Certificate, CertifiedResult
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.manifest import stopped_because
from xortune.runs.results import ConfigResult, ConfigResults, Score, number_names, score_of
from xortune.runs.run import Run
from xortune.runs.status import moment
from xortune.stats.numbers import summary
from xortune.stats.proportions import mcnemar_greater, unpaired_difference

# -------------------------------------------------------------------------------------------------
# What is computed once for each run, however many figures and tables ask for it.

T = TypeVar("T")


def cached_per_run(function: Callable[[Run], T]) -> Callable[[Run], T]:
    """Caches the function's result for a run's lifetime, which is frozen."""
    known: WeakKeyDictionary[Run, T] = WeakKeyDictionary()

    @wraps(function)
    def kept(run: Run) -> T:
        if run not in known:
            known[run] = function(run)
        return known[run]

    return kept


# -------------------------------------------------------------------------------------------------
# One parameter over many configs: its distinct values, its numbers, quantile bins of them.

MISSING = object()  # what a config has for a parameter that is not active


@dataclass(frozen=True, eq=False)
class ParameterColumn:
    """A parameter over C configs.

    Attributes:
        values: the distinct ones; `MISSING` where a config does not have it.
        codes: int32, shape (C,): places in `values`.
    """

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def reals(self) -> NDArray[np.float64]:
        """Shape (V,): each distinct value, NaN where it is no number."""
        return np.array([_real(given) for given in self.values])

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (C,): the value of each config, NaN where it is no number."""
        return self.reals[self.codes]

    def labels(self, places: Sequence[int]) -> list[str]:
        """What these distinct values are called beside each other."""
        given = [self.values[place] for place in places]
        shown = ["(not active)" if one is MISSING else value(one) for one in given]
        # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the number.
        alike = Counter(shown)
        return [
            plain(repr(one)) if alike[label] > 1 and one is not MISSING else label
            for one, label in zip(given, shown, strict=True)
        ]


def column_of(given: Sequence[Any]) -> ParameterColumn:
    """A parameter over C configs, of which these are the values."""
    if bool in (kinds := set(map(type, given))) and len(kinds) > 1:
        # True == 1 in Python, and they are different values of a parameter.
        pairs = column_of([(type(one) is bool, one) for one in given])
        return ParameterColumn(tuple(one for _, one in pairs.values), pairs.codes)
    places = {one: place for place, one in enumerate(dict.fromkeys(given))}
    codes = np.fromiter(map(places.__getitem__, given), np.int32, len(given))
    return ParameterColumn(tuple(places), codes)


def quantile_bins(
    numbers: NDArray[np.float64], count: int
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """N numbers in at most so many bins with about as many in each; none is empty.

    Returns:
        Labels, ascending: `[low, high]` of the first, `(low, high]` of the others; and the bin of
        each number, shape (N,).
    """
    cuts = np.quantile(numbers, np.linspace(0, 1, count + 1))
    if (numbers == np.floor(numbers)).all():
        cuts = np.floor(cuts)  # up to 7.67 is up to 7
    cuts = np.unique(cuts)
    bins = np.clip(np.searchsorted(cuts, numbers) - 1, 0, max(len(cuts) - 2, 0))
    kept, which = np.unique(bins, return_inverse=True)
    lows, highs = cuts[kept].tolist(), cuts[np.minimum(kept + 1, len(cuts) - 1)].tolist()
    labels = tuple(
        f"{'(' if index else '['}{number(low)}, {number(high)}]"
        for index, low, high in zip(kept.tolist(), lows, highs, strict=True)
    )
    return labels, which


def _real(given: Any) -> float:
    if type(given) not in (int, float):
        return float("nan")
    try:
        return float(given)
    except OverflowError:
        return float("inf") if given > 0 else float("-inf")


@cached_per_run
def columns_of(run: Run) -> dict[str, ParameterColumn]:
    """Each parameter over the configs of a run, in the order of `Run.results`."""
    return {name: column_of(run.results.values(name, MISSING)) for name in run.parameters}


def varying(run: Run) -> tuple[str, ...]:
    """The parameters of which not all configs of a run have the same value."""
    return tuple(name for name, column in columns_of(run).items() if len(column.values) > 1)


def differing(
    results: Sequence[ConfigResult | CertifiedResult], names: Sequence[str]
) -> tuple[str, ...]:
    """The parameters of which these few configs do not all have the same value."""
    columns = {name: column_of([r.point.get(name, MISSING) for r in results]) for name in names}
    return tuple(name for name, column in columns.items() if len(column.values) > 1)


# -------------------------------------------------------------------------------------------------
# Which parameters matter: the mean success rate at each level, among the configs visited.

MIN_CONFIGS = 5  # a bootstrap over fewer configs says nothing
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
MOST_LEVELS = 25  # beyond them a table is not read, and each level's bootstrap takes its time
RESAMPLES = 1000


@dataclass(frozen=True)
class Level:
    """One value, or one bin of values, of a parameter.

    Attributes:
        label: the value, or the bin as `(low, high]`.
        configs: how many configs have it; each counts once, however many seeds it had.
        rate: the mean of their success rates.
        interval: its 95 % bootstrap interval over configs; None below 5 configs, and where all have
            the same rate, of which resamples say nothing.
    """

    label: str
    configs: int
    rate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter that differs between configs.

    Attributes:
        levels: the most frequent ones, at most `MOST_LEVELS` and the bins.
        importance: Optuna's, as a share of one, if the run knows it.
        spread: how far apart the rates of all levels lie: their standard deviation. Each has the
            weight of its configs less one: a config that is alone at its level says nothing of it.
        left_out: so many levels more there are.
    """

    name: str
    levels: tuple[Level, ...]
    importance: float | None
    spread: float
    left_out: int = 0


def parameter_effects(
    columns: Mapping[str, ParameterColumn],
    rates: NDArray[np.float64],
    importance: Mapping[str, float],
) -> tuple[ParameterEffect, ...]:
    """The effects of all parameters that vary: the most important first, if that is known.

    Those of which it is not follow, the one whose levels lie furthest apart first.

    Seeds of one config are no independent sample of a level, so configs are the unit: equally
    weighted, and the bootstrap draws configs.
    """
    effects = [
        _effect(name, column, rates, importance.get(name))
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
    # A text may have another value in each config, of which none is a level.
    often = np.lexsort((-configs, ids >= len(bins)))[: len(bins) + MOST_LEVELS]
    kept = sorted(often.tolist())
    codes = [int(ids[at]) - len(bins) for at in kept if ids[at] >= len(bins)]
    labels = [*bins, *column.labels(codes)]
    with ThreadPoolExecutor() as pool:  # drawing lets others go on
        levels = list(pool.map(level_of, labels, [rates[which == at] for at in kept]))
    if not bins:
        levels.sort(key=lambda level: (-level.rate, level.label))
    spread, weights = 0.0, configs - 1
    if weights.any():
        mean = np.average(means, weights=weights)
        spread = float(np.sqrt(np.average((means - mean) ** 2, weights=weights)))
    return ParameterEffect(name, tuple(levels), importance, spread, len(ids) - len(kept))


def _grouped(column: ParameterColumn) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The labels of bins of numbers, if they are in bins, and of each config its bin or level.

    Returns:
        Labels of B bins; shape (C,): below B the bin, from there on the code of a value.
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
    """The level of C configs with these success rates, shape (C,), at least one."""
    found = None
    if rates.size >= MIN_CONFIGS and np.ptp(rates):
        distinct, configs = np.unique(rates, return_counts=True)
        found = _resampled(tuple(distinct.tolist()), tuple(configs.tolist()))
    return Level(label, int(rates.size), float(rates.mean()), found)


@lru_cache(maxsize=256)  # tables and figures ask for the same levels
def _resampled(rates: tuple[float, ...], configs: tuple[int, ...]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of distinct rates, each of so many configs."""
    # Resampling configs is a multinomial draw of how often each distinct rate comes.
    size = sum(configs)
    draws = np.random.default_rng(0).multinomial(size, np.array(configs) / size, size=RESAMPLES)
    means = (draws * np.array(rates)).sum(axis=1) / size
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# -------------------------------------------------------------------------------------------------
# Which configs are indistinguishable from the best one.


@dataclass(frozen=True)
class BestSubset:
    """What the comparison with the best came to.

    Attributes:
        full: the seeds that a config must have had to be compared.
        compared: how many configs had them, the best included.
        stopped: how many configs got fewer; they were stopped early and are not compared.
        members: those not distinguishable from the best, best first; the best is the first.
    """

    full: int
    compared: int
    stopped: int
    members: ConfigResults


ALPHA = 0.05  # the probability, at most, that the truly best is missing in the best subset


def best_subset(results: ConfigResults, full: int) -> BestSubset:
    """The configs that the observed best does not beat, among those with the full seeds.

    With m configs compared, a config leaves the set when the observed best beats it in a one-sided
    exact McNemar test, on the seeds that both had, at level alpha / (m - 1). The truly best config
    leaves only if *some* other config beats it at that level; each of the m - 1 others does so with
    probability at most alpha / (m - 1), so by the union bound the set holds the truly best of the
    compared configs with probability at least 1 - alpha, whichever of them looks best. The choice
    of the best is thereby accounted for. Which configs got the full seeds was decided on the
    first of the same seeds; a truly best one that was stopped there is not among the compared.

    Args:
        results: best first, as in `Run.results`.
        full: the full seeds; see `Run.full_seeds`.

    Source:
        Subset selection: Gupta (1965), Technometrics 7, 225-245; simultaneous comparison with the
        best: Hsu (1981), Annals of Statistics 9, 1026-1034.
    """
    compared = np.flatnonzero(results.counts.n >= full)
    kept = compared
    if len(compared) > 1:
        only_best, only_other = _discordant(results, compared)
        lost = mcnemar_greater(only_best, only_other) <= ALPHA / (len(compared) - 1)
        lost[0] = False  # the best itself
        kept = compared[~lost]
    stopped = len(results) - len(compared)
    return BestSubset(full, len(compared), stopped, results.chosen(kept))


def _discordant(results: ConfigResults, compared: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the seeds that both had, those that only the best solved and those that only another did.

    One column for each that is compared, the best, of which both are 0, first: int64, shape (2, C).
    """
    best = results[int(compared[0])].outcome
    pairs = np.zeros((2, len(compared)), np.int64)
    for start in range(0, len(compared), PART):
        part = compared[start : start + PART]
        seeds = results.seeds(part)
        at = np.minimum(np.searchsorted(best.seeds, seeds.seed), best.n - 1)
        both = best.seeds[at] == seeds.seed
        mine, theirs = best.solved[at], seeds.status == Status.SOLVED
        for row, differ in enumerate((mine & ~theirs, theirs & ~mine)):
            found = np.bincount(seeds.config[both & differ], minlength=len(part))
            pairs[row, start : start + len(part)] = found
    return pairs


PART = 10_000  # configs whose seeds are in memory at once


# -------------------------------------------------------------------------------------------------
# What fresh seeds say of finalists beside the counts of their search.


WORST = "worst neighbour"  # the column of a certificate's table that only one with neighbours has


def lower(found: CertifiedResult) -> str:
    """The lower bound, rounded down."""
    return _down(found.lower_bound)


def _down(bound: float | None) -> str:
    return "–" if bound is None else f"{int(bound * 1e4 + 1e-6) / 100:.2f} %"


def certified_table(certificate: Certificate, run: Run) -> Table:
    """The finalists of the last complete attempt, in its order, with their own number."""
    found, report = certificate.finalists, report_of(run)
    varied, score = report.varied, report.score
    measures = any(one.neighbours for one in found)
    heads = [f"{score.name} ({score.worst})"] if score else []
    heads += [WORST] if measures else []
    rows = [
        (
            config_text(one.point, varied),
            f"{one.search_k}/{one.search_n} {rate_of(one.search_k, one.search_n)}",
            f"{one.k}/{one.n} {rate_of(one.k, one.n)}",
            _gap(one),
            lower(one),
            *([_own(run, score, one.key)] if score else []),
            *([_worst(one)] if measures else []),
        )
        for one in found
    ]
    columns = numbers("search", "fresh seeds", "gap", "rate at least", *heads)
    return table_of([*texts("configuration"), *columns], rows)


def _own(run: Run, score: Score, key: str) -> str:
    """The median and the worse decile on fresh seeds."""
    certified = certified_outcome(run, run.certificate, key)
    if certified is None:
        return "–"
    found = summary(certified[1].details.values.get(score.name, np.empty(0)))
    if math.isnan(found["median"]):
        return "–"
    return f"{number(found['median'])} ({number(found[score.worst])})"


def certified_lines(certificate: Certificate) -> list[str]:
    """What the bounds promise together, and the other attempts."""
    return lines_of("certificate.txt.jinja", certificate=certificate, lower=lower)


def left_out(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a search left out the certificate that was asked for, and the command that makes it."""
    noted = manifest.get("not_certified")
    if noted is None:
        return None
    seconds = noted.get("seconds")
    takes = "does it" if seconds is None else f"takes about {duration(seconds)}"
    return f"Not certified: {plain(noted['why'])}. This {takes}:", plain(noted["command"])


def _gap(found: CertifiedResult) -> str:
    """In the decimals that the interval of this difference supports."""
    low, high = unpaired_difference(found.search_k, found.search_n, found.k, found.n)
    digits = decimals(float(low), float(high))
    shown = round(100 * found.gap, digits)
    return f"{shown:+.{digits}f}" if shown else "0"


def _worst(found: CertifiedResult) -> str:
    worst = found.worst_neighbour
    if worst is None:
        return "–"
    moved = config_text(Point({worst.parameter: worst.value}), [worst.parameter])
    text = f"{rate_of(worst.k, worst.n)} ({moved})"
    bound = found.neighbourhood_bound
    return text if bound is None else f"{text}; all at least {_down(bound)}"


# -------------------------------------------------------------------------------------------------
# A config written down: as plain PyTorch, and as the command that trains it.

MAX_ROWS = 32  # more would bury the script in numbers


def plain_script(config: Config, task: Task, seed: int) -> str | None:
    """PyTorch that trains a config under one seed and prints its predictions.

    None for a task that has held-out rows, or more than 32 rows.
    """
    if task.held_out_inputs is not None or task.inputs.shape[0] > MAX_ROWS:
        return None
    return _script("script.py.jinja", config, task, seed=seed)


def counting_script(config: Config, task: Task, seeds: Sequence[range], expected: int) -> str:
    """PyTorch that trains a config under some seeds and counts those that are solved.

    It says beside its count how many of them the run has counted, the `expected`.
    """
    return _script("counting.py.jinja", config, task, seeds=seeds, expected=expected)


def _script(template: str, config: Config, task: Task, **values: Any) -> str:
    softmax = config.activation in SOFTMAX_LIKE
    found = environment().get_template(template)
    text = found.render(config=config, task=task, softmax=softmax, tensor=_tensor, **values)
    return text.rstrip("\n")


def _tensor(rows: NDArray[np.float32]) -> str:
    """The numbers in as few digits as float32 has."""
    return f"torch.tensor({[[float(str(number)) for number in row] for row in rows]})"


def evaluate_command(config: Config, task: str, *, first: int, seeds: int) -> str:
    """The command that trains a config under other seeds."""
    words = ["xortune", "evaluate", "--activation", config.activation or "none"]
    words += ["--loss", config.loss, "--optimizer", config.optimizer, "--lr", repr(config.lr)]
    if config.momentum:
        words += ["--momentum", repr(config.momentum)]
    words += ["--hidden-dim", str(config.hidden_dim), "--epochs", str(config.epochs)]
    if not config.zero_grad:
        words.append("--no-zero-grad")
    if task != "xor":
        words += ["--task", task]
    return shlex.join([*words, "--seeds", str(seeds), "--first-seed", str(first)])


def certify_command(run: Run, seeds: int, path: str = "RUN") -> str | None:
    """The command that trains a run's best on fresh seeds; None if nothing says what trains it."""
    words = f"xortune certify {shlex.quote(path)} --seeds {seeds}"
    try:
        named = run.is_network or run.asked.trainer is not None
    except InputError:  # the space is missing
        return None
    # Of a function from Python, or of imported results, only the user knows what trains.
    return words if named else f"{words} --trainer FILE.py:FUNCTION"


# -------------------------------------------------------------------------------------------------
# The values of a run's report.

FRESH_SEED, FRESH_SEEDS = HAND.start, 1000

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
"""Entries of the manifest that say what was asked, and how a report calls them."""


@dataclass(frozen=True)
class Failures:
    """How seeds failed, over all configs.

    Attributes:
        counts: seeds for each status, `Status.SOLVED` included.
        patterns: the most frequent wrong prediction patterns with their number of seeds.
        reasons: why seeds of a trainer of the user's own failed, the most frequent first, each with
            its number of seeds, and the key and number of one of them.
        printed: whether the end of what some of them printed is known.
    """

    counts: dict[Status, int]
    patterns: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, int, str, int], ...]
    printed: bool


@dataclass(frozen=True)
class NoOutcome:
    """Evaluations that produced no outcome, for one reason.

    Attributes:
        retried: tries that were repeated.
        given_up: blocks that finally have no outcome; their seeds count as crashed.
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
        effects = parameter_effects(columns_of(run), results.counts.rate, importance)
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
        # How many configs there are, how many are the better tenth, how many it would take.
        about = manifest.get("importance_resampled") or {}
        configs, better, needed = (about.get(name, 0) for name in ("configs", "better", "needed"))
        few = better < needed or configs < 2 * needed
        self.too_few_for_importance = (configs, better, needed) if few else None
        # The number of a user's trainer that is the only objective; None otherwise.
        self.looked_for = summed_only(run.objectives)
        # The number of a user's trainer beside k / n, where none is the objective.
        names = number_names(result.outcome for result in self.top)
        found = None if self.looked_for else score_of(run.objectives, names)
        self.score = found if found and found.name in names else None
        self.complete = manifest.get("complete") is not False
        self.stopped = stopped_because(manifest)
        self.no_outcome = _no_outcome(run.evaluations)
        self.asked = _asked(run)
        self.space = run.space_text if (run.path / "space.yaml").exists() else None
        self.reproduce = _reproduce(manifest)
        self.script, self.run_as, self.again = _written_down(run)


@cached_per_run  # files and the terminal draw the same one
def report_of(run: Run) -> Report:
    """Every value of a run's report."""
    return Report(run)


def failures_of(results: ConfigResults, top: int | None = 5) -> Failures:
    """How the seeds of some configs failed, with so many of the most frequent wrong patterns."""
    totals = results.counts.status.sum(axis=0).tolist()
    counts = dict(zip(Status, totals, strict=True))
    found: Counter[str] = Counter()
    for start in range(0, len(results), PART):
        seeds = results.seeds(np.arange(start, min(start + PART, len(results))))
        codes, names = seeds.patterns()
        often = np.bincount(codes[seeds.status == Status.WRONG_PATTERN], minlength=len(names))
        found.update(dict(zip(names, often.tolist(), strict=True)))
    order = sorted((-often, name) for name, often in found.items() if often and name)
    patterns = tuple((name, -often) for often, name in order[:top])
    reasons: Counter[str] = Counter()
    examples: dict[str, tuple[str, int]] = {}
    printed = False
    for result in results if results.detailed else ():
        details = result.outcome.details
        printed = printed or bool(details.output)
        reasons.update(details.failed.values())
        for seed, reason in details.failed.items():
            examples.setdefault(reason, (result.key, seed))
    told = tuple((reason, often, *examples[reason]) for reason, often in reasons.most_common())
    return Failures(counts, patterns, told, printed)


def _asked(run: Run) -> tuple[tuple[str, str], ...]:
    rows = [
        (label, ", ".join(f"{plain(o['name'])} ({o['direction']})" for o in entry))
        if name == "objectives"
        else (label, _shown(entry))
        for name, label in ASKED.items()
        if (entry := run.manifest.get(name)) is not None
    ]
    if seconds := sum(run.evaluations.seconds):  # else taken out, as of a run that is published
        rows.append(("training time, over all workers", f"{number(round(seconds, 1))} s"))
        if seeds := int(run.results.counts.n.sum()):
            rows.append(("time of a seed", f"{duration(seconds / seeds)}, the mean of {seeds:,}"))
        began, ended = (moment(run.manifest.get(name)) for name in ("started", "finished"))
        if began is not None and ended is not None and ended > began:
            rows.append(("from start to end", duration(ended - began)))
    unfinished = run.evaluations.ended(NOT_FINISHED)
    for label, uncounted, why in (
        ("made by other versions, not counted", run.set_aside, ""),
        ("not finished, in no count", unfinished, ", proven worse meanwhile"),
    ):
        if uncounted:
            seeds, configs = int(uncounted.column("count").sum()), len(uncounted.keys)
            text = f"{number(seeds)} seeds of {number(configs)} configurations{why}"
            rows.append((label, text))
    return tuple(rows)


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return ", ".join(f"{plain(str(name))} {_shown(part)}" for name, part in entry.items())
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        return ", ".join(_shown(part) for part in entry)
    return plain(str(entry))


def _no_outcome(evaluations: Evaluations) -> tuple[NoOutcome, ...]:
    reasons: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations.where(evaluations.column("outcome") == 0):
        if evaluation.error not in NO_FAILURES:
            reasons.setdefault(evaluation.error or "no reason given", []).append(evaluation)
    rows = [
        NoOutcome(reason, sum(not e.final for e in found), sum(e.final for e in found), found[0])
        for reason, found in reasons.items()
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
    known = ((label, _shown(one)) for label, one in entries.items() if one is not None)
    return tuple(row for row in known if row[1])


def task_argument(run: Run) -> str | None:
    """What `xortune evaluate --task` calls a run's task; None: a user's own training."""
    if not run.is_network:
        return None
    task = named_task(run.manifest)
    return "FILE.csv" if task is None else task.name


def named_task(manifest: Mapping[str, Any]) -> Task | None:
    """The task, if its name says what it is; one from a file has only the file's name."""
    name = manifest.get("task")
    if not isinstance(name, str) or name.endswith(".csv"):
        return None
    try:
        task = Task.named(name)
    except InputError:
        return None
    # xor.csv is called xor too.
    return task if manifest.get("task_fingerprint", task.fingerprint) == task.fingerprint else None


def _written_down(run: Run) -> tuple[str | None, str | None, str | None]:
    """The best config as plain PyTorch, as a user's command, and the command for fresh seeds."""
    if not run.results:
        return None, None, None
    best = run.results[0]
    seeds, solved = best.outcome.seeds, best.outcome.seeds[best.outcome.solved]
    if (name := task_argument(run)) is not None:
        task, config = named_task(run.manifest), Config.from_point(best.point)
        seed = int((solved if solved.size else seeds)[0])
        script = None if task is None else plain_script(config, task, seed)
        return script, None, evaluate_command(config, name, first=FRESH_SEED, seeds=FRESH_SEEDS)
    text = None
    try:
        command = run.asked.command
    except InputError:  # the space is missing
        command = None
    if command is not None:
        argv = command.template.argv(best.point.as_dict(), int(seeds[0]))
        text = "\n".join(map(plain, shlex.join(argv).split("\n")))  # a value may have lines
    return None, text, certify_command(run, FRESH_SEEDS)
