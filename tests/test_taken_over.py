"""What a search takes over from another run: proposals, and no seeds."""

import json
import re
import shutil

import numpy as np
import optuna
import pandas as pd
import pytest
from commands import refused, xortune

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.deciding.knowledge import TAKEN, OldProposals, TakenOver, take_over
from xortune.deciding.propose import proposer_for
from xortune.racing.objectives import SeedSummary
from xortune.runs.manifest import manifest_of
from xortune.spaces.space import load_space


def good(config, seed):
    """Nearly every seed succeeds near x = 7, hardly any elsewhere."""
    rng = np.random.default_rng([seed, int(1000 * config["x"])])
    return bool(rng.random() < 0.999 * np.exp(-((config["x"] - config.get("at", 7.0)) ** 2) * 8))


def space(low=0.0, high=10.0, trials=60, most=64, **parameters):
    return {
        "name": "shifted",
        "parameters": {"x": {"low": low, "high": high}, **parameters},
        "search": {"sampler": "random", "trials": trials, "seed": 1},
        "seeds": {"race": {"max": most}},
    }


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    path = tmp_path_factory.mktemp("old") / "run"
    return xt.search(space(trials=80), output=path, train=good, workers=0, verbose=0)


SHIFTED = space(1.0, 12.0, at=7.05)


@pytest.fixture(scope="module")
def run(old, tmp_path_factory):
    path = tmp_path_factory.mktemp("new") / "run"
    return xt.search(SHIFTED, output=path, train=good, from_=old.path, workers=0, verbose=0)


def test_old_configurations_are_proposed_in_turn_and_their_seeds_are_not_used(run, old):
    taken = TakenOver.of(run.manifest)
    assert taken is not None
    best = [result.point["x"] for result in old.results if result.outcome.successes]
    assert taken.configs == len(best) > TAKEN
    best = best[:TAKEN]
    assert [point["x"] for point in taken.points] == best
    assert all(line.block.point["at"] == 7.05 for line in run.evaluations)  # this space fixes it
    proposed = {}
    for line in run.evaluations:
        proposed.setdefault(line.proposal, line.block.point["x"])
    assert [proposed[number] for number in (0, 2)] == best
    assert proposed[1] not in best
    # The new search trains under seeds that the old one has not seen.
    assert taken.first_seed == max(one.block.seeds.stop for one in old.evaluations)
    assert min(one.block.first for one in run.evaluations) == taken.first_seed
    assert abs(run.best.x - 7.05) < 0.3
    report = (run.path / "report.md").read_text()
    second = "the second unless the first solved no seed"
    said = f"of {old.path}, proposed first, {second}; seeds begin at {taken.first_seed}"
    assert said in report.replace("\\", "")


def test_a_loaded_run_is_taken_over_as_its_directory_is(old, run, tmp_path):
    asked = {"output": tmp_path / "run", "trials": 2, "train": good, "workers": 0, "verbose": 0}
    again = xt.search(SHIFTED, from_=old, **asked)
    assert TakenOver.of(again.manifest) == TakenOver.of(run.manifest)


def test_a_resumed_search_does_the_same_without_the_old_run(run, tmp_path):
    lines = (run.path / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    part = tmp_path / "run"
    shutil.copytree(run.path, part)
    (part / "evaluations.jsonl").write_bytes(b"".join(lines[: len(lines) // 3]))
    manifest = manifest_of(part)
    manifest["taken_over"]["source"] = str(tmp_path / "gone")
    (part / "manifest.json").write_text(json.dumps(manifest))
    again = xt.search(SHIFTED, output=part, train=good, resume=True, workers=0, verbose=0)
    assert again.table.equals(run.table)


def test_what_lacks_a_parameter_or_lies_outside_is_counted(old):
    xs = [result.point["x"] for result in old.results if result.outcome.successes]
    narrow = take_over(load_space(space(6.9, 7.1)), old.path)
    assert narrow.configs == len(xs)
    assert narrow.outside == sum(not 6.9 <= x <= 7.1 for x in xs)
    inside = dict.fromkeys(min(max(x, 6.9), 7.1) for x in xs)
    assert [point["x"] for point in narrow.points] == list(inside)[:TAKEN]
    wider = load_space(space(width={"choice": [1, 2]}))
    more = take_over(wider, old.path)
    assert (more.lacking, [*more.points]) == (len(xs), [Point({"x": x}) for x in xs[:TAKEN]])
    assert f"{len(xs)} lack a parameter of this space: it is drawn" in str(more)
    proposed = [proposer_for(wider, taken=more).propose(number) for number in (0, 0)]
    assert proposed[0] == proposed[1]
    assert (proposed[0]["x"], proposed[0]["width"] in (1, 2)) == (xs[0], True)
    assert TakenOver.of({"taken_over": json.loads(json.dumps(narrow.entry))}) == narrow


OF_WANDB = "Name,State,seed,x,accuracy\nsweep-1,finished,1,7.0,0.97\nsweep-2,finished,2,7.0,0.99\n"
OF_MLFLOW = "run_id,status,params.seed,params.x,metrics.accuracy\na1,FINISHED,1,7.0,0.97\n"


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (OF_WANDB, ("--config", "x", "--success", "accuracy >= 0.9")),
        (
            OF_MLFLOW,
            (
                "--config",
                "params.x",
                "--seed",
                "params.seed",
                "--success",
                "metrics.accuracy >= 0.9",
            ),
        ),
    ],
)
def test_tables_of_wandb_and_mlflow_are_taken_over(tmp_path, table, names):
    (tmp_path / "runs.csv").write_text(table)
    xortune("import", tmp_path / "runs.csv", *names, "--output", tmp_path / "old", code=0)
    assert [*take_over(load_space(space()), tmp_path / "old").points] == [Point({"x": 7.0})]


def test_parameters_that_are_text_are_taken_over(tmp_path):
    """MLflow's `search_runs` has text for every parameter."""
    named = {"params.x": ["7.0", "99"], "params.kind": ["a", "b"], "params.n": ["8", "9"]}
    frame = pd.DataFrame({**named, "params.seed": ["1", "1"], "metrics.accuracy": [0.97, 0.98]})
    how = {"seed": "params.seed", "success": "metrics.accuracy >= 0.9"}
    xt.import_results(frame, config=[*named], output=tmp_path / "old", **how)
    wanted = space(kind={"choice": ["a", "b"]}, n={"choice": [8, 9]})
    taken = take_over(load_space(wanted), tmp_path / "old")
    first, second = {"x": 7.0, "kind": "a", "n": 8}, {"x": 10.0, "kind": "b", "n": 9}
    assert sorted(taken.points, key=lambda point: point["x"]) == [Point(first), Point(second)]
    assert (taken.outside, taken.lacking, taken.unlike) == (1, 0, 0)


@pytest.mark.parametrize("as_table", [False, True])
def test_a_study_of_optuna_is_taken_over(tmp_path, as_table):
    study = optuna.create_study(direction="maximize")
    for seed in range(3):
        given = optuna.distributions.FloatDistribution(0, 10)
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": 7.0}, distributions={"x": given}, value=0.95, user_attrs={"seed": seed}
            )
        )
    wanted, output = load_space(space()), tmp_path / "old"
    if as_table:
        frame = study.trials_dataframe(attrs=("params", "user_attrs", "value"))
        named = {"config": ["params_x"], "seed": "user_attrs_seed"}
        xt.import_results(frame, **named, success="value >= 0.9", output=output)
    else:
        xt.from_optuna(study, success="value >= 0.9", output=output)
    assert [*take_over(wanted, output).points] == [Point({"x": 7.0})]


@pytest.mark.parametrize(
    ("parameters", "common"),
    [
        ({"kind": {"choice": ["c", "a", "d"]}, "n": {"low": 1, "high": 9}}, {"kind": "a", "n": 6}),
        ({"kind": {"choice": ["b", "c"]}, "n": {"low": 8, "high": 9}}, {"n": 8}),
        ({"kind": "c", "n": {"low": 0, "high": 9, "step": 3}}, {"n": 6}),
        ({"n": {"low": 0, "high": 8, "step": 4}, "more": {"low": 0.0, "high": 1.0}}, {"n": 8}),
        ({"n": {"low": 0.0, "high": 1.0, "when": {"kind": "a"}}, "kind": {"choice": ["a", "b"]}},
         {"kind": "a", "n": 1.0}),
        ({"n": {"choice": [5, 7]}, "more": 2}, {}),
    ],
)  # fmt: skip
def test_what_both_spaces_have_counts(tmp_path, parameters, common):
    table = pd.DataFrame({"kind": ["a"], "n": [6], "seed": [1], "ok": [True]})
    old = xt.import_results(table, config=["kind", "n"], success="ok", output=tmp_path / "old")
    wanted = load_space({**space(), "parameters": parameters})
    taken = take_over(wanted, old.path)
    assert [dict(point) for point in taken.points] == [common] * bool(common)
    assert taken.unlike == (not common)
    proposed = proposer_for(wanted, taken=taken).propose(0)
    assert common.items() <= dict(proposed).items()
    assert {p.name for p in wanted.parameters} == set(proposed)


def test_an_imported_table_says_where_to_look(tmp_path):
    table = pd.DataFrame({"x": [7.0, 7.0, 3.0], "seed": [1, 2, 1], "ok": [True, True, False]})
    imported = xt.import_results(table, config=["x"], success="ok", output=tmp_path / "old")
    taken = take_over(load_space(space()), imported.path)
    assert [point["x"] for point in taken.points] == [7.0]
    assert (taken.configs, taken.first_seed) == (1, 3)


def taken(*xs):
    return TakenOver("old", tuple(Point({"x": x}) for x in xs), 64, len(xs), 0, 0, 0)


def test_old_ones_are_every_second_proposal_after_those_of_start():
    proposals = OldProposals(taken(1.0, 2.0).points, lambda point: point, 1)
    asked = [proposals.at(number) for number in range(6)]
    assert asked == [None, Point({"x": 1.0}), None, Point({"x": 2.0}), None, None]


@pytest.mark.parametrize(
    ("x", "solved", "of", "second"),
    [(1.0, 0, 1, None), (1.0, 0, 0, 2.0), (1.0, 1, 3, 2.0), (5.0, 0, 4, 2.0), (10.0, 0, 4, None)],
)
def test_the_second_one_is_not_proposed_where_the_first_failed_all_its_seeds(x, solved, of, second):
    """A misleading run costs one seed then. No seed yet says nothing, nor do others' failures."""

    def normal(point):
        return Point({"x": 10.0 * point["x"]})

    old = taken(1.0, 2.0).points
    proposals = OldProposals(old, normal, 1)
    proposals.see(Point({"x": x}), solved, of)
    found = proposals.at(3)
    assert (found and found["x"]) == second
    # A misleading one takes no place of the sampler's, and comes back with other results.
    if second is None:
        proposals.see(Point({"x": x}), 1, of + 1)
        assert proposals.at(3) == Point({"x": 2.0})


def test_a_misleading_run_costs_one_seed(old, tmp_path):
    def train(config, seed):
        return good({**config, "x": config["x"] + 5}, seed)  # best near 2

    run = xt.search(
        space(trials=12, most=8),
        output=tmp_path / "run",
        train=train,
        from_=old.path,
        workers=0,
        verbose=0,
    )
    best, second = (point["x"] for point in TakenOver.of(run.manifest).points)
    trained = [one.block for one in run.evaluations]
    assert (trained[0].point["x"], trained[0].count) == (best, 1)
    assert second not in [block.point["x"] for block in trained]


@pytest.mark.parametrize("sampler", ["tpe", "auto", "gp", "random"])
def test_the_search_proposes_beside_old_ones_what_it_would_propose_alone(sampler):
    """The sampler is not told of them: it would look around them, though the best is elsewhere."""
    wanted = load_space({**space(), "search": {"sampler": sampler, "trials": 40}})

    def own(olds, solved):
        proposer = proposer_for(wanted, taken=taken(*olds))
        points = []
        for number in range(24):
            point = proposer.propose(number)
            of_old = point["x"] in olds
            seen = SeedSummary(solved if of_old else int(4 + point["x"] / 3), 8)
            proposer.learn(number, point, seen)
            proposer.see(point, seen)
            points += [] if of_old else [point]
        return points

    alone = own((), 0)
    assert own((7.0, 3.0), 8) == alone[:22]
    assert own((7.0, 3.0), 0) == alone[:23]  # the second is not proposed


def test_a_search_that_takes_over_nothing_proposes_as_ever():
    wanted = load_space(space())
    plain, other = proposer_for(wanted), proposer_for(wanted, taken=taken())
    assert [plain.propose(i) for i in range(5)] == [other.propose(i) for i in range(5)]


def test_the_same_command_with_resume_goes_on_however_the_path_is_written(old, run, monkeypatch):
    monkeypatch.chdir(old.path.parent)
    asked = {"output": run.path, "train": good, "workers": 0, "verbose": 0, "resume": True}
    again = xt.search(SHIFTED, from_=f"{old.path.name}/", **asked)
    assert TakenOver.of(again.manifest) == TakenOver.of(run.manifest)


def test_that_an_old_run_solved_nothing_is_said(tmp_path):
    fails = {"output": tmp_path / "old", "train": lambda *_: False, "workers": 0, "verbose": 0}
    failed = xt.search(space(trials=2, most=2), **fails)
    taken = take_over(load_space(SHIFTED), failed)
    assert "none can be proposed, since none solved a seed" in str(taken)


def test_the_command_and_what_is_refused(old, run, tmp_path):
    with pytest.raises(InputError, match="sampler grid tries every configuration"):
        take_over(
            load_space(
                {**space(), "search": {"sampler": "grid"}, "parameters": {"x": {"choice": [1, 2]}}}
            ),
            old.path,
        )
    part = tmp_path / "plain"
    xt.search(space(trials=2, most=2), output=part, train=good, workers=0, verbose=0)
    with pytest.raises(InputError, match="this run began without another one"):
        xt.search(
            space(trials=3, most=2),
            output=part,
            train=good,
            resume=True,
            from_=old.path,
            workers=0,
            verbose=0,
        )
    with pytest.raises(InputError, match=f"this run began with {re.escape(str(old.path))}, and"):
        xt.search(
            SHIFTED, output=run.path, train=good, resume=True, from_=part, workers=0, verbose=0
        )
    (tmp_path / "train.py").write_text("def run(config, seed):\n    return True\n")
    file = tmp_path / "own.yaml"
    wanted = {"trainer": "./train.py:run", **space(trials=3, most=2)}
    file.write_text(load_space(wanted).text)
    done = xortune(
        "search", file, "--from", old.path, "--output", tmp_path / "b", "--workers", 0, code=0
    )
    assert f"of {old.path}: the best is proposed first" in " ".join(done.stderr.split())
    refused(xortune("search", file, "--from", tmp_path / "none"), "none", lines=2)
