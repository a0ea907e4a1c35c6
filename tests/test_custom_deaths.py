"""A function that kills its process for some seeds: a plain loop would lose only these."""

import pytest
import ray

import xortune as xt

SPACE = """
name: deadly
trainer: ./train.py:run
parameters: {x: 0}
search: {sampler: grid}
seeds: {ladder: [4], certify: 4}
"""

TRAIN = """
import os

def run(config, seed):
    if seed == 1 or (seed >= 2**30 and seed % 4 == 2):
        os._exit(0)
    return seed % 4 != 3
"""


@pytest.mark.long  # each death costs a worker
def test_a_seed_that_kills_its_process_costs_no_other_seed(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "space.yaml").write_text(SPACE)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        run = xt.search(tmp_path / "space.yaml", output=tmp_path / "run")
    finally:
        ray.shutdown()
    assert run.seeds["status"].tolist() == ["solved", "crashed", "solved", "wrong_pattern"]
    assert [str(reason)[:16] for reason in run.seeds["reason"]] == [
        *("nan", "the worker died:", "nan", "nan")
    ]
    [finalist] = run.certificate.finalists
    assert (finalist.k, finalist.n) == (2, 4)
