"""Plain PyTorch that trains one config under one seed, to check a number without xortune."""

from __future__ import annotations

import shlex

from xortune.config import SOFTMAX_LIKE, Config
from xortune.task import Task

__all__ = ["evaluate_command", "plain_script", "whole_script"]

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
    momentum = f", momentum={config.momentum!r}" if config.momentum else ""
    lines = [
        "import torch",
        "from torch import nn",
        "",
        f"torch.manual_seed({seed})",
        f"model = nn.Sequential({', '.join(layers)})",
        f"x = torch.tensor([{', '.join(_numbers(row) for row in task.inputs)}])",
        f"y = torch.tensor([{', '.join(_numbers(row) for row in task.targets)}])",
        f"optimizer = torch.optim.{config.optimizer}"
        f"(model.parameters(), lr={config.lr!r}{momentum})",
        f"for _ in range({config.epochs}):",
        *(["    optimizer.zero_grad()"] if config.zero_grad else []),
        f"    nn.{config.loss}()(model(x), y).backward()",
        "    optimizer.step()",
    ]
    if task.held_out_inputs is None:
        lines.append("print((model(x) > 0.5).int().flatten().tolist())")
    else:
        rows = ", ".join(_numbers(row) for row in task.held_out_inputs)
        lines += [
            f"held_out = torch.tensor([{rows}])",
            "print((model(held_out) > 0.5).int().flatten().tolist())",
        ]
    return "\n".join(lines)


def _numbers(row: object) -> str:
    return "[" + ", ".join(repr(float(str(number))) for number in row) + "]"  # type: ignore[attr-defined]


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
