"""Hopeless seeds end early in a search: the band, its promises, and that no clock matters."""

import json
import math
import random
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from fakes import Scripted, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import xortune as xt
from xortune.core.band import LOOKS, Band, is_look, left_by, reports_of, upward
from xortune.core.errors import InputError
from xortune.core.outcome import Left, Status
from xortune.core.point import Point
from xortune.core.success import larger_is_better, parse_success
from xortune.core.task import Task
from xortune.core.trainer import PROVEN_WORSE, Block
from xortune.racing.hopeless import (
    Curve,
    HopelessAudit,
    HopelessSeeds,
    curves_of,
    fewest_solved,
)
from xortune.reports.progress import status_line, status_rows
from xortune.runs.evaluation import encode_outcome
from xortune.runs.manifest import MANIFEST
from xortune.runs.store import JOURNAL
from xortune.spaces.command import RegexMetric
from xortune.spaces.model import CommandSettings, StopHopeless
from xortune.spaces.space import parse_space
from xortune.trainers.command import command_trainer
from xortune.trainers.function import CallForm, CustomTrainer, custom_trainer
from xortune.trainers.network import NetworkTrainer
from xortune.trainers.source import given_source
from xortune.trainers.vectorized import trained_as_one
from xortune.trainers.verdicts import SeedResults

EPOCHS = 12

SPACE = """
name: hopeless
success: "accuracy >= 0.9"
parameters: {rate: {low: 0.0, high: 1.0}}
search: {sampler: random, trials: 6, seed: 3}
seeds: {ladder: [16, 48], stop_hopeless: {on: accuracy, false_stops: 0.2, audit: 0.3}}
"""


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
    """Train on a worker that stops hopeless seeds, or to the end as one that trained ahead."""
    block = job.block if as_asked else replace(job.block, band=None)
    [outcome] = TRAINER.train([block])
    return encode_outcome(job.block, outcome)


@cache
def _whole():
    return _searched()


def _searched(known=(), pick=lambda _: 0, workers=3, ahead=lambda _: False):
    points = [Point({"rate": rate}) for rate in (0.7, 0.5, 0.6, 0.2, 0.8, 0.4)]
    train = lambda job: _train(job, as_asked=not ahead(job))  # noqa: E731
    return run(
        parse_space(SPACE),
        Scripted(points),
        window=32,
        known=known,
        pick=pick,
        workers=workers,
        train=train,
    ).evaluations


def _told(evaluations):
    """By config and seed: its status, and the report at which it left its band."""
    found = {}
    for line in evaluations:
        left = line.outcome.details.watched.left
        for seed, status in zip(line.outcome.seeds.tolist(), line.outcome.status, strict=True):
            at = left[seed].report if seed in left else None
            found[line.block.point.key, seed] = Status(status), at
    return found


def test_hopeless_seeds_are_stopped_and_a_share_is_trained_on():
    told = _told(_whole())
    ended = [status for status, at in told.values() if at is not None]
    assert len(ended) > ended.count(Status.STOPPED) > len(ended) / 2
    assert {status for status, at in told.values() if at is None} == {
        Status.SOLVED,
        Status.WRONG_PATTERN,
    }


def test_a_stopped_seed_has_no_numbers_and_counts_as_failed():
    for line in _whole():
        stopped = line.outcome.status == Status.STOPPED
        assert not line.outcome.solved[stopped].any()
        assert np.isnan(line.outcome.details.values["accuracy"][stopped]).all()


@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_which_seeds_are_stopped_depends_on_no_clock(data):
    """Not on who is quicker, on what was trained ahead, or on where the search was killed."""
    before = _whole()
    known = before[: data.draw(st.integers(0, len(before)))]
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    ahead = lambda _: data.draw(st.booleans())  # noqa: E731
    after = _searched(known, pick, data.draw(st.integers(1, 5)), ahead)
    assert _told([*known, *after]) == _told(before)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_search_killed_anywhere_stops_the_same_seeds(share):
    before = _whole()
    known = before[: round(share * len(before))]
    assert _told([*known, *_searched(known)]) == _told(before)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    (place / "space.yaml").write_text(SPACE)
    return xt.search(str(place / "space.yaml"), train=_training, output=place / "run", workers=0)


@pytest.mark.parametrize("line", [1, 4, 9])
def test_a_run_killed_anywhere_ends_with_the_same_table(line, whole_run, tmp_path):
    run = shutil.copytree(whole_run.path, tmp_path / "run")
    journal = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(journal) > line
    (run / JOURNAL).write_bytes(b"".join(journal[:line]) + journal[line][:20])  # it is torn
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"complete": False}))
    space = str(whole_run.path.parent / "space.yaml")
    again = xt.search(space, train=_training, output=run, workers=0, resume=True)
    columns = ["key", "k", "n", "stopped"]
    assert again.table[columns].equals(whole_run.table[columns])
    columns = ["key", "seed", "status"]
    assert again.seeds[columns].equals(whole_run.seeds[columns])


def test_the_progress_and_the_status_count_stopped_seeds(tmp_path):
    told, path = [], tmp_path / "space.yaml"
    path.write_text(SPACE)
    result = xt.search(
        str(path),
        train=_training,
        output=tmp_path / "run",
        workers=0,
        listener=told.append,
    )
    stopped = int(result.table["stopped"].sum())
    counts = [one.stopped for one in told if isinstance(one, xt.Progress)]
    assert counts == sorted(counts)
    assert counts[-1] == stopped > 0
    status = xt.status(tmp_path / "run")
    assert status.stopped_seeds == stopped
    assert ("hopeless", f"{stopped} seeds stopped early") in status_rows(status)
    assert f"{stopped} stopped as hopeless" in status_line(status)


# -------------------------------------------------------------------------------------------------
# The band.


def _curve(values, key="c", solved=True, weight=1.0):
    looks = np.full(len(LOOKS), np.nan, np.float32)
    looks[: len(values)] = values
    return Curve(key, looks, len(values), solved, weight)


def _learned(curves, share=0.1):
    seeds = HopelessSeeds(StopHopeless("accuracy", share), None, 0)
    seeds.see(curves)
    return seeds


def _flat(count, value, **more):
    draw = np.random.default_rng(count)
    return [_curve(value + draw.random(6) / 100, **more) for _ in range(count)]


def test_the_looks_are_early_and_few():
    assert list(LOOKS[:12]) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert [report for report in range(1, 200) if is_look(report)] == [x for x in LOOKS if x < 200]


@pytest.mark.parametrize(("good", "bad"), [(fewest_solved(0.1) - 1, 30), (60, 1), (0, 60)], ids=str)
def test_nothing_is_stopped_until_enough_seeds_succeeded_and_failed(good, bad):
    curves = _flat(good, 0.9) + _flat(bad, 0.1, solved=False)
    assert _learned(curves).band("c").limits == {}


@pytest.mark.parametrize(
    ("bad", "distance", "leaves"), [(12, 0, False), (40, 0, True), (12, 0.1, True)]
)
def test_fewer_seeds_have_to_fail_where_they_are_far_from_those_that_succeed(bad, distance, leaves):
    draw = np.random.default_rng(1)
    near = [_curve(0.899 - distance + draw.random(6) / 500, solved=False) for _ in range(bad)]
    assert bool(_learned(_flat(60, 0.9) + near).band("c").limits) == leaves


def test_a_band_lies_between_those_that_succeed_and_those_that_fail():
    band = _learned(_flat(40, 0.9) + _flat(40, 0.1, solved=False)).band("c")
    assert set(band.limits) == {1, 2, 3, 4, 5}, "at the last report nothing is saved"
    assert all(0.11 <= limit <= 0.91 for limit in band.limits.values())
    assert band.is_left(1, 0.1)
    assert band.is_left(3, math.nan), "a number that is none is the worst"
    assert not band.is_left(6, 0.1)


def test_a_configuration_is_compared_with_its_own_seeds():
    slow = _flat(40, 0.5, key="slow") + _flat(40, 0.1, key="slow", solved=False)
    quick = _flat(900, 0.9, key="quick") + _flat(300, 0.5, key="quick", solved=False)
    seeds = _learned(slow + quick + _flat(3, 0.4, key="new"))
    for key, good, bad in (("slow", 0.507, 0.1), ("quick", 0.907, 0.5)):
        band = seeds.band(key)
        assert (band.own, band.is_left(1, good), band.is_left(1, bad)) == (True, False, True)
    assert not seeds.band("new").own, "few of its seeds succeeded"
    assert seeds.band("new").is_left(1, 0.2)


def test_an_audited_seed_that_succeeds_widens_the_band():
    curves = _flat(60, 0.9) + _flat(60, 0.1, solved=False)
    seeds = _learned(curves)
    assert seeds.band("c").is_left(1, 0.1)
    seeds.see([_curve([0.1, 0.1, 0.1, 0.1, 0.9, 0.9], weight=10.0)])
    assert not seeds.band("c").is_left(1, 0.1)


def test_less_of_a_loss_is_better():
    assert [larger_is_better(name, []) for name in ("accuracy", "val_loss")] == [True, False]
    assert not larger_is_better("score", [parse_success("score <= 3")])
    numbers = upward([1.0, math.nan, 2.0], higher=False)
    assert numbers.tolist() == [-1.0, -math.inf, -2.0]


def test_who_is_audited_is_drawn_by_seed():
    band = Band("accuracy", True, 0.1, 7)
    drawn = [band.is_audited("key", seed) for seed in range(2000)]
    assert 150 < sum(drawn) < 250
    assert drawn == [band.is_audited("key", seed) for seed in range(2000)]
    other = Band("accuracy", True, 0.1, 8)
    assert drawn != [other.is_audited("key", seed) for seed in range(2000)]


def test_the_audit_states_a_bound():
    audit = HopelessAudit(41, 0, stopped=370, own=0, saved=1, total=2, asked=0.02)
    assert audit.bound == pytest.approx(1 - 0.05 ** (1 / 41))
    assert not audit.has_widened
    assert audit.proves_after == 149, "0 of 148 succeed: at most 2.004 %"
    assert replace(audit, succeeded=1).has_widened
    assert not replace(audit, succeeded=1, audited=300).has_widened, "at most 1.6 %"
    assert replace(audit, audited=0).bound == 1


# -------------------------------------------------------------------------------------------------
# The promises, by simulation: curves that rise after a wait, and curves that do not.


def _simulated(draw, rate, seeds, *, late=0.0, kinds=8):
    """One search; of its hopeless seeds: succeeded and number of all, and of the audited."""
    rule = HopelessSeeds(StopHopeless("accuracy", 0.02), None, int(draw.integers(2**30)))
    count = sum(look <= EPOCHS * 2 for look in LOOKS)
    at, all_, audited = np.array(LOOKS[:count]), [], []
    for seed in range(seeds):
        # Late bloomers come once the band is learned from others.
        is_late = seed > seeds / 4 and draw.random() < late
        is_good, key = draw.random() < rate, f"{'late' if is_late else seed % kinds}"
        begin = EPOCHS * 1.6 if is_late else 0
        rise = 1 - np.exp(-np.maximum(at - begin, 0) / draw.uniform(2, 5))
        values = (rise if is_good else 0) + draw.normal(0, 0.05, count)
        band, weight = rule.band(key), 1.0
        if band.first_left(at.tolist(), values) is not None:
            all_.append(is_good)
            if not band.is_audited(key, seed):
                continue
            audited.append(is_good)
            weight = 10.0
        rule.see([_curve(values, key, is_good, weight)])
    return sum(all_), len(all_), sum(audited), len(audited)


@pytest.mark.parametrize("rate", [0.4, 0.7])
def test_few_of_the_hopeless_seeds_would_have_succeeded(rate):
    draw = np.random.default_rng(5)
    wrong, all_ = np.sum([_simulated(draw, rate, 700)[:2] for _ in range(4)], axis=0)
    assert all_ > 100
    assert wrong <= 0.02 * all_ + 3 * math.sqrt(0.02 * all_)


@pytest.mark.parametrize("late", [0.0, 0.4])
def test_the_bound_of_the_audit_covers(late):
    draw = np.random.default_rng(6)
    covered = []
    for _ in range(10):
        wrong, all_, k, n = _simulated(draw, 0.5, 500, late=late)
        bound = HopelessAudit(n, k, 0, 0, 0, 1, 0.02).bound
        covered.append(not all_ or wrong / all_ <= bound)
        assert HopelessAudit(n, k, all_ - n, 0, 0, 1, 0.02).most_missed >= (wrong - k if n else 0)
    assert np.mean(covered) >= 0.8


# -------------------------------------------------------------------------------------------------
# Training.


@pytest.mark.parametrize(
    ("metric", "allowed"),
    [("{regex: 'err=(.*)', name: err}", "err"), ("last line number", "value")],
)
def test_a_number_that_a_commands_metric_does_not_read_is_refused(metric, allowed):
    text = f"""
    name: command
    trainer: {{command: "train {{lr}} {{seed}}", metric: {metric}, success: "{allowed} <= 0.5"}}
    parameters: {{lr: {{low: 0.0, high: 1.0}}}}
    search: {{trials: 3}}
    seeds: {{ladder: [8, 32], stop_hopeless: {{on: %s}}}}
    """
    parse_space(text % allowed)
    with pytest.raises(InputError, match=f"do not report 'loss' on their way; allowed: {allowed}"):
        parse_space(text % "loss")


BAND = Band("accuracy", True, 0.1, 0, {3: 0.5})


def _ended(trainer, block):
    [outcome] = trainer.train([block])
    left = outcome.details.watched.left
    return outcome, {seed: (one.report, one.trained) for seed, one in left.items()}


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
    assert left_by(BAND, outcome.details) == {0: Left(3, 5)}
    nan, lacks, whole = curves_of("c", range(3), outcome.status, outcome.details, BAND)
    assert nan.values[2] == -math.inf
    assert math.isnan(lacks.values[2])
    assert {nan.length, lacks.length, whole.length} == {5}
    assert np.isin(lacks.values[[0, 1, 3, 4]], np.float32(0.9)).all()
    [alone] = trainer.train([Block(Point({}), 1, 1)])
    among = SeedResults(Block(Point({}), 1, 1), "accuracy")
    among.add_known(alone)
    assert left_by(BAND, among.so_far().details) == {}


def test_a_function_is_ended_at_its_report():
    reported = []

    def train(config, seed):
        for epoch in range(1, 7):
            reported.append((seed, epoch))
            yield {"accuracy": 0.9 if seed == 1 else 0.1}

    trainer = replace(TRAINER, source=given_source(train))
    audited = next(seed for seed in range(2, 99) if BAND.is_audited(Point({}).key, seed))
    outcome, left = _ended(trainer, Block(Point({}), 0, audited + 1, BAND))
    assert {Status(s) for s in outcome.status[[0, *range(2, audited)]]} == {Status.STOPPED}
    assert Status(outcome.status[1]) == Status.SOLVED
    assert Status(outcome.status[audited]) == Status.WRONG_PATTERN
    assert left == {seed: (3, 3) for seed in range(audited) if seed != 1}
    assert max(epoch for seed, epoch in reported if seed == 0) == 3
    assert max(epoch for seed, epoch in reported if seed == audited) == 6


def test_a_call_with_many_seeds_ends_once_all_are_hopeless():
    def train(config, seeds):
        for _ in range(6):
            yield {"accuracy": np.where(seeds < 2, 0.1, 0.9)}

    trainer = replace(TRAINER, source=given_source(train), form=CallForm(many=True, yields=True))
    _, left = _ended(trainer, Block(Point({}), 0, 2, BAND))
    assert left == {0: (3, 3), 1: (3, 3)}
    outcome, left = _ended(trainer, Block(Point({}), 0, 3, BAND))
    assert left == {}, "one goes on; what becomes of the others is said by their curves"
    assert outcome.solved.tolist() == [False, False, True]


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
def test_hopeless_seeds_leave_a_stack_and_the_others_go_on_as_before(optimizer):
    trainer = custom_trainer(given_source(Falling), parse_success("accuracy >= 0.5"))
    trainer = replace(trainer, on="accuracy")
    point, band = (
        Point({"optimizer": optimizer}),
        Band("accuracy", True, 1e-9, 0, {2: 0.5, 4: 0.55}),
    )
    [whole] = trainer.train([Block(point, 0, 12)])
    outcome, left = _ended(trainer, Block(point, 0, 12, band))
    assert {report for report, trained in left.values()} <= {2, 4}
    assert all(report == trained for report, trained in left.values()), "a report is an epoch"
    stopped = outcome.status == Status.STOPPED
    assert outcome.seeds[stopped].tolist() == sorted(left)
    assert 0 < stopped.sum() < 12
    reports = {seed: at for seed, (at, _) in reports_of(outcome.details, "accuracy").items()}
    ends = {seed: left[seed][0] if seed in left else 5 for seed in range(12)}
    assert reports == {seed: list(range(1, end + 1)) for seed, end in ends.items()}
    np.testing.assert_allclose(
        *(one.details.values["accuracy"][~stopped] for one in (outcome, whole)), rtol=1e-5
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


@pytest.mark.parametrize("engine", ["fused", "reference"])
@pytest.mark.parametrize(("on", "limit"), [("accuracy", 0.75), ("loss", -0.12)])
def test_the_built_in_network_ends_hopeless_seeds(engine, on, limit):
    config = xt.Config(
        activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.03, hidden_dim=2, epochs=300
    )
    plain = NetworkTrainer(Task.xor(), engine)
    band = Band(on, on == "accuracy", 0.2, 0, {2: limit})
    [whole] = plain.train([Block(config.point, 0, 40)])
    outcome, left = _ended(replace(plain, on=on), Block(config.point, 0, 40, band))
    stopped = outcome.status == Status.STOPPED
    assert 0 < stopped.sum() < 40
    assert left == {int(seed): (2, 128) for seed in outcome.seeds[stopped]}
    for name in ("status", "solved_epoch", "final_loss", "predictions"):
        np.testing.assert_array_equal(
            *(getattr(one, name)[~stopped] for one in (outcome, whole)), name
        )
    later = reports_of(outcome.details, on)
    audited = [s for s in range(40) if later[s][1][1] * (1 if band.higher else -1) < limit]
    assert set(left) == {s for s in audited if not band.is_audited(config.point.key, s)}


def test_a_certificate_stops_no_seed():
    outcome, left = _ended(TRAINER, Block(Point({"rate": 0.0}), 0, 5))
    assert (left, set(outcome.status)) == ({}, {Status.WRONG_PATTERN})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("on: acuracy", "do not report"),
        ("on: accuracy, false_stops: 1.5", "above 0, below 1"),
        ("false_stops: 0.1", "is missing"),
    ],
)
def test_a_wrong_setting_is_refused(change, words, tmp_path):
    text = SPACE.replace("on: accuracy, false_stops: 0.2", change)
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        xt.search(str(path), train=_training, output=tmp_path / "run", workers=0)


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
    band = Band("accuracy", True, 1e-9, 0, {2: 0.15, 3: 0.15})
    outcome, left = _ended(trainer, Block(Point({}), 1, 3, band))
    assert [Status(status) for status in outcome.status] == [Status.STOPPED, *2 * [Status.SOLVED]]
    assert left == {1: (2, 2)}


def test_a_command_may_print_numbers_beyond_the_largest_float(tmp_path):
    (tmp_path / "train.sh").write_text(
        f"""echo '{{"accuracy": 1{"0" * 400}}}'\necho '{{"accuracy": 0.5}}'\n"""
    )
    command = CommandSettings("sh train.sh {seed}", "accuracy >= 0.4", "last line json")
    trainer = replace(command_trainer(command, tmp_path), on="accuracy")
    [outcome] = trainer.train([Block(Point({}), 0, 1)])
    assert outcome.solved.all()
    [curves] = outcome.details.curves
    assert curves.values[:, 0].tolist() == [math.inf, 0.5]


def _late(config, seed):
    """The best configuration succeeds late, after the others have."""
    draw = random.Random(f"{config['kind']} {seed}")
    is_late = config["kind"] == "late"
    works = draw.random() < (0.9 if is_late else 0.6)
    for epoch in range(1, 21):
        up = works and epoch >= (15 if is_late else 3)
        yield {"accuracy": (0.95 if up else 0.1) + draw.uniform(0, 0.02)}


def test_what_was_stopped_wrongly_is_not_proven_worse_and_is_tried_again(tmp_path):
    """By the promise of the race, whatever would have become of seeds that were stopped."""
    space = {
        "name": "late",
        "success": "accuracy >= 0.9",
        "parameters": {"kind": {"choice": ["a", "b", "c", "late"]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [64, 256], "stop_hopeless": {"on": "accuracy", "false_stops": 0.05}},
    }
    run = xt.search(space, train=_late, output=tmp_path / "run", workers=0, verbose=0)
    late = next(result for result in run.results if result.point["kind"] == "late")
    first = sum(e.outcome.successes for e in run.evaluations.of_keys([late.key])[:2])
    assert first <= 10  # of 64: the rest was stopped
    worse = [e.block.point for e in run.evaluations if e.error == PROVEN_WORSE]
    assert late.point not in worse
    assert late.outcome.n == 256
    assert run.results[0].key == late.key
