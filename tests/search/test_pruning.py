"""Seeds that a pruner of Optuna ends in a search: which, and what they count as."""

import json
import math
import random
import re
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pytest
import torch
from commands import xortune
from fakes import Scripted, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.pruning import is_look, judged, pruned_at, reports_of
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.deciding import measured
from xortune.deciding.measured import SeedStudy, SeedTrial
from xortune.reports.progress import status_line, status_rows
from xortune.runs.evaluation import encode_outcome
from xortune.runs.manifest import MANIFEST
from xortune.runs.store import JOURNAL
from xortune.spaces.command import RegexMetric
from xortune.spaces.model import CommandSettings
from xortune.spaces.pruners import PRUNERS
from xortune.spaces.space import load_space, parse_space
from xortune.trainers.call_form import CallForm
from xortune.trainers.command import command_trainer
from xortune.trainers.function import CustomTrainer, custom_trainer
from xortune.trainers.source import given_source
from xortune.trainers.vectorized import trained_as_one

EPOCHS = 12

SPACE = """
name: pruned
success: "accuracy >= 0.9"
parameters: {rate: {low: 0.0, high: 1.0}}
search: {sampler: random, trials: 6, seed: 3, pruner: median}
seeds: {ladder: [16, 48]}
"""

EACH = {
    "median": "median",
    "percentile": "{name: percentile, percentile: 60}",
    "hyperband": "hyperband",
    "patient": "{name: patient, patience: 3}",
    "threshold": "{name: threshold, lower: 0.2, n_warmup_steps: 4}",
}


def _training(config, seed):
    draw = np.random.default_rng([seed, int(1000 * config["rate"])])
    is_good, noise = draw.random() < config["rate"], draw.random(EPOCHS) / 10
    for epoch in range(1, EPOCHS):
        yield {"accuracy": 1 - math.exp(-epoch / 3) + noise[epoch] if is_good else noise[epoch]}
    return {"accuracy": 0.95 if is_good else 0.1}


TRAINER = CustomTrainer(
    given_source(_training), parse_success("accuracy >= 0.9"), CallForm(yields=True), on="accuracy"
)


def _train(job, *, as_asked):
    """Train on a worker that prunes seeds, or to the end as one that trained ahead."""
    block = job.block if as_asked else replace(job.block, pruning=None)
    [outcome] = TRAINER.train([block])
    return encode_outcome(job.block, outcome)


@cache
def _whole():
    return _searched()


def _searched(known=(), pick=lambda _: 0, workers=3, ahead=lambda _: False):
    points = [Point({"rate": rate}) for rate in (0.7, 0.5, 0.6, 0.2, 0.8, 0.4)]
    train = lambda job: _train(job, as_asked=not ahead(job))  # noqa: E731
    how = {"known": known, "pick": pick, "workers": workers, "train": train}
    return run(parse_space(SPACE), Scripted(points), window=32, **how).evaluations


def _told(evaluations):
    """By config and seed: its status, and the report at which it is pruned."""
    found = {}
    for line in evaluations:
        pruned = line.outcome.details.pruned
        for seed, status in zip(line.outcome.seeds.tolist(), line.outcome.status, strict=True):
            found[line.block.point.key, seed] = Status(status), pruned.get(seed)
    return found


def test_seeds_are_pruned_and_one_in_ten_trains_on():
    told = _told(_whole())
    pruned = [status for status, at in told.values() if at is not None]
    ended = pruned.count(Status.PRUNED)
    assert len(pruned) > ended > 0.8 * len(pruned)
    assert {status for status, at in told.values() if at is None} == {
        Status.SOLVED,
        Status.WRONG_PATTERN,
    }


def test_a_pruned_seed_has_no_numbers_and_counts_as_failed():
    for line in _whole():
        ended = line.outcome.status == Status.PRUNED
        assert not line.outcome.solved[ended].any()
        numbers = line.outcome.details.values.values()
        assert all(np.isnan(of_seeds[ended]).all() for of_seeds in numbers)


@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_which_seeds_are_pruned_depends_on_no_clock(data):
    """Not on who is quicker, on what was trained ahead, or on where the search was killed."""
    before = _whole()
    known = before[: data.draw(st.integers(0, len(before)))]
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    ahead = lambda _: data.draw(st.booleans())  # noqa: E731
    after = _searched(known, pick, data.draw(st.integers(1, 5)), ahead)
    assert _told([*known, *after]) == _told(before)


def test_the_first_seeds_are_forgotten_and_a_resumed_search_forgets_the_same(monkeypatch):
    whole = _told(_whole())
    monkeypatch.setattr(measured, "MOST_TRIALS", 20)
    before = _searched()
    assert _told(before) != whole
    known = before[: len(before) // 2]
    assert _told([*known, *_searched(known)]) == _told(before)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    (place / "space.yaml").write_text(SPACE)
    return xt.search(str(place / "space.yaml"), train=_training, output=place / "run", workers=0)


def _same(run, other):
    for table, columns in (
        ("table", ["key", "k", "n", "pruned"]),
        ("seeds", ["key", "seed", "status"]),
    ):
        assert getattr(run, table)[columns].equals(getattr(other, table)[columns])


@pytest.mark.parametrize("line", [1, 6])
def test_a_run_killed_anywhere_ends_with_the_same_table(line, whole_run, tmp_path):
    run = shutil.copytree(whole_run.path, tmp_path / "run")
    journal = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(journal) > line
    (run / JOURNAL).write_bytes(b"".join(journal[:line]) + journal[line][:20])  # it is torn
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"complete": False}))
    space = str(whole_run.path.parent / "space.yaml")
    _same(xt.search(space, train=_training, output=run, workers=0, resume=True), whole_run)


def test_the_pool_prunes_the_same_seeds(whole_run, tmp_path):
    space = str(whole_run.path.parent / "space.yaml")
    _same(xt.search(space, train=_training, output=tmp_path / "run", workers=1), whole_run)


def test_pruned_seeds_are_shown_wherever_statuses_are(whole_run):
    pruned = int(whole_run.table["pruned"].sum())
    assert (whole_run.seeds["status"] == "pruned").sum() == pruned > 0
    status, report = xt.status(whole_run.path), (whole_run.path / "report.md").read_text()
    assert status.pruned_seeds == pruned
    assert ("pruned", f"{pruned} seeds pruned") in status_rows(status)
    assert f"{pruned} pruned" in status_line(status)
    lines = (line for line in xt.load_run(whole_run.path).evaluations if line.outcome)
    ended = [(e.outcome, seed - e.block.first) for e in lines for seed in e.outcome.details.pruned]
    states = [Status(outcome.status[at]) for outcome, at in ended]
    n, k = len(states) - pruned, states.count(Status.SOLVED)
    said = f"Of {n} seeds that would have been pruned and were trained on, {k} succeeded ("
    assert (
        f"{pruned} of {len(whole_run.seeds)} seeds were pruned (median) and count as failed"
        in report
    )
    assert said in report
    assert f"| pruned | {pruned} |" in report
    assert f"pruned {pruned}" in report, "the figure of failures names them"
    assert "of these were pruned." in report, "the figure of learning curves does"


def test_a_certificate_prunes_no_seed():
    [outcome] = TRAINER.train([Block(Point({"rate": 0.0}), 0, 5)])
    assert (outcome.details.pruned, set(outcome.status)) == ({}, {Status.WRONG_PATTERN})


# -------------------------------------------------------------------------------------------------
# What pruners say.


def _space(pruner="median", success="accuracy >= 0.9"):
    return parse_space(
        SPACE.replace("pruner: median", f"pruner: {pruner}").replace("accuracy >= 0.9", success)
    )


def test_each_pruner_has_a_test():
    assert list(EACH) == [one.name for one in PRUNERS]


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("success", ["accuracy >= 0.9", "accuracy <= 0.1"])
def test_a_seed_is_pruned_where_optuna_prunes_its_trial(name, success):
    """One trial after the other in a study of Optuna, each with the reports of a seed."""
    space = _space(EACH[name], success)
    seeds, draw = SeedStudy(space), np.random.default_rng(1)
    study = optuna.create_study(
        study_name="3",
        direction="maximize" if ">" in success else "minimize",
        pruner=space.search.pruner.make(),
    )
    ends = set()
    for _ in range(60):
        curve = np.float32(draw.random() * np.linspace(0.1, 1, 9) + draw.random(9) / 4)
        trial, is_pruned = study.ask(), seeds.pruning().of_seed()
        told = []
        for step, number in enumerate(curve.tolist(), 1):
            trial.report(number, step)
            told.append((step, number))
            ended = is_pruned(step, number)
            assert ended == trial.should_prune()
            if ended:
                break
        ends.add(ended)
        state = optuna.trial.TrialState.PRUNED if ended else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if ended else 0.5, state)
        seeds.learn([SeedTrial(tuple(told), state)])
    assert ends == {True, False}


def test_a_pruner_is_asked_early_and_seldom():
    asked = [report for report in range(1, 80) if is_look(report)]
    assert asked == [*range(1, 17), *range(18, 33, 2), *range(36, 65, 4), 72]


def _halves(lower=0.5, at=3):
    """What prunes seeds whose third report, or a later one, is below a half."""
    warm = f"{{name: threshold, lower: {lower}, n_warmup_steps: {at}}}"
    return SeedStudy(_space(warm)).pruning()


def test_who_is_trained_on_is_drawn_by_seed():
    halves = _halves()
    drawn = [halves.is_trained_on("key", seed) for seed in range(2000)]
    assert 150 < sum(drawn) < 250
    assert drawn == [halves.is_trained_on("key", seed) for seed in range(2000)]
    assert drawn != [replace(halves, draw=8).is_trained_on("key", seed) for seed in range(2000)]


@pytest.mark.parametrize("stored", [False, True])
def test_a_report_that_lacks_the_number_says_nothing_and_one_that_is_nan_is_the_worst(stored):
    def train(config, seed):
        for report in range(1, 6):
            lacks = seed < 2 and report == 3
            yield {"loss": 0.1} if lacks and seed else {"accuracy": math.nan if lacks else 0.9}

    trainer, block = replace(TRAINER, source=given_source(train)), Block(Point({}), 0, 3)
    [outcome] = trainer.train([block])
    assert outcome.status.tolist() == [Status.SOLVED] * 3
    if stored:
        outcome = encode_outcome(block, outcome).decoded(block)
    assert pruned_at(_halves(), outcome.details) == {0: 3}


@pytest.mark.parametrize("name", EACH)
def test_seeds_without_any_finite_number_are_no_warning(name):
    seeds, states = SeedStudy(_space(EACH[name])), optuna.trial.TrialState
    numbers = (math.nan, math.inf, -math.inf)
    ends = (states.COMPLETE, states.PRUNED, states.FAIL)
    none = [SeedTrial(((1, number), (2, number)), end) for number in numbers for end in ends]
    seeds.learn([*none, SeedTrial((), states.COMPLETE)])
    for number in (*numbers, 0.5):
        is_pruned = seeds.pruning().of_seed()
        assert {type(is_pruned(report, number)) for report in range(1, 9)} == {bool}


# -------------------------------------------------------------------------------------------------
# Training.


def test_a_function_is_ended_at_its_report():
    reported = []

    def train(config, seed):
        for epoch in range(1, 7):
            reported.append((seed, epoch))
            yield {"accuracy": 0.9 if seed == 1 else 0.1}

    trainer, halves = replace(TRAINER, source=given_source(train)), _halves()
    key = Point({}).key
    on = next(seed for seed in range(2, 99) if halves.is_trained_on(key, seed))
    block = Block(Point({}), 0, on + 1, halves)
    [outcome] = trainer.train([block])
    assert {Status(s) for s in outcome.status[[0, *range(2, on)]]} == {Status.PRUNED}
    assert Status(outcome.status[1]) == Status.SOLVED
    assert Status(outcome.status[on]) == Status.WRONG_PATTERN
    assert outcome.details.pruned == {seed: 3 for seed in range(on) if seed != 1}
    assert max(epoch for seed, epoch in reported if seed == 0) == 3
    assert max(epoch for seed, epoch in reported if seed == on) == 6
    [whole] = trainer.train([replace(block, pruning=None)])
    after = judged(halves, key, whole, pruned_at(halves, whole.details))
    assert after.status.tolist() == outcome.status.tolist()
    assert after.details.pruned == outcome.details.pruned | {on: 3}


class Falling(xt.TorchTraining):
    """A weight that falls at the seed's own pace; the seed decides what is reported."""

    epochs, report_every = 6, 1

    def model(self):
        return nn.Linear(3, 1)

    def optimizer(self, parameters):
        return getattr(torch.optim, self.config["optimizer"])(parameters, lr=0.05)

    def batches(self):
        yield (torch.randn(4, 3),)

    def loss(self, model, x):
        return model(x).square().mean()

    def score(self, model):
        return {"accuracy": 0.5 + model.weight.mean()}


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Adadelta", "Rprop"])
def test_pruned_seeds_leave_a_stack_and_the_others_go_on_as_before(optimizer):
    trainer = custom_trainer(given_source(Falling), parse_success("accuracy >= 0.5"))
    trainer, halves = replace(trainer, on="accuracy"), _halves(0.55, at=2)
    point = Point({"optimizer": optimizer})
    [whole] = trainer.train([Block(point, 0, 12)])
    [outcome] = trainer.train([Block(point, 0, 12, halves)])
    ended = outcome.status == Status.PRUNED
    pruned = outcome.details.pruned
    assert outcome.seeds[ended].tolist() == sorted(pruned)
    assert 0 < ended.sum() < 12
    assert pruned_at(halves, whole.details).items() >= pruned.items()
    reports = {seed: at for seed, (at, _) in reports_of(outcome.details, "accuracy").items()}
    ends = {seed: pruned.get(seed, 5) for seed in range(12)}
    assert reports == {seed: list(range(1, end + 1)) for seed, end in ends.items()}
    np.testing.assert_allclose(
        *(one.details.values["accuracy"][~ended] for one in (outcome, whole)), rtol=1e-5
    )


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Rprop"])
def test_the_rest_of_a_stack_goes_on_without_rows(optimizer):
    first, second = (Falling({"optimizer": optimizer, "x": x}) for x in range(2))
    groups = [(first, [0, 1]), (second, [5, 6, 7])]
    *_, (_, whole) = trained_as_one(groups)
    steps = trained_as_one(groups)
    next(steps)
    steps.send([0, 1, 3])
    *_, (_, rest) = steps
    found, expected = ([float(one["accuracy"]) for one in scores] for scores in (rest, whole))
    np.testing.assert_allclose(found, [expected[row] for row in (2, 4)], rtol=1e-5)


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        ("last line json", '{\\"accuracy\\": %s}'),
        (RegexMetric("acc=([0-9.]+)", "accuracy"), "epoch acc=%s"),
    ],
    ids=["json", "regex"],
)
def test_a_command_is_ended_when_it_prints_too_little(metric, line, tmp_path):
    # Seed 1 would go on for ever after its third number.
    loop = f'for i in 1 2 3; do printf "{line}\\n" "$2"; done\n'
    (tmp_path / "train.sh").write_text(f'{loop}while [ "$1" = 1 ]; do sleep 0.01; done\n')
    command = CommandSettings("sh train.sh {seed} 0.{seed}", "accuracy >= 0", metric)
    trainer = replace(command_trainer(command, tmp_path), on="accuracy")
    halves = _halves(0.15, at=2)
    assert not any(halves.is_trained_on(Point({}).key, seed) for seed in (1, 2, 3))
    [outcome] = trainer.train([Block(Point({}), 1, 3, halves)])
    assert [Status(status) for status in outcome.status] == [Status.PRUNED, *2 * [Status.SOLVED]]
    assert outcome.details.pruned == {1: 2}


def test_a_command_may_print_numbers_beyond_the_largest_float(tmp_path):
    (tmp_path / "train.sh").write_text(
        f"""echo '{{"accuracy": 1{"0" * 400}}}'\necho '{{"accuracy": 0.5}}'\n"""
    )
    command = CommandSettings("sh train.sh {seed}", "accuracy >= 0.4", "last line json")
    trainer = replace(command_trainer(command, tmp_path), on="accuracy")
    [outcome] = trainer.train([Block(Point({}), 0, 1, SeedStudy(_space()).pruning())])
    assert outcome.solved.all()
    [curves] = outcome.details.curves
    assert curves.values[:, 0].tolist() == [math.inf, 0.5]


def test_a_search_of_an_async_function_prunes_what_a_plain_one_does(tmp_path):
    reports = dict.fromkeys(("plain", "awaited"), 0)

    def told(kind, config, seed, report):
        good = random.Random(seed).random() < config["rate"]
        for step in range(12):
            reports[kind] += 1
            report({"score": step * (0.08 if good else 0.01)})
        return {"score": 0.9 if good else 0.1}

    def plain(config, seed, report):
        return told("plain", config, seed, report)

    async def awaited(config, seed, report):
        return told("awaited", config, seed, report)

    space = {
        "name": "async",
        "parameters": {"rate": {"choice": [0.5, 0.6, 0.7]}},
        "success": "score >= 0.5",
        "search": {"sampler": "grid", "pruner": "median"},
        "seeds": {"ladder": [32, 64]},
    }
    for name, train, workers in (("plain", plain, 0), ("awaited", awaited, 1)):
        options = {"output": tmp_path / name, "workers": workers, "check": False, "verbose": 0}
        xt.search(space, train=train, **options)
    assert reports["plain"] == reports["awaited"] < 12 * 3 * 64


# -------------------------------------------------------------------------------------------------
# What is refused.


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("median", "medain", "unknown pruner 'medain'.*did you mean 'median'"),
        ("median", "3", "unknown pruner 3"),
        ("median", "{percentile: 3}", "without its name"),
        ("median", "{name: median, n_warmup: 3}", "no argument 'n_warmup'.*n_warmup_steps"),
        (
            "median",
            "{name: median, n_warmup_steps: -3}",
            "space.yaml:5: search.pruner: median: .*cannot be",
        ),
        ("median", "percentile", "missing 1 required"),
        ("median", "threshold", "threshold: Either lower or upper"),
        (
            "median",
            "{name: patient, patience: 3, wrapped_pruner: x}",
            "no argument 'wrapped_pruner'",
        ),
        ('success: "accuracy >= 0.9"', "", "no rule says which of two numbers is better"),
        ("accuracy >= 0.9", "accuracy != 0.5", "no rule says which of two numbers is better"),
        ("seeds:", "objectives: [accuracy_mean]\nseeds:", "accuracy_mean, a number that pruned"),
        ("[16, 48]", "[16, 48], price: flops", "flops, a number that pruned seeds do not have"),
        ('success: "accuracy >= 0.9"\nparameters: {', "epochs: 3\nparameters: {", "no rule"),
    ],
)
def test_what_a_pruner_cannot_do_is_refused(old, new, words, tmp_path):
    assert old in SPACE
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace(old, new))
    with pytest.raises(InputError, match=words):
        xt.search(str(path), train=_training, output=tmp_path / "run", workers=0)


def test_a_number_that_seeds_only_return_is_refused(tmp_path):
    def train(config, seed):
        yield {"loss": 0.5}
        return {"accuracy": 1.0}

    with pytest.raises(InputError, match="do not report 'accuracy' on their way; allowed: loss"):
        xt.search(_space(), train=train, output=tmp_path / "run", workers=0)


def _silent(config, seed):
    return {"accuracy": 1.0}


def _many(config, seeds):
    yield {"accuracy": seeds}


@pytest.mark.parametrize("train", [_silent, _many])
def test_seeds_that_do_not_report_each_by_itself_are_refused(train, tmp_path):
    with pytest.raises(InputError, match="report nothing on their way, or many of them together"):
        xt.search(_space(), train=train, output=tmp_path / "run", workers=0)


@pytest.mark.parametrize(
    ("metric", "allowed"),
    [("{regex: 'err=(.*)', name: err}", "err"), ("last line number", "value")],
)
def test_a_command_without_a_rule_for_its_number_is_refused(metric, allowed):
    text = f"""
    name: command
    trainer: {{command: "train {{lr}} {{seed}}", metric: {metric}, success: %s}}
    parameters: {{lr: {{low: 0.0, high: 1.0}}}}
    search: {{trials: 3, pruner: median}}
    """
    assert parse_space(text % f'"{allowed} <= 0.5"').pruned_by == allowed
    with pytest.raises(InputError, match="no rule says"):
        parse_space(text.replace(f"metric: {metric}, ", "") % "exit code 0")


def test_the_command_says_what_prunes_seeds(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("median", "{name: patient, patience: 3}") + "trainer: ./a.py:f")
    (tmp_path / "a.py").write_text("def f(config, seed, report):\n    return 0.0\n")
    said = " ".join(xortune("space", path, code=0).stdout.split())
    assert 'pruner {"name": "patient", "patience": 3}: ends seeds by the accuracy that they' in said


def test_a_line_that_prunes_a_seed_of_another_block_is_refused(whole_run, tmp_path):
    run = shutil.copytree(whole_run.path, tmp_path / "run")
    text = (run / JOURNAL).read_text()
    pruned = re.search(r'"pruned":{"(\d+)":', text)
    (run / JOURNAL).write_text(text.replace(pruned[0], '"pruned":{"999":'))
    with pytest.raises(InputError, match="pruned: has a seed that is not of the line"):
        [line.outcome and line.outcome.details for line in xt.load_run(run).evaluations]


def test_the_space_and_a_resume_name_the_pruner(whole_run, tmp_path):
    run = shutil.copytree(whole_run.path, tmp_path / "run")
    other = _space("{name: patient, patience: 3}").text
    (tmp_path / "space.yaml").write_text(other)
    with pytest.raises(
        InputError, match=r"search.pruner: median -> \{name: patient, patience: 3\}"
    ):
        xt.search(str(tmp_path / "space.yaml"), train=_training, output=run, workers=0, resume=True)
    assert load_space(run / "space.yaml").search.pruner.written == "median"
