"""The verb `evaluate`: one configuration under many seeds, by the network or a user's training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import reduce
from typing import Any

import numpy as np

from xortune.core.audit import Audit
from xortune.core.config import Config
from xortune.core.errors import (
    FIRST_SEEDS,
    InputError,
    TrainingError,
    broken_setup,
    kind_of,
)
from xortune.core.outcome import Failure, Outcome, Status, have_numbers
from xortune.core.point import Point
from xortune.core.seeds import IgnoredSeed, checked_seeds
from xortune.core.success import VALUE, Finite, Rule, parse_success
from xortune.core.task import Task
from xortune.core.trainer import (
    NOT_FINISHED,
    PLACE_SECONDS,
    VOID,
    Outages,
    Trainer,
    is_void,
)
from xortune.driver.arguments import (
    NETWORK,
    OWN,
    EvaluateArguments,
    Training,
    refuse_unused,
    verb,
)
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.driver.voice import SILENT, Voice
from xortune.driver.workplace import Workplace, who_trains
from xortune.runs.evaluation import EncodedOutcome, Evaluation, SeedsToTrain
from xortune.runs.status import SeedsDone
from xortune.trainers.function import custom_trainer, form_of
from xortune.trainers.limits import threads_for
from xortune.trainers.network import evaluate_config, usable_cores
from xortune.trainers.source import given_source
from xortune.trainers.verdicts import judged_names
from xortune.training.batches import Batches
from xortune.training.executors import AskedExecutor, executor_here
from xortune.training.jobs import Job
from xortune.training.processes import ending_processes, pickled
from xortune.training.resources import THIS_MACHINE, Cluster

# -------------------------------------------------------------------------------------------------
# The trainer of a configuration without a space.


def single_config(
    config: Mapping[str, Any],
    train: Training,
    success: str | None,
    cpus: float,
    *,
    numbers: bool = False,
) -> tuple[Point, Trainer]:
    """A configuration as a point, and its trainer, which has so many CPUs.

    With `numbers` no rule needs to say which numbers are a success: all finite ones are.

    Raises:
        InputError: the configuration, the rule or the training is not usable.
    """
    point, threads = Point(config), threads_for(cpus)
    if callable(train):
        rule: Rule | None = Finite() if numbers else None
        if success is not None:
            rule = parse_success(success)
        source = given_source(train)
        form = form_of(train, source.label)
        return point, custom_trainer(source, rule, form=form, threads=threads)

    # A space of one point checks all that a file may say. (Slow to import.)
    from xortune.driver.trainer import trainer_for
    from xortune.spaces.space import load_space

    if isinstance(train, str):
        train = {"command" if {" ", "{"} & set(train) else "function": train}
    if not isinstance(train, Mapping):
        raise InputError(
            kind_of(train),
            field="train",
            allowed="a function, a class, './train.py:run', or a command with {seed} in it",
        )
    rules: dict[str, Any] = {} if success is None else {"success": success}
    if "command" in train:
        train, rules = {**rules, **train}, {}
    space = {
        "name": "one",
        "trainer": dict(train),
        **rules,
        "parameters": {name: {"value": value} for name, value in point.as_dict().items()},
        "search": {"sampler": "grid"},
    }
    finite = numbers and not rules and "success" not in train
    metric = train.get("metric")
    if finite and metric is not None:
        named = metric.get("name", VALUE) if isinstance(metric, Mapping) else VALUE
        space["objectives"] = [{"name": f"{named}_mean", "direction": "maximize"}]
    try:
        trainer = trainer_for(load_space(space), None, "auto", 0.0, threads)
    except InputError as error:
        place = (error.place or "").removeprefix("<space>").removeprefix(": ")
        raise error.at(place.removeprefix("parameters.") or "train") from error.__cause__
    return point, trainer.judging_finite() if finite else trainer


# -------------------------------------------------------------------------------------------------
# The seeds of one configuration, in the loop of a search: in this process, or in several at once.


def train_seeds(  # noqa: PLR0915  # what belongs to one training
    tasks: Callable[[], Sequence[SeedsToTrain]],
    trainer: Trainer,
    on_outcome: Callable[[Outcome | EncodedOutcome, int], None],
    *,
    forget: Callable[[], None],
    further: Callable[[object], Sequence[SeedsToTrain]] | None = None,
    pool: Cluster = THIS_MACHINE,
    fail_fast: bool = False,
    voice: Voice = SILENT,
    outages: Outages | None = None,
    on_void: Callable[[int, str], None] | None = None,
    on_pass_over: Callable[[int, str], None] | None = None,
    on_take_up: Callable[[int, int], None] = lambda _, __: None,
) -> tuple[str | None, Audit | None]:
    """Train seeds without a journal, and the first one a second time if that is cheap.

    Args:
        tasks: returns the seeds.
        trainer: trains them.
        on_outcome: called with the outcome of each block and its first seed, as blocks finish.
        forget: called if results of stacks were among these outcomes and are shown wrong: all seeds
            then train again, each alone.
        further: as of `FreshSeeds`.
        pool: who trains; the built-in network trains in this process.
        fail_fast: as of `evaluate`.
        voice: tells the user of the first seed that fails, and of what else is to be known.
        outages: what becomes of seeds that cannot be tried.
        on_void: called with each seed that is void, and why.
        on_pass_over: called with a seed that waits for longer than `PLACE_SECONDS`, and why; then
            another one is asked for in its place. None: none is.
        on_take_up: called with it when it is tried again, and with the first seed that has not
            begun.

    Returns:
        As `trainer.Check.twice`. Of a training in this process it is not known: a debugger follows
        it, or it changes what is around it. And what audits showed; None if no seed is stacked.

    Raises:
        InputError: a function that cannot be sent to them, a result that cannot
            be judged, or one that depends on the seeds beside it; or what trains is no program.
        TrainingError: there is no outcome, all seeds failed in the same way before any training, a
            seed failed and `fail_fast` was given, or too many seeds are void; with the `outcome` of
            those that had finished.
    """
    own, outages = trainer.traits.users_code, Outages() if outages is None else outages
    who = who_trains(trainer, pool if own else Cluster(workers=0), outages)
    trainer = who.trainer
    if not who.here:
        pickled(trainer)  # or it says why it cannot be sent to a worker
    ignored = IgnoredSeed(judged_names(trainer), voice.warn, several=False)
    setup = _Setup(trainer, who.raised)

    def fail(failure: Failure) -> None:
        if fail_fast:
            raise TrainingError(f"{failure}") from next(iter(who.raised), None)
        voice.fail(failure)

    def train(place: Workplace, audit: Audit | None = None) -> tuple[FreshSeeds, Batches]:
        fresh = FreshSeeds(tasks(), further=further)
        record = place.record(fail, ignored=ignored)

        def take(line: Evaluation) -> None:
            outcome = line.outcome
            if line.audit is not None or is_void(line.error):
                if line.audit is None and on_void is not None:
                    on_void(line.block.first, str(line.error).removeprefix(VOID))
                record(line)
                return
            if line.error == NOT_FINISHED:  # the answer is known without it
                return
            if outcome is None:
                if not own:
                    raise TrainingError(line.error)
                outcome = Outcome.crashed(line.block.seeds, 0, line.error)
            elif not fresh.lines:
                _refuse_unjudged(outcome, trainer)
            on_outcome(outcome, line.block.first)
            record(line)
            setup.see(outcome)

        waits = {} if on_pass_over is None else _passing(fresh, on_pass_over, on_take_up)
        batches = place.batches(fresh, take, attempts=1, audit=audit, **waits)
        try:
            place.run(batches, record)
            if record.ends is not None:
                raise TrainingError(record.ends.reason)
        except TrainingError as error:
            error.outcome = _finished(fresh.lines)
            raise
        setup.refuse_broken()
        place.audit(batches, record, fresh.lines)
        return fresh, batches

    with ending_processes():
        executor = executor_here(AskedExecutor(trainer, who.cluster, encodes=False))
        place = Workplace(trainer, executor, voice, outages, who.cluster.each.limit)
        fresh, batches = train(place)
        if batches.begins_again:
            forget()
            fresh, batches = train(place, Audit(fault=batches.recorded.fault))
        twice = _trained_again(trainer, fresh.lines) if own and not who.here else None
        if trainer.traits.mixes_seeds and not twice:
            _check_independence(trainer, fresh.lines)  # stacks are tried by themselves
    return twice, batches.recorded if trainer.traits.stacks_seeds else None


def _finished(lines: Iterable[Evaluation]) -> Outcome | None:
    """The outcome of all seeds so far; None if there is none."""
    void: dict[int, str] = {}
    outcomes: list[Outcome] = []
    for line in sorted(lines, key=lambda line: line.block.first):
        if is_void(line.error):
            void |= dict.fromkeys(line.block.seeds, str(line.error).removeprefix(VOID))
        elif isinstance(line.outcome, Outcome):
            outcomes.append(line.outcome)
        elif line.final:
            outcomes.append(Outcome.crashed(line.block.seeds, 0, str(line.error)))
    if not outcomes:
        return None
    found = reduce(Outcome.merge, outcomes)
    return replace(found, details=replace(found.details, void=void))


def _passing(
    fresh: FreshSeeds,
    on_pass_over: Callable[[int, str], None],
    on_take_up: Callable[[int, int], None],
) -> dict[str, Any]:
    """How `Batches` says that a seed waits, and is tried again."""

    def wait(job: Job, why: str) -> None:
        if job.waited > PLACE_SECONDS:
            on_pass_over(job.block.first, why)
            fresh.pass_over()

    def again(job: Job) -> None:
        if job.waited > PLACE_SECONDS:
            on_take_up(job.block.first, fresh.take_up())

    return {"on_wait": wait, "on_again": again}


AGAIN_SECONDS, AGAIN_SHARE = 1.0, 0.05
"""A seed trains a second time if that takes at most so many seconds, or such a share of all."""


def _trained_again(trainer: Trainer, lines: Sequence[Evaluation]) -> str | None:
    """Train the first seed a second time, if that is cheap; see `trainer.train_again`."""
    from xortune.driver.trainer import train_again  # slow to import

    line = next((line for line in lines if isinstance(line.outcome, Outcome)), None)
    if line is None or not isinstance(line.outcome, Outcome):
        return None
    seconds = line.seconds / line.block.count * (1 + trainer.traits.takes_many_seeds)
    if seconds > max(AGAIN_SECONDS, AGAIN_SHARE * sum(line.seconds for line in lines)):
        return None
    return train_again(trainer, line.outcome, line.block.point)


def _check_independence(trainer: Trainer, lines: Iterable[Evaluation]) -> None:
    """Train seeds of the first call that took several alone, and compare."""
    from xortune.driver.trainer import check_independence  # slow to import

    for line in lines:
        if isinstance(together := line.outcome, Outcome) and together.n > 1:
            check_independence(trainer, together, line.block.point)
            return


class _Setup:
    """Whether what trains a user's configuration works: see `core.errors`.

    Args:
        trainer: what trains.
        raised: the exceptions of seeds that trained in this process.
    """

    def __init__(self, trainer: Trainer, raised: Sequence[BaseException]) -> None:
        self._trainer, self._raised = trainer, raised
        self._works = not trainer.traits.users_code
        self._failed: dict[int, str] = {}
        self._shown: str | None = None

    def see(self, outcome: Outcome | EncodedOutcome) -> None:
        """Note the next seeds.

        Raises:
            InputError: as of `refuse_broken`, after the first few seeds.
        """
        details = outcome.details
        has_told = bool(details.values or details.curves)
        self._works |= has_told or bool((outcome.status != Status.CRASHED).any())
        if self._works:
            return
        self._failed |= details.failed
        self._shown = self._shown or details.traceback
        if len(self._failed) >= FIRST_SEEDS and broken_setup(self._failed.values()) == "input":
            self.refuse_broken()

    def refuse_broken(self) -> None:
        """Raise an error if all seeds so far failed in the same way, before any training.

        Raises:
            InputError: its cause is certain.
            TrainingError: it is not, but says nothing of the configuration.
        """
        if self._works or not self._failed:
            return
        reasons, n = self._failed.values(), len(self._failed)
        kind, cause = broken_setup(reasons), next(iter(self._raised), None)
        place = self._trainer.describe()["trainer"]
        if unjudged := next((one for one in reasons if one.startswith("returned no ")), None):
            raise InputError(unjudged, place=place) from cause
        if kind is None:
            return
        seeds = "the only seed failed" if n == 1 else f"all {n} seeds failed in the same way,"
        told = f"{seeds} before any training:\n{self._shown or next(iter(reasons))}"
        if kind == "input":
            raise InputError(told, place=place, allowed="what trains a seed") from cause
        raise TrainingError(told) from cause


def _refuse_unjudged(first: Outcome | EncodedOutcome, trainer: Trainer) -> None:
    """Raise an InputError if no rule can judge the first result: all seeds would do the same."""
    if first.details.traceback is None and (first.status == Status.CRASHED).all():
        [reason, *_] = first.details.failed.values()
        if reason.startswith("returned "):
            raise InputError(reason, place=trainer.describe()["trainer"])


# -------------------------------------------------------------------------------------------------
# The verb.


@verb(EvaluateArguments)
def evaluate(given: EvaluateArguments) -> Outcome:
    """Train one config under each of the seeds: how many succeed, and what numbers they have.

    A training that returns numbers needs no rule for success: `outcome.summary()` then has their
    mean, interquartile mean, median and quantiles, each with its interval, and only a seed that
    crashed, or whose numbers are not finite, counts as failed.

    Raises:
        InputError: an argument is not usable, or the training returns something that no rule can
            judge.
        TrainingError: a seed failed, and `fail_fast` was given. If the seed trained in this
            process, the cause is its exception. Or more seeds are void than `max_void` allows. Its
            `outcome` is that of the seeds that had finished; None if there are none.
    """
    if given.train is None:
        refuse_unused(given, OWN)
        network, seeds = network_config(given.config), given.seeds
        listed = seeds if isinstance(seeds, Sequence) else checked_seeds(seeds)
        learned, engine = Task.named(given.task or "xor"), given.engine or "auto"
        cores = usable_cores()
        return evaluate_config(network, learned, listed, given.checkpoints, engine, threads=cores)
    refuse_unused(given, NETWORK)
    chosen = checked_seeds(given.seeds)
    voice, pool = Voice(given.verbose, given.listener), Cluster.pool(given.workers)
    outages = Outages.of(given.retry, given.retry_wait, given.max_void)
    own = own_config(given.config, "config")
    point, trainer = single_config(own, given.train, given.success, pool.each.cpus, numbers=True)
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    outcomes: dict[int, Outcome] = {}  # by their first seeds
    void: dict[int, str] = {}
    solved = done = 0
    with voice.drawing("evaluating") as shown:

        def add(outcome: Outcome | EncodedOutcome, first: int) -> None:
            nonlocal solved, done
            assert isinstance(outcome, Outcome)  # a user's training encodes none
            outcomes[first] = outcome
            solved, done = solved + outcome.successes, done + outcome.n
            shown.tell(SeedsDone(done, len(chosen), solved if outcome.details.ruled else None))

        def forget() -> None:
            nonlocal solved, done
            solved = done = 0
            outcomes.clear()
            void.clear()

        parts = tuple(range(part[0], part[-1] + 1) for part in map(np.ndarray.tolist, runs))
        twice, audit = train_seeds(
            lambda: [SeedsToTrain(point, parts)],
            trainer,
            add,
            forget=forget,
            pool=pool,
            fail_fast=given.fail_fast,
            voice=voice,
            outages=outages,
            on_void=void.__setitem__,
        )
    if not outcomes:
        raise TrainingError(
            f"no seed could be tried: {next(iter(void.values()), 'none was given')}"
        )
    firsts = chosen[np.isin(chosen, list(outcomes))]
    found = reduce(Outcome.merge, [outcomes[first] for first in firsts.tolist()])
    if twice:
        voice.warn(f"{twice}; the same call may count otherwise")
    details = replace(found.details, twice=twice, void=void, audit=audit)
    if given.success is None and not have_numbers(found.status).any():  # nothing was judged
        details = replace(details, ruled=False)
    return replace(found, details=details)


def network_config(config: object, field: str = "config") -> Config:
    """The argument as a config of the built-in network, or an InputError."""
    if isinstance(config, Config):
        return config
    fix = "give train=f, if a function of your own trains it"
    if not isinstance(config, Mapping):
        raise InputError(kind_of(config), field=field, allowed="a xortune.Config")
    try:
        return Config.from_point(config)
    except InputError as error:
        if error.field in config and error.field in {known.name for known in fields(Config)}:
            raise  # a value is wrong; otherwise a name is missing or unknown
        raise InputError(
            f"{error.field} {error.problem}",
            field=field,
            allowed="a config of the built-in network",
            fix=fix,
        ) from None


def own_config(config: object, field: str) -> Mapping[str, Any]:
    """The parameters of a config for a user's training; {} is one without parameters."""
    if isinstance(config, Config):
        return config.point
    if isinstance(config, Mapping):
        return config
    raise InputError(
        kind_of(config), field=field, allowed='parameters by their names: {"lr": 0.1}, or {}'
    )
