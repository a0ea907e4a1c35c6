"""Outcomes as the journal holds them: the same numbers, one by one or thousands at once."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hand_made import CONFIG as VALUES
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, StoredOutcome, decode, encode, stacked
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.results import (
    ConfigResult,
    config_table,
    epochs_to_solve,
    seed_table,
    status_counts,
)

CONFIG = Point(VALUES)
ARRAYS = ("seeds", "status", "solved_epoch", "final_loss", "predictions")


@st.composite
def outcomes(draw, n=None, width=None):
    n = draw(st.integers(1, 12)) if n is None else n
    width = draw(st.integers(1, 20)) if width is None else width
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    status = rng.integers(0, len(Status) - 1, n).astype(np.uint8)
    solved_epoch = np.where(status == Status.SOLVED, rng.integers(1, 900, n), 0)
    return Outcome(
        seeds=np.arange(5, 5 + n),
        epochs=1000,
        status=status,
        solved_epoch=solved_epoch.astype(np.int32),
        final_loss=rng.choice(np.array([0.25, 1e-30, np.nan, np.inf], np.float32), n),
        predictions=rng.random((n, width)) > 0.5,
    )


def read_back(outcome: Outcome) -> Outcome:
    block = Block(CONFIG, int(outcome.seeds[0]), outcome.n)
    line = encode(Evaluation(0, block, outcome, None, True, 1.0, "here:1"))
    read = decode(line).outcome
    assert isinstance(read, StoredOutcome)
    return read


def assert_equal(mine: Outcome, theirs: Outcome) -> None:
    assert (mine.epochs, mine.n, mine.successes) == (theirs.epochs, theirs.n, theirs.successes)
    assert mine.epochs_to_solve == theirs.epochs_to_solve
    assert mine.counts == theirs.counts
    assert mine.patterns == theirs.patterns
    for name in ARRAYS:
        one, other = getattr(mine, name), getattr(theirs, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(outcomes())
def test_what_is_read_is_what_was_written(outcome):
    read = read_back(outcome)
    assert_equal(read, outcome)
    assert not any(getattr(read, name).flags.writeable for name in ARRAYS)
    assert_equal(pickle.loads(pickle.dumps(read)), outcome)
    assert_equal(dataclasses.replace(read), outcome)
    half = dataclasses.replace(read, checkpoints=(read,))
    assert half.at(1000) is read


@given(outcomes(n=3, width=4), outcomes(n=5, width=4))
def test_they_merge_like_others(one, other):
    other = dataclasses.replace(other, seeds=other.seeds + 100)
    assert_equal(read_back(one).merge(read_back(other)), one.merge(other))


@given(st.data(), st.integers(1, 6), st.integers(1, 20), st.integers(1, 5))
def test_tables_of_many_at_once_are_those_of_each(data, n, width, count):
    plain = [data.draw(outcomes(n=n, width=width)) for _ in range(count)]
    stored = [read_back(outcome) for outcome in plain]
    assert stacked(stored) is not None
    assert stacked(plain) is None
    np.testing.assert_array_equal(epochs_to_solve(stored), epochs_to_solve(plain))
    np.testing.assert_array_equal(status_counts(stored), status_counts(plain))
    tables = []
    for some in (stored, plain):
        results = [ConfigResult(CONFIG, f"key{i}", o, 1) for i, o in enumerate(some)]
        tables.append((config_table(results, ["lr"]), seed_table(results)))
    assert tables[0][0].equals(tables[1][0])
    for name in tables[0][1].column_names:
        mine, theirs = (table[1][name].to_pylist() for table in tables)
        assert repr(mine) == repr(theirs)  # NaN is no equal of itself


def test_outcomes_of_different_shapes_are_not_put_in_one():
    def some(n, width):
        rng = np.random.default_rng(0)
        return read_back(
            Outcome(
                np.arange(n),
                9,
                np.zeros(n, np.uint8),
                np.ones(n, np.int32),
                np.zeros(n, np.float32),
                rng.random((n, width)) > 0.5,
            )
        )

    assert stacked([some(3, 4), some(3, 4)]) is not None
    assert stacked([some(3, 4), some(4, 4)]) is None
    assert stacked([some(3, 4), some(3, 5)]) is None
    assert stacked([]) is None


def test_only_the_blocks_own_seeds_are_packed():
    outcome = Outcome.crashed(range(4), 9)
    assert pack(Block(CONFIG, 0, 4), outcome).n == 4
    with pytest.raises(InputError, match="are not those it was asked for"):
        pack(Block(CONFIG, 1, 4), outcome)
