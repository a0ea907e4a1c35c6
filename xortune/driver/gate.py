"""The verb `gate`: whether a config, or the best of a run, solves enough of all seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from xortune.certificates.gate import (
    Verdict,
    gate_certificate,
    gate_config,
    gate_imported,
    load_config,
)
from xortune.core.config import Config
from xortune.core.errors import InputError, refuse_given
from xortune.core.seeds import GATE
from xortune.core.task import Task, TaskSpec
from xortune.integrations.export import exported
from xortune.reports.tables import certify_command
from xortune.runs.manifest import is_imported
from xortune.runs.run import Run, load_run
from xortune.runs.store import url_of
from xortune.trainers.network import NetworkTrainer, usable_cores


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
        max_seeds: of a config: after so many the answer is `undecided`; 500 if not given. The risk
            of a wrong answer is spent over just so many seeds: decide on it before you see any.
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
    sure = 0.95 if confidence is None else confidence
    if isinstance(given, Run):
        refuse_given(
            "only with a config that is trained",
            max_seeds=max_seeds,
            task=task,
            first_seed=first_seed,
            engine=engine,
        )
        certificate = given.certificate
        if certificate is None and is_imported(given.manifest):
            return gate_imported(given, exported(given, key), min_rate=min_rate, confidence=sure)
        if certificate is None:
            command = certify_command(given, 1000, str(given.path))
            raise InputError(
                "the run has no certificate",
                place=str(given.path),
                fix=None if command is None else f"make one: `{command}`",
            )
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
    refuse_given("only with a run, whose finalists have keys", key=key)

    learned = task if isinstance(task, Task) else Task.named(task or "xor")
    trainer = NetworkTrainer(learned, engine=engine or "auto", threads=usable_cores())
    trainer.describe()  # refuses an engine that is not there
    return gate_config(
        given.point,
        trainer,
        min_rate=min_rate,
        max_seeds=500 if max_seeds is None else max_seeds,
        confidence=sure,
        first_seed=GATE.start if first_seed is None else first_seed,
        on_seeds=on_seeds,
    )
