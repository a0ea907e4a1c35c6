"""Samplers: what proposes configurations. Each is declared once, here.

A sampler of Optuna is one more value of `SAMPLERS`, or of an installed package by an entry point
`xortune.samplers`. The space file, the options, the checks, the rules of a resume and the documents
follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from xortune.core.errors import InputError
from xortune.core.plugins import find, installed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from xortune.spaces.model import SearchSpace

GROUP = "xortune.samplers"
"""The entry points of installed packages."""

STARTUP: Final = 10
"""TPE draws from the whole space until this number of trials has ended: Optuna's default."""

RANDOM_EVERY: Final = 4
"""In a race every fourth proposal of TPE is drawn from the whole space. TPE alone settles where it
first found something good, and in a race a look elsewhere costs a few seeds; see
benchmarks/README.md."""


@dataclass(frozen=True)
class Sampler:
    """What proposes configurations.

    Attributes:
        name: in a space file.
        about: how it proposes, in a few words, for documents.
        learns: whether its proposals depend on results.
        several: whether it takes several objectives.
        exact_resume: whether a resumed search proposes what it would have proposed.
        needs: what it requires. Each function raises an InputError about a space that lacks it.
        make: makes Optuna's sampler for one proposal, seeded by the search's seed and the
            proposal's number; None for xortune's own, which `deciding/propose.py` makes.
        keeps_state: whether it stores its state in Optuna's study and continues from it. A resumed
            search then asks for earlier proposals again.
        is_sequence: whether all proposals are one sequence, so that `make` gets the search's own
            seed for each.
        walks: whether it proposes each point of the space once, in place of drawing points.
        instead: the name of the sampler that proposes where no number can be learned; of one that
            learns the number that the objective or the rule names.
        startup: how many proposals are drawn from the whole space before it is asked.
        random_every: in a race every so many-th proposal is drawn so, too; 0: none.
        ranks: whether it is told the place of a number in its list, so that close ones are alike.

    Example:
        >>> def nsgaiii(seed):
        ...     from optuna.samplers import NSGAIIISampler
        ...
        ...     return NSGAIIISampler(seed=seed)
        >>> NSGAIII = xt.Sampler(
        ...     "nsgaiii",
        ...     "evolution towards reference points",
        ...     make=nsgaiii,
        ...     keeps_state=True,
        ... )
    """

    name: str
    about: str
    learns: bool = True
    several: bool = True
    exact_resume: bool = False
    needs: tuple[Callable[[SearchSpace], None], ...] = ()
    make: Callable[[int], BaseSampler] | None = None
    keeps_state: bool = False
    is_sequence: bool = False
    walks: bool = False
    instead: str | None = None
    startup: int = 0
    random_every: int = 0
    ranks: bool = False


# -------------------------------------------------------------------------------------------------
# What samplers need.


def package(name: str) -> Callable[[SearchSpace], None]:
    """Need a package that is not always installed."""

    def check(space: SearchSpace) -> None:
        if find_spec(name) is None:
            sampler = space.search.sampler
            raise space.refusal(
                ("search", "sampler"),
                f"sampler {sampler} needs the package {name}, which is not installed",
                "a sampler whose packages are installed",
                f"pip install {name}, or use another sampler",
            )

    return check


def failed_counts(space: SearchSpace) -> None:
    """Need to know what a failed seed counts as, in each objective that is a number."""
    several = len(space.objectives) > 1
    beside = "other objectives" if several else f"sampler {space.search.sampler}"
    for index, objective in enumerate(space.objectives):
        if objective.number is not None and objective.failed is None:
            raise space.refusal(
                ("objectives", index),
                f"{objective.name} with {beside}, and nothing says what a failed seed counts as",
                "a number `failed`: here distances count, and not the order alone",
                f"write `- {{name: {objective.name}, failed: 0.0}}`, with your own number",
            )


def finite(space: SearchSpace) -> None:
    """Need parameters with finitely many values, all of which are tried."""
    from xortune.spaces.model import finite_values

    for parameter in space.parameters:
        if finite_values(parameter) is None:
            raise space.refusal(
                ("parameters", parameter.name),
                "a range of floats without a step, which no grid can walk through",
                "with sampler grid: fixed values, choices, integers, ranges with step",
                "give it a step or a choice, or use another sampler",
            )
    if space.search.trials is not None:
        raise space.refusal(
            ("search", "trials"),
            f"{space.search.trials} trials with sampler grid",
            "no trials: a grid runs each of its points once",
            "remove trials, or use sampler random for a part of the points",
        )


def only_ranges(space: SearchSpace) -> None:
    """Need fixed values and ranges, at least two of them, without conditions."""
    from xortune.spaces.model import Choice, extremes

    sampler = space.search.sampler
    for parameter in space.parameters:
        if isinstance(parameter, Choice) or parameter.when:
            what = "a condition" if parameter.when else "a choice"
            raise space.refusal(
                ("parameters", parameter.name),
                f"{what}, which sampler {sampler} would only draw at random",
                f"with sampler {sampler}: fixed values and ranges without conditions",
                "fix it, or use sampler tpe",
            )
    free = [p for p in space.parameters if len(extremes(p)) > 1]
    if len(free) < 2:
        raise space.refusal(
            ("search", "sampler"),
            f"{len(free)} range{'s'[: len(free) != 1]} with sampler {sampler}",
            "at least two: it learns how they go together",
            "search over more parameters, or use sampler tpe",
        )


# -------------------------------------------------------------------------------------------------
# How Optuna makes them, with their packages imported at their first proposal.


def of_optuna(kind: str, **settings: Any) -> Callable[[int], BaseSampler]:
    """Make the sampler of a class of `optuna.samplers`, with settings beside its seed."""

    def make(seed: int) -> BaseSampler:
        import optuna.samplers

        sampler: BaseSampler = getattr(optuna.samplers, kind)(seed=seed, **settings)
        return sampler

    return make


def _sobol(seed: int) -> BaseSampler:
    from numpy.random import SeedSequence
    from optuna.distributions import CategoricalDistribution
    from optuna.samplers import QMCSampler, RandomSampler

    class Sobol(QMCSampler):
        """Proposes the same whatever has ended: Optuna's looks at ended trials for the ranges."""

        def before_trial(self, study: Any, trial: Any) -> None:  # noqa: ARG002
            self.drawn = RandomSampler(int(SeedSequence([seed, trial.number]).generate_state(1)[0]))

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:  # noqa: ARG002
            first: dict[str, BaseDistribution] = study.get_trials(deepcopy=False)[0].distributions
            # Optuna before 5 cannot spread choices.
            return {k: d for k, d in first.items() if not isinstance(d, CategoricalDistribution)}

        def sample_independent(self, study: Any, trial: Any, *parameter: Any) -> Any:
            return self.drawn.sample_independent(study, trial, *parameter)

    return Sobol(scramble=True, seed=seed)


_TPE = {"n_startup_trials": STARTUP, "multivariate": True, "group": True, "constant_liar": True}

SAMPLERS = (
    Sampler(
        "auto",
        "learns the number that the objective or the rule names, by a Gaussian process; else `tpe`",
        exact_resume=True,
        instead="tpe",
        startup=STARTUP,
    ),
    Sampler(
        "tpe",
        "tree-structured Parzen estimators",
        exact_resume=True,
        make=of_optuna("TPESampler", **_TPE),
        startup=STARTUP,
        random_every=RANDOM_EVERY,
        ranks=True,
    ),
    Sampler(
        "gp",
        "a Gaussian process of the objective",
        needs=(package("torch"), failed_counts),
        make=of_optuna("GPSampler"),
    ),
    Sampler(
        "nsgaii",
        "evolution by non-dominated sorting",
        make=of_optuna("NSGAIISampler"),
        keeps_state=True,
    ),
    Sampler("random", "draws each configuration alone", learns=False, exact_resume=True),
    Sampler(
        "sobol",
        "spreads ranges more evenly than `random`, by a scrambled Sobol sequence; draws choices "
        "and conditional parameters at random",
        learns=False,
        exact_resume=True,
        make=_sobol,
        keeps_state=True,
        is_sequence=True,
    ),
    Sampler(
        "grid",
        "every configuration once",
        learns=False,
        exact_resume=True,
        needs=(finite,),
        walks=True,
    ),
    Sampler(
        "cmaes",
        "CMA-ES: moves a normal distribution over the ranges",
        several=False,
        needs=(package("cmaes"), only_ranges),
        make=of_optuna("CmaEsSampler"),
        keeps_state=True,
    ),
)
"""xortune's own samplers."""


def samplers() -> tuple[Sampler, ...]:
    """All samplers: xortune's own, and those of installed packages."""
    return installed(GROUP, Sampler, SAMPLERS)


def sampler_named(name: object) -> Sampler:
    """The sampler of a name.

    Raises:
        InputError: there is none, or that of an installed package cannot be used.
    """
    return find(name, GROUP, Sampler, SAMPLERS, field="sampler")


def check_sampler(space: SearchSpace) -> None:
    """Check what the space's sampler requires of the space.

    Raises:
        InputError: it is unknown, or the space lacks something.
    """
    try:
        sampler = sampler_named(space.search.sampler)
    except InputError as error:
        raise error.at(space.at("search", "sampler")) from None
    objectives = len(space.objectives)
    if objectives > 1 and not sampler.several:
        raise space.refusal(
            ("search", "sampler"),
            f"sampler {sampler.name} with {objectives} objectives",
            "with several objectives: " + ", ".join(one.name for one in samplers() if one.several),
            "use sampler nsgaii or tpe, or one objective",
        )
    for need in sampler.needs:
        need(space)
