"""Optuna programs of people who use nothing else of xortune."""

import pickle
from contextlib import contextmanager

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from races import looks, works

from xortune.core.errors import InputError
from xortune.racing.pruner import SeedRacePruner

optuna.logging.set_verbosity(optuna.logging.ERROR)

RATES = (0.3, 0.98, 0.5, 0.1, 1.0, 0.9, 0.0)
SEEDS = 120


@contextmanager
def sqlite_storage(url):
    """Closed afterwards: else Python 3.13 warns of open connections."""
    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def objective(trial):
    rate = trial.suggest_categorical("rate", RATES)
    successes = 0
    for seed in range(SEEDS):
        successes += works(rate, trial.number, seed)
        trial.report(successes, step=seed + 1)
        if trial.should_prune():
            raise optuna.TrialPruned
    return successes / SEEDS


def check(study, trials):
    states = {}
    for trial in study.trials:
        states.setdefault(trial.params["rate"], []).append(trial.state)
    assert len(study.trials) == trials
    assert set(states[1.0]) == {optuna.trial.TrialState.COMPLETE}
    for rate in (0.0, 0.1, 0.3):
        assert states[rate][-1] == optuna.trial.TrialState.PRUNED
    seeds = sum(trial.last_step for trial in study.trials)
    assert seeds < 0.8 * trials * SEEDS


@pytest.mark.parametrize(("direction", "jobs"), [("maximize", 3), ("minimize", 1)])
def test_a_plain_program_by_proof_alone(direction, jobs):
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(
        direction=direction, pruner=SeedRacePruner(futility=None), sampler=sampler
    )
    for _ in range(2):
        for rate in RATES:
            study.enqueue_trial({"rate": rate})
    study.optimize(objective, n_trials=14, n_jobs=jobs)
    check(study, 14)


def test_one_storage_for_several_pruners(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for part in range(2):  # as two programs, one after the other
        with sqlite_storage(url) as storage:
            study = optuna.create_study(
                pruner=SeedRacePruner(futility=None),
                study_name="race",
                storage=storage,
                load_if_exists=True,
            )
            study.enqueue_trial({"rate": (1.0, 0.3)[part]})
            study.optimize(objective, n_trials=1)
    with sqlite_storage(url) as storage:
        trials = optuna.load_study(study_name="race", storage=storage).trials
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED"]
    assert trials[1].last_step < SEEDS / 2


@given(st.data(), st.sampled_from([0.05, 0.8]))
@settings(max_examples=25)
def test_trials_in_any_order_are_pruned_by_the_bounds_of_the_race(data, alpha):
    study = optuna.create_study(pruner=SeedRacePruner(alpha=alpha, futility=None))
    trials, over = [study.ask() for _ in range(4)], set()
    for number, k, n, worse in looks(data, alpha, over):
        trials[number].report(k, step=n)
        pruned = trials[number].should_prune()
        assert pruned == worse
        end = data.draw(st.sampled_from(["go", "fail", "complete"]))
        if pruned or end != "go":
            over.add(number)
            state = "PRUNED" if pruned else {"fail": "FAIL", "complete": "COMPLETE"}[end]
            value = 0.5 if state == "COMPLETE" else None
            study.tell(number, value, state=optuna.trial.TrialState[state])


def test_nothing_is_pruned_before_it_reported_seeds():
    study = optuna.create_study(pruner=SeedRacePruner(futility=None))
    first, second = study.ask(), study.ask()
    first.report(100, step=100)
    assert not second.should_prune()
    second.report(0, step=0)
    assert not second.should_prune()
    assert not first.should_prune()
    second.report(0, step=20)
    assert second.should_prune()
    second.report(0.93, step=30)
    with pytest.raises(InputError, match=r"^trial 1: successes: 0.93 is not a count; allowed"):
        second.should_prune()


def test_a_pruner_serves_several_studies_and_survives_pickling():
    pruner = SeedRacePruner(alpha=0.2, futility=None)
    good, bad = optuna.create_study(pruner=pruner), optuna.create_study(pruner=pruner)
    for study, successes in ((good, 100), (bad, 0)):
        trial = study.ask()
        trial.report(successes, step=100)
        assert not trial.should_prune()
        study.tell(trial, 0.0)
    for use in (pruner, pickle.loads(pickle.dumps(pruner))):
        for study, expected in ((good, True), (bad, False)):
            study.pruner = use
            trial = study.ask()
            trial.report(0, step=50)
            assert trial.should_prune() == expected
