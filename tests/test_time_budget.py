"""A time budget: nothing begins after it, and everything that is shown says that it was over."""

import json
import re
import time
from datetime import datetime

import pytest
from commands import _somewhere, xortune

import xortune as xt

__all__ = ["_somewhere"]  # the fixture

pytestmark = pytest.mark.usefixtures("no_ray", "forks")

TRAIN = """
import pathlib, time

HERE = pathlib.Path(__file__).parent

def run(config, seed):
    if (HERE / "slow").exists():
        with open(HERE / "begun.txt", "a") as file:
            file.write(f"{time.time()}\\n")
        time.sleep(0.2)
    return (int(1e6 * config["lr"]) + seed) % 4 > 0
"""

SPACE = """
name: slow
trainer: ./train.py:run
parameters: {lr: {low: 0.5, high: 1.0}}
search: {sampler: random, trials: 16}
seeds: SEEDS
"""

BUDGET = 2


def test_nothing_begins_after_it_and_all_say_so(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "slow.yaml").write_text(SPACE.replace("SEEDS", "{ladder: [5]}"))
    (tmp_path / "slow").touch()
    begins = time.time()
    words = ("search", "slow.yaml", "--output", "run", "--time-budget", f"{BUDGET}s")
    ran = xortune(*words)
    ended = time.time()
    assert ran.exit_code == 0, ran.output
    run, seen = xt.load_run("run"), xt.status("run")
    began = datetime.fromisoformat(run.manifest["started"]).timestamp()  # in whole seconds
    lines = (tmp_path / "begun.txt").read_text().split()
    begun = [float(line) - began for line in lines]  # the first in the check, which counts, too
    assert max(begun) < BUDGET + 1.5
    assert ended - begins < BUDGET + 30

    assert 1 <= seen.done < 16
    assert sum(result.outcome.n for result in run.results) == len(begun), "what was trained counts"
    assert run.table["trials"].min() >= 1
    assert run.table["trials"].sum() == seen.done
    why = run.manifest["stopped"]
    assert why.startswith(f"the time budget of {BUDGET} s was over at ")
    assert run.manifest["complete"] is False
    assert run.manifest["sessions"][-1]["stopped"] == why
    told = re.findall(r"^(\d+)/16 ", ran.stderr, re.MULTILINE)
    assert not told or int(told[-1]) <= seen.done
    done = f"{seen.done} proposal{'s' * (seen.done != 1)}"
    text = " ".join(ran.stdout.split())
    assert f"Stopped early, after {done}: {why}; --resume continues it." in text
    assert (seen.state, seen.stopped) == ("stopped", why)
    shown = " ".join(xortune("status", "run").stdout.split())
    assert f"{seen.done} of 16 proposals" in shown
    assert "stopped early (the time budget of" in shown
    assert json.loads(xortune("status", "run", "--json").stdout)["stopped"] == why
    values = json.loads(xortune("report", "run", "--json").stdout)
    assert (values["complete"], values["stopped"]) == (False, why)
    assert f"The search stopped early ({why})" in (tmp_path / "run/report.md").read_text()

    # What was cut off goes on as if nothing had been.
    (tmp_path / "slow").unlink()
    again = xortune("search", "slow.yaml", "--output", "run", "--resume", "--quiet")
    assert again.exit_code == 0, again.output
    assert xortune("search", "slow.yaml", "--output", "whole", "--quiet").exit_code == 0
    resumed, whole = xt.load_run("run"), xt.load_run("whole")
    assert resumed.table.equals(whole.table)
    assert (resumed.manifest["complete"], resumed.manifest["stopped"]) == (True, None)
    assert xt.status("run").state == "finished"


def test_a_budget_that_is_over_before_anything_began(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "slow.yaml").write_text(SPACE.replace("SEEDS", "{ladder: [4]}"))
    words = ("search", "slow.yaml", "--output", "run")
    ran = xortune(*words, "--time-budget", "0.000001s")
    assert ran.exit_code == 0, ran.output
    assert "No configuration has finished yet." in ran.stdout
    assert "Stopped early, after 0 proposals: the time budget of 1e-06 s" in ran.stdout
    assert xt.status("run").stopped is not None
    assert xortune(*words, "--resume", "--quiet").exit_code == 0
    assert len(xt.load_run("run").results) == 16
