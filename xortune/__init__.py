"""xortune: hyperparameters that train successfully for every random seed.

The public names are listed here, and each is loaded when it is first used: `import xortune` loads
no torch, Ray, Optuna or NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xortune.core.version import VERSION as __version__  # noqa: N811  # the usual name

if TYPE_CHECKING:
    from xortune.certificates.gate import Verdict as Verdict
    from xortune.certificates.plan import ComparisonPlan as ComparisonPlan
    from xortune.certificates.plan import RatePlan as RatePlan
    from xortune.certificates.plan import plan as plan
    from xortune.comparisons.comparison import Comparison as Comparison
    from xortune.core.config import Config as Config
    from xortune.core.errors import InputError as InputError
    from xortune.core.errors import TrainingError as TrainingError
    from xortune.core.errors import Unavailable as Unavailable
    from xortune.core.errors import XortuneError as XortuneError
    from xortune.core.outcome import Failure as Failure
    from xortune.core.outcome import Outcome as Outcome
    from xortune.core.outcome import Status as Status
    from xortune.core.point import Point as Point
    from xortune.core.task import Task as Task
    from xortune.driver.certify import certify as certify
    from xortune.driver.compare import compare as compare
    from xortune.driver.evaluate import evaluate as evaluate
    from xortune.driver.exchange import from_optuna as from_optuna
    from xortune.driver.exchange import import_results as import_results
    from xortune.driver.exchange import to_optuna as to_optuna
    from xortune.driver.gate import gate as gate
    from xortune.driver.search import DryRun as DryRun
    from xortune.driver.search import search as search
    from xortune.driver.voice import Message as Message
    from xortune.integrations.export import export as export
    from xortune.integrations.following import log as log
    from xortune.integrations.trackers import MLflow as MLflow
    from xortune.integrations.trackers import TensorBoard as TensorBoard
    from xortune.integrations.trackers import WandB as WandB
    from xortune.racing.pruner import SeedRacePruner as SeedRacePruner
    from xortune.racing.scheduler import SeedRaceScheduler as SeedRaceScheduler
    from xortune.racing.statement import Statement as Statement
    from xortune.racing.statement import Winner as Winner
    from xortune.reports.files import write_comparison as write_comparison
    from xortune.reports.files import write_report as write_report
    from xortune.reports.plots import plot_contour as plot_contour
    from xortune.reports.plots import plot_decision_surface as plot_decision_surface
    from xortune.reports.plots import plot_differences as plot_differences
    from xortune.reports.plots import plot_failures as plot_failures
    from xortune.reports.plots import plot_frontier as plot_frontier
    from xortune.reports.plots import plot_improvement as plot_improvement
    from xortune.reports.plots import plot_intermediate_values as plot_intermediate_values
    from xortune.reports.plots import plot_intervals as plot_intervals
    from xortune.reports.plots import plot_number_profile as plot_number_profile
    from xortune.reports.plots import plot_numbers as plot_numbers
    from xortune.reports.plots import plot_optimization_history as plot_optimization_history
    from xortune.reports.plots import plot_parallel_coordinate as plot_parallel_coordinate
    from xortune.reports.plots import plot_param_importances as plot_param_importances
    from xortune.reports.plots import plot_pareto_front as plot_pareto_front
    from xortune.reports.plots import plot_profile as plot_profile
    from xortune.reports.plots import plot_ranking as plot_ranking
    from xortune.reports.plots import plot_same_seeds as plot_same_seeds
    from xortune.reports.plots import plot_scores as plot_scores
    from xortune.reports.plots import plot_seeds_spent as plot_seeds_spent
    from xortune.reports.plots import plot_slice as plot_slice
    from xortune.reports.plots import plot_strips as plot_strips
    from xortune.reports.plots import plot_success_by_epoch as plot_success_by_epoch
    from xortune.reports.plots import plot_timeline as plot_timeline
    from xortune.reports.plots import plot_wins as plot_wins
    from xortune.runs.certificate import Certificate as Certificate
    from xortune.runs.run import Run as Run
    from xortune.runs.run import load_run as load_run
    from xortune.runs.status import Progress as Progress
    from xortune.runs.status import RunStatus as RunStatus
    from xortune.runs.status import SeedsDone as SeedsDone
    from xortune.runs.status import status as status
    from xortune.spaces.model import SearchSpace as SearchSpace
    from xortune.spaces.samplers import Sampler as Sampler
    from xortune.spaces.space import load_space as load_space
    from xortune.trainers.torch_training import TorchTraining as TorchTraining
    from xortune.training.resources import Ray as Ray
    from xortune.training.resources import Workers as Workers

_NAMES = {
    "certificates.gate": "Verdict",
    "certificates.plan": "ComparisonPlan plan RatePlan",
    "comparisons.comparison": "Comparison",
    "core.config": "Config",
    "core.errors": "InputError TrainingError Unavailable XortuneError",
    "core.outcome": "Failure Outcome Status",
    "core.point": "Point",
    "core.task": "Task",
    "driver.certify": "certify",
    "training.resources": "Ray Workers",
    "driver.compare": "compare",
    "driver.evaluate": "evaluate",
    "driver.gate": "gate",
    "driver.exchange": "from_optuna import_results to_optuna",
    "driver.search": "DryRun search",
    "driver.voice": "Message",
    "integrations.export": "export",
    "integrations.following": "log",
    "integrations.trackers": "MLflow TensorBoard WandB",
    "racing.pruner": "SeedRacePruner",
    "racing.scheduler": "SeedRaceScheduler",
    "racing.statement": "Statement Winner",
    "reports.files": "write_comparison write_report",
    "reports.plots": (
        "plot_contour plot_decision_surface plot_differences "
        "plot_failures plot_frontier plot_intermediate_values plot_numbers "
        "plot_intervals plot_improvement plot_number_profile "
        "plot_optimization_history "
        "plot_parallel_coordinate plot_param_importances plot_pareto_front "
        "plot_profile plot_ranking plot_same_seeds plot_scores plot_seeds_spent plot_slice "
        "plot_strips plot_success_by_epoch plot_timeline plot_wins"
    ),
    "runs.certificate": "Certificate",
    "runs.run": "load_run Run",
    "runs.status": "Progress RunStatus SeedsDone status",
    "spaces.model": "SearchSpace",
    "spaces.samplers": "Sampler",
    "spaces.space": "load_space",
    "trainers.torch_training": "TorchTraining",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604  # strings they are: the names above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xortune' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"xortune.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from xortune.core.errors import require

        if (package := (error.name or "").partition(".")[0]) in ("torch", "numba", "ray"):
            require(f"xt.{name}", package)
        raise


def __dir__() -> list[str]:
    return __all__
