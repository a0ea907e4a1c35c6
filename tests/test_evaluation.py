"""Outcomes as the journal holds them: the same numbers, one by one or thousands at once."""

import dataclasses
import json

import numpy as np
import pytest
from hand_made import CONFIG as VALUES
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, Evaluations, decode, encode
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.results import ConfigResults, Counts, config_table

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


def assert_equal(mine: Outcome, theirs: Outcome) -> None:
    assert (mine.epochs, mine.n, mine.successes) == (theirs.epochs, theirs.n, theirs.successes)
    assert mine.epochs_to_solve == theirs.epochs_to_solve
    assert mine.counts == theirs.counts
    assert mine.patterns == theirs.patterns
    for name in ARRAYS:
        one, other = getattr(mine, name), getattr(theirs, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(st.integers(0, 3), outcomes(width=5)), min_size=1, max_size=8))
def test_columns_are_those_of_the_objects(given):
    lines, seeds = [], {}
    for number, (config, outcome) in enumerate(given):
        first = seeds.get(config, 0)
        seeds[config] = first + outcome.n
        block = Block(Point({"x": config}), first, outcome.n)
        moved = dataclasses.replace(outcome, seeds=outcome.seeds - 5 + first)
        lines.append(Evaluation(number, block, moved, None, True, 1.0, "here:1"))
    results = ConfigResults(Evaluations.of(lines))
    each = Counts.of([result.outcome for result in results])
    for name in ("k", "n", "status", "epochs_to_solve"):
        np.testing.assert_array_equal(getattr(results.counts, name), getattr(each, name))
    for result in results:
        merged = None
        for line in lines:
            if line.block.point == result.point:
                merged = line.outcome if merged is None else merged.merge(line.outcome)
        assert_equal(result.outcome, merged)
    best = results.leader
    assert (best.key, best.trials) == (results[0].key, results[0].trials)
    table = config_table(results, ["x"])
    assert table.equals(config_table(list(results), ["x"]))


def test_only_the_blocks_own_seeds_are_packed():
    outcome = Outcome.crashed(range(4), 9)
    assert pack(Block(CONFIG, 0, 4), outcome).n == 4
    with pytest.raises(InputError, match="are not those it was asked for"):
        pack(Block(CONFIG, 1, 4), outcome)


@st.composite
def told_on_the_way(draw):
    """An outcome of three seeds from 7 on whose curves may have any numbers."""
    seeds = draw(st.lists(st.sampled_from([7, 8, 9]), min_size=1, max_size=6))
    names = draw(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=3, unique=True))
    numbers = st.floats(width=32, allow_nan=True)
    rows = draw(
        st.lists(
            st.lists(numbers, min_size=len(names), max_size=len(names)),
            min_size=len(seeds),
            max_size=len(seeds),
        )
    )
    reports = draw(st.lists(st.integers(1, 2**32 - 1), min_size=len(seeds), max_size=len(seeds)))
    curves = Curves(tuple(names), np.array(seeds), np.array(reports), np.array(rows, np.float32))
    return dataclasses.replace(Outcome.crashed(range(7, 10), 0), details=Details(curves=(curves,)))


@given(told_on_the_way())
def test_curves_are_read_as_they_were_written(outcome):
    [told] = outcome.details.curves
    line = encode(Evaluation(0, Block(CONFIG, 7, 3), outcome, None, True, 1.0, "h:1"))
    [found] = [part.points() for part in decode(line).outcome.details.curves]
    assert found.names == told.names
    for name in ("seed", "report", "values"):
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name))
    both = decode(line).outcome.details.curves + outcome.details.curves
    merged = outcome.merge(dataclasses.replace(outcome, seeds=np.arange(17, 20)))
    assert len(merged.details.curves) == len(both)


@pytest.mark.parametrize(
    "change",
    [
        *({"names": ["a", "a"]}, {"names": []}, {"names": ["a", "b", "c"]}, {"data": "AAAA"}),
        {"seed": 3},
    ],
    ids=str,
)
def test_curves_that_nobody_wrote_are_refused(change):
    seed = change.pop("seed", 2)
    curves = Curves(("a", "b"), np.array([7 + seed]), np.array([1]), np.ones((1, 2), np.float32))
    details = Details(curves=(curves,))
    outcome = dataclasses.replace(Outcome.crashed(range(7, 10), 0), details=details)
    line = encode(Evaluation(0, Block(CONFIG, 7, 3), outcome, None, True, 1.0, "h:1"))
    fields = json.loads(line)
    fields["curves"] |= change
    with pytest.raises(InputError, match=r"curves|damaged|is not an evaluation"):
        decode(json.dumps(fields))
