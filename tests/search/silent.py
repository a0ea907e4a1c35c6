"""Run as a program: a search in which one training kills its worker and another one raises."""

import sys
from pathlib import Path

import ray
from dying_trainer import Dying

from xortune.driver.session import search_session
from xortune.spaces.space import parse_space

SPACE = """
name: deadly
parameters: {x: {low: 0, high: 1}}
search: {sampler: grid}
seeds: {ladder: [5]}
"""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    trainer = Dying(str(folder / "log"), deadly=0, broken=1)
    complete = search_session(parse_space(SPACE), trainer, folder / "run")
    print("complete", complete, "Ray is left running", ray.is_initialized())
