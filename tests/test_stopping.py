"""What ends a search: a time budget, after which nothing begins, and a rate that can be proven."""

import json
import re
import time
from datetime import datetime

import pytest
from commands import _somewhere, refused, xortune

import xortune as xt
from xortune.racing.race import race_lower

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


@pytest.fixture
def space(tmp_path):
    """Writes a space file, `a.yaml`."""
    (tmp_path / "train.py").write_text(TRAIN)

    def write(seeds, rate=None):
        text = SPACE.replace("SEEDS", seeds)
        if rate is not None:
            text = text.replace("16", "200") + f"stop: {{proven_rate: {rate}}}\n"
        (tmp_path / "a.yaml").write_text(text)

    return write


BUDGET = 2


def test_nothing_begins_after_it_and_all_say_so(space, tmp_path):
    space("{ladder: [5]}")
    (tmp_path / "slow").touch()
    begins = time.time()
    words = ("search", "a.yaml", "--output", "run", "--time-budget", f"{BUDGET}s")
    ran = xortune(*words)
    assert time.time() - begins < BUDGET + 30
    assert ran.exit_code == 0, ran.output
    run, seen = xt.load_run("run"), xt.status("run")
    began = datetime.fromisoformat(run.manifest["started"]).timestamp()  # in whole seconds
    lines = (tmp_path / "begun.txt").read_text().split()
    begun = [float(line) - began for line in lines]  # the first in the check, which counts, too
    assert max(begun) < BUDGET + 1.5
    assert 1 <= seen.done < 16
    counted = sum(result.outcome.n for result in run.results)
    assert counted == len(begun) - 1, "what was trained counts; the check trains one seed again"
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
    again = xortune("search", "a.yaml", "--output", "run", "--resume", "--quiet")
    assert again.exit_code == 0, again.output
    assert xortune("search", "a.yaml", "--output", "whole", "--quiet").exit_code == 0
    resumed, whole = xt.load_run("run"), xt.load_run("whole")
    assert resumed.table.equals(whole.table)
    assert (resumed.manifest["complete"], resumed.manifest["stopped"]) == (True, None)
    assert xt.status("run").state == "finished"


def test_a_budget_that_is_over_before_anything_began(space):
    space("{ladder: [4]}")
    words = ("search", "a.yaml", "--output", "run")
    ran = xortune(*words, "--time-budget", "0.000001s")
    assert ran.exit_code == 0, ran.output
    assert "No configuration has finished yet." in ran.stdout
    assert "Stopped early, after 0 proposals: the time budget of 1e-06 s" in ran.stdout
    assert xt.status("run").stopped is not None
    assert xortune(*words, "--resume", "--quiet").exit_code == 0
    assert len(xt.load_run("run").results) == 16


@pytest.mark.parametrize(
    ("words", "seeds"),
    [(["space"], "{race: {max: 512}}"), (["search", "--quiet"], "{ladder: [8, 512]}")],
)
def test_a_rate_that_cannot_be_proven_is_refused_and_the_fix_is_right(space, words, seeds):
    space(seeds, 0.99)
    told = refused(
        xortune(*words, "a.yaml"),
        "a.yaml:7: stop.proven_rate: 0.99 can never be proven: 512 of 512 seeds prove 0.9824",
    )
    enough = int(re.search(r"race: {max: (\d+)}", told)[1])
    assert race_lower(enough, enough, 200) >= 0.99 > race_lower(enough - 1, enough - 1, 200)
    space(f"{{race: {{max: {enough}}}}}", 0.99)
    assert xortune("space", "a.yaml").exit_code == 0


def test_a_rate_that_can_be_proven_is_not(space):
    space("{race: {max: 512}}", 0.9824)
    assert xortune("space", "a.yaml").exit_code == 0
    space("{race: {max: 512}}", 0.9825)
    refused(xortune("space", "a.yaml"), "at most 0.9824 with 512 seeds")
    space("{race: {max: 512}}", 0.9999999999999)
    refused(xortune("space", "a.yaml"), "ask for less")
