"""The verb `gate`: whether a config, or the best of a run, is good enough over all seeds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from xortune.certificates.fresh import number_asked
from xortune.certificates.gate import (
    Judgement,
    NumberTest,
    NumberVerdict,
    SequentialTest,
    Verdict,
    checked_statistic,
    gate_certificate,
    gate_imported,
    gate_number,
    load_config,
    load_parameters,
)
from xortune.core.errors import InputError, TrainingError, check_share, refuse_given
from xortune.core.numbers import MEAN
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.core.task import Task
from xortune.core.trainer import Outages, Trainer
from xortune.driver.arguments import CONFIG, NETWORK, OWN, GateArguments, refuse_unused, verb
from xortune.driver.certify import certify
from xortune.driver.evaluate import (
    network_config,
    own_config,
    single_config,
    train_seeds,
)
from xortune.driver.voice import SILENT, Voice
from xortune.integrations.export import exported
from xortune.reports.scripts import certify_command
from xortune.runs.certificate import Certificate
from xortune.runs.evaluation import EncodedOutcome, NumberAsked, SeedsToTrain
from xortune.runs.manifest import is_imported, two_results
from xortune.runs.run import Run, load_run
from xortune.runs.status import SeedsDone
from xortune.runs.store import url_of
from xortune.stats.betting import UNIT, checked_limits
from xortune.stats.statistic_bounds import StatisticTest
from xortune.trainers.network import NetworkTrainer, usable_cores
from xortune.training.resources import Cluster


@verb(GateArguments)
def gate(given: GateArguments) -> Verdict | NumberVerdict:
    """Whether a config solves more than `min_rate` of all seeds: proven, refuted or undecided.

    With `min_mean`, `min` or `max`: whether a statistic of a number over all seeds is at least, or
    at most, that.

    Given a config, it trains seed after seed until the answer is known. Given a run and a rate, it
    reads the run's certificate and trains nothing; of a number it trains fresh seeds of the best,
    one attempt of the project's account, where no certificate has the answer. If an imported run
    has no certificate, it judges the imported seeds, by bounds that hold for all the run's configs
    at once.

    Raises:
        InputError: an argument is not usable, or the run has no certificate.
        TrainingError: the training produced no outcome, a seed failed and `fail_fast` was given,
            or too many seeds are void. Its `outcome` is that of the seeds that had finished; None
            if there are none.
    """
    min_rate, train = given.min_rate, given.train
    _check_asked(given)
    what = given.config_or_run
    if isinstance(what, str | os.PathLike):
        is_run = url_of(what) is not None or Path(what).is_dir()
        load = load_config if train is None else load_parameters
        if not is_run:
            _refuse_number_of_network(given)
        what = load_run(what) if is_run else load(what)
    if isinstance(what, Run):
        if min_rate is None:
            return _gate_number_of_run(what, given)
        refuse_unused(given, CONFIG, OWN, NETWORK)
        return _gate_run(what, min_rate, given.confidence, given.key)
    _refuse_number_of_network(given)
    refuse_given("only with a run: its finalists have keys", key=given.key)
    shared = (
        500 if given.max_seeds is None else given.max_seeds,
        0.95 if given.confidence is None else given.confidence,
        GATE.start if given.first_seed is None else given.first_seed,
    )
    test: SequentialTest | NumberTest
    if min_rate is None:
        test = _number_test(given, *shared)
        goal = f"{given.of or 'mean'} {test.rule.goal:g}"
    else:
        test, goal = SequentialTest(min_rate, *shared), f"{min_rate:g}"
    voice, pool = Voice(given.verbose, given.listener), Cluster.pool(given.workers)
    trainer: Trainer
    if train is not None:
        refuse_unused(given, NETWORK)
        own = own_config(what, "config_or_run")
        numbers = min_rate is None
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
    if len(given.claims) != 1:
        raise InputError(
            "both " + " and ".join(given.claims) if given.claims else "nothing to prove",
            field="min_rate",
            allowed="one of --min-rate, --min-mean, --min and --max",
            fix="give a rate, such as 0.95, or a mean with the name of its number",
        )
    if given.min_rate is not None:
        check_share("min_rate", given.min_rate)
        refuse_given("only with a number to prove", of=given.of, bounds=given.bounds)


def _refuse_number_of_network(given: GateArguments) -> None:
    """Raise an InputError where a number is to be proven of a config that returns none."""
    if given.min_rate is None and given.train is None:
        raise InputError(
            "a number to prove, and nothing that returns numbers",
            field=given.claimed,
            allowed="with train=, for a config, or with a run",
            fix="give train=f; the built-in network has a success rate",
        )


def _number_test(
    given: GateArguments, max_seeds: int, confidence: float, first_seed: int
) -> NumberTest:
    """The test of a statistic of a config's number."""
    check_share("confidence", confidence)
    bounds = None if given.bounds is None else checked_limits(given.bounds)
    number, statistic = given.of, MEAN
    if given.min_mean is not None:
        bounds = bounds or UNIT
    elif given.of is None:
        raise InputError("is missing", field="of", fix="name a statistic, such as return_iqm")
    else:
        number, statistic = checked_statistic(given.of)
    [(option, goal)] = given.claims.items()
    rule = StatisticTest(statistic, goal, option != "max", max_seeds, 1 - confidence, bounds)
    return NumberTest(rule, number, first_seed, option)


def _gate_number_of_run(run: Run, given: GateArguments) -> NumberVerdict:
    """Judge the best of a run by a certificate of the statistic; where none decides, make one."""
    settings = {name: getattr(given, name) for name in ("success", "task", "first_seed")}
    refuse_given("where a config is trained", **settings, fail_fast=given.fail_fast)
    [(option, goal)] = given.claims.items()
    of = given.of
    if given.min_mean is not None:
        of = f"{of}_mean" if of else _first_mean(run)
    bounds = None if given.bounds is None else checked_limits(given.bounds)
    least, most = (None, goal) if option == "max" else (goal, None)
    asked = number_asked(run, of, least, most, bounds)
    assert asked is not None
    seeds, sure = given.max_seeds or 500, given.confidence
    answered = _answered(run.certificate, asked, given.key, seeds, sure)
    if answered is None:
        names = ("train", "engine", "workers", "retry", "retry_wait", "max_void", "confidence")
        handed: dict[str, Any] = {
            name: getattr(given, name) for name in (*names, "bounds", "listener", "verbose")
        }
        handed["max" if option == "max" else "min"] = goal
        finalists = () if run.certificate is None else run.certificate.finalists
        key = given.key or next((one.key for one in finalists), run.results.keys[0])
        certified = certify(run, of=asked.name, seeds=seeds, key=key, **handed)
        attempt = certified.attempts[-1]
        if not attempt.complete:  # seeds that could not be tried decide it
            raise TrainingError(str(certified.about(asked)), outcome=certified)
        answered = gate_number(certified, asked, attempt.finalists[0])
        run = load_run(run.path)
    twice = two_results(run.manifest)
    return replace(answered, twice=twice) if twice else answered


def _first_mean(run: Run) -> str | None:
    """The mean of the number that is sought, else of the first one."""
    names = run.results[0].outcome.number_names if run.results else ()
    sought = [objective.number for objective in run.objectives if objective.number]
    number = next(iter((*sought, *names)), None)
    return number and f"{number}_mean"


def _answered(
    certificate: Certificate | None,
    asked: NumberAsked,
    key: str | None,
    seeds: int,
    confidence: float | None,
) -> NumberVerdict | None:
    """The answer of the run's certificate; None if it lacks what is asked, or does not decide it.

    A sequence that asked the same decides it, whatever its answer.
    """
    about = None if certificate is None else certificate.about(asked)
    if about is None or not about.finalists or about.confidence < (confidence or 0) - 1e-12:
        return None
    if key is not None:
        keys = [one.key for one in about.finalists if one.key.startswith(key)]
        if len(keys) != 1:
            return None
        key = keys[0]
    finalist = about.best if key is None else about.finalist(key)
    same = [
        one.finalists[0]
        for one in about.attempts
        if (one.complete, one.asked, one.seeds, one.finalists[0].key)
        == (True, asked, seeds, finalist.key)
    ]
    verdicts = [gate_number(about, asked, one) for one in (finalist, *same)]
    known = (one for one in verdicts if one.answer != "undecided")
    return next(known, verdicts[-1] if same else None)


def gate_config(
    point: Point,
    trainer: Trainer,
    test: SequentialTest | NumberTest,
    *,
    voice: Voice = SILENT,
    **options: Any,
) -> Verdict | NumberVerdict:
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
    if certificate is not None and (certificate := certificate.about(None)) is None:
        raise InputError(
            "the run's certificate bounds a number, and no share of seeds",
            place=str(run.path),
            field="min_rate",
            fix="ask for the number: --min, with --of",
        )
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
