"""xortune: hyperparameters that train successfully for every random seed.

The public names are listed once, below, and loaded when they are first used, so that importing
xortune costs nothing: no torch, no Ray, no Optuna, no NumPy.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect

    from xortune.api import evaluate as evaluate
    from xortune.api import load_run as load_run
    from xortune.api import search as search
    from xortune.api import write_report as write_report
    from xortune.api_certify import certify as certify
    from xortune.api_compare import compare as compare
    from xortune.api_compare import write_comparison as write_comparison
    from xortune.api_export import export as export
    from xortune.api_gate import gate as gate
    from xortune.api_gate import plan as plan
    from xortune.api_import import from_optuna as from_optuna
    from xortune.api_import import import_results as import_results
    from xortune.api_import import to_optuna as to_optuna
    from xortune.api_log import log as log
    from xortune.api_plot import plot_agreement as plot_agreement
    from xortune.api_plot import plot_contour as plot_contour
    from xortune.api_plot import plot_decision_surface as plot_decision_surface
    from xortune.api_plot import plot_differences as plot_differences
    from xortune.api_plot import plot_failures as plot_failures
    from xortune.api_plot import plot_numbers as plot_numbers
    from xortune.api_plot import plot_optimization_history as plot_optimization_history
    from xortune.api_plot import plot_parallel_coordinate as plot_parallel_coordinate
    from xortune.api_plot import plot_param_importances as plot_param_importances
    from xortune.api_plot import plot_pareto_front as plot_pareto_front
    from xortune.api_plot import plot_profile as plot_profile
    from xortune.api_plot import plot_ranking as plot_ranking
    from xortune.api_plot import plot_seeds_spent as plot_seeds_spent
    from xortune.api_plot import plot_slice as plot_slice
    from xortune.api_plot import plot_success_by_epoch as plot_success_by_epoch
    from xortune.api_plot import plot_wins as plot_wins
    from xortune.api_status import status as status
    from xortune.comparison import Comparison as Comparison
    from xortune.comparison_runs import RunComparison as RunComparison
    from xortune.config import Config as Config
    from xortune.errors import InputError as InputError
    from xortune.errors import TrainingError as TrainingError
    from xortune.errors import XortuneError as XortuneError
    from xortune.gate import Verdict as Verdict
    from xortune.outcome import Outcome as Outcome
    from xortune.outcome import Status as Status
    from xortune.plan import ComparisonPlan as ComparisonPlan
    from xortune.plan import RatePlan as RatePlan
    from xortune.point import Point as Point
    from xortune.run import Run as Run
    from xortune.run_certificate import Certificate as Certificate
    from xortune.search.race_pruner import SeedRacePruner as SeedRacePruner
    from xortune.search.race_scheduler import SeedRaceScheduler as SeedRaceScheduler
    from xortune.space import SearchSpace as SearchSpace
    from xortune.space import load_space as load_space
    from xortune.status import RunStatus as RunStatus
    from xortune.task import Task as Task

__version__ = "0.1.0"

_HOMES = {
    "Certificate": "run_certificate",
    "Comparison": "comparison",
    "ComparisonPlan": "plan",
    "Config": "config",
    "InputError": "errors",
    "Outcome": "outcome",
    "Point": "point",
    "RatePlan": "plan",
    "Run": "run",
    "RunComparison": "comparison_runs",
    "RunStatus": "status",
    "SearchSpace": "space",
    "SeedRacePruner": "search.race_pruner",
    "SeedRaceScheduler": "search.race_scheduler",
    "Status": "outcome",
    "Task": "task",
    "TrainingError": "errors",
    "Verdict": "gate",
    "XortuneError": "errors",
    "certify": "api_certify",
    "compare": "api_compare",
    "evaluate": "api",
    "export": "api_export",
    "from_optuna": "api_import",
    "gate": "api_gate",
    "import_results": "api_import",
    "load_run": "api",
    "load_space": "space",
    "log": "api_log",
    "plan": "api_gate",
    "plot_agreement": "api_plot",
    "plot_contour": "api_plot",
    "plot_decision_surface": "api_plot",
    "plot_differences": "api_plot",
    "plot_failures": "api_plot",
    "plot_numbers": "api_plot",
    "plot_optimization_history": "api_plot",
    "plot_parallel_coordinate": "api_plot",
    "plot_param_importances": "api_plot",
    "plot_pareto_front": "api_plot",
    "plot_profile": "api_plot",
    "plot_ranking": "api_plot",
    "plot_seeds_spent": "api_plot",
    "plot_slice": "api_plot",
    "plot_success_by_epoch": "api_plot",
    "plot_wins": "api_plot",
    "search": "api",
    "status": "api_status",
    "to_optuna": "api_import",
    "write_comparison": "api_compare",
    "write_report": "api",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604  # strings they are: the keys above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xortune' has no attribute {name!r}")
    return getattr(importlib.import_module(f"xortune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Verb(ModuleType):
    """A part of xortune that shares its name with a public function, and can be called as such."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._verb(*args, **kwargs)

    @property
    def _verb(self) -> Any:
        return __getattr__(self.__name__.rpartition(".")[2])

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        words: str | None = self._verb.__doc__
        return words

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self._verb)


class _Package(ModuleType):
    """xortune itself.

    Python binds a submodule to its name in the package when it is imported: after the first
    ``xortune.search(...)`` the name would be the package `xortune.search`, and the second call
    would fail. So such a submodule is made callable: name and verb are the same thing.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
