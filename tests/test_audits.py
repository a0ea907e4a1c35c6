"""Seeds that a trainer stacks, and audits: agreed ones are counted, wrong ones are replaced."""

import dataclasses
import hashlib
import io
import json
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import xortune as xt
from xortune.certificates.gate import SequentialTest
from xortune.core.audit import LEAST_AUDITED, Audit
from xortune.core.outcome import Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import AUDITED, Block, Stacking, Trainer, Traits
from xortune.driver.audits import audited_now
from xortune.driver.evaluate import train_seeds
from xortune.driver.gate import gate_config
from xortune.driver.search import search_with
from xortune.driver.voice import Voice
from xortune.reports.terminal import render_outcome
from xortune.runs.evaluation import Evaluation, SeedsToTrain, decode, encode
from xortune.runs.store import JOURNAL
from xortune.spaces.space import load_space
from xortune.training.executors import AskedExecutor, LocalExecutor, executor_for
from xortune.training.processes import ending_processes
from xortune.training.resources import Cluster


def drawn(*what):
    """A number in [0, 1) that follows from these."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclasses.dataclass
class Stacks(Trainer):
    """Trains a seed to a success with the probability `x`, and stacks seeds as a process would.

    Attributes:
        wrong: share of the seeds, by their number, that come out of a stack as failures.
        salt: draws which these are.
        first: seeds that are audited before any other; then one in `every` is.
        off_by: of the number of each stacked seed.
    """

    wrong: float = 0.0
    salt: int = 0
    first: int = 0
    every: int = 64
    off_by: float = 0.0
    fault: str = ""
    known: int = 0
    trained: list = dataclasses.field(default_factory=list)

    @property
    def traits(self):
        return Traits(stacks_seeds=True, takes_many_blocks=True, takes_many_seeds=True)

    def cost(self, block):  # noqa: ARG002
        return 1e-4

    def describe(self):
        return {"trainer": "stacks"}

    def stacking(self, _):
        return None if self.fault else Stacking(frozenset(), 16, 20.0)

    def is_wrong(self, seed):
        return drawn("wrong", self.salt, seed) < self.wrong

    def train(self, blocks):
        alone = [self.outcome(block, Audit()) for block in blocks]
        self.trained += [
            (block.agreed, block.point.key, block.first, block.count) for block in blocks
        ]
        if self.fault or any(block.agreed is None for block in blocks):
            return [self.noted(outcome, Audit(fault=self.fault)) for outcome in alone]
        self.known = max(self.known, *(block.agreed for block in blocks))
        results, faults = [], []
        for block in blocks:
            audited = []
            for seed in block.seeds:
                is_drawn = drawn("audit", block.point.key, seed) < 1 / self.every
                if block.audited is not None:
                    is_drawn = seed in block.audited
                elif self.known + len(audited) < self.first:
                    is_drawn = True
                if is_drawn:
                    audited.append(seed)
            self.known += len(audited)
            faults += [f"seed {seed} failed in a stack" for seed in audited if self.is_wrong(seed)]
            stacked = [seed for seed in block.seeds if seed not in audited]
            audit = Audit(len(stacked), len(audited), 3e-7 if audited else 0.0)
            results.append(self.outcome(block, audit, stacked))
        if faults:
            self.fault = faults[0]
            return [self.noted(outcome, Audit(fault=self.fault)) for outcome in alone]
        return results

    def outcome(self, block, audit, stacked=()):
        numbers = np.array([drawn(block.point.key, seed) for seed in block.seeds])
        solved = numbers < block.point["x"]
        for place, seed in enumerate(block.seeds):
            if seed in stacked:
                solved[place] &= not self.is_wrong(seed)
                numbers[place] += self.off_by
        return Outcome(
            seeds=np.array(block.seeds),
            epochs=0,
            status=np.where(solved, Status.SOLVED, Status.WRONG_PATTERN).astype(np.uint8),
            solved_epoch=np.zeros(block.count, np.int32),
            final_loss=np.full(block.count, math.nan, np.float32),
            predictions=np.zeros((block.count, 0), bool),
            details=Details({"score": numbers}, audit=audit),
        )

    @staticmethod
    def noted(outcome, audit):
        return dataclasses.replace(
            outcome, details=dataclasses.replace(outcome.details, audit=audit)
        )


class Alone(Stacks):
    """The same, but never in a stack."""

    def train(self, blocks):
        return [self.outcome(block, Audit()) for block in blocks]


def space_of(**more):
    given = {
        "name": "stacked",
        "success": "score >= 0",
        "parameters": {"x": {"low": 0.3, "high": 0.95}},
        "search": {"sampler": "random", "trials": 12, "seed": 3},
        "seeds": {"ladder": [10, 20, 40]},
    }
    return load_space(given | more)


SPACES = {
    "ladder": space_of(),
    "one rung": space_of(seeds={"ladder": [40]}),
    "race": space_of(seeds={"race": {"max": 80}}),
    "tpe": space_of(search={"sampler": "tpe", "trials": 25, "seed": 1}),
    "certified": space_of(seeds={"ladder": [20], "certify": 60}),
}


@pytest.fixture(autouse=True, scope="module")
def reported():
    """What each run showed of audits when its report was to be written, which takes seconds."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for verb in ("search", "certify"):
            name = f"xortune.driver.{verb}.write_report"
            patch.setattr(name, lambda run, **_: found.__setitem__(run.path, run.audit))
        yield found


def searched(trainer, path, space=None, *, resume=False, executor=None):
    executor = executor or LocalExecutor(trainer)
    space = SPACES["ladder"] if space is None else space
    return search_with(executor, trainer, space, path, resume=resume, check=False, command=None)


def same(one, other):
    """Two runs have the same results, seed by seed."""
    pd.testing.assert_frame_equal(one.table, other.table)
    order = ["key", "seed"]
    seeds = (
        run.seeds.astype({"key": str}).sort_values(order, ignore_index=True) for run in (one, other)
    )
    pd.testing.assert_frame_equal(*(table[[*order, "solved", "status"]] for table in seeds))
    assert one.audit.stacked == 0


def lines_of(run):
    return [json.loads(line) for line in (run.path / JOURNAL).read_text().splitlines()]


# -------------------------------------------------------------------------------------------------
# Searches.


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """By the name of a space the run of a search that never stacks."""
    folder = tmp_path_factory.mktemp("alone")
    return cache(lambda name: searched(Alone(), folder / name / "run", SPACES[name]))


ALL = pytest.mark.parametrize("name", SPACES)
IN_PARTS = pytest.mark.parametrize("name", ["ladder", "race", "tpe"])
"""These train more than one batch."""


@ALL
def test_stacks_that_agree_are_counted_and_enough_are_audited(alone, name, tmp_path):
    trainer, space = Stacks(), SPACES[name]
    run = searched(trainer, tmp_path / "run", space)
    pd.testing.assert_frame_equal(run.table, alone(name).table)
    assert run.audit.audited >= LEAST_AUDITED, "the trainer has audited fewer"
    assert (run.audit.fault, run.audit.largest) == ("", 3e-7)
    assert run.audit.stacked + run.audit.audited == run.table.n.sum() + sum(
        finalist.n for finalist in (run.certificate.finalists if run.certificate else ())
    )
    agreed = [block[0] for block in trainer.trained if block[0] is not None]
    assert agreed[0] == 0
    assert agreed == sorted(agreed), "it grows with what is known"
    n = len(trainer.trained)
    again = searched(trainer, tmp_path / "run", space, resume=True)
    assert (again.audit, len(trainer.trained)) == (run.audit, n), "nothing is trained"


@ALL
@pytest.mark.parametrize("first", [12, 1])
@pytest.mark.parametrize("salt", range(3))
def test_after_a_fault_the_table_is_that_of_a_search_that_never_stacked(
    alone, name, first, salt, tmp_path
):
    trainer = Stacks(wrong=0.1, salt=salt, first=first, every=200)
    run = searched(trainer, tmp_path / "run", SPACES[name])
    same(run, alone(name))
    assert run.audit.fault
    assert run.manifest["complete"]
    assert run.certificate == alone(name).certificate
    [marker] = [
        line for line in lines_of(run) if line.get("audit", {}).get("fault") and line["error"]
    ]
    assert (marker["error"], marker["final"]) == (AUDITED, False)
    after = lines_of(run)[lines_of(run).index(marker) :]
    assert not any(line.get("audit", {}).get("stacked") for line in after)
    assert not xt.status(tmp_path / "run").retried, "the line of an audit is no failed attempt"


def test_the_report_says_what_audits_showed(tmp_path):
    for trainer, said in (
        (Stacks(), "trained as one model with others; 44 were trained alone too: the largest"),
        (Stacks(wrong=0.1, salt=1, first=1), "All results that came from stacks were replaced"),
    ):
        run = searched(trainer, tmp_path / f"{trainer.wrong}", space_of(seeds={"ladder": [20]}))
        xt.write_report(run)
        assert said in (run.path / "report.md").read_text()


class Killed(LocalExecutor):
    """Ends, as by Ctrl-C, after some pieces, or where `when` says so."""

    def __init__(self, trainer, when):
        super().__init__(trainer)
        self.when, self.pieces = when, 0

    def wait(self):
        self.pieces += 1
        if self.when(self):
            raise KeyboardInterrupt
        super().wait()


@IN_PARTS
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_run_that_is_killed_after_a_fault_goes_on_alone(alone, name, more, tmp_path):
    space = SPACES[name]
    trainer, count = Stacks(wrong=0.1, salt=1, first=1, every=60), []

    def when(_):
        count.extend([1] * bool(trainer.fault))
        return len(count) > more

    with pytest.raises(KeyboardInterrupt):
        searched(trainer, tmp_path / "run", space, executor=Killed(trainer, when))
    assert not xt.load_run(tmp_path / "run").audit.stacked
    fresh = Stacks(wrong=0.1, salt=1, first=0, every=10**6)  # would find nothing by itself
    run = searched(fresh, tmp_path / "run", space, resume=True)
    same(run, alone(name))
    assert {block[0] for block in fresh.trained} <= {None}
    assert run.audit.fault == trainer.fault


@IN_PARTS
@pytest.mark.parametrize("pieces", [2, 5, 9])
def test_a_run_that_is_killed_before_a_fault_begins_with_what_its_journal_knows(
    alone, name, pieces, tmp_path
):
    space = SPACES[name]
    trainer = Stacks(wrong=0.1, salt=2, first=0, every=10**6)
    executor = Killed(trainer, lambda self: self.pieces > pieces)
    with pytest.raises(KeyboardInterrupt):
        searched(trainer, tmp_path / "run", space, executor=executor)
    known = xt.load_run(tmp_path / "run").audit
    assert known.stacked
    fresh = Stacks(wrong=0.1, salt=2, first=0, every=10**6)
    same(searched(fresh, tmp_path / "run", space, resume=True), alone(name))
    assert fresh.trained[0][0] == known.audited


def test_a_search_that_was_killed_before_its_last_audits_makes_them_when_it_goes_on(
    alone, tmp_path
):
    trainer = Stacks(wrong=0.1, salt=2, first=0, every=10**6)
    space, right = SPACES["one rung"], alone("one rung")

    def when(executor):
        jobs = [job for batch in executor.under_way for job in batch.jobs]
        return trainer.trained and None in [job.block.agreed for job in jobs]

    with pytest.raises(KeyboardInterrupt):
        searched(trainer, tmp_path / "run", space, executor=Killed(trainer, when))
    run = xt.load_run(tmp_path / "run")
    assert not run.table.equals(right.table), "wrong results are in it"
    assert run.manifest["complete"]
    same(searched(Stacks(), tmp_path / "run", space, resume=True), right)


def test_two_workers_that_stacked_have_the_table_of_two_that_never_did(tmp_path):
    found = []
    for trainer in (Alone(), Stacks(wrong=0.1, salt=1, first=1, every=60)):
        folder = tmp_path / type(trainer).__name__
        asked = AskedExecutor(trainer, Cluster(workers=2), folder)
        with ending_processes(), executor_for(asked) as pool:
            found.append(searched(trainer, folder / "run", SPACES["race"], executor=pool))
    alone, run = found
    assert run.audit.fault
    same(run, alone)


def test_a_number_that_differs_is_a_fault_and_one_that_rounding_moves_is_none(tmp_path):
    run = searched(Stacks(off_by=1e-3), tmp_path / "off")
    assert run.audit.fault.startswith("seed ")
    assert "score" in run.audit.fault
    assert "of its scale" in run.audit.fault
    run = searched(Stacks(off_by=1e-6), tmp_path / "rounded")
    assert not run.audit.fault
    assert 1e-7 < run.audit.largest < 1e-4


class TenthWrong(Stacks):
    """One of every ten seeds, by its number, is wrong in a stack."""

    def is_wrong(self, seed):
        return seed % 10 == int(10 * drawn(self.salt, seed // 10))


def simulated(number, folder, reported, **policy):
    """Whether a fault in a tenth of the seeds is found in time, and whether the table is right."""
    space = space_of(search={"sampler": "random", "trials": 12, "seed": number})
    run = searched(TenthWrong(salt=number, **policy), folder / "run", space)
    right = searched(Alone(), folder / "alone", space)
    return bool(reported[run.path].fault), run.table.equals(right.table)


POLICIES = {"one in 64": {"first": 0, "every": 64}, "none": {"first": 0, "every": 10**9}}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("number", range(3))
def test_a_fault_in_a_tenth_of_the_seeds_is_found_before_the_report_is_written(
    policy, number, reported, tmp_path
):
    """Of 500 such searches each, see `audit_stacks`."""
    assert simulated(number, tmp_path, reported, **POLICIES[policy]) == (True, True)


def test_pruned_seeds_are_not_audited_since_they_would_train_on():
    block = Block(Point({"x": 0.7}), 0, 30)
    outcome = Stacks().outcome(block, Audit(stacked=30), block.seeds)
    outcome.status.flags.writeable = True
    outcome.status[10:] = Status.PRUNED
    line = Evaluation(0, block, outcome, None, True, 1.0, "here:1")
    found = audited_now([line], Audit(stacked=30), Stacks(), LocalExecutor(Stacks()))
    assert sorted(one.block.first for one in found) == list(range(10))
    assert {one.audit.fault for one in found} == {""}


# -------------------------------------------------------------------------------------------------
# The other verbs.

POINT = Point({"x": 0.7})


def evaluated(trainer, n):
    outcomes, events = {}, []
    _, audit = train_seeds(
        lambda: [SeedsToTrain(POINT, (range(n),))],
        trainer,
        lambda outcome, first: outcomes.__setitem__(first, outcome),
        forget=outcomes.clear,
        voice=Voice(0, events.append),
    )
    solved = {
        s: bool(k)
        for o in outcomes.values()
        for s, k in zip(o.seeds.tolist(), o.solved, strict=True)
    }
    told = [event.text for event in events if event.level == "warning"]
    return [solved[seed] for seed in range(n)], audit, told


@pytest.mark.parametrize("salt", range(5))
@pytest.mark.parametrize("n", [1, 30, 200])
def test_evaluate_and_gate_answer_as_if_they_had_never_stacked(salt, n):
    alone, _, _ = evaluated(Alone(), n)
    test = SequentialTest(0.6, 200, 0.95, 0)
    verdict = gate_config(POINT, Alone(), test)
    for first in (0, 3, 40):
        trainer = Stacks(wrong=0.1, salt=salt, first=first)
        solved, audit, told = evaluated(trainer, n)
        assert solved == alone
        assert len(told) == bool(audit.fault)
        if not audit.fault:
            assert audit.audited >= min(n, LEAST_AUDITED)
        assert gate_config(POINT, Stacks(wrong=0.1, salt=salt, first=first), test) == verdict


def test_an_outcome_says_how_many_seeds_trained_alone_too():
    audit = Audit(1940, 60, 3e-7)
    said = (
        "1,940 of 2,000 seeds trained as one model with others; 60 were trained alone too: the "
        "largest difference is 3e-7 of the number's scale"
    )
    assert audit.sentence(2000) == said
    outcome = Stacks().outcome(Block(POINT, 0, 2000), audit)
    assert f"; {said})" in str(outcome)
    told = io.StringIO()
    render_outcome(outcome, Console(file=told, width=300))
    assert told.getvalue().splitlines()[-1] == said
    assert "trained" not in str(Stacks().outcome(Block(POINT, 0, 3), None))
    assert Audit(0, 3).sentence(3).endswith("3 were trained alone too, with the same numbers")


@pytest.mark.parametrize("salt", range(4))
def test_a_certificate_is_that_of_seeds_trained_alone(salt, tmp_path):
    alone = searched(Alone(), tmp_path / "alone", SPACES["one rung"])
    run = searched(Alone(), tmp_path / "run", SPACES["one rung"])
    wanted = xt.certify(alone, trainer=Alone(), seeds=80, top=2, workers=0, verbose=0)
    trainer = Stacks(wrong=0.1, salt=salt, first=1)
    found = xt.certify(run, trainer=trainer, seeds=80, top=2, workers=0, verbose=0)
    assert trainer.fault or xt.load_run(run.path).audit.fault
    for name in ("key", "k", "n", "seeds"):
        assert [getattr(one, name, None) for one in found.finalists] == [
            getattr(one, name, None) for one in wanted.finalists
        ]


def test_certify_says_so_if_the_search_itself_was_wrong(tmp_path):
    searched(Stacks(wrong=0.1, salt=3, first=0, every=30), tmp_path / "run", SPACES["one rung"])
    journal = tmp_path / "run" / JOURNAL
    if not xt.load_run(tmp_path / "run").audit.fault:
        pytest.fail("another salt")
    # As it was before the fault was found.
    lines = journal.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if AUDITED in line)
    journal.write_text("".join(lines[:at]))
    trainer = Stacks(wrong=0.1, salt=3, first=500)
    with pytest.raises(xt.TrainingError, match="continue the search with --resume"):
        xt.certify(tmp_path / "run", trainer=trainer, seeds=80, workers=0, verbose=0)
    assert xt.load_run(tmp_path / "run").manifest["complete"] is False
    assert not xt.load_run(tmp_path / "run").audit.stacked
    run = searched(Stacks(), tmp_path / "run", SPACES["one rung"], resume=True)
    same(run, searched(Alone(), tmp_path / "alone", SPACES["one rung"]))


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("salt", range(3))
def test_a_comparison_is_that_of_seeds_trained_alone(sequential, salt, tmp_path):
    one = searched(Alone(), tmp_path / "one", SPACES["one rung"])
    configs = [f"{one.path}#{one.results[place].key}" for place in (0, 8)]
    how = {"sequential": True, "max_seeds": 300} if sequential else {"seeds": 120}
    how |= {"workers": 0, "verbose": 0, "labels": ["a", "b"]}
    wanted = xt.compare(configs, trainer=Alone(), output=tmp_path / "c", **how)
    trainer = Stacks(wrong=0.1, salt=salt, first=2)
    found = xt.compare(configs, trainer=trainer, output=tmp_path / "d", **how)
    assert str(found) == str(wanted)
    assert str(xt.compare(configs, trainer=Stacks(), output=tmp_path / "d", **how)) == str(found)


# -------------------------------------------------------------------------------------------------
# The journal.

AUDITS = st.builds(
    Audit,
    st.integers(0, 3),
    st.integers(0, 2),
    st.floats(0, 1e12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=500),
)


@given(AUDITS, st.booleans())
def test_audits_are_read_as_they_were_written(audit, is_line):
    block = Block(POINT, 7, 5)
    outcome = None if is_line else Stacks().outcome(block, audit)
    line = Evaluation(
        0,
        block,
        outcome,
        AUDITED if is_line else None,
        not is_line,
        1.0,
        "here:1",
        audit=audit if is_line else None,
    )
    found = decode(encode(line))
    assert (found.audit if is_line else found.outcome.details.audit) == audit


@pytest.mark.parametrize("largest", [math.inf, math.nan])
def test_a_difference_that_is_not_finite_is_written_as_a_large_one(largest):
    outcome = Stacks().outcome(Block(POINT, 7, 5), Audit(0, 0, largest, "x"))
    line = Evaluation(0, Block(POINT, 7, 5), outcome, None, True, 1.0, "here:1")
    assert decode(encode(line)).outcome.details.audit == Audit(0, 0, 1e12, "x")


def test_lines_without_stacks_say_nothing_of_them():
    outcome = Stacks().outcome(Block(POINT, 7, 5), None)
    assert "audit" not in encode(Evaluation(0, Block(POINT, 7, 5), outcome, None, True, 1.0, "h:1"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("audit", {"stacked": 6}),
        ("audit", {"stacked": 4, "audited": 2}),
        ("audit", {"stacked": -1}),
        ("audit", {"largest": -1.0}),
        ("audit", {"stacked": 1, "other": 1}),
        ("audit", 3),
    ],
)
def test_a_line_with_an_audit_that_cannot_be_is_refused(name, value):
    outcome = Stacks().outcome(Block(POINT, 7, 5), Audit(1, 1))
    line = json.loads(encode(Evaluation(0, Block(POINT, 7, 5), outcome, None, True, 1.0, "h:1")))
    with pytest.raises(xt.InputError, match="audit"):
        decode(json.dumps(line | {name: value}))


def test_a_line_without_an_outcome_has_an_audit_if_it_says_so():
    given = Evaluation(0, Block(POINT, 7, 5), None, AUDITED, False, 1.0, "h:1", audit=Audit(0, 1))
    line = json.loads(encode(given))
    for wrong in (line | {"error": "it broke"}, {n: v for n, v in line.items() if n != "audit"}):
        with pytest.raises(xt.InputError, match="audit"):
            decode(json.dumps(wrong))
