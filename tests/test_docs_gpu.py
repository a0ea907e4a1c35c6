"""docs/gpu.md tells the truth: its commands can be given, its lines are those that are logged."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path

from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.core.config import Config
from xortune.core.task import Task
from xortune.driver.ray_executor import captured_messages as heard
from xortune.driver.ray_executor import forward_messages as tell
from xortune.trainers import network, stacked

PAGE = (Path(__file__).parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")
[COMMANDS] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def test_its_commands_can_be_given():
    text = CliRunner().invoke(app, ["search", "--help"], terminal_width=200).output
    asked = set(re.findall(r"--[\w-]+", COMMANDS))
    assert asked == {"--gpus-per-trial", "--address", "--engine"}
    assert all(option in text for option in asked)


def test_its_lines_are_those_that_are_logged(monkeypatch, caplog):
    no_gpu, halved = LINES
    monkeypatch.setattr(socket, "gethostname", lambda: "head")
    with caplog.at_level(logging.WARNING):
        network._tell_that_there_is_no_gpu.__wrapped__()
        assert caplog.messages == [no_gpu]
        with heard() as words:
            assert stacked._halved(2**18, 10**6, "cpu") == 2**17
        tell([word.replace(" cpu ", " cuda ") for word in words], "node-3:4711")
    assert caplog.messages[-1] == halved


def test_what_a_network_takes():
    config = Config(
        activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=1
    )
    [said] = re.findall(r"2-5-1 network on XOR that is (\S+) kB", PAGE)
    assert f"{stacked.bytes_of(config, Task.xor()) / 1000:.1f}" == said
