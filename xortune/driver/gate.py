"""The verb `gate`: whether a config, or the best of a run, solves enough of all seeds."""

from __future__ import annotations

import os
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
from xortune.core.errors import InputError, TrainingError, check_share, refuse_given
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.core.task import Task
from xortune.core.trainer import Outages, Trainer
from xortune.driver.arguments import CONFIG, NETWORK, OWN, GateArguments, refuse_unused, verb
from xortune.driver.evaluate import (
    network_config,
    own_config,
    single_config,
    train_seeds,
)
from xortune.driver.voice import SILENT, Voice
from xortune.integrations.export import exported
from xortune.reports.scripts import certify_command
from xortune.runs.evaluation import EncodedOutcome, SeedsToTrain
from xortune.runs.manifest import is_imported, two_results
from xortune.runs.run import Run, load_run
from xortune.runs.status import SeedsDone
from xortune.runs.store import url_of
from xortune.stats.betting import UNIT, checked_limits
from xortune.trainers.network import NetworkTrainer, usable_cores
from xortune.training.resources import Cluster


@verb(GateArguments)
def gate(given: GateArguments) -> Verdict | MeanVerdict:
    """Whether a config solves more than `min_rate` of all seeds: proven, refuted or undecided.

    With `min_mean`: whether the mean of a number over all seeds is at least that.

    Given a config, it trains seed after seed until the answer is known. Given a run, it reads the
    run's certificate and trains nothing. If an imported run has no certificate, it judges the
    imported seeds, by bounds that hold for all the run's configs at once.

    Raises:
        InputError: an argument is not usable, or the run has no certificate.
        TrainingError: the training produced no outcome, a seed failed and `fail_fast` was given,
            or too many seeds are void. Its `outcome` is that of the seeds that had finished; None
            if there are none.
    """
    min_rate, min_mean, train = given.min_rate, given.min_mean, given.train
    _check_asked(given)
    what = given.config_or_run
    if isinstance(what, str | os.PathLike):
        is_run = url_of(what) is not None or Path(what).is_dir()
        load = load_config if train is None else load_parameters
        what = load_run(what) if is_run else load(what)
    if isinstance(what, Run):
        refuse_unused(given, CONFIG, OWN, NETWORK)
        assert min_rate is not None  # `_check_asked` has refused the rest
        return _gate_run(what, min_rate, given.confidence, given.key)
    refuse_given("only with a run: its finalists have keys", key=given.key)
    shared = (
        500 if given.max_seeds is None else given.max_seeds,
        0.95 if given.confidence is None else given.confidence,
        GATE.start if given.first_seed is None else given.first_seed,
    )
    test: SequentialTest | MeanTest
    if min_mean is None:
        assert min_rate is not None
        test, goal = SequentialTest(min_rate, *shared), f"{min_rate:g}"
    else:
        limits = UNIT if given.bounds is None else checked_limits(given.bounds)
        test = MeanTest(min_mean, given.of, limits, *shared)
        goal = f"{given.of or 'mean'} {min_mean:g}"
    voice, pool = Voice(given.verbose, given.listener), Cluster.pool(given.workers)
    trainer: Trainer
    if train is not None:
        refuse_unused(given, NETWORK)
        own = own_config(what, "config_or_run")
        numbers = min_mean is not None
        point, trainer = single_config(own, train, given.success, pool.each.cpus, numbers=numbers)
    else:
        refuse_unused(given, OWN)
        point = network_config(what, "config_or_run").point
        learned = Task.named(given.task or "xor")
        trainer = NetworkTrainer(learned, engine=given.engine or "auto", threads=usable_cores())
        trainer.describe()  # refuses an engine that is not available
    outages = Outages.of(given.retry, given.retry_wait, given.max_void)
    with voice.drawing(f"gate at {goal}") as shown:
        options = {"pool": pool, "fail_fast": given.fail_fast}
        options["outages"] = outages
        verdict = gate_config(point, trainer, test, voice=shown, **options)
    if verdict.twice:
        voice.warn(f"{verdict.twice}; the same gate may answer otherwise when it is run again")
    return verdict


def _check_asked(given: GateArguments) -> None:
    """Raise an InputError unless exactly one question is asked."""
    min_rate, min_mean = given.min_rate, given.min_mean
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
        refuse_given("only with --min-mean", of=given.of, bounds=given.bounds)
    elif given.train is None:
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
