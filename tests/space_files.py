"""What the tests of space files share: a good file, and how a bad one is refused."""

import textwrap
from pathlib import Path

import pytest

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.spaces.space import check_space, parse_space

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "xortune" / "space.schema.json"


class NetworkCheck:
    """The part of the built-in trainer that a space needs."""

    def check(self, point):
        return Config.from_point(point).point


def refused(text: str) -> str:
    """The message that a file with this text gets, from reading it or from the trainer."""
    with pytest.raises(InputError) as caught:
        check_space(parse_space(textwrap.dedent(text), "s.yaml"), NetworkCheck())
    return str(caught.value)


def with_line(line: str, at: str = "") -> str:
    """A good file, whose line that starts with `at` is replaced, or which gets one more line."""
    good = [
        "name: demo",  # 1
        "epochs: 10",
        "parameters:",  # 3
        "  activation: {choice: [ReLU, Tanh]}",
        "  loss: MSELoss",  # 5
        "  optimizer: {choice: [SGD, Adam]}",
        "  lr: {low: 1e-4, high: 1.0, log: true}",  # 7
        "  momentum: {low: 0.0, high: 0.9, when: {optimizer: SGD}}",
        "  hidden_dim: {low: 2, high: 8}",  # 9
        "search: {trials: 3}",
        "seeds: {ladder: [4]}",  # 11
    ]
    assert not at or any(text.lstrip().startswith(at) for text in good)
    lines = [line if at and text.lstrip().startswith(at) else text for text in good]
    return "\n".join(lines if at else [*lines, line]) + "\n"
