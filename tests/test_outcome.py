"""Outcomes of seeds, and which seeds belong to whom."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.core import seeds as owners
from xortune.core.errors import InputError
from xortune.core.outcome import Outcome, Status, wilson
from xortune.core.seeds import MAX_SEED, checked_seeds
from xortune.core.task import Task

XOR = [False, True, True, False]


def judge(patterns, *, seeds=None, epochs=100, finite=None, solved_epoch=None, **more) -> Outcome:
    """The outcome of seeds that ended with these predictions on XOR."""
    n = len(patterns)
    return Outcome.judge(
        more.pop("task", Task.xor()),
        seeds=np.arange(n) if seeds is None else np.asarray(seeds),
        epochs=epochs,
        predictions=np.array(patterns, dtype=bool),
        finite=np.ones(n, bool) if finite is None else np.array(finite),
        solved_epoch=np.array([7] * n if solved_epoch is None else solved_epoch, dtype=np.int32),
        final_loss=np.linspace(0, 1, n, dtype=np.float32),
        **more,
    )


# --- the status of a seed ------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.booleans()] * 5), min_size=1, max_size=20))
def test_diverged_outranks_every_other_status(rows):
    outcome = judge([row[:4] for row in rows], finite=[row[4] for row in rows])
    for row, status in zip(rows, outcome.status, strict=True):
        pattern = list(row[:4])
        if not row[4]:
            assert status == Status.DIVERGED
        elif pattern == XOR:
            assert status == Status.SOLVED
        elif any(pattern):
            assert status == (Status.ALL_ONE if all(pattern) else Status.WRONG_PATTERN)
        else:
            assert status == Status.ALL_ZERO


# --- counts --------------------------------------------------------------------------------------


def test_the_interval_is_wilsons():
    outcome = judge([XOR] * 8)
    low, high = outcome.interval()
    assert (low, high) == wilson(8, 8)
    assert outcome.interval(0.99) == wilson(8, 8, confidence=0.99)
    assert repr(outcome) == f"Outcome(8/8 solved, 95 % interval {low:.4f} to 1.0000, 100 epochs)"


def test_ert_does_not_overflow_int32():
    outcome = judge([XOR] * 3, epochs=2**31 - 1, solved_epoch=[2**31 - 1] * 3)
    assert outcome.epochs_spent == 3 * (2**31 - 1)


# --- blocks together -----------------------------------------------------------------------------


def test_merge_refuses_other_epochs_and_other_checkpoints():
    one = judge([XOR], seeds=[1])
    with pytest.raises(InputError, match=r"cannot be merged: \[100\] and \[50\]"):
        one.merge(judge([XOR], seeds=[2], epochs=50))
    early = judge([XOR], seeds=[2], epochs=10)
    with pytest.raises(InputError, match=r"cannot be merged: \[100\] and \[10, 100\]"):
        one.merge(judge([XOR], seeds=[2], checkpoints=(early,)))


# --- seeds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seeds",
    [range(3), [0, MAX_SEED], (7,), {1, 2}, np.array([3, 1], np.uint8), iter([4]), np.arange(2)],
)
def test_good_seeds_become_int64(seeds):
    array = checked_seeds(seeds)
    assert array.dtype == np.int64
    assert array.ndim == 1


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "no seeds; allowed: at least one seed"),
        ([-1], "seeds: -1 is out of range; allowed: whole numbers from 0 to 2**32 - 1, each once"),
        ([0, 2**32], "seeds: 4294967296 is out of range"),
        ([2**70], "seeds: object array"),
        ([1, 2, 1], "seeds: 1 is given twice"),
        ([1.0, 2.0], "seeds: float64 array of shape (2,)"),
        (100, "seeds: 100 is a int; allowed: whole numbers"),
        ([True, False], "seeds: bool array"),
        ([[1, 2]], "seeds: int64 array of shape (1, 2)"),
        (np.array([2**63], np.uint64), "seeds: 9223372036854775808 is out of range"),
    ],
)
def test_bad_seeds_are_refused(seeds, message):
    with pytest.raises(InputError) as caught:
        checked_seeds(seeds)
    assert message in str(caught.value)


def test_the_ranges_are_disjoint_and_use_up_all_seeds():
    every = [value for value in vars(owners).values() if isinstance(value, range)]
    ranges = sorted(every, key=lambda seeds: seeds.start)
    assert ranges[0].start == 0
    assert ranges[-1].stop == MAX_SEED + 1
    for lower, upper in pairwise(ranges):
        assert lower.stop == upper.start
        assert len(lower) > 10**8
    assert all(seeds.step == 1 for seeds in ranges)


def test_at_finds_the_checkpoint_or_says_which_there_are():
    early = judge([[0] * 4], epochs=10)
    outcome = judge([XOR], checkpoints=(early,))
    assert outcome.at(10) is early
    assert outcome.at(100) is outcome
    refused = r"no checkpoint at epoch 50; allowed: 10, 100; fix.*checkpoints=\[50\]"
    with pytest.raises(InputError, match=refused):
        outcome.at(50)
