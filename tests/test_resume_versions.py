"""A search that goes on with another version: whole, but for Ray."""

import time
from unittest.mock import create_autospec

from drivers import without_ray
from hand_made import TINY_SPACE

import xortune as xt
from xortune.driver.propose import OptunaProposer
from xortune.racing.grants import Grants
from xortune.runs.evaluation import decode
from xortune.runs.run import JOURNAL
from xortune.trainers.network import NetworkTrainer

SPACE = (
    TINY_SPACE.replace("trials: 3", "trials: 6, seed: 5")
    .replace("epochs: 30", "epochs: 150")
    .replace("ladder: [4]", "ladder: [4, 8, 32]")
    .replace("sampler: random", "sampler: tpe")
)


def test_no_version_is_seen_with_another_s_seeds(tmp_path, monkeypatch):
    without_ray(monkeypatch.setattr)
    (tmp_path / "space.yaml").write_text(SPACE)
    given = {"space": tmp_path / "space.yaml", "output": tmp_path / "run"}
    assert "tpe" in SPACE
    assert "[4, 8, 32]" in SPACE
    xt.search(**given, trials=3)
    journal = tmp_path / "run" / JOURNAL  # as if killed before anything came to the top
    lines = [line for line in journal.read_text().splitlines() if decode(line).block.first < 8]
    journal.write_text("".join(f"{line}\n" for line in lines))
    real = NetworkTrainer.describe
    monkeypatch.setattr(NetworkTrainer, "describe", lambda self: real(self) | {"torch": "9.8.7"})
    see = create_autospec(Grants.see, side_effect=Grants.see)
    learn = create_autospec(OptunaProposer.learn, side_effect=OptunaProposer.learn)
    monkeypatch.setattr(Grants, "see", see)
    monkeypatch.setattr(OptunaProposer, "learn", learn)
    said = []
    run = xt.search(**given, resume=True, accept_versions=True, on_word=said.append)
    assert "so do the race and the sampler" in said[0]
    assert len({e.fingerprint for e in run.evaluations}) == 2
    assert run.set_aside, "the test tells nothing if no config has seeds of both"
    table = {r.key: (r.outcome.successes, r.outcome.n) for r in run.results}
    raced = {name: (k, n) for _, name, k, n in (call.args for call in see.call_args_list)}
    assert raced == table, "what the race saw of each config last"
    assert sum(result.trials for result in run.results) == 6, "the budget is exact"
    assert sorted(call.args[1] for call in learn.call_args_list) == list(range(6))
    seeds = {key: [] for key in table}
    for evaluation in run.evaluations:
        seeds[evaluation.block.point.key] += evaluation.block.seeds
    assert all(sorted(found) == list(range(len(found))) for found in seeds.values())
    assert all(abs(evaluation.at - time.time()) < 600 for evaluation in run.evaluations)
    every = len(run.evaluations)
    assert len(xt.search(**given, resume=True).evaluations) == every, "nothing is left to train"
