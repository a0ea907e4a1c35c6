"""A run as an Optuna study, and a study as a run: the same configs, the same counts."""

import math

import optuna
import pytest
from hand_made import CONFIG, TINY_SPACE, done, solved, write_run

import xortune as xt
from xortune.core.outcome import Status
from xortune.racing.objectives import counts_of, sampler_values

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def run(tmp_path):
    lines = [
        done(i, {**CONFIG, "lr": lr, "hidden_dim": 3, "epochs": 30}, solved(0, k, 4, epochs=30))
        for i, (lr, k) in enumerate([(0.02, 1), (0.05, 4), (0.09, 3)])
    ]
    return write_run(tmp_path / "run", lines, space_text=TINY_SPACE, trainer="network", task="xor")


def test_each_config_is_a_trial_with_what_was_told_and_what_was_counted(run):
    study = xt.to_optuna(run)
    trials = study.get_trials()
    assert [trial.params["lr"] for trial in trials] == [0.02, 0.05, 0.09]
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    by_key = {result.key: result for result in run.results}
    for trial in trials:
        result = by_key[trial.user_attrs["key"]]
        seen = counts_of(result.point, result.outcome, run.objectives)
        assert trial.values == list(sampler_values(run.objectives, seen))
        assert (trial.user_attrs["k"], trial.user_attrs["n"]) == (result.outcome.successes, 4)
        interval = (trial.user_attrs["low"], trial.user_attrs["high"])
        assert interval == result.outcome.interval()
        assert trial.user_attrs["config"] == result.point.as_dict()
        lr = trial.distributions["lr"]
        assert (lr.low, lr.high, lr.log) == (0.01, 0.1, True)
        assert trial.distributions["activation"].choices == ("Tanh", "ReLU")
    assert study.best_trial.user_attrs["key"] == run.results[0].key
    assert xt.to_optuna(str(run.path), values="rate").best_value == 1.0
    assert [t.value for t in xt.to_optuna(run, values="rate").trials] == [0.25, 1.0, 0.75]


def studied(objective, n, **kinds):
    study = optuna.create_study(
        study_name="mine", sampler=optuna.samplers.RandomSampler(1), **kinds
    )
    study.optimize(objective, n_trials=n, catch=ValueError)
    return study


def test_repeated_trials_are_the_seeds_of_a_config(tmp_path):
    def objective(trial):
        lr = trial.suggest_categorical("lr", [0.1, 0.2])
        trial.set_user_attr("seed", trial.number)
        if trial.number % 9 == 4:
            raise ValueError
        if trial.number % 9 == 5:
            raise optuna.TrialPruned
        return lr + trial.number / 60

    study = studied(objective, 60)
    waiting = study.ask()
    said = []
    run = xt.from_optuna(
        study, success="value >= 0.6", output=tmp_path / "run", on_word=said.append
    )
    table = {row.lr: (row.k, row.n) for row in run.table.itertuples()}
    for lr in (0.1, 0.2):
        mine = [t for t in study.trials if t.params.get("lr") == lr]
        k = sum(t.state.name == "COMPLETE" and t.value >= 0.6 for t in mine)
        assert table[lr] == (k, len(mine))
    assert sum(n for _, n in table.values()) == 60
    failed = run.seeds[run.seeds.status == Status.CRASHED.label]
    assert dict(failed.reason.value_counts()) == {"the trial failed": 7, "the trial was pruned": 7}
    assert f"left out, for they wait or run: 1 of {len(study.trials)} trials" in said
    assert waiting.number == 60
    assert run.manifest["imported"]["source"] == "study mine"
    assert run.manifest["name"] == "mine"
    assert math.isnan(run.seeds.value[run.seeds.status == "crashed"].iloc[0])


def test_a_seed_among_the_parameters_and_a_success_that_is_said(tmp_path):
    def objective(trial):
        trial.suggest_int("width", 1, 2)
        seed = trial.suggest_int("seed", 0, 2**31)
        trial.set_user_attr("success", seed % 2 == 0)
        trial.set_user_attr("accuracy", 0.5)
        if seed % 4 == 0:  # no success, whatever it has said
            raise optuna.TrialPruned
        return 0.0, 1.0

    study = studied(objective, 20, directions=["maximize", "minimize"])
    run = xt.from_optuna(study, output=tmp_path / "run")
    assert run.parameters == ("width",)
    seeds = [trial.params["seed"] for trial in study.trials]
    assert run.table.k.sum() == sum(seed % 4 == 2 for seed in seeds)
    assert {"accuracy", "value_0", "value_1"} <= set(run.seeds.columns)
    some = xt.from_optuna(
        study, output=tmp_path / "rule", success="value_1 > 0", ignore=["success", "accuracy"]
    )
    assert some.table.k.sum() == sum(seed % 4 != 0 for seed in seeds) < 20


def test_what_of_a_study_cannot_be_seeds(tmp_path, run):
    with pytest.raises(xt.InputError, match="trial 0: no 'seed' among its parameters"):
        xt.from_optuna(xt.to_optuna(run), output=tmp_path / "x")
    with pytest.raises(xt.InputError, match="study mine: no trial has ended"):
        xt.from_optuna(studied(float, 0), output=tmp_path / "x")
    with pytest.raises(xt.InputError, match=r"a dict; allowed: an optuna.Study"):
        xt.from_optuna({}, output=tmp_path / "x")

    def twice(trial):
        trial.suggest_int("lr", 1, 1)
        trial.set_user_attr("seed", 0)
        trial.set_user_attr("success", True)
        return 0.0

    told = "study mine, trial 1: seed 0 of lr 1 was already given"
    with pytest.raises(xt.InputError, match=told):
        xt.from_optuna(studied(twice, 2), output=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def study_of_means(*values):
    study = optuna.create_study(direction="maximize")
    for value in values:
        trial = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, value, state=None if value else optuna.trial.TrialState.FAIL)
    return study


def test_a_study_of_means_over_seeds_is_counts(tmp_path):
    words = []
    study = study_of_means(0.8, None, 1.0, 0.6000001)
    run = xt.from_optuna(study, n=5, output=tmp_path / "run", on_word=words.append)
    found = {r.point["lr"]: (r.outcome.successes, r.outcome.n) for r in run.results}
    shares = {t.params["lr"]: (round(5 * t.value), 5) for t in study.trials if t.value}
    assert found == shares
    seeds = [set(r.outcome.seeds.tolist()) for r in run.results]
    assert len(set.union(*seeds)) == 15, "seeds that nobody knows are never paired"
    assert "left out, for they are not complete: 1 of 4 trials" in words


@pytest.mark.parametrize(("values", "n"), [((0.85,), 5), ((1.2,), 5), ((0.8,), 0), ((0.8,), True)])
def test_a_value_that_is_no_share_of_n_is_refused(values, n, tmp_path):
    with pytest.raises(xt.InputError, match="n"):
        xt.from_optuna(study_of_means(*values), n=n, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
