"""The verb `gate`: whether a config, or the best of a run, solves enough of all seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xortune.certificates.gate import (
    Judgement,
    MeanTest,
    MeanVerdict,
    SequentialTest,
    Verdict,
    gate_certificate,
    gate_imported,
    load_config,
    load_parameters,
)
from xortune.core.config import Config
from xortune.core.errors import InputError, TrainingError, check_share, refuse_given
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.core.task import Task, TaskSpec
from xortune.core.trainer import Exceptions, Outages, Trainer, Waits
from xortune.driver.evaluate import (
    Training,
    network_config,
    own_config,
    refuse_built_in,
    single_config,
    train_seeds,
)
from xortune.driver.voice import SILENT, Listen, Voice
from xortune.integrations.export import exported
from xortune.reports.scripts import certify_command
from xortune.runs.evaluation import EncodedOutcome, SeedsToTrain
from xortune.runs.manifest import is_imported, two_results
from xortune.runs.run import Run, load_run
from xortune.runs.status import SeedsDone
from xortune.runs.store import url_of
from xortune.stats.betting import UNIT, checked_limits
from xortune.trainers.network import NetworkTrainer, usable_cores
from xortune.training.resources import Cluster, Workers


def gate(
    config_or_run: Config | Mapping[str, Any] | Run | str | os.PathLike[str],
    *,
    min_rate: float | None = None,
    min_mean: float | None = None,
    of: str | None = None,
    bounds: Sequence[float] | None = None,
    max_seeds: int | None = None,
    confidence: float | None = None,
    train: Training | None = None,
    success: str | None = None,
    task: TaskSpec | None = None,
    first_seed: int | None = None,
    engine: str | None = None,
    workers: int | Workers | None = None,
    fail_fast: bool = False,
    retry: Exceptions = (),
    retry_wait: Waits | None = None,
    max_void: float | None = None,
    key: str | None = None,
    listener: Listen | None = None,
    verbose: int = 1,
) -> Verdict | MeanVerdict:
    """Whether a config solves more than `min_rate` of all seeds: proven, refuted or undecided.

    With `min_mean`: whether the mean of a number over all seeds is at least that.

    Given a config, it trains seed after seed until the answer is known. Given a run, it reads the
    run's certificate and trains nothing. If an imported run has no certificate, it judges the
    imported seeds, by bounds that hold for all the run's configs at once.

    Args:
        config_or_run: a config, with `train` a dict of parameters; the file of one (YAML or JSON);
            a run, or its directory.
        min_rate: the success rate to prove, in (0, 1).
        min_mean: for a config with `train`: instead of a rate, the mean of a number to prove. A
            failed seed counts as the lower bound.
        of: with `min_mean`: the name of the number; the first that the training returns if not
            given.
        bounds: with `min_mean`: the least and the greatest number that a seed can have; [0, 1] if
            not given.
        max_seeds: for a config: the most seeds; 500 if not given. The answer is `undecided` once
            the rate could not be proven even if all that are left succeeded. The gate spends its
            risk of a wrong answer over exactly this number, so decide on it before you see a seed.
        confidence: 1 minus the greatest probability of a wrong answer; 0.95 if not given. For a
            run, the least confidence that its certificate must have.
        train: for a config: what trains it, a function of your own, a class or a command, as in
            `evaluate`; the built-in network if not given.
        success: with `train`: the rule for its numbers, as in `evaluate`.
        task: for a config of the network: what it learns; xor if not given.
        first_seed: for a config: the others follow it. If not given, the gates' own seeds, the same
            each time.
        engine: for a config of the network: see `evaluate`.
        workers: with `train`: how many processes train at once, as in `evaluate`. The answer does
            not depend on it.
        fail_fast: with `train`: end at the first seed that fails, without an answer.
        retry: with `train`: as in `evaluate`. A void seed is no seed of the answer: the next one
            takes its place. So it does where a seed waits for its next try for more than a second
            in all: that one then counts behind those that have begun when it is tried again.
        retry_wait: with `train`: as in `evaluate`.
        max_void: with `train`: as in `evaluate`. Whatever it is, `max_seeds` void seeds in a row
            end the gate without an answer.
        key: for a run: the finalist; the certificate's first if not given.
        listener: called with each event while it trains: `SeedsDone`, which says how many of the
            seeds so far are solved, a `Message`, or the first `Failure`.
        verbose: 0 shows nothing; 1 shows the progress on a terminal or in a notebook, and the first
            failure; 2 shows each step in a line.

    Raises:
        InputError: an argument is not usable, or the run has no certificate.
        TrainingError: the training produced no outcome, a seed failed and `fail_fast` was given,
            or too many seeds are void. Its `outcome` is that of the seeds that had finished; None
            if there are none.
    """
    _check_asked(min_rate, min_mean, of, bounds, train=train is not None)
    given = config_or_run
    if isinstance(given, str | os.PathLike):
        is_run = url_of(given) is not None or Path(given).is_dir()
        load = load_config if train is None else load_parameters
        given = load_run(given) if is_run else load(given)
    if isinstance(given, Run):
        refuse_given(
            "only where a config is trained",
            min_mean=min_mean,
            max_seeds=max_seeds,
            train=train,
            success=success,
            task=task,
            first_seed=first_seed,
            engine=engine,
            workers=workers,
            fail_fast=fail_fast,
            retry=retry or None,
            retry_wait=retry_wait,
            max_void=max_void,
        )
        assert min_rate is not None  # `_check_asked` has refused the rest
        return _gate_run(given, min_rate, confidence, key)
    refuse_given("only with a run: its finalists have keys", key=key)
    shared = (
        500 if max_seeds is None else max_seeds,
        0.95 if confidence is None else confidence,
        GATE.start if first_seed is None else first_seed,
    )
    test: SequentialTest | MeanTest
    if min_mean is None:
        assert min_rate is not None
        test, what = SequentialTest(min_rate, *shared), f"{min_rate:g}"
    else:
        limits = UNIT if bounds is None else checked_limits(bounds)
        test, what = MeanTest(min_mean, of, limits, *shared), f"{of or 'mean'} {min_mean:g}"
    voice, pool = Voice(verbose, listener), Cluster.pool(workers)
    trainer: Trainer
    if train is not None:
        refuse_built_in(task=task, engine=engine)
        own = own_config(given, "config_or_run")
        numbers = min_mean is not None
        point, trainer = single_config(own, train, success, pool.each.cpus, numbers=numbers)
    else:
        refuse_given(
            "only with train=",
            success=success,
            workers=workers or None,
            fail_fast=fail_fast,
            retry=retry or None,
            retry_wait=retry_wait,
            max_void=max_void,
        )
        point = network_config(given, "config_or_run").point
        learned = Task.named(task or "xor")
        trainer = NetworkTrainer(learned, engine=engine or "auto", threads=usable_cores())
        trainer.describe()  # refuses an engine that is not available
    outages = Outages.of(retry, retry_wait, max_void)
    with voice.drawing(f"gate at {what}") as shown:
        options = {"pool": pool, "fail_fast": fail_fast, "rule": success, "outages": outages}
        verdict = gate_config(point, trainer, test, voice=shown, **options)
    if verdict.twice:
        voice.warn(f"{verdict.twice}; the same gate may answer otherwise when it is run again")
    return verdict


def _check_asked(
    min_rate: float | None, min_mean: float | None, of: object, bounds: object, *, train: bool
) -> None:
    """Raise an InputError unless exactly one question is asked."""
    if (min_rate is None) == (min_mean is None):
        raise InputError(
            "neither a rate nor a mean to prove" if min_rate is None else "both a rate and a mean",
            field="min_rate",
            allowed="one of --min-rate and --min-mean",
            fix="give a rate, such as 0.95, or a mean with the name of its number",
        )
    if min_mean is None:
        assert min_rate is not None
        check_share("min_rate", min_rate)
        refuse_given("only with --min-mean", of=of, bounds=bounds)
    elif not train:
        raise InputError(
            "a mean of numbers, and nothing that returns numbers",
            field="min_mean",
            allowed="with train=, for a config",
            fix="give train=f; a certificate, or the built-in network, has a success rate",
        )


def gate_config(
    point: Point,
    trainer: Trainer,
    test: SequentialTest | MeanTest,
    *,
    voice: Voice = SILENT,
    **options: Any,
) -> Verdict | MeanVerdict:
    """Train a config until the test has an answer; `options` as of `train_seeds`."""
    judged, in_a_row = Judgement(test), 0  # void seeds since the last one with an outcome

    def add(outcome: Outcome | EncodedOutcome, first: int) -> None:
        nonlocal in_a_row
        in_a_row = 0
        tell(judged.add(first, test.observed(outcome).tolist(), outcome.details.failed))

    def add_void(seed: int, reason: str) -> None:
        nonlocal in_a_row
        pass_over(seed, reason)
        in_a_row += 1
        if in_a_row == test.max_seeds:  # `max_void` may allow it, but others would do the same
            raise TrainingError(f"{in_a_row} seeds in a row could not be tried: {reason}")

    def pass_over(seed: int, reason: str) -> None:
        tell(judged.pass_over(seed, reason))

    def take_up(seed: int, first: int) -> None:
        judged.line.take_up(seed, first)

    def tell(more: bool) -> None:
        if more:
            voice.tell(SeedsDone(judged.n, test.max_seeds, judged.solved))

    def forget() -> None:
        nonlocal judged, in_a_row
        judged, in_a_row = Judgement(test), 0

    def missing(_: object = None) -> list[SeedsToTrain]:
        return [SeedsToTrain(point, (seeds,))] if (seeds := judged.missing()) else []

    options |= {"further": missing, "on_void": add_void, "forget": forget}
    options |= {"on_pass_over": pass_over, "on_take_up": take_up}
    twice, _ = train_seeds(missing, trainer, add, voice=voice, **options)
    verdict = judged.verdict(point, own=trainer.traits.users_code)
    return verdict if twice is None else replace(verdict, twice=twice)


def _gate_run(run: Run, min_rate: float, confidence: float | None, key: str | None) -> Verdict:
    """Judge a run by its certificate, or an imported run without one by its imported seeds."""
    certificate = run.certificate
    if certificate is None and is_imported(run.manifest):
        sure = 0.95 if confidence is None else confidence
        return gate_imported(run, exported(run, key), min_rate=min_rate, confidence=sure)
    if certificate is None:
        command = certify_command(run, 1000, str(run.path))
        raise InputError(
            "the run has no certificate",
            place=str(run.path),
            fix=None if command is None else f"make one: `{command}`",
        )
    if confidence is not None and certificate.confidence < confidence - 1e-12:
        raise InputError(
            f"the certificate holds with confidence {certificate.confidence:g}",
            field="confidence",
            allowed=f"up to {certificate.confidence:g} with this certificate",
            fix=f"certify again with --confidence {confidence:g}",
        )
    verdict = gate_certificate(certificate, min_rate=min_rate, key=key)
    twice = two_results(run.manifest)
    return replace(verdict, twice=twice) if twice else verdict
