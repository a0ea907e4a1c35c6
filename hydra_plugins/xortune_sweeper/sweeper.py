"""A sweeper of Hydra that searches: each job is one configuration under one seed.

Every program of Hydra imports this file when it starts; therefore xortune is imported inside
functions. Hydra executes the file before it adds it to `sys.modules`, so `from __future__ import
annotations` would break the dataclass.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

RESULTS = "optimization_results.yaml"
"""Its file in the sweep's directory, as other sweepers of Hydra write it."""

DIRECTORY = "xortune"
"""The run's directory, in the sweep's."""

INTERRUPTED = 3
"""The exit code after Ctrl-C, as that of `xortune search`."""


@dataclass
class XortuneSweeperConf:
    """The settings in `hydra.sweeper`.

    Attributes:
        seed_key: key of the program's config that is set to the seed of each job.
        success: the rule, such as ``accuracy >= 0.9``, for what the program's main returns (a
            number is called ``value``); null if it returns true or false.
        params: overrides: choice(), range(), interval() or a value. The command line replaces them.
        trials: configurations to propose.
        sampler: as in a space file.
        seed: of the sampler.
        race: maximum number of seeds of a configuration in a race; null for the default ladder.
        n_jobs: maximum number of blocks of seeds in one launch.
        check: whether to run one job before the search, which does not count.
        resume: continue the run in the sweep's directory.
        space: other entries of a space file, such as ``stop``, ``objectives``, ``seeds``.
    """

    _target_: str = "hydra_plugins.xortune_sweeper.sweeper.XortuneSweeper"
    seed_key: str = "seed"
    success: str | None = None
    params: Any = None
    trials: int | None = 20
    sampler: str = "auto"
    seed: int = 0
    race: int | None = None
    n_jobs: int = 1
    check: bool = True
    resume: bool = False
    space: Any = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="xortune", node=XortuneSweeperConf, provider="xortune"
)


class XortuneSweeper(Sweeper):
    """Asks xortune for the next configurations and seeds, and has the launcher run them."""

    def __init__(self, **settings: Any) -> None:
        given: dict[str, Any] = {
            k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v
            for k, v in settings.items()
        }
        self.settings = XortuneSweeperConf(**given)
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Create the launcher that the config names."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> str:
        """Search, and return the run's directory.

        Raises:
            CompactHydraException: a setting or a parameter is not usable.
            SystemExit: the user interrupted.
        """
        from xortune.core.errors import InputError, Interrupted
        from xortune.spaces.space import load_space

        assert self.config is not None
        settings, folder = self.settings, Path(self.config.hydra.sweep.dir)
        try:
            keys, parameters, others = self._parameters(arguments)
            # The jobs of earlier sessions have directories that are numbers.
            taken = (int(p.name) for p in folder.glob("*") if p.name.isdecimal())
            self._next = 1 + max(taken, default=-1)

            def overrides(config: Mapping[str, Any], seed: int) -> list[str]:
                given = [f"{keys[name]}={written(value)}" for name, value in config.items()]
                return [*others, *given, f"{settings.seed_key}={seed}"]

            def launch(jobs: Sequence[tuple[dict[str, Any], int]]) -> list[object]:
                return self._launched([overrides(config, seed) for config, seed in jobs])

            space = load_space(self._space(parameters))
            first = {name: _any_value(form) for name, form in parameters.items()}
            self.validate_batch_is_legal([overrides(first, 0)])
            from xortune.driver.launched import search_launched

            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            run = search_launched(
                launch,
                space,
                folder / DIRECTORY,
                label=f"{self.config.hydra.job.name} (Hydra)",
                at_once=settings.n_jobs,
                resume=settings.resume,
                check=settings.check,
                command=sys.argv,
            )
        except InputError as error:
            message = str(error).replace("check=False", "hydra.sweeper.check=false")
            message = re.sub(r"--resume|resume=True", "hydra.sweeper.resume=true", message)
            raise CompactHydraException(f"xortune: {message}") from None
        except Interrupted as interrupted:
            print(
                f"xortune: interrupted: what had finished is in {interrupted.place}; to continue, "
                f"add hydra.sweeper.resume=true hydra.sweep.dir={folder}",
                file=sys.stderr,
            )
            raise SystemExit(INTERRUPTED) from None
        best = run.results[0]
        params = {keys[n]: v for n, v in best.point.as_dict().items()}
        results = {
            "name": "xortune",
            "best_evaluated_params": params,
            "best_evaluated_result": best.outcome.successes / best.outcome.n,
            "seeds": best.outcome.n,
        }
        OmegaConf.save(OmegaConf.create(results), folder / RESULTS)
        print(
            f"xortune: {best.outcome.successes} of {best.outcome.n} seeds succeed with "
            f"{' '.join(f'{k}={v}' for k, v in params.items())}\n"
            f"xortune: the run is in {run.path}; `xortune report {run.path}` shows it"
        )
        return str(run.path)

    def _launched(self, batch: list[list[str]]) -> list[object]:
        """What each job returned, or the exception that ended it."""
        assert self.launcher is not None
        first, self._next = self._next, self._next + len(batch)
        results: list[object] = []
        for job in self.launcher.launch(batch, initial_job_idx=first):
            try:
                results.append(job.return_value)
            except Exception as error:  # Hydra has printed it; for the search it is a result
                results.append(error)
        return results

    def _parameters(
        self, arguments: list[str]
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]], list[str]]:
        """By a parameter's name its key in overrides and its entry in a space; other overrides."""
        from xortune.core.errors import InputError

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = (self.settings.params or {}).items()
        texts = [f"{key}={one if isinstance(one, str) else written(one)}" for key, one in given]
        by_key = {o.get_key_element(): o for o in parser.parse_overrides([*texts, *arguments])}
        keys: dict[str, str] = {}
        parameters: dict[str, dict[str, Any]] = {}
        others = []
        for key, override in by_key.items():
            if key.lstrip("+~") == self.settings.seed_key.lstrip("+"):
                raise InputError(
                    "the sweeper sets the seed of each job",
                    place=key,
                    fix="leave it out; hydra.sweeper.seed_key names another key for the seed",
                )
            if override.is_delete():
                others.append(override.input_line or key)
                continue
            name = re.sub(r"[^\w.-]", ".", key.lstrip("+"))
            if name in keys:
                raise InputError(f"is the same parameter as {keys[name]}", place=key)
            keys[name], parameters[name] = key, form_of(override)
        return keys, parameters, others

    def _space(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        settings, more = self.settings, self.settings.space or {}
        rule = {} if settings.success is None else {"success": settings.success}
        race = {} if settings.race is None else {"seeds": {"race": {"max": settings.race}}}
        trials = {} if settings.sampler == "grid" else {"trials": settings.trials}
        search = {"sampler": settings.sampler, "seed": settings.seed, **trials}
        assert self.config is not None
        name = re.sub(r"^[^A-Za-z0-9]+|[^\w.-]", "", self.config.hydra.job.name) or "sweep"
        space = {"name": name, "parameters": dict(parameters), **rule, **race, **more}
        return {**space, "search": {**search, **more.get("search", {})}}


def form_of(override: Override) -> dict[str, Any]:
    """An override as the entry of a parameter in a space.

    Raises:
        InputError: a range that is empty.
    """
    from xortune.core.errors import InputError

    value, key = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        whole = "int" in value.tags or (isinstance(value.start, int) and isinstance(value.end, int))
        number = int if whole else float
        log = {"log": True} if "log" in value.tags else {}
        return {"low": number(value.start), "high": number(value.end), **log}
    if not override.is_sweep_override():
        return {"value": value}
    values = [plain(element) for element in override.sweep_iterator()]
    if not values:
        raise InputError("has no values", place=key, allowed="at least one")
    if isinstance(value, RangeSweep) and value.step > 0:
        # Decimals avoid the rounding errors that a sum of floats has in the last value.
        low, step = Decimal(str(value.start)), Decimal(str(value.step))
        kind = type(values[0])
        ends = {"low": values[0], "high": kind(low + step * (len(values) - 1))}
        return ends if len(values) == 1 else {**ends, "step": kind(step)}
    return {"choice": values}


def plain(element: Any) -> Any:
    """A parsed value with its quoted texts as plain texts."""
    if isinstance(element, QuotedString):
        return element.text
    if isinstance(element, list):
        return [plain(one) for one in element]
    if isinstance(element, dict):
        return {plain(key): plain(one) for key, one in element.items()}
    return element


def written(value: object) -> str:
    """A value in the syntax of overrides; text that means something else there is quoted."""
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{written(k)}:{written(v)}" for k, v in value.items()) + "}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


_PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)


def _any_value(form: Mapping[str, Any]) -> object:
    return form["choice"][0] if "choice" in form else form.get("value", form.get("low"))
