"""The verbs about how sure one can be: plan, gate. They check what they are given."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xortune.certificates.gate import (
    check_gate,
    gate_certificate,
    gate_config,
    gate_imported,
    load_config,
)
from xortune.certificates.plan import STANDARD, measured_speed, plan_comparison, plan_rate
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.seeds import GATE
from xortune.core.task import Task, TaskSpec
from xortune.integrations.export import exported
from xortune.reports.tables import certify_command
from xortune.runs.manifest import is_imported
from xortune.runs.run import Run, load_run
from xortune.runs.store import url_of
from xortune.trainers.network import NetworkTrainer, usable_cores

if TYPE_CHECKING:
    from xortune.certificates.gate import Verdict
    from xortune.certificates.plan import ComparisonPlan, RatePlan
    from xortune.runs.certificate import Certificate


def plan(
    rate: float | None = None,
    *,
    between: Sequence[float] | None = None,
    confidence: float = 0.95,
    failures: int | None = None,
    power: float = 0.8,
    config: Config | None = None,
    task: TaskSpec = "xor",
    measure: bool = True,
) -> RatePlan | ComparisonPlan:
    """How many seeds it takes to show a success rate, or to tell two apart; and how long here.

    Args:
        rate: the success rate to show.
        between: instead of it, two rates to tell apart.
        confidence: of the lower bound; with `between` 1 minus the level of the test.
        failures: how many seeds may fail; several numbers if not given.
        power: the chance that a difference as between the two rates is found.
        config: what the time is measured with; a standard config if not given.
        task: what that config learns.
        measure: False trains nothing and says nothing of time.

    Raises:
        InputError: neither a rate nor two, both, or an argument out of range.
    """
    if (rate is None) == (between is None):
        raise InputError(
            "neither a rate nor two to tell apart" if rate is None else "a rate and two others",
            field="rate",
            allowed="one of rate and between",
            fix="give --rate 0.99, or --between 0.9 0.95",
        )
    if config is not None and not isinstance(config, Config):
        raise InputError(f"a {type(config).__name__}", field="config", allowed="a xortune.Config")
    learned = task if isinstance(task, Task) else Task.named(task)
    # What is refused is refused before anything is trained: the time comes last.
    planned: RatePlan | ComparisonPlan
    if between is None:
        assert rate is not None
        planned = plan_rate(rate, confidence=confidence, failures=failures)
    else:
        if len(between) != 2:
            raise InputError(f"{len(between)} rates", field="between", allowed="two rates")
        if failures is not None:
            raise InputError(
                f"{failures} with two rates",
                field="failures",
                allowed="a number of failures only with a rate to show",
            )
        pair = (between[0], between[1])
        planned = plan_comparison(pair, alpha=1 - confidence, power=power)
    if not measure:
        return planned
    return replace(planned, speed=measured_speed(config or STANDARD, learned))


def gate(
    config_or_run: Config | Run | str | os.PathLike[str],
    *,
    min_rate: float,
    max_seeds: int | None = None,
    confidence: float | None = None,
    task: TaskSpec | None = None,
    first_seed: int | None = None,
    engine: str | None = None,
    key: str | None = None,
    on_seeds: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Whether a config solves more than `min_rate` of all seeds: proven, refuted or undecided.

    A config is trained, seed after seed, until the answer is known. Of a run the certificate is
    read, and nothing is trained. Of a run that was imported, without a certificate, the imported
    seeds are judged, by bounds that hold for all its configs at once.

    Args:
        config_or_run: a config, the file of one (YAML or JSON), a run, or its directory.
        min_rate: the success rate to prove, in (0, 1).
        max_seeds: of a config: after so many the answer is `undecided`; 500 if not given.
        confidence: 1 minus the probability, at most, of a wrong answer; 0.95 if not given. Of a
            certificate, what it must have at least.
        task: of a config: what it learns; xor if not given.
        first_seed: of a config: the others follow it; if not given, the gates' own seeds, the same
            each time.
        engine: of a config: see `evaluate`.
        key: of a run: the finalist; the certificate's first if not given.
        on_seeds: called with (k, n) while training.

    Raises:
        InputError: an argument that is not usable, or a run without a certificate.
        TrainingError: the training produced no outcome.
    """
    given = config_or_run
    if isinstance(given, str | os.PathLike):
        run = url_of(given) is not None or Path(given).is_dir()
        given = load_run(given) if run else load_config(given)
    if isinstance(given, Run):
        _refuse(
            "only with a config that is trained",
            max_seeds=max_seeds,
            task=task,
            first_seed=first_seed,
            engine=engine,
        )
        if given.certificate is None and is_imported(given.manifest):
            sure = 0.95 if confidence is None else confidence
            check_gate(min_rate, sure)
            return gate_imported(given, exported(given, key), min_rate=min_rate, confidence=sure)
        certificate = _certificate(given)
        if confidence is not None and certificate.confidence < confidence - 1e-12:
            raise InputError(
                f"the certificate holds with confidence {certificate.confidence:g}",
                field="confidence",
                allowed=f"up to {certificate.confidence:g} with this certificate",
                fix=f"certify again with --confidence {confidence:g}",
            )
        return gate_certificate(certificate, min_rate=min_rate, key=key)
    if not isinstance(given, Config):
        raise InputError(
            f"a {type(given).__name__}",
            field="config_or_run",
            allowed="a xortune.Config, a run, or the path of either",
        )
    _refuse("only with a run, whose finalists have keys", key=key)

    learned = task if isinstance(task, Task) else Task.named(task or "xor")
    trainer = NetworkTrainer(learned, engine=engine or "auto", threads=usable_cores())
    trainer.describe()  # refuses an engine that is not there
    return gate_config(
        given.point,
        trainer,
        min_rate=min_rate,
        max_seeds=500 if max_seeds is None else max_seeds,
        confidence=0.95 if confidence is None else confidence,
        first_seed=GATE.start if first_seed is None else first_seed,
        on_seeds=on_seeds,
    )


def _certificate(run: Run) -> Certificate:
    certificate = run.certificate
    if certificate is None:
        command = certify_command(run, 1000, str(run.path))
        raise InputError(
            "the run has no certificate",
            place=str(run.path),
            fix=None if command is None else f"make one: `{command}`",
        )
    return certificate


def _refuse(allowed: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{value!r}", field=name, allowed=allowed, fix="leave it out")
