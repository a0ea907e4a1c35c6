"""`xortune certify`, `gate`, `plan` and `evaluate`: success rates of configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import xortune as xt
from xortune.cli import shared as cli
from xortune.core.errors import InputError, TrainingError, refuse_given
from xortune.driver.arguments import CertifyArguments, EvaluateArguments, GateArguments
from xortune.runs.store import url_of
from xortune.spaces.yaml_reader import read_yaml

if TYPE_CHECKING:
    from xortune.certificates.plan import ComparisonPlan, RatePlan, Speed
    from xortune.core.outcome import Outcome

# -------------------------------------------------------------------------------------------------
# Certify the finalists of a run on seeds that the search never used.


@cli.command(
    "xortune certify runs/xor --top 5 --seeds 1000",
    "xortune certify runs/xor --min-rate 0.99",
    "xortune certify runs/ppo --min 190 --of return_iqm",
    "xortune certify runs/xor --neighbourhood 0.2 --by neighbourhood",
    "xortune certify runs/xor --extendable",
    "xortune certify runs/xor --seeds 2000 --extend",
    of=CertifyArguments,
    interrupted="interrupted: what had finished is kept; the same command continues",
)
def certify(
    run: cli.RunDirectory,
    trainer: str | None = None,
    quiet: bool = False,
    as_json: bool = False,
    **given: Any,
) -> None:
    """Train the best configurations on fresh seeds, and bound their success rates or numbers.

    Options:
        trainer: Your training function, such as ./train.py:run, if the space does not name it.
    """
    from xortune.reports.progress import display
    from xortune.reports.terminal import render_certificate
    from xortune.runs.certificate import CERTIFICATE

    asked, silent = cli.asked(CertifyArguments, given), quiet or as_json
    loaded = xt.load_run(run)
    if loaded.is_network and not silent:
        cli.announce_compilation(asked["engine"] or "auto")
    with display(quiet=silent) as shown:
        xt.certify(
            loaded,
            **asked,
            train=None if trainer is None else cli.functions_named([trainer])[0],
            listener=cli.listener(shown.seeds(), quiet=quiet),
            verbose=0,
        )
    loaded = xt.load_run(run)
    file = loaded.path / CERTIFICATE
    if as_json:
        cli.print_json(json.loads(file.read_text(encoding="utf-8")))
    elif not quiet:
        render_certificate(loaded, cli.console())
        cli.show(str(file))
    if any(check.final and check.outcome is None for check in loaded.checks):
        raise typer.Exit(cli.NO_OUTCOME)


# -------------------------------------------------------------------------------------------------
# A success rate as a regression test, whose exit code is the answer.


def _training(trainer: str | None, metric: str | None, timeout: str | None) -> Any:
    """The entry `trainer` of a space file; None for the built-in network."""
    if trainer is None:
        refuse_given("only with --trainer", metric=metric, timeout=timeout)
        return None
    kind = "command" if {" ", "{"} & set(trainer) else "function"
    if kind == "function":
        refuse_given("only with a command", metric=metric)
    is_mapping = metric is not None and metric.lstrip().startswith("{")
    parsed = read_yaml(metric, "--metric").values if metric and is_mapping else metric
    given = {kind: trainer, "metric": parsed, "timeout": timeout}
    return {name: value for name, value in given.items() if value is not None}


@cli.command(
    "xortune gate --config config.yaml --min-rate 0.95 --max-seeds 500",
    "xortune gate --trainer ./train.py:run --config config.yaml --min-rate 0.95",
    "xortune gate --trainer ./train.py:run --config config.yaml --min-mean 0.8 --of score",
    "xortune gate runs/xor --min-rate 0.99",
    "xortune gate runs/ppo --min 190 --of return_iqm",
    of=GateArguments,
    interrupted="interrupted: no answer; nothing is kept",
)
def gate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="A run: its certificate decides, of a number also fresh seeds."
        ),
    ] = None,
    config: Path | None = None,
    trainer: str | None = None,
    metric: str | None = None,
    timeout: str | None = None,
    quiet: bool = False,
    as_json: bool = False,
    **given: Any,
) -> None:
    """Prove a success rate or a number: exit code 0 proven, 1 refuted or undecided, 2 bad input.

    Options:
        config: A config (YAML, JSON) to train.
    """
    _check_gated(run, config)
    asked = cli.asked(GateArguments, given)
    train = _training(trainer, metric, timeout)
    if run is not None and trainer is not None:
        refuse_given("where a config is trained", metric=metric, timeout=timeout)
        train = cli.functions_named([trainer])[0]
    if config is not None and trainer is None and not (quiet or as_json):
        cli.announce_compilation(asked["engine"] or "auto")
    try:
        verdict = xt.gate(run or config or "", **asked, train=train, verbose=0 if quiet else 1)
    except TrainingError as error:
        cli.fail(f"error: no outcome: {error}", cli.NO_OUTCOME)
    if as_json:
        cli.print_json(_verdict_json(verdict))
    elif not quiet:
        cli.show(verdict.line)
    if not verdict.passed:
        raise typer.Exit(cli.NOT_PASSED)


def _check_gated(run: Path | None, config: Path | None) -> None:
    """Refuse a file as the run, a directory as the config, and both or neither of them."""
    if (run is None) == (config is None):
        raise InputError(
            "neither a run nor --config" if run is None else "both a run and --config",
            place="gate",
            allowed="one of them",
            fix="give RUN to read its certificate, or --config FILE to train",
        )
    if run is not None and url_of(run) is None and not run.is_dir():
        raise InputError(
            "is not a directory" if run.exists() else "there is no such run",
            place=str(run),
            fix=f"--config {run}, if it is the file of a config",
        )
    if config is not None and config.is_dir():
        raise InputError("is a directory", place=str(config), fix=f"xortune gate {config}")


def _verdict_json(verdict: Any) -> dict[str, Any]:
    """The values of a `Verdict`, or of a `NumberVerdict`."""
    if not hasattr(verdict, "min_rate"):
        asked = ("confidence", "limits", "key")
        ends = ("value", "low", "high")
        return {
            "answer": verdict.answer,
            "passed": verdict.passed,
            "min" if verdict.maximize else "max": verdict.goal,
            "of": verdict.of,
            **{name: getattr(verdict, name) for name in asked},
            "config": verdict.point.as_dict(),
            "n": verdict.n,
            **{name: one if isfinite(one := getattr(verdict, name)) else None for name in ends},
            "exact": verdict.exact,
            "method": verdict.method,
            "first_seed": verdict.first_seed,
            "max_seeds": verdict.most,
            "failures": verdict.failures,
            "failed": verdict.failed,
            "void": verdict.void,
            **_twice_json(verdict.twice),
            "line": verdict.line,
        }
    names = ("answer", "passed", "min_rate", "confidence", "key")
    counts = verdict.counts
    return {
        **{name: getattr(verdict, name) for name in names},
        "config": verdict.point.as_dict(),
        **{name: getattr(verdict, name) for name in ("k", "n", "low", "high", "bound")},
        "bound_confidence": None if verdict.bound is None else verdict.bound_confidence,
        "first_seed": verdict.first_seed,
        "max_seeds": verdict.most,
        "statuses": counts and {status.label: count for status, count in counts.items()},
        "first_crash": _crash_json(verdict.first_crash),
        **_twice_json(verdict.twice),
        **_void_json(verdict.void),
        "line": verdict.line,
    }


def _twice_json(twice: str | None) -> dict[str, Any]:
    """Whether a seed that was trained twice had one result, and both if it had not."""
    return {} if twice is None else {"deterministic": not twice, "twice": twice or None}


def _void_json(void: Mapping[int, str]) -> dict[str, Any]:
    """The seeds that could not be tried, if there are some."""
    return {"void": [{"seed": seed, "reason": why} for seed, why in void.items()]} if void else {}


def _crash_json(crash: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if crash is None else dict(zip(("seed", "reason"), crash, strict=True))


# -------------------------------------------------------------------------------------------------
# How many seeds a claim needs, and how long that takes here.


@cli.command(
    "xortune plan --rate 0.99 --confidence 0.95",
    "xortune plan --rate 0.95 --failures 2 --config my_config.yaml",
    "xortune plan --between 0.9 0.95 --power 0.9",
)
def plan(
    rate: float | None = None,
    between: tuple[float, float] | None = None,
    confidence: float = 0.95,
    failures: int | None = None,
    power: float = 0.8,
    config: Path | None = None,
    task: str = "xor",
    as_json: bool = False,
) -> None:
    """Say how many seeds a claim about success rates needs, and how long they take here.

    Options:
        rate: The success rate to show.
        between: Two success rates to tell apart.
        confidence: Confidence of the lower bound, or 1 minus the level of the test.
        failures: Seeds that may fail. If not given, the table has several numbers.
        power: Chance of finding the difference.
        config: A config (YAML, JSON) to measure the time with.
        task: xor, parity-N, or a CSV file.
    """
    from xortune.certificates.gate import load_config
    from xortune.certificates.plan import STANDARD, measured_speed

    timed = STANDARD if config is None else load_config(config)
    # Refuse bad input before anything is compiled or trained.
    planned = xt.plan(
        rate=rate,
        between=between,
        confidence=confidence,
        failures=failures,
        power=power,
        measure=False,
    )
    learned = xt.Task.named(task)
    if not as_json:
        cli.announce_compilation("auto")
    speed = measured_speed(timed, learned)
    planned = replace(planned, speed=speed)
    if as_json:
        cli.print_json(_plan_json(planned, speed))
        return
    from xortune.reports.terminal import render_plan

    render_plan(planned, speed, cli.console())


def _plan_json(planned: RatePlan | ComparisonPlan, speed: Speed) -> dict[str, Any]:
    fields = asdict(planned)
    seconds = speed.seconds_for_each
    fields["speed"] |= {"config": speed.config.point.as_dict(), "seconds_for_each": seconds}
    for claim in fields.get("claims", ()):
        claim["seconds_here"] = claim["seeds"] * seconds
    return fields


# -------------------------------------------------------------------------------------------------
# One configuration under many seeds.


@cli.command(
    "xortune evaluate --trainer ./train.py:run --config config.yaml --seeds 50",
    "xortune evaluate --activation Tanh --loss MSELoss --optimizer Adam --lr 0.03 "
    "--hidden-dim 5 --epochs 1000 --seeds 100",
    of=EvaluateArguments,
)
def evaluate(
    config: Path | None = None,
    trainer: str | None = None,
    metric: str | None = None,
    timeout: str | None = None,
    activation: str | None = None,
    loss: str | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    hidden_dim: int | None = None,
    epochs: int | None = None,
    momentum: float | None = None,
    no_zero_grad: bool = False,
    seeds: int = 100,
    first_seed: int = 0,
    quiet: bool = False,
    as_json: bool = False,
    **given: Any,
) -> None:
    """Train one configuration under many seeds: how many are solved, and what numbers they have.

    Name the configuration in a file with --config, or by options of the built-in network.

    Options:
        config: A config (YAML, JSON), in place of the network's options.
        activation: torch.nn class name, or none.
        loss: torch.nn class name.
        optimizer: torch.optim class name.
        lr: Learning rate.
        hidden_dim: Units of the hidden layer.
        epochs: Optimizer steps.
        momentum: Momentum of SGD and RMSprop. 0 if not given.
        no_zero_grad: Let gradients accumulate from step to step.
        seeds: How many seeds.
        first_seed: The first seed; the others follow it.
    """
    network = {
        "activation": activation,
        "loss": loss,
        "optimizer": optimizer,
        "lr": lr,
        "momentum": momentum,
        "hidden_dim": hidden_dim,
        "epochs": epochs,
        "zero_grad": False if no_zero_grad else None,
    }
    train = _training(trainer, metric, timeout)
    asked = cli.asked(EvaluateArguments, given)
    target = _evaluated(config, network, trainer)
    if seeds < 1:
        raise InputError(f"{seeds} seeds", place="--seeds", allowed="1 or more")
    chosen = range(first_seed, first_seed + seeds)
    if chosen.start < 0 or chosen.stop > 2**32:
        raise InputError(
            f"seeds {chosen.start} to {chosen.stop - 1}",
            place="--first-seed",
            allowed="seeds from 0 to 2**32 - 1",
        )
    if train is None and not (quiet or as_json):
        cli.announce_compilation(asked["engine"] or "auto")
    try:
        outcome = xt.evaluate(target, chosen, **asked, train=train, verbose=0 if quiet else 1)
    except TrainingError as error:
        cli.fail(f"error: no outcome: {error}", cli.NO_OUTCOME)
    if as_json:
        point = target.point if isinstance(target, xt.Config) else target
        cli.print_json(_outcome_json(outcome) | {"key": point.key, "config": dict(point)})
    elif not quiet:
        from xortune.reports.terminal import render_outcome

        render_outcome(outcome, cli.console())


def _evaluated(
    config: Path | None, network: dict[str, Any], trainer: str | None
) -> xt.Config | xt.Point:
    """The configuration of the file, or of the network's options."""
    from xortune.certificates.gate import load_config, load_parameters

    given = {name: value for name, value in network.items() if value is not None}
    if config is not None:
        for name, value in given.items():
            refuse_given(
                "only without --config: its file sets all parameters", **{name: str(value)}
            )
        return load_config(config) if trainer is None else load_parameters(config)
    if trainer is not None:
        raise InputError("is missing", place="config", fix="name the file of the parameters")
    if given.get("activation", "").lower() == "none":
        given["activation"] = None
    return xt.Config.from_point(given)


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    low, high = outcome.interval()
    counted = {
        "k": outcome.successes,
        "n": outcome.n,
        "rate": outcome.rate,
        "low": low,
        "high": high,
        "epochs_to_solve": outcome.epochs_to_solve,
    }
    if not outcome.details.ruled:
        counted = {"n": outcome.n, "failed": outcome.n - outcome.successes}
    return {
        **counted,
        "numbers": [outcome.summary(name).as_dict() for name in outcome.number_names],
        "first_seed": int(outcome.seeds[0]),
        **_twice_json(outcome.details.twice),
        **_void_json(outcome.details.void),
        **({} if (audit := outcome.details.audit) is None else {"audit": asdict(audit)}),
        "statuses": {
            "finished" if status == 0 and not outcome.details.ruled else status.label: count
            for status, count in outcome.endings.items()
        },
        "first_crash": _crash_json(outcome.first_crash),
    }
