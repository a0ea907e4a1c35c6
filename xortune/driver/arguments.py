"""The arguments of the verbs that train: each is declared once, here.

A field has the name, the type and the default of an argument, and the docstring of its class says
what it is for. The verb's signature and documents, the options of its command and their help, and
what is refused where an argument means nothing follow: to add an argument, write a field here.
"""

# ruff: noqa: RUF009  # `argument` makes a `dataclasses.field`

from __future__ import annotations

import functools
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

from xortune.core.errors import InputError, refuse_given

if TYPE_CHECKING:
    from xortune.core.config import Config
    from xortune.core.task import TaskSpec
    from xortune.core.trainer import Exceptions, Trainer, Waits
    from xortune.driver.voice import Listen
    from xortune.integrations.trackers import Tracker
    from xortune.runs.run import Run
    from xortune.spaces.model import SearchSpace
    from xortune.training.resources import Ray, Workers

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")

Place: TypeAlias = str | os.PathLike[str] | None

SpaceLike: TypeAlias = "SearchSpace | str | os.PathLike[str] | Mapping[str, Any]"

CheckFirst: TypeAlias = bool | Literal["seeds"]
"""Whether a user's function is called before a search; `seeds`: its first seed always twice."""

Training: TypeAlias = Callable[..., Any] | str | Mapping[str, Any]
"""A function or a class; or what a space file may call `trainer`: a function's name, a command."""

OWN, NETWORK, CONFIG = "with train=", "for the built-in network", "where a config is trained"
BEGINNING = "at the beginning of an attempt; extending it keeps them"


@dataclass(frozen=True)
class Option:
    """What a field says of itself beyond its name, its type and its default.

    Attributes:
        only: where the argument means something; see `refuse_unused`.
        name: of the option that commands have, if it is not that of the argument.
        typed: the type of what is typed there, if it is not that of the argument.
        read: makes the argument of it.
        there: whether commands have it at all.
    """

    only: str | None = None
    name: str | None = None
    typed: Any = None
    read: Callable[[Any], Any] = lambda typed: typed
    there: bool = True


def argument(default: Any = None, **option: Any) -> Any:
    """A field with its default, and with an `Option` of these values."""
    return field(default=default, metadata={"option": Option(**option)})


def python(default: Any = None, *, only: str | None = None) -> Any:
    """The field of an argument that no command has as it is."""
    return argument(default, only=only, there=False)


def _exceptions(names: Sequence[str] | None) -> Any:
    from xortune.driver.trainer import exceptions_named  # slow to import

    return exceptions_named(names or [])


def waits_of(text: str | None) -> float | list[float] | None:
    """The option --retry-wait: one number, or several with commas in between.

    Raises:
        InputError: one of them is no number of seconds.
    """
    if text is None:
        return None
    try:
        waits = [float(part.strip().removesuffix("s")) for part in text.strip(",").split(",")]
    except ValueError:
        problem = f"{text!r} is no number of seconds"
        raise InputError(problem, field="retry_wait", allowed="5, or several: 1,10,60") from None
    return waits if "," in text else waits[0]


# -------------------------------------------------------------------------------------------------
# What several verbs have.


@dataclass(frozen=True)
class TellingArguments:
    """What the user is told.

    Attributes:
        listener: called with each event: a `Progress` of a search after each result, and with what
            a training reports on its way, once a second for each worker (on Ray once in 5 s);
            `SeedsDone`, which says how many of the seeds so far are solved; a `Message`; the first
            `Failure`.
        verbose: 0 shows nothing; 1 shows the progress on a terminal or in a notebook, sentences
            that the user should read and the first failure; 2 shows each step in a line. If your
            program has set up logging, the sentences go to the logger `xortune`.
    """

    _: KW_ONLY
    listener: Listen | None = python()
    verbose: int = python(1)


@dataclass(frozen=True)
class TrainingArguments(TellingArguments):
    """Who trains on this machine, and what becomes of seeds that cannot be tried.

    Attributes:
        workers: how many processes train at once on this machine, as many as its CPUs allow if not
            given. 0 trains in this process, one seed after the other: for a debugger, and for a
            function that changes what is around it. Of an async function: how many seeds are
            awaited at once in this process, 16 if not given. In Python also an `xt.Workers`.
        retry: an exception of your training that says nothing of it, such as ConnectionError,
            openai:RateLimitError or ./train.py:Busy; give it as often as you like. Its seed is
            tried again, up to seven times, and is void in the end: in no count, and listed. A
            command exits with 75. In Python a class or several: such a seed waits from half a
            second to half a minute, or for the `retry_after` seconds of the exception.
        retry_wait: seconds before each further try of such a seed: 1,10,60 for three of them, a
            number alone for seven. 0.5,1,2,4,8,16,30 if not given. In Python a list.
        max_void: the share of seeds that may be void, 0.05 if not given. More end the verb, a
            command with exit code 4; the same call tries them again.
    """

    _: KW_ONLY
    workers: int | Workers | None = python(only=OWN)
    retry: Exceptions = argument((), only=OWN, typed=list[str], read=_exceptions)
    retry_wait: Waits | None = argument(only=OWN, read=waits_of)
    max_void: float | None = argument(only=OWN)


@dataclass(frozen=True)
class RayArguments(TrainingArguments):
    """Who trains, here or on Ray.

    Attributes:
        ray: train by Ray Tune on this machine too, in place of a pool of processes; Ray starts and
            is stopped again. In Python also an `xt.Ray`, which may name a cluster, CPUs and GPUs.
        address: of a Ray cluster, short for `ray=xt.Ray(address)`.
    """

    _: KW_ONLY
    ray: bool | Ray = argument(False, typed=bool)
    address: str | None = python()


# -------------------------------------------------------------------------------------------------
# Those of each verb.


@dataclass(frozen=True)
class SearchArguments(RayArguments):
    """What a search is asked.

    Attributes:
        space: a space file, a loaded space, or the content of a file as a dict.
        output: the run's directory, or a URL such as s3://bucket/folder/run (see
            docs/durability.md); runs/NAME (or NAME-2, ...) if not given.
        trials: configurations to evaluate, in place of the space file's.
        sampler: what proposes configurations, in place of the space file's: auto, tpe, random, ...
            (docs/space-file.md), or one that `xortune plugins` lists.
        seed: the sampler's, in place of the space file's.
        time_budget: start no training after this long: 90s, 10m, 2h, counted from the start in the
            run's manifest. A certificate follows if it takes at most a tenth of this time.
            `resume` continues the search. In Python also seconds; the manifest says that the budget
            ended the search (`complete`, `stopped`).
        resume: continue the run in `output` instead of refusing it. Only the number of trials may
            differ in the space; see docs/resume.md.
        extend: continue the run with a larger space: wider ranges, new choices, more start entries,
            a larger certify.
        accept_versions: continue the run with another engine, torch or Numba than made it; the
            seeds of each version are counted separately.
        train: a function of your own that trains instead of the built-in network: f(config, seed),
            or f(config, seeds) for all seeds of a block at once; see docs/own-trainer.md. A space
            file may name it too.
        engine: what trains the built-in network on all workers: auto, fused, reference or cuda.
        trackers: where each configuration is logged, as `log` does: `xt.TensorBoard`, `xt.MLflow`,
            `xt.WandB`. A tracker that fails does not end the search.
        dry_run: check everything, call a training of your own one to three times, say what the
            search would do, and train nothing.
        check: whether to call a function of your own before a new run begins, in a process of its
            own: its first seed twice, and another seed in between. "seeds": its first seed twice
            even if it takes more than a minute, or the run is resumed.
        fail_fast: end the search at the first seed that fails; `resume` continues it.
        from_: another run, or an imported table, whose best two configurations are proposed first;
            its seeds count in no result; see docs/resume.md.
        note: a sentence about the run, for its manifest, status and report.
        tags: a word for the same places; with `resume` it is added to the run's; give it as often
            as you like.
    """

    space: SpaceLike
    _: KW_ONLY
    output: Place = None
    trials: int | None = None
    sampler: str | None = None
    seed: int | None = None
    time_budget: float | str | None = None
    resume: bool = False
    extend: bool = False
    accept_versions: bool = False
    train: Callable[..., Any] | None = python()
    engine: str = "auto"
    trackers: Sequence[Tracker] = python(())
    dry_run: bool = False
    check: CheckFirst = python(True)
    fail_fast: bool = False
    from_: Place | Run = None
    note: str | None = None
    tags: Iterable[str] | None = argument(name="tag", typed=list[str])


@dataclass(frozen=True)
class CertifyArguments(RayArguments):
    """What a certificate is asked.

    Attributes:
        run: a run, or its directory.
        top: how many of the search's best to certify; 5 if not given, 1 with `min_rate`.
        seeds: fresh seeds for each, a number planned beforehand; with `extend`, how many more; with
            `min_rate`, at most how many.
        min_rate: prove this rate for the best, looking after each seed, at the attempt's whole
            risk; then for the next, up to `top`, until one is not proven. If not given, each gets
            all the seeds and a bound.
        min: as `min_rate`, of a number: prove that the statistic of `of` is at least this.
        max: as `min`, at most this.
        of: the statistic of a number to certify, such as return_iqm, return_mean, return_q10; what
            the search looked for if not given.
        bounds: the least and the greatest number that a seed can have; those of the space if not
            given. With them bounds of a mean are exact.
        confidence: of all lower bounds together; 0.95 if not given.
        extendable: begin an attempt to which `extend` can add seeds later; its bound is an
            anytime-valid one, a little lower.
        extend: add seeds to the last attempt, which must have begun as extendable.
        neighbourhood: also certify neighbours whose numeric settings differ by this share: 0.2
            moves those on a log scale by factors of 1/1.2 and 1.2, others by 5 % of their range.
        by: the lower bound that orders the finalists, and so decides which one `gate` and `export`
            take: own (if not given), or neighbourhood, the lowest among a finalist and its
            neighbours.
        key: certify this configuration alone, in place of the search's best; the beginning of a key
            is enough.
        accept_versions: begin a new attempt if another engine, torch or Numba began the last one.
        train: your own function that trained the run, if its space does not name it.
        trainer: a `core.trainer.Trainer` in its place.
        engine: of the built-in network: auto, fused, reference or cuda; the search's if not given.
    """

    run: Run | str | os.PathLike[str]
    _: KW_ONLY
    top: int | None = argument(only=BEGINNING)
    seeds: int = 1000
    min_rate: float | None = argument(only=BEGINNING)
    min: float | None = argument(only=BEGINNING)
    max: float | None = argument(only=BEGINNING)
    of: str | None = argument(only=BEGINNING)
    bounds: Sequence[float] | None = argument(only=BEGINNING, typed=tuple[float, float])
    confidence: float | None = argument(only=BEGINNING)
    extendable: bool = argument(False, only=BEGINNING)
    extend: bool = False
    neighbourhood: float | None = argument(only=BEGINNING)
    by: str | None = argument(only=BEGINNING)
    key: str | None = argument(only=BEGINNING)
    accept_versions: bool = False
    train: Callable[..., Any] | None = python()
    trainer: Trainer | None = python()
    engine: str | None = None


@dataclass(frozen=True)
class ConfigArguments(TrainingArguments):
    """What trains a config that no run has.

    Attributes:
        train: what trains instead of the built-in network: a function of your own, f(config, seed);
            a class, such as an `xt.TorchTraining`; or what a space file may call `trainer`:
            "./train.py:run", "python train.py --lr={lr} --seed={seed}", {"command": ...}.
        success: with a training of your own: what a success is, such as 'accuracy >= 0.9'; without
            it all finite numbers are as good.
        task: for the network: xor, parity-N, or a CSV file; xor if not given. In Python also an
            `xt.Task`.
        engine: what trains the built-in network: auto (fused if it covers the config, else
            reference), fused (compiled, on all cores), reference (stacked torch on one core) or
            cuda (stacked torch on a GPU).
        fail_fast: with `train`: end at the first seed that fails.
    """

    _: KW_ONLY
    train: Training | None = python(only=CONFIG)
    success: str | None = argument(only=OWN)
    task: TaskSpec | None = argument(only=NETWORK)
    engine: str | None = argument(only=NETWORK)
    fail_fast: bool = python(False, only=OWN)


@dataclass(frozen=True)
class EvaluateArguments(ConfigArguments):
    """What an evaluation is asked.

    Attributes:
        config: a `Config` of the built-in network; with `train` a dict of parameters.
        seeds: whole numbers in [0, 2**32), each once.
        checkpoints: for the network: earlier epochs at which to record an outcome too; see
            `Outcome.at`.
    """

    config: Config | Mapping[str, Any]
    seeds: Iterable[int]
    _: KW_ONLY
    checkpoints: Sequence[int] = python((), only=NETWORK)


@dataclass(frozen=True)
class GateArguments(ConfigArguments):
    """What a gate is asked.

    Attributes:
        config_or_run: a config, with `train` a dict of parameters; the file of one (YAML or JSON);
            a run, or its directory.
        min_rate: the success rate to prove, in (0, 1).
        min_mean: of a training of your own, in place of a rate: the mean of a number to prove.
        min: the same of any statistic, which `of` names: that it is at least this.
        max: that it is at most this.
        of: with `min_mean` the name of the number, else that of the statistic: return_iqm,
            return_mean, return_median, return_q10. If not given, of a run what the search looked
            for, of a config with `min_mean` the first number that the training returns.
        bounds: the least and the greatest number that a seed can have. If not given, those of the
            run's space; of a config with `min_mean` 0 and 1. With them a mean is decided exactly,
            without them approximately. A failed seed counts as the worse bound, without them as
            worse than any number.
        max_seeds: where seeds are trained: the most; 500 if not given. The answer is `undecided`
            once it could not be proven even if all that are left were as good as can be. The gate
            spends its
            risk of a wrong answer over exactly this number: decide on it before you see a seed.
        confidence: 1 minus the greatest probability of a wrong answer; 0.95 if not given. For a
            run, the least confidence that its certificate must have.
        first_seed: for a config: the others follow it. If not given, the gates' own seeds, the same
            each time.
        key: for a run: the finalist; the certificate's first if not given, of a number without one
            the search's.
    """

    config_or_run: Config | Mapping[str, Any] | Run | str | os.PathLike[str]
    _: KW_ONLY
    min_rate: float | None = None
    min_mean: float | None = None
    min: float | None = None
    max: float | None = None
    of: str | None = None
    bounds: Sequence[float] | None = argument(typed=tuple[float, float])
    max_seeds: int | None = argument(only=CONFIG)
    confidence: float | None = None
    first_seed: int | None = argument(only=CONFIG)
    key: str | None = None

    @property
    def claims(self) -> dict[str, float]:
        """What is to be proven, by the name of its argument."""
        names = ("min_rate", "min_mean", "min", "max")
        return {name: one for name in names if (one := getattr(self, name)) is not None}

    @property
    def claimed(self) -> str:
        """The name of the first of them."""
        return next(iter(self.claims))


# -------------------------------------------------------------------------------------------------
# What follows.


def option_of(one: Field[Any]) -> Option:
    """What a field says of itself."""
    option: Option = one.metadata.get("option", Option())
    return option


def refuse_unused(asked: Any, *places: str) -> None:
    """Refuse arguments that are given although they mean something only in one of these places.

    Raises:
        InputError: one is.
    """
    for place in places:
        mine = [one.name for one in fields(asked) if option_of(one).only == place]
        refuse_given(f"only {place}", **{name: getattr(asked, name) or None for name in mine})


_ENTRY = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def texts(of: type) -> dict[str, str]:
    """What the arguments of a class are for, by their names; those of its own come first."""
    found: dict[str, str] = {}
    for kind in of.__mro__:
        for name, text in _ENTRY.findall(inspect.cleandoc(kind.__doc__ or "")):
            found.setdefault(name, " ".join(text.split()))
    return found


def verb(of: Callable[P, A]) -> Callable[[Callable[[A], R]], Callable[P, R]]:
    """Make a function of a value of a class above the verb that takes its fields as arguments."""
    told, signature = texts(cast("type", of)), inspect.signature(of)
    signature = signature.replace(parameters=[signature.parameters[name] for name in told])
    margins: Any = {"initial_indent": " " * 4, "subsequent_indent": " " * 8}
    entries = [textwrap.fill(f"{name}: {text}", 92, **margins) for name, text in told.items()]

    def named(function: Callable[[A], R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(of(*args, **kwargs))

        about, *ends = re.split(
            r"\n\n(?=Returns:|Raises:)", inspect.getdoc(function) or "", maxsplit=1
        )
        called.__doc__ = "\n\n".join([about, "\n".join(["Args:", *entries]), *ends])
        result = inspect.signature(function).return_annotation
        called.__dict__["__signature__"] = signature.replace(return_annotation=result)
        of.__init__.__qualname__ = function.__name__  # for its TypeErrors
        return called

    return named
