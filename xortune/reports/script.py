"""Plain PyTorch that trains one config under one seed or several, without xortune."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import SOFTMAX_LIKE, Config
from xortune.core.task import Task

MAX_ROWS = 32  # more would bury the script in numbers


def plain_script(config: Config, task: Task, seed: int) -> str | None:
    """The script, if it is short enough to be read in a report.

    Args:
        config: what is trained.
        task: what is learned; its rows are written out.
        seed: the seed it is trained under.

    Returns:
        None for a task that has held-out rows, or more than 32 rows.
    """
    if task.held_out_inputs is not None or task.inputs.shape[0] > MAX_ROWS:
        return None
    return whole_script(config, task, seed)


def whole_script(config: Config, task: Task, seed: int) -> str:
    """The script, however long; it prints the prediction for each row that is judged.

    Args:
        config: what is trained.
        task: what is learned; its rows are written out.
        seed: the seed it is trained under.
    """
    lines = [
        "import torch",
        "from torch import nn",
        "",
        f"torch.manual_seed({seed})",
        f"model = {_model(config, task)}",
        f"x = {_tensor(task.inputs)}",
        f"y = {_tensor(task.targets)}",
        *_training(config),
    ]
    if task.held_out_inputs is None:
        lines.append("print((model(x) > 0.5).int().flatten().tolist())")
    else:
        lines += [
            f"held_out = {_tensor(task.held_out_inputs)}",
            "print((model(held_out) > 0.5).int().flatten().tolist())",
        ]
    return "\n".join(lines)


def counting_script(config: Config, task: Task, seeds: Sequence[range], expected: int) -> str:
    """A program that trains some seeds and counts those that are solved.

    Args:
        config: what is trained.
        task: what is learned; its rows are written out.
        seeds: which, as parts that follow each other.
        expected: how many of them the run has counted.
    """
    written = ", ".join(f"*range({part.start}, {part.stop})" for part in seeds)
    judged = "x, y"
    lines = [
        "import torch",
        "from torch import nn",
        "",
        f"SEEDS = [{written}]",
        f"EXPECTED = {expected}  # of these seeds were solved in the run",
        "",
        f"x = {_tensor(task.inputs)}",
        f"y = {_tensor(task.targets)}",
    ]
    if task.held_out_inputs is not None:
        judged = "held_out, targets"
        for name, rows in zip(
            judged.split(", "), (task.held_out_inputs, task.judged_targets), strict=True
        ):
            lines.append(f"{name} = {_tensor(rows)}")
    inputs, targets = judged.split(", ")
    lines += [
        "",
        "",
        "def train(seed):",
        "    torch.manual_seed(seed)",
        f"    model = {_model(config, task)}",
        *(f"    {line}" for line in _training(config)),
        "    return model",
        "",
        "",
        "def is_solved(model):",
        f"    output = model({inputs})",
        "    finite = all(bool(t.isfinite().all()) for t in [output, *model.parameters()])",
        f"    right = int(((output > 0.5) == ({targets} > 0.5)).sum())",
        f"    return finite and right >= {task.rows_needed}",
        "",
        "",
        'if __name__ == "__main__":',
        "    solved = 0",
        "    for seed in SEEDS:",
        "        this = is_solved(train(seed))",
        "        solved += this",
        "        print(f\"seed {seed}: {'solved' if this else 'not solved'}\")",
        '    print(f"{solved}/{len(SEEDS)} seeds solved, {EXPECTED}/{len(SEEDS)} expected")',
    ]
    return "\n".join(lines)


def _model(config: Config, task: Task) -> str:
    hidden = []
    if config.activation is not None:
        arguments = "dim=1" if config.activation in SOFTMAX_LIKE else ""
        hidden = [f"nn.{config.activation}({arguments})"]
    layers = [
        f"nn.Linear({task.dim}, {config.hidden_dim})",
        *hidden,
        f"nn.Linear({config.hidden_dim}, 1)",
        "nn.Sigmoid()",
    ]
    return f"nn.Sequential({', '.join(layers)})"


def _training(config: Config) -> list[str]:
    """The lines that make an optimizer and train `model` on `x` and `y`."""
    momentum = f", momentum={config.momentum!r}" if config.momentum else ""
    return [
        f"optimizer = torch.optim.{config.optimizer}"
        f"(model.parameters(), lr={config.lr!r}{momentum})",
        f"for _ in range({config.epochs}):",
        *(["    optimizer.zero_grad()"] if config.zero_grad else []),
        f"    nn.{config.loss}()(model(x), y).backward()",
        "    optimizer.step()",
    ]


def _tensor(rows: NDArray[np.float32]) -> str:
    """The numbers in as few digits as float32 has."""
    shown = [[float(str(number)) for number in row] for row in rows]
    return f"torch.tensor({shown})"


def evaluate_command(config: Config, task: str, *, first: int, seeds: int) -> str:
    """The command line that trains a config under other seeds."""
    words = ["xortune", "evaluate", "--activation", config.activation or "none"]
    words += ["--loss", config.loss, "--optimizer", config.optimizer, "--lr", repr(config.lr)]
    if config.momentum:
        words += ["--momentum", repr(config.momentum)]
    words += ["--hidden-dim", str(config.hidden_dim), "--epochs", str(config.epochs)]
    if not config.zero_grad:
        words.append("--no-zero-grad")
    if task != "xor":
        words += ["--task", task]
    return shlex.join([*words, "--seeds", str(seeds), "--first-seed", str(first)])
