"""What a report says, as values; what draws them computes nothing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xortune.errors import InputError
from xortune.evaluation import Evaluation
from xortune.frames import seed_tables, status_counts
from xortune.imported import is_imported
from xortune.objective_numbers import summed_only
from xortune.outcome import Status
from xortune.report.format import number, plain
from xortune.report.levels import ParameterEffect, parameter_effects
from xortune.report.once import once_for_each_run
from xortune.report.script import evaluate_command, plain_script
from xortune.report.tied import TiedSet, tied_set
from xortune.run import ConfigResult, Run
from xortune.run_front import full_seeds
from xortune.run_manifest import stopped_because
from xortune.seed_ranges import HAND
from xortune.space_model import Objective
from xortune.task import Task
from xortune.trainer import NOT_FINISHED

__all__ = [
    "Failures",
    "NoOutcome",
    "Report",
    "certify_command",
    "failures_of",
    "named_task",
    "noted_importance",
    "report_of",
    "task_argument",
]

FRESH_SEED, FRESH_SEEDS = HAND.start, 1000

ASKED = {
    "task": "task",
    "trainer": "what is trained",
    "imported": "imported",
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
    reasons: tuple[tuple[str, int, str, int], ...] = ()
    printed: bool = False


@dataclass(frozen=True)
class NoOutcome:
    """Evaluations that produced no outcome, for one reason.

    Attributes:
        reason: in the words of what failed.
        retried: tries that were repeated.
        given_up: blocks that finally have no outcome; their seeds count as crashed.
        example: one of them.
    """

    reason: str
    retried: int
    given_up: int
    example: Evaluation


@dataclass(frozen=True)
class Report:
    """All values of one run's report.

    Attributes:
        title: the run's name.
        asked: what was asked, as (label, text) rows.
        space: the search-space file as it was run; None if it is missing.
        parameters: the names of all parameters.
        varied: those that differ between configs.
        top: the ten best results.
        configs, seeds, proposals: how much was done.
        complete: False if the search ended before its end, as far as the manifest knows.
        stopped: why it did, if that is known.
        tied: who cannot be told from the best.
        effects: which parameters matter.
        failures: how seeds failed.
        no_outcome: what produced no outcome, the most frequent reason first.
        reproduce: how to do it again, as (label, text) rows.
        script: plain PyTorch for one seed of the best config; None if that cannot be written.
        again: the command that trains the best config on seeds the search never saw.
        looked_for: the number of a user's own trainer that was all that was looked for; else None.
        too_few_for_importance: of how many configs how many are the better tenth, and how many that
            would have to be, if they are too few to say which parameter matters; else None.
        run_as: a user's own command for one seed of the best config, for a shell; else None.
    """

    title: str
    asked: tuple[tuple[str, str], ...]
    space: str | None
    parameters: tuple[str, ...]
    varied: tuple[str, ...]
    top: tuple[ConfigResult, ...]
    configs: int
    seeds: int
    proposals: int
    complete: bool
    stopped: str | None
    tied: TiedSet
    effects: tuple[ParameterEffect, ...]
    failures: Failures
    no_outcome: tuple[NoOutcome, ...]
    reproduce: tuple[tuple[str, str], ...]
    script: str | None
    again: str | None
    looked_for: Objective | None = None
    run_as: str | None = None
    too_few_for_importance: tuple[int, int, int] | None = None

    @property
    def best(self) -> ConfigResult | None:
        """The first of `top`."""
        return self.top[0] if self.top else None

    @property
    def solved(self) -> int:
        """Seeds solved, over all configs."""
        return self.failures.counts[Status.SOLVED]


@once_for_each_run  # files and the terminal draw the same one
def report_of(run: Run) -> Report:
    """Every value of a run's report.

    Raises:
        InputError: the run's blocks contradict each other.
    """
    results, manifest = run.results, run.manifest
    effects = parameter_effects(results, run.parameters, noted_importance(manifest))
    differ = {effect.name for effect in effects}
    return Report(
        title=plain(str(manifest.get("name") or run.path.resolve().name)),
        asked=_asked(run),
        space=run.space_text if (run.path / "space.yaml").exists() else None,
        parameters=run.parameters,
        varied=tuple(name for name in run.parameters if name in differ or len(results) < 2),
        top=results[:10],
        configs=len(results),
        seeds=sum(result.outcome.n for result in results),
        proposals=sum(result.trials for result in results),
        complete=manifest.get("complete") is not False,
        stopped=stopped_because(manifest),
        tied=tied_set(results, full_seeds(results, manifest)),
        effects=effects,
        failures=failures_of(run.results),
        no_outcome=_no_outcome(run.evaluations),
        reproduce=_reproduce(manifest),
        script=_script(run),
        run_as=_run_as(run),
        again=_again(run),
        looked_for=summed_only(run.objectives),
        too_few_for_importance=_too_few(manifest),
    )


def failures_of(results: Sequence[ConfigResult], top: int = 5) -> Failures:
    """How the seeds of some configs failed, with so many of the most frequent wrong patterns."""
    totals = status_counts([result.outcome for result in results]).sum(axis=0).tolist()
    counts = dict(zip(Status, totals, strict=True))
    found: Counter[str] = Counter()
    for part in seed_tables(results):
        patterns = part["pattern"].combine_chunks()
        wrong = part["status"].combine_chunks().indices.to_numpy() == Status.WRONG_PATTERN
        codes = patterns.indices.to_numpy(zero_copy_only=False)[wrong].astype(np.int64)
        often = np.bincount(codes, minlength=len(patterns.dictionary)).tolist()
        found.update(dict(zip(patterns.dictionary.to_pylist(), often, strict=True)))
    order = sorted((-often, name) for name, often in found.items() if often and name)
    patterns = tuple((name, -often) for often, name in order[:top])
    printed = any(result.outcome.details.output for result in results)
    return Failures(counts, patterns, _reasons(results), printed)


def _reasons(results: Sequence[ConfigResult]) -> tuple[tuple[str, int, str, int], ...]:
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, int]] = {}
    for result in results:
        for seed, reason in result.outcome.details.failed.items():
            counts[reason] += 1
            examples.setdefault(reason, (result.key, seed))
    return tuple((reason, often, *examples[reason]) for reason, often in counts.most_common())


def noted_importance(manifest: Mapping[str, Any]) -> dict[str, float] | None:
    """The share of each parameter, as far as the manifest has shares."""
    noted = manifest.get("importance")
    if not isinstance(noted, Mapping):
        return None
    return {
        name: float(share)
        for name, share in noted.items()
        if isinstance(share, int | float) and 0 <= share <= 1
    }


def _too_few(manifest: Mapping[str, Any]) -> tuple[int, int, int] | None:
    about = manifest.get("importance_resampled")
    if not isinstance(about, Mapping):
        return None
    noted = [about.get(name) for name in ("configs", "better", "needed")]
    configs, better, needed = (one if isinstance(one, int) else 0 for one in noted)
    few = better < needed or configs < 2 * needed
    return (configs, better, needed) if few else None


def _asked(run: Run) -> tuple[tuple[str, str], ...]:
    rows = [
        (label, _objectives(entry) if name == "objectives" else _shown(entry))
        for name, label in ASKED.items()
        if (entry := run.manifest.get(name)) is not None
    ]
    seconds = sum(evaluation.seconds for evaluation in run.evaluations)
    if seconds:  # else they were taken out, as of a run that is published
        rows.append(("training time, over all workers", f"{number(round(seconds, 1))} s"))
    if aside := run.set_aside:
        configs = len({evaluation.block.point.key for evaluation in aside})
        count = sum(evaluation.block.count for evaluation in aside)
        what = f"{number(count)} seeds of {number(configs)} configurations"
        rows.append(("made by other versions, not counted", what))
    if ended := [e for e in run.evaluations if e.error == NOT_FINISHED]:
        configs = len({evaluation.block.point.key for evaluation in ended})
        count = sum(evaluation.block.count for evaluation in ended)
        what = f"{number(count)} seeds of {number(configs)} configurations, proven worse meanwhile"
        rows.append(("not finished, in no count", what))
    return tuple(rows)


def _objectives(entry: Any) -> str:
    try:
        return ", ".join(f"{plain(str(o['name']))} ({plain(str(o['direction']))})" for o in entry)
    except (TypeError, KeyError):  # damaged; who needs them refuses it
        return _shown(entry)


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return ", ".join(f"{plain(str(name))} {_shown(part)}" for name, part in entry.items())
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        return ", ".join(_shown(part) for part in entry)
    return plain(str(entry))


def _no_outcome(evaluations: Sequence[Evaluation]) -> tuple[NoOutcome, ...]:
    reasons: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.outcome is None and evaluation.error != NOT_FINISHED:
            reasons.setdefault(evaluation.error or "no reason given", []).append(evaluation)
    rows = [
        NoOutcome(reason, sum(not e.final for e in found), sum(e.final for e in found), found[0])
        for reason, found in reasons.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.given_up, -row.retried, row.reason)))


def _reproduce(manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = []
    command = manifest.get("command")
    if isinstance(command, str):
        rows.append(("command", plain(command)))
    elif isinstance(command, Sequence) and command:
        rows.append(("command", plain(shlex.join(str(part) for part in command))))
    for name, label in (("seed", "seed of the search"), ("git_commit", "git commit")):
        if manifest.get(name) is not None:
            rows.append((label, _shown(manifest[name])))
    if manifest.get("versions"):
        rows.append(("versions", _shown(manifest["versions"])))
    return tuple(rows)


def task_argument(run: Run) -> str | None:
    """What `xortune evaluate --task` calls a run's task; None: a user's own training."""
    if not run.is_network:
        return None
    task = named_task(run.manifest)
    return "FILE.csv" if task is None else task.name


def _again(run: Run) -> str | None:
    if not run.results:
        return None
    name = task_argument(run)
    if name is None:
        return certify_command(run, FRESH_SEEDS)
    from xortune.config import Config

    config = Config.from_point(run.results[0].point)
    return evaluate_command(config, name, first=FRESH_SEED, seeds=FRESH_SEEDS)


def certify_command(run: Run, seeds: int, path: str = "RUN") -> str | None:
    """The command that trains a run's best on fresh seeds; None if nothing says what trains it."""
    words = f"xortune certify {shlex.quote(path)} --seeds {seeds}"
    try:
        named = run.is_network or run.asked.trainer is not None
    except InputError:  # the space is missing
        return None
    if named:
        return words
    # A function that was given from Python: only its user knows where it is.
    return None if is_imported(run.manifest) else f"{words} --trainer FILE.py:FUNCTION"


def _script(run: Run) -> str | None:
    task = named_task(run.manifest)
    if not run.is_network or not run.results or task is None:
        return None
    from xortune.config import Config

    result = run.results[0]
    solved = result.outcome.seeds[result.outcome.solved]
    seed = int(solved[0]) if solved.size else int(result.outcome.seeds[0])
    return plain_script(Config.from_point(result.point), task, seed)


def _run_as(run: Run) -> str | None:
    try:
        command = run.asked.command if run.results else None
    except InputError:  # the space is missing
        return None
    if command is None:
        return None
    result = run.results[0]
    seed = int(result.outcome.seeds[0])
    text = shlex.join(command.template.argv(result.point.as_dict(), seed))
    return "\n".join(map(plain, text.split("\n")))  # a value may have lines


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
