"""Seeds of a stack that are trained alone as well: which, and what a difference does."""

import math
from collections import Counter

import audited
import numpy as np
import pytest
import torch
from audited import KINDS, Plain
from torch import nn

import xortune as xt
from xortune.core.audit import AT_FIRST, LEAST_AUDITED, Audit, drawn
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.trainers import audit
from xortune.trainers.audit import (
    NUDGES,
    Apart,
    Knowledge,
    SeedResult,
    distances,
    knowledge_of,
    nudged,
)
from xortune.trainers.batching_rules import LOOP
from xortune.trainers.function import custom_trainer
from xortune.trainers.pilot import Pilot
from xortune.trainers.source import given_source
from xortune.trainers.vectorized import train_stacked, trained_as_one

SEEDS = range(8)
TRUSTED = 10_000
"""Seeds that are known to agree: one in 64 is trained alone."""


@pytest.fixture(autouse=True)
def _one_stack(monkeypatch):
    """All seeds are in one stack, whether it pays or not; nothing is known of a training before."""
    monkeypatch.setattr(Pilot, "measure", lambda *_: None)
    monkeypatch.setattr(Pilot, "stacks", lambda pilot, seeds: seeds if pilot.reason else 1)
    monkeypatch.setattr(audit, "_known", {})


def _alone(kind, seeds=SEEDS):
    """What a plain loop comes to, with a new object for each seed."""
    found = []
    for seed in seeds:
        try:
            found.append(kind({}).run(seed, lambda _: None))
        except ValueError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_kind_of_training_is_silently_wrong(kind, monkeypatch):
    """The seeds are those of a loop; a stack that gives others is a fault, or is refused."""
    for name in ("n", "scale"):  # restored after the test
        monkeypatch.setenv(f"MY_{name}", "1")
    found = train_stacked([(kind({}), SEEDS)])
    results = [str(one) if isinstance(one, Exception) else one for one in found.scores[0]]
    if kind is not audited.Undetermined:
        assert results == _alone(kind)
    [told] = found.audits
    assert told.stacked == 0, "the first seeds are all trained alone"
    if kind.stacks:
        assert found.sentence == "the seeds of a block are trained as one"
        # A pair in which both seeds raise, or one of them, is not compared.
        assert told.audited == len(SEEDS) - 4 * (kind is audited.Raises)
        assert told.largest < 1e-5
    else:
        assert told.audited < len(SEEDS)
        assert LOOP in found.sentence
        assert found.sentence.startswith(("a stack trains seeds diff", *OTHER_REASONS))
        assert bool(told.fault) == bool(knowledge_of(kind({})).fault)


OTHER_REASONS = ("seeds cannot be stacked (", "only schedulers of torch step all seeds alike: ")


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.stacks and kind is not audited.Raises]
)
def test_a_stack_whose_results_are_used_is_the_loop(kind):
    """As the rest of the seeds, when enough are known to agree."""
    pilot_said = train_stacked([(kind({}), range(2))])
    assert "as one" in pilot_said.sentence
    found = train_stacked([(kind({}), SEEDS)], agreed=TRUSTED)
    assert found.audits[0].stacked > 0
    for one, expected in zip(found.scores[0], _alone(kind), strict=True):
        assert one == pytest.approx(expected, rel=1e-4, abs=1e-7)


class _ReadsBefore(torch.optim.SGD):
    """It reads gradients before it would call a closure."""

    def step(self, closure=None):
        norm = math.hypot(*(one.grad.norm().item() for one in self.param_groups[0]["params"]))
        self.param_groups[0]["lr"] = 0.1 / (1 + norm)
        return super().step(closure)


class _Two:
    """Two optimizers in one object; its step takes nothing."""

    def __init__(self, parameters, lr):
        first, *others = parameters
        self.of = torch.optim.SGD([first], lr), torch.optim.Adam(others, lr)

    def step(self):
        for one in self.of:
            one.step()

    def zero_grad(self):
        for one in self.of:
            one.zero_grad()


@pytest.mark.parametrize("kind", [torch.optim.Adam, audited.OwnStep, _ReadsBefore, _Two])
def test_the_loop_is_a_plain_script_also_for_an_optimizer_of_ones_own(kind):
    training = audited.with_optimizer(kind)({})
    torch.manual_seed(5)
    model = training.model()
    optimizer = kind(model.parameters(), lr=0.01)
    for _ in range(training.epochs):
        for x, y in training.batches():
            optimizer.zero_grad()
            training.loss(model, x, y).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        expected = {name: float(one) for name, one in training.score(model).items()}
    assert audited.with_optimizer(kind)({}).run(5) == expected


# -------------------------------------------------------------------------------------------------
# Which seeds.


def test_all_seeds_are_audited_at_first_then_one_in_64():
    many = [("{}", seed) for seed in range(100_000)]
    assert drawn(many[:AT_FIRST], 0) == list(range(AT_FIRST))
    assert drawn(many[:40], AT_FIRST - 1)[:1] == [0]
    chosen = drawn(many, AT_FIRST)
    assert len(chosen) == pytest.approx(100_000 / 64, rel=0.1)
    assert drawn(many, TRUSTED) == chosen
    assert drawn([("{'lr': 1}", seed) for seed in range(100_000)], AT_FIRST) != chosen
    assert drawn(many[:5], AT_FIRST, last=2)[-2:] == [3, 4]
    assert drawn(many[:1], AT_FIRST, last=2) == [0]
    assert drawn(many[:64], 0, last=2)[-2:] == [62, 63]


def _seeds_until_found(rate, rng, block=16):
    """Seeds until an audit meets a fault that a seed has with this probability."""
    agreed = seen = 0
    while True:
        rows = [(f"{seen}", int(seed)) for seed in rng.integers(0, 2**32, block)]
        chosen = drawn(rows, agreed)
        faults = rng.random(len(chosen)) < rate
        if faults.any():
            return seen + chosen[int(np.argmax(faults))] + 1, agreed >= AT_FIRST
        agreed, seen = agreed + len(chosen), seen + block


def test_a_fault_in_a_part_of_the_seeds_is_found_in_time():
    """One in a tenth of them by the last audits, too: see `test_audits`."""
    rng = np.random.default_rng(0)
    assert 0.85**AT_FIRST < 0.01
    assert 0.9**LEAST_AUDITED < 0.01
    late = sum(_seeds_until_found(0.15, rng)[1] for _ in range(1000))
    assert late <= 20, "with 99 % before a result of a stack is used"
    found = [_seeds_until_found(0.1, rng)[0] for _ in range(1000)]
    assert np.mean(np.array(found) > AT_FIRST + 15 * 64) <= 0.02


class Rare(Plain):
    """A tenth of the seeds differ in a stack: the shuffled numbers of another library."""

    epochs = 2
    report_every = None

    def model(self):
        self.factor = 1.0
        return super().model()

    def loss(self, model, x, y):
        return super().loss(model, x, y) * self.factor

    def score(self, model):
        found = super().score(model)
        is_hit = torch.initial_seed() % 10 == 3 and STACKING[0]
        return {"loss": found["loss"] + (0.01 if is_hit else 0.0)}


STACKING = [False]


@pytest.fixture
def stacking(monkeypatch):
    """`STACKING[0]` while a stack scores."""
    begun = []

    def noted(groups, **options):
        begun.append(groups)
        steps = trained_as_one(groups, **options)
        sent = None
        while True:
            STACKING[0] = True
            try:
                found = steps.send(sent)
            except StopIteration:
                return
            finally:
                STACKING[0] = False
            sent = yield found

    monkeypatch.setattr("xortune.trainers.vectorized.trained_as_one", noted)
    return begun


def test_after_a_fault_no_result_of_a_stack_is_left(stacking):
    seeds = range(40, 80)
    found = train_stacked([(Rare({}), range(40, 43)), (Rare({}), seeds)], agreed=0)
    assert [len(scores) for scores in found.scores] == [3, 40]
    assert found.scores[1] == _alone(Rare, seeds)
    assert "of seed 43 loss at the end is" in found.audits[0].fault
    assert found.audits[0].fault == found.audits[1].fault
    assert [one.stacked for one in found.audits] == [0, 0]
    assert found.sentence == f"a stack trains seeds differently ({found.audits[0].fault}): {LOOP}"
    begun = len(stacking)
    again = train_stacked([(Rare({}), SEEDS)], agreed=50)
    assert again.scores[0] == _alone(Rare)
    assert again.audits == [Audit()]
    assert len(stacking) == begun, "this process stacks it no more"


def test_a_fault_in_a_later_stack_of_a_call_withdraws_those_before(stacking, monkeypatch):
    monkeypatch.setattr(Pilot, "stacks", lambda *_: 2)
    monkeypatch.setattr("xortune.trainers.vectorized.drawn", lambda seeds, *_: [len(seeds) - 1])
    seeds = range(10, 24)  # in stacks of 7, whose last seeds are 16 and 23
    found = train_stacked([(Rare({}), seeds)], agreed=TRUSTED)
    assert found.scores[0] == _alone(Rare, seeds)
    assert "of seed 23" in found.audits[0].fault
    assert (found.audits[0].stacked, found.audits[0].audited, len(stacking)) == (0, 1, 2)


@pytest.mark.usefixtures("stacking")
def test_what_is_known_to_have_a_fault_is_not_stacked():
    found = train_stacked([(Plain({}), SEEDS)], agreed=None)
    assert found.scores[0] == _alone(Plain)
    assert found.audits == [Audit()]
    assert found.sentence == f"a stack trained seeds differently before: {LOOP}"


def test_one_seed_is_trained_alone(stacking):
    found = train_stacked([(Plain({}), [5])])
    assert found.scores[0] == _alone(Plain, [5])
    assert found.audits == [Audit()]
    assert [groups for groups in stacking if len(groups[0][1]) != 2] == []


def test_outcomes_say_what_was_audited():
    trainer = custom_trainer(given_source(Plain), parse_success("loss <= 0.7"))
    [first, second] = trainer.train([Block(Point({"lr": 0.1 * i}), 0, 20) for i in (1, 2)])
    told = first.details.audit + second.details.audit
    assert told.audited >= AT_FIRST
    assert told.stacked == 40 - told.audited
    assert 0 <= told.largest < 1e-5
    [trusted] = trainer.train([Block(Point({"lr": 0.1}), 0, 20, agreed=TRUSTED)])
    assert trusted.details.audit.stacked >= 15
    [never] = trainer.train([Block(Point({"lr": 0.1}), 0, 20, agreed=None)])
    assert never.details.audit == Audit()


class Lrs(Plain):
    """Its rate is searched; the loss reads it too if asked for."""

    reads = False

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=self.config["lr"])

    def loss(self, model, x, y):
        return super().loss(model, x, y) * (self.config["lr"] if self.reads else 1.0)


class LrsRead(Lrs):
    reads = True


def test_what_configurations_of_a_stack_share_is_audited():
    """The loss is that of the first: where it reads the rate, the last seeds show it."""
    for kind, is_wrong in ((Lrs, False), (LrsRead, True)):
        groups = [(kind({"lr": lr}), range(4)) for lr in (0.1, 0.2)]
        for group in groups:  # each alone is right
            train_stacked([group])
        found = train_stacked(groups, agreed=TRUSTED)
        assert bool(found.audits[0].fault) == is_wrong
        assert found.audits[1].stacked == (0 if is_wrong else 4 - found.audits[1].audited)
        for (training, seeds), scores in zip(groups, found.scores, strict=True):
            alone = [training.run(seed, lambda _: None) for seed in seeds]
            assert [one["loss"] for one in scores] == pytest.approx(
                [a["loss"] for a in alone], 1e-5
            )


# -------------------------------------------------------------------------------------------------
# What agrees.


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        (1.0, 1.0, 0.0),
        (True, True, 0.0),
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (2.0, 1.0, 0.5),
        (1e-5, 2e-5, 0.01),
        (math.nan, 1.0, math.inf),
        (True, False, 1.0),
        ("a", "a", 0.0),
        ("a", "b", math.inf),
        ({"x": 1.0}, {"y": 1.0}, math.inf),
        ({"x": 1.0}, {"x": 1.0, "y": 1.0}, math.inf),
        (ValueError("no"), {"x": 1.0}, math.inf),
        (np.float32(2), np.float64(1), 0.5),
    ],
)
def test_a_distance_is_a_fraction_of_the_scale(one, other, distance):
    for first, second in ((one, other), (other, one)):
        found = distances(SeedResult(first), SeedResult(second))
        assert max(apart.distance for apart in found.values()) == pytest.approx(distance)


def test_reports_and_the_rule_count_too():
    one, other = SeedResult(1.0, [1.0, 1.0, 1.0]), SeedResult(1.0, [1.0, 1.5, 3.0])
    found = distances(one, other, None, 10)
    assert found["the score"].text.startswith("the score after epoch 20 is 1 and 1.5, alone and in")
    assert found["the score"].distance == pytest.approx(2 / 3)
    assert distances(one, SeedResult(1.0, [1.0]))["the number of reports"].distance > 0.1
    near = distances(SeedResult(0.9499999), SeedResult(0.95), lambda score: int(score >= 0.95))
    assert near["the score"].distance < 1e-6
    assert near["the status"].distance == 1.0


class Chaotic(Plain):
    """Hundreds of steps at a high rate: rounding becomes other numbers."""

    epochs = 60

    def model(self):
        return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 2))

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=3.0, momentum=0.9)


def test_a_training_that_amplifies_rounding_is_no_fault():
    moved = distances(SeedResult(Chaotic({}).run(0)), SeedResult(nudged(Chaotic({}), 4).run(0)))
    assert moved["loss"].distance > 1e-4, "or the test shows nothing"
    found = train_stacked([(Chaotic({}), SEEDS)])
    assert found.audits[0] == Audit(0, 8, found.audits[0].largest)
    assert found.scores[0] == _alone(Chaotic)


def test_what_rounding_moves_as_far_agrees_and_a_lean_does_not():
    known, same = Knowledge(), {"loss": Apart(0.0, 0, "")}
    moved = {"loss": Apart(0.01, 1, "")}
    assert known.compare(1, {"loss": Apart(0.05, 1, "far")}, [same, moved]) == 0.05
    assert (known.agreed, known.fault) == (1, "")
    known.compare(2, {"loss": Apart(1e-6, 1, "")}, iter([]))
    known.compare(3, {"loss": Apart(0.2, 1, "far")}, [same, *[moved] * len(NUDGES)])
    assert (known.agreed, known.fault) == (2, "of seed 3 far")
    known.fault = ""
    known.compare(4, {"loss": Apart(0.05, 1, "twice")}, [moved, moved])
    assert known.fault == "of seed 4 twice", "the loop itself gives another number each time"
    leaning, mixed = Knowledge(), Knowledge()
    for seed in range(20):
        leaning.compare(seed, {"loss": Apart(0.05, 1, "leans")}, [same, moved])
        mixed.compare(seed, {"loss": Apart(0.05, 1 - 2 * (seed % 2), "")}, [same, moved])
    assert leaning.fault.endswith("leans")
    assert (mixed.agreed, mixed.fault) == (20, "")


# -------------------------------------------------------------------------------------------------
# What it costs.


def test_a_training_that_is_not_stacked_is_not_trained_twice(monkeypatch):
    """Beside the pilot's first steps, once in a process."""
    runs = Counter()

    class Counted(audited.Lazy):
        def model(self):
            runs[torch.initial_seed()] += 1
            return super().model()

    train_stacked([(Counted({}), SEEDS)])
    runs.clear()
    train_stacked([(Counted({}), range(100, 120))])
    assert {seed: n for seed, n in runs.items() if seed >= 100} == dict.fromkeys(range(100, 120), 1)


def test_data_is_loaded_once_for_all_seeds():
    loaded = []

    class Loads(Plain):
        data = test = None

        def batches(self):
            if self.data is None:
                loaded.append("data")
                self.data = audited.X, audited.Y
            yield self.data

        def score(self, model):
            if self.test is None:
                loaded.append("test")
                self.test = audited.X_TEST, audited.Y_TEST
            return super().score(model)

    train_stacked([(Loads({"lr": 1.0}), SEEDS)])
    loaded.clear()
    train_stacked([(Loads({"lr": 2.0}), SEEDS)], agreed=TRUSTED)
    assert sorted(loaded) == ["data", "test"]


def test_the_first_verbs_of_a_search_have_the_numbers_of_the_loop():
    outcome = xt.evaluate({"lr": 0.1}, range(12), train=Plain, success="loss <= 0.7", workers=0)
    alone = [one["loss"] for one in _alone(Plain, range(12))]
    assert outcome.details.values["loss"].tolist() == alone
    assert outcome.details.audit.audited >= 11, "one may be trained before, alone"
