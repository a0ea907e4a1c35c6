"""Optuna and Ray Tune programs of people who use nothing else of xortune."""

import logging
import pickle

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from ray import tune

from xortune.core.errors import InputError
from xortune.racing.pruner import SeedRacePruner
from xortune.racing.race import race_lower, race_upper
from xortune.racing.scheduler import SeedRaceScheduler

optuna.logging.set_verbosity(optuna.logging.ERROR)

RATES = (0.3, 1.0, 0.5, 0.1, 0.97, 0.9, 0.0)
SEEDS = 120
STEP = 10
EVERY = 4
"""Seeds between two reports of a program of Optuna: each is a transaction of its storage."""


def works(rate, number, seed):
    """Whether training with this true rate succeeds under a seed."""
    return np.random.default_rng([number, seed]).random() < rate


def looks(data, alpha, over):
    """Of four trials: number, successes, seeds, and whether it is proven worse than another.

    Args:
        over: numbers of trials that report no more; the caller adds to it.
    """
    rates = data.draw(st.permutations([0.0, 0.5, 0.9, 1.0]))
    order = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=20))
    counts, proven = dict.fromkeys(range(4), (0, 0)), [0.0] * 4
    for number, more in order:
        if number in over:
            continue
        k, n = counts[number]
        k += sum(works(rates[number], number, seed) for seed in range(n, n + more))
        n += more
        counts[number] = k, n
        proven[number] = max(proven[number], float(race_lower(k, n, number + 1, alpha=alpha)))
        bar = max(proven[other] for other in range(4) if other != number)
        yield number, k, n, race_upper(k, n, number + 1, alpha=alpha) < bar


def objective(trial):
    rate = trial.suggest_categorical("rate", RATES)
    successes = 0
    for seed in range(SEEDS):
        successes += works(rate, trial.number, seed)
        if (seed + 1) % EVERY == 0:
            trial.report(successes, step=seed + 1)
            if trial.should_prune():
                raise optuna.TrialPruned
    return successes / SEEDS


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
    states = {}
    for trial in study.trials:
        states.setdefault(trial.params["rate"], []).append(trial.state.name)
    assert len(study.trials) == 14
    assert set(states[1.0]) == {"COMPLETE"}
    assert {states[rate][-1] for rate in (0.0, 0.1, 0.3)} == {"PRUNED"}
    assert sum(trial.last_step for trial in study.trials) < 0.8 * 14 * SEEDS


def test_one_storage_for_several_pruners(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for rate in (1.0, 0.3):  # as two programs, one after the other
        storage, pruner = RDBStorage(url), SeedRacePruner(futility=None)
        given = {"study_name": "race", "storage": storage, "load_if_exists": True}
        study = optuna.create_study(pruner=pruner, **given)
        study.enqueue_trial({"rate": rate})
        study.optimize(objective, n_trials=1)
        trials = study.trials
        storage.remove_session()  # else Python 3.13 warns of open connections
        storage.engine.dispose()
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
        if end := "PRUNED" if pruned else data.draw(st.sampled_from(["", "FAIL", "COMPLETE"])):
            over.add(number)
            value = 0.5 if end == "COMPLETE" else None
            study.tell(number, value, state=optuna.trial.TrialState[end])


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


@pytest.mark.parametrize("over", [True, False])
def test_no_other_trial_is_compared_with_one_whose_reports_are_no_counts(over):
    """Its own trial is told; the study goes on, also where the objective has been put right."""
    study = optuna.create_study(pruner=SeedRacePruner())
    wrong = study.ask()
    wrong.report(100, step=100)
    wrong.report(float("nan"), step=101)
    with pytest.raises(InputError, match="trial 0: successes: nan is not a count"):
        wrong.should_prune()
    if over:
        study.tell(wrong, state=optuna.trial.TrialState.FAIL)
    right = study.ask()
    right.report(0, step=50)
    assert not right.should_prune()


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


# -------------------------------------------------------------------------------------------------
# Ray Tune.


class Train(tune.Trainable):
    """As somebody else would write it, with names and a metric of its own."""

    def setup(self, config):
        self.reset_config(config)

    def reset_config(self, new_config):
        self.rate, self.successes, self.n = new_config["rate"], 0, 0
        self.generator = np.random.default_rng(0)
        return True

    def step(self):
        self.successes += int(self.generator.binomial(STEP, self.rate))
        self.n += STEP
        return {"count": {"good": self.successes}, "seeds": self.n, "loss": 1.0}

    def save_checkpoint(self, checkpoint_dir):  # noqa: ARG002
        return None


@pytest.mark.usefixtures("one_ray")
def test_a_plain_tune_program_by_proof_alone(tmp_path):
    """`max_seeds` ends it, whose trials report on and on."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scheduler = SeedRaceScheduler(successes="count/good", n="seeds", max_seeds=SEEDS, futility=None)
    tuner = tune.Tuner(
        tune.with_resources(Train, {"cpu": 2}),  # one worker, as the start of each takes seconds
        param_space={"rate": tune.grid_search(list(RATES))},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, num_samples=2, reuse_actors=True, metric="loss", mode="min"
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="race", verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    seeds = {}
    for result in results:
        seeds.setdefault(result.config["rate"], []).append(result.metrics["seeds"])
    assert seeds[1.0] == seeds[0.97] == [SEEDS] * 2
    for rate in (0.0, 0.1, 0.3, 0.5):
        assert seeds[rate][1] < SEEDS
    assert sum(map(sum, seeds.values())) < 0.9 * 2 * len(RATES) * SEEDS


class Trial:
    def __init__(self, number):
        self.trial_id, self.last_result = f"t{number}", {}


class Tune:
    """A scheduler, and trials that Tune has added."""

    def __init__(self, count=0, **how):
        self.scheduler = SeedRaceScheduler(**{"futility": None, **how})
        self.trials = []
        self.add(*map(Trial, range(count)))

    def add(self, *trials):
        for trial in trials:
            self.scheduler.on_trial_add(None, trial)
            self.trials.append(trial)

    def stops(self, number, k, n):
        """Whether a trial ends at a report."""
        report = {"successes": k, "n": n}
        decision = self.scheduler.on_trial_result(None, self.trials[number], report)
        assert decision in ("STOP", "CONTINUE")
        return decision == "STOP"


@given(st.data(), st.sampled_from([0.05, 0.8]))
@settings(max_examples=30)
def test_reports_in_any_order_are_judged_by_the_bounds_of_the_race(data, alpha):
    race, over = Tune(4, alpha=alpha), set()
    scheduler, trials = race.scheduler, race.trials
    for number, k, n, worse in looks(data, alpha, over):
        report = {"successes": k, "n": n}
        if data.draw(st.integers(0, 9)) == 0:  # Tune does not ask about a last report
            scheduler.on_trial_complete(None, trials[number], report)
            over.add(number)
            continue
        assert race.stops(number, k, n) == worse
        if worse:
            scheduler.on_trial_complete(None, trials[number], report)
            over.add(number)
        elif data.draw(st.integers(0, 9)) == 0:
            scheduler.on_trial_error(None, trials[number])
            over.add(number)
    assert scheduler.debug_string().startswith("Seed race: ")


def test_a_trial_that_is_run_again_has_a_share_of_its_own():
    """Its second results need not be the first ones: they are proven with the next number."""
    race = Tune(2)
    assert not race.stops(0, 5, 50)
    race.scheduler.on_trial_error(None, race.trials[0])
    race.add(*map(Trial, range(2, 300)), race.trials[0])
    assert not race.stops(1, 128, 128)
    lower = float(race_lower(128, 128, 2))
    first, again = (np.argmax(race_upper(0, range(1, 99), i) < lower) + 1 for i in (1, 301))
    assert first < again, "the test tells nothing if it does not matter"
    for n in range(1, again + 1):
        assert race.stops(0, 0, n) == (n == again)


@pytest.mark.parametrize(("good", "k", "n", "stops"), [(118, 2, 7, False), (152, 3, 8, True)])
def test_a_trial_is_judged_by_the_share_of_its_own_number(good, k, n, stops):
    pairs = ((2, 3), (3, 3), (2, 4), (1, 3), (2, 2))
    worse = [race_upper(k, n, i) < race_lower(good, good, j) for i, j in pairs]
    assert worse == [stops, False, False, True, True], "another number would change it"
    study, race = optuna.create_study(pruner=SeedRacePruner(futility=None)), Tune(3)
    asked = [study.ask() for _ in range(3)]
    for number, successes, seeds, stopped in ((2, good, good, False), (1, k, n, stops)):
        asked[number].report(successes, step=seeds)
        assert asked[number].should_prune() == stopped
        assert race.stops(number, successes, seeds) == stopped


def test_the_last_report_of_a_restored_trial_counts():
    race, done = Tune(), Trial(0)
    done.last_result = {"successes": 100, "n": 100}
    race.add(done, Trial(1))
    assert race.stops(1, 5, 30)
    assert not race.stops(0, 3, 3)


@pytest.mark.parametrize(
    ("reports", "problem"),
    [
        ([{"n": 3}], "reported no 'successes'"),
        ([{"successes": 3}], "reported no 'n'"),
        ([{"successes": 0.93, "n": 100}], "0.93 is not a count"),
        ([{"successes": 4, "n": 3}], "4 successes of 3 seeds"),
        ([{"successes": 3, "n": 4}, {"successes": 2, "n": 3}], "2 of 3 seeds after 3 of 4"),
    ],
)
def test_reports_that_are_no_cumulative_counts_are_named(reports, problem):
    race = Tune(8)
    *before, last = [(None, race.trials[7], report) for report in reports]
    for report in before:
        race.scheduler.on_trial_result(*report)
    with pytest.raises(InputError, match=problem) as caught:
        race.scheduler.on_trial_result(*last)
    assert str(caught.value).startswith("trial t7")
    assert caught.value.allowed


def test_no_seeds_are_refused():
    with pytest.raises(InputError, match="max_seeds: 0"):
        SeedRaceScheduler(max_seeds=0)
