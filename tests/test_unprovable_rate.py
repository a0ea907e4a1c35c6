"""`stop: {proven_rate: ...}` that cannot be reached is refused, with the seeds that it takes."""

import re

import pytest
from commands import _somewhere, refused, xortune

from xortune.racing.race import race_lower

__all__ = ["_somewhere"]  # the fixture

SPACE = """
name: proof
trainer: ./train.py:run
parameters: {lr: {low: 0.5, high: 1.0}}
search: {sampler: random, trials: 200}
seeds: SEEDS
stop: {proven_rate: RATE}
"""


@pytest.fixture
def space(tmp_path):
    (tmp_path / "train.py").write_text("def run(config, seed):\n    return True\n")

    def write(seeds, rate):
        (tmp_path / "a.yaml").write_text(SPACE.replace("SEEDS", seeds).replace("RATE", str(rate)))

    return write


@pytest.mark.parametrize(
    ("command", "seeds"), [("space", "{race: {max: 512}}"), ("search", "{ladder: [8, 512]}")]
)
def test_it_is_refused_and_the_fix_is_right(space, command, seeds):
    space(seeds, 0.99)
    quiet = ["--quiet"] if command == "search" else []
    told = refused(
        xortune(command, "a.yaml", *quiet),
        "a.yaml:7: stop.proven_rate: 0.99 can never be proven: 512 of 512 seeds prove 0.9824",
    )
    enough = int(re.search(r"race: {max: (\d+)}", told)[1])
    assert race_lower(enough, enough, 200) >= 0.99 > race_lower(enough - 1, enough - 1, 200)
    space(f"{{race: {{max: {enough}}}}}", 0.99)
    assert xortune("space", "a.yaml").exit_code == 0


def test_one_that_can_be_reached_is_none_of_it(space):
    space("{race: {max: 512}}", 0.9824)
    assert xortune("space", "a.yaml").exit_code == 0
    space("{race: {max: 512}}", 0.9825)
    refused(xortune("space", "a.yaml"), "at most 0.9824 with 512 seeds")
    space("{race: {max: 512}}", 0.9999999999999)
    refused(xortune("space", "a.yaml"), "ask for less")
