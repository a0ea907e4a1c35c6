"""docs/trackers.md tells the truth: its blocks are run as printed, from an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tracked import FOR_ALL, answer, free_port, runs_of, served, wandb_runs

import xortune as xt
from xortune.core.outcome import Status
from xortune.runs.results import CONFIG_COLUMNS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
PORTS = ("6006", "5000")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_metrics_named_are_the_columns_of_a_table():
    told = PAGE.partition("columns in `table.csv`")[2].partition("[your own trainer]")[0]
    columns = set(CONFIG_COLUMNS) - {"key", "trials"}
    assert set(re.findall(r"`(\w+)`", told)) == columns
    assert {status.label for status in Status} - {"solved"} <= columns


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.long
def test_the_page_works_as_printed(tmp_path, monkeypatch):
    here = {port: str(free_port()) for port in PORTS}
    [space], [program] = blocks("yaml"), blocks("python")
    (tmp_path / "space.yaml").write_text(space)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | FOR_ALL | {"PATH": path}
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 5
    with ExitStack() as stack:
        for printed in commands:
            command = re.sub(r"\b(6006|5000)\b", lambda found: here[found[0]], printed)
            if command.startswith(("tensorboard ", "mlflow ")):
                name, *words = command.split()
                program_of = str(Path(sys.executable).parent / name)
                stack.enter_context(served(program_of, *words, folder=tmp_path))
                page = "health" if name == "mlflow" else ""
                answer(f"http://127.0.0.1:{words[-1]}/{page}")
            else:
                ran = subprocess.run(
                    command,
                    shell=True,
                    cwd=tmp_path,
                    env=env,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert ran.returncode == 0, ran.stderr
                assert "could not be told" not in ran.stderr
        run = xt.load_run(tmp_path / "runs" / "small")
        keys = {result.key for result in run.results}
        shown = json.loads(answer(f"http://127.0.0.1:{here['6006']}/data/runs"))
        assert {Path(name).name for name in shown} == keys
        _, runs = runs_of(f"http://127.0.0.1:{here['5000']}", "small")
        assert set(runs) == keys | {None}
        assert {one.info.status for one in runs.values()} == {"FINISHED"}
    best = run.certificate.best
    assert runs[best.key].data.metrics["certified_k"] == best.k
    found = wandb_runs(run.path)
    assert set(found) == keys
    assert found[best.key][2]["certified_lower_bound"] == best.lower_bound
    monkeypatch.chdir(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "6 configurations, none of them twice\n"
    assert len(list((tmp_path / "logs").glob("*/*/events*"))) == 6
