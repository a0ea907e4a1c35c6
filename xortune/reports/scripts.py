"""A config as a PyTorch script, and as the commands that train it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import SOFTMAX_LIKE, Config
from xortune.core.errors import InputError
from xortune.core.formats import count, duration, plain
from xortune.core.seeds import HAND
from xortune.core.task import Task
from xortune.racing.race import FINALISTS
from xortune.reports.document import environment
from xortune.runs.manifest import last_search
from xortune.runs.run import Run
from xortune.spaces.model import SearchSpace

MAX_ROWS = 32  # of a task whose inputs are written into a script


def plain_script(config: Config, task: Task, seed: int) -> str | None:
    """PyTorch that trains a config under one seed and prints its predictions.

    None for a task with held-out rows, or with more than `MAX_ROWS` rows.
    """
    if task.held_out_inputs is not None or task.inputs.shape[0] > MAX_ROWS:
        return None
    return _script("script.py.jinja", config, task, seed=seed)


def counting_script(config: Config, task: Task, seeds: Sequence[range], expected: int) -> str:
    """PyTorch that trains a config under these seeds and prints how many it solves.

    Beside its count it prints `expected`, the count of the run.
    """
    return _script("counting.py.jinja", config, task, seeds=seeds, expected=expected)


def _script(name: str, config: Config, task: Task, **values: Any) -> str:
    softmax = config.activation in SOFTMAX_LIKE
    template = environment().get_template(name)
    text = template.render(config=config, task=task, softmax=softmax, tensor=_tensor, **values)
    return text.rstrip("\n")


def _tensor(rows: NDArray[np.float32]) -> str:
    """The numbers with as few digits as float32 needs."""
    return f"torch.tensor({[[float(str(number)) for number in row] for row in rows]})"


FRESH_SEED = HAND.start
"""The first of the seeds that a reader trains the best config under."""

FRESH_SEEDS, FRESH_SECONDS = (1000, 500, 200, 100, 50, 20), 600.0
"""How many of these seeds a report suggests: the most that take at most so many seconds, or the
fewest."""

SHORT = 5.0
"""Seconds of work that are not worth a word."""


@dataclass(frozen=True)
class SuggestedSeeds:
    """How many fresh seeds a report suggests, each for so many of the best configs.

    Attributes:
        seeds: of each config.
        seconds: that all take, by what the search measured; None if nothing was.
        workers: those of the search, by which they take so long.
    """

    seeds: int
    seconds: float | None = None
    workers: int = 1

    @property
    def takes(self) -> str:
        """How long they take, in words; empty if that is not known, or not worth a word."""
        if self.seconds is None or self.seconds < SHORT:
            return ""
        return f"about {duration(self.seconds)} on {count(self.workers, 'worker')}"


def fresh_seeds(run: Run, configs: int = 1) -> SuggestedSeeds:
    """How many fresh seeds to suggest for each of the best configs, by what theirs took."""
    lines, keys = run.evaluations, set(run.results.keys[:configs])
    workers = last_search(run.manifest).get("workers") or 1
    known = [place for place, key in enumerate(lines.lines.keys) if key in keys]
    code, counts = lines.column("config"), lines.column("count")
    seconds, each = lines.column("seconds"), 0.0
    for place in known:
        own = code == place
        each += float(seconds[own].sum()) / max(int(counts[own].sum()), 1) / workers
    if not each:
        return SuggestedSeeds(FRESH_SEEDS[0])
    seeds = next((n for n in FRESH_SEEDS if n * each <= FRESH_SECONDS), FRESH_SEEDS[-1])
    return SuggestedSeeds(seeds, seeds * each, workers)


def evaluate_command(config: Config, task: str, seeds: int = FRESH_SEEDS[0]) -> str:
    """The command that trains a config under fresh seeds."""
    words = ["xortune", "evaluate", "--activation", config.activation or "none"]
    words += ["--loss", config.loss, "--optimizer", config.optimizer, "--lr", repr(config.lr)]
    if config.momentum:
        words += ["--momentum", repr(config.momentum)]
    words += ["--hidden-dim", str(config.hidden_dim), "--epochs", str(config.epochs)]
    if not config.zero_grad:
        words.append("--no-zero-grad")
    if task != "xor":
        words += ["--task", task]
    return shlex.join([*words, "--seeds", str(seeds), "--first-seed", str(FRESH_SEED)])


def certify_command(run: Run, seeds: int, path: str = "RUN") -> str | None:
    """The command that trains a run's best on fresh seeds; None if the space file is missing."""
    command = f"xortune certify {shlex.quote(path)} --seeds {seeds}"
    if run.is_network:
        return command
    if (space := space_of(run)) is None:
        return None
    # Only the user knows what trained a function from Python, or imported results.
    return command if space.trainer else f"{command} --trainer FILE.py:FUNCTION"


def space_of(run: Run) -> SearchSpace | None:
    """The run's space; None if its file is gone, or a file that it names."""
    try:
        return run.asked
    except InputError:
        return None


def task_argument(run: Run) -> str | None:
    """The run's task as an argument of `xortune evaluate --task`; None for a user's trainer."""
    if not run.is_network:
        return None
    task = named_task(run.manifest)
    return "FILE.csv" if task is None else task.name


def named_task(manifest: Mapping[str, Any]) -> Task | None:
    """The built-in task of a run; None for a task from a file."""
    name = manifest.get("task")
    if not isinstance(name, str) or name.endswith(".csv"):
        return None
    try:
        task = Task.named(name)
    except InputError:
        return None
    # A task from xor.csv has the name xor, too.
    return task if manifest.get("task_fingerprint", task.fingerprint) == task.fingerprint else None


@dataclass(frozen=True)
class Commands:
    """What trains the best config of a run again.

    Attributes:
        script: a PyTorch script; None if the config is none of the built-in network.
        run_as: the user's command; None if the trainer is none.
        again: the command that tries it with fresh seeds; None in a run without results.
        takes: how long that takes, in words; empty if it is not known, or seconds.
    """

    script: str | None = None
    run_as: str | None = None
    again: str | None = None
    takes: str = ""


def commands_of(run: Run) -> Commands:
    """What trains the best config of a run again."""
    if not run.results:
        return Commands()
    best = run.results[0]
    seeds, solved = best.outcome.seeds, best.outcome.seeds[best.outcome.solved]
    if (name := task_argument(run)) is not None:
        task, config = named_task(run.manifest), Config.from_point(best.point)
        seed = int((solved if solved.size else seeds)[0])
        script = None if task is None else plain_script(config, task, seed)
        fresh = fresh_seeds(run)
        return Commands(script, None, evaluate_command(config, name, fresh.seeds), fresh.takes)
    text, space = None, space_of(run)
    if space is not None and (command := space.command) is not None:
        argv = command.template.argv(best.point.as_dict(), int(seeds[0]))
        text = "\n".join(map(plain, shlex.join(argv).split("\n")))  # a value may have lines
    fresh = fresh_seeds(run, FINALISTS)
    return Commands(None, text, certify_command(run, fresh.seeds), fresh.takes)
