"""Outcomes of seeds, and as the journal holds them; which seeds belong to whom."""

import contextlib
import dataclasses
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hand_made import CONFIG as VALUES
from hand_made import RIGHT, done, outcome, solved
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core import seeds as owners
from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Details, Outcome, Status, wilson
from xortune.core.point import Point
from xortune.core.seeds import MAX_SEED, checked_seeds
from xortune.core.trainer import Block
from xortune.runs.columns import columns_of, config_table, tracked
from xortune.runs.evaluation import MAX_TIME, Evaluation, Evaluations, decode, encode
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.results import ConfigResults, Counts

CONFIG = Point(VALUES)
ARRAYS = ("seeds", "status", "solved_epoch", "final_loss", "predictions")


@st.composite
def outcomes(draw, n=None, width=None):
    n = draw(st.integers(1, 12)) if n is None else n
    width = draw(st.integers(1, 20)) if width is None else width
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    status = rng.integers(0, len(Status), n).astype(np.uint8)
    epochs = rng.choice([1, 300, 2**31 - 1], n)
    return Outcome(
        seeds=np.arange(5, 5 + n),
        epochs=1000,
        status=status,
        solved_epoch=np.where(status == Status.SOLVED, epochs, 0).astype(np.int32),
        final_loss=rng.choice(np.array([0.25, 1e-30, np.nan, np.inf], np.float32), n),
        predictions=rng.random((n, width)) > 0.5,
    )


def assert_equal(mine: Outcome, theirs: Outcome) -> None:
    assert mine.epochs == theirs.epochs
    for name in ARRAYS:
        one, other = getattr(mine, name), getattr(theirs, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# Outcomes.


@given(st.lists(st.tuples(*[st.booleans()] * 5), min_size=1, max_size=20))
def test_diverged_outranks_every_other_status(rows):
    diverged = [i for i, row in enumerate(rows) if row[4]]
    found = outcome(0, [row[:4] for row in rows], diverged=diverged)
    for row, status in zip(rows, found.status, strict=True):
        if row[4]:
            assert status == Status.DIVERGED
        elif row[:4] == RIGHT:
            assert status == Status.SOLVED
        elif any(row[:4]):
            assert status == (Status.ALL_ONE if all(row[:4]) else Status.WRONG_PATTERN)
        else:
            assert status == Status.ALL_ZERO


def test_the_interval_is_wilsons_and_ert_does_not_overflow_int32():
    found = solved(0, 8, 8, epoch=2**31 - 1, epochs=2**31 - 1)
    assert (found.interval(), found.interval(0.99)) == (wilson(8, 8), wilson(8, 8, confidence=0.99))
    assert found.epochs_spent == 8 * (2**31 - 1)
    shown = "Outcome(8/8 solved, 95 % interval 0.6756 to 1.0000, 2147483647 epochs)"
    assert repr(found) == shown


def test_checkpoints_are_found_and_merge_only_with_the_same():
    early = solved(2, 1, 1, epochs=10)
    late = dataclasses.replace(solved(2, 1, 1), checkpoints=(early,))
    assert (late.at(10), late.at(1000)) == (early, late)
    refused = r"no checkpoint at epoch 50; allowed: 10, 1000; fix.*checkpoints=\[50\]"
    with pytest.raises(InputError, match=refused):
        late.at(50)
    for other, epochs in ((early, "[10]"), (late, "[10, 1000]")):
        with pytest.raises(InputError, match=re.escape(f"cannot be merged: [1000] and {epochs}")):
            solved(1, 1, 1).merge(other)


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
        (range(2**40), "seeds: 1099511627775 is out of range"),  # no list of all is made
        ([2**70], "seeds: some are out of range"),
        ([1, 2, 1], "seeds: 1 is given twice"),
        ([1.0, 2.0], "seeds: 1.0 is a float"),
        (100, "seeds: 100 is an int; allowed: whole numbers"),
        ([True, False], "seeds: True is a bool"),
        ([[1, 2]], "seeds: an array of shape (1, 2)"),
        ("10", "seeds: '10' is a str"),
        (["1", "2"], "seeds: '1' is a str"),
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


# Lines of the journal.

NUMBERS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
POINTS = st.dictionaries(st.text(min_size=1), NUMBERS | st.text(), max_size=4).map(Point)


@st.composite
def evaluations(draw):
    result, error, final = None, draw(st.text()), draw(st.booleans())
    count = draw(st.integers(1, 20))
    first = draw(st.integers(0, MAX_SEED - count + 1))
    if draw(st.booleans()):
        given = draw(outcomes(count, draw(st.integers(0, 20))))
        seeds, epochs = np.arange(first, first + count), draw(st.integers(0, 2**40))
        result, error, final = dataclasses.replace(given, seeds=seeds, epochs=epochs), None, True
    return Evaluation(
        draw(st.integers(0, 2**53)),
        Block(draw(POINTS), first, count),
        result,
        error,
        final,
        draw(st.floats(0, 1e9)),
        draw(st.text()),
        fingerprint=draw(st.sampled_from([None, "0123abcd"])),
        at=draw(st.none() | st.integers(0, MAX_TIME)),
    )


def unsaid(reason):
    return Evaluation(0, Block(Point({"a": 1}), 0, 1), None, reason, True, 0.0, "host:1")


def test_a_lone_surrogate_is_kept_as_a_sign_and_is_no_value_of_a_parameter():
    """As a file's name may have."""
    assert decode(encode(unsaid("caf\udce9"))).error == "caf?"
    for values in ({"a": "caf\udce9"}, {"caf\udce9": 1}):
        with pytest.raises(InputError, match="lone surrogate"):
            Point(values)


@example(unsaid("caf\u00e9\u2028"))
@given(evaluations())
def test_round_trip_in_ascii(evaluation):
    line = encode(evaluation)
    assert line.isascii()
    assert line.splitlines() == [line]
    found = decode(line)
    without = dataclasses.replace(evaluation, outcome=None)
    assert dataclasses.replace(found, outcome=None) == without
    assert list(found.block.point.items()) == list(evaluation.block.point.items())
    assert (found.outcome is None) == (evaluation.outcome is None)
    if evaluation.outcome is not None:
        assert_equal(found.outcome, evaluation.outcome)


def test_the_line_can_be_read_by_a_person():
    fields = json.loads(encode(done(3, VALUES, solved(8, 2, 4))))
    assert fields["config"] == VALUES
    wanted = {"proposal": 3, "first": 8, "count": 4, "k": 2, "n": 4, "epochs": 1000}
    assert fields | wanted | {"key": CONFIG.key} == fields


@pytest.mark.parametrize(
    ("found", "error", "final"),
    [(solved(0, 1, 2), "why", True), (solved(0, 1, 2), None, False), (None, None, True)],
)
def test_what_could_not_be_read_back_is_not_written(found, error, final):
    with pytest.raises(InputError):
        encode(Evaluation(0, Block(CONFIG, 0, 2), found, error, final, 0.1, "h:1"))


LINE = encode(done(3, VALUES, solved(8, 2, 4)))


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_line_is_only_ever_an_input_error(data):
    line = list(LINE)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(line) - 1))
        line[place] = data.draw(st.sampled_from([*'09-ae"{}[],:.\\n', "", "é"]))
    with contextlib.suppress(InputError):
        decode("".join(line))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("proposal", -1), ("proposal", True), ("at", True), ("at", -1.5)),
        *(("at", MAX_TIME + 1), ("made", "3"), ("made", "A" * 8)),
        *(("purpose", []), ("purpose", {}), ("more", 1), ("key", "0" * 16), ("config", [])),
        *(("config", {"lr": [1]}), ("first", -1), ("first", 2**32), ("count", 0), ("count", 5)),
        *(("count", 3), ("k", 3), ("k", None), ("n", 5), ("epochs", None), ("epochs", "1")),
        *(("seconds", -1), ("seconds", "1"), ("worker", None), ("final", False), ("final", 1)),
        *(("error", "why"), ("seeds_data", None), ("seeds_data", 1), ("seeds_data", "")),
        *(("seeds_data", "????"), ("seeds_data", "AAAA")),
        *((name, 10**400) for name in ("count", "epochs", "proposal", "first", "seconds")),
        *(("count", 2**32 - 1), ("seconds", 1e300)),
    ],
)
def test_every_field_is_checked(name, value):
    fields = json.loads(LINE)
    fields[name] = value
    with pytest.raises(InputError) as caught:
        decode(json.dumps(fields))
    assert caught.value.field


@pytest.mark.parametrize(
    "line",
    [
        *("", "null", "{}", "[" * 100000, LINE.replace("0.5", "NaN"), LINE.replace("0.5", "1e999")),
        *(LINE[:-1] + ',"more":1}', "9" * 5000),
    ],
)
def test_what_is_no_evaluation(line):
    with pytest.raises(InputError):
        decode(line)


@given(st.lists(st.tuples(st.integers(0, 3), outcomes(width=5)), min_size=1, max_size=8))
def test_columns_are_those_of_the_objects(given):
    lines, seeds = [], {}
    for number, (config, found) in enumerate(given):
        first = seeds.get(config, 0)
        seeds[config] = first + found.n
        block = Block(Point({"x": config}), first, found.n)
        moved = dataclasses.replace(found, seeds=found.seeds - 5 + first)
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
    table = config_table(results, columns_of(["x"], (), ()))
    np.testing.assert_array_equal(table["x"], [result.point["x"] for result in results])
    for name, column in tracked([result.outcome for result in results]).items():
        np.testing.assert_array_equal(table[name], column)


def test_only_the_blocks_own_seeds_are_packed():
    with pytest.raises(InputError, match="are not those it was asked for"):
        pack(Block(CONFIG, 1, 4), Outcome.crashed(range(4), 9))


def crashed_with(curves):
    """Seeds 7 to 9, of which none ended, and a line that has them."""
    found = dataclasses.replace(Outcome.crashed(range(7, 10), 0), details=Details(curves=(curves,)))
    return found, encode(Evaluation(0, Block(CONFIG, 7, 3), found, None, True, 1.0, "h:1"))


@given(st.data(), st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=3, unique=True))
def test_curves_are_read_as_they_were_written(data, names):
    """Of three seeds from 7 on, with any numbers."""
    numbers = st.lists(st.floats(width=32), min_size=len(names), max_size=len(names))
    row = st.tuples(st.sampled_from([7, 8, 9]), st.integers(1, 2**32 - 1), numbers)
    seeds, reports, rows = zip(*data.draw(st.lists(row, min_size=1, max_size=6)), strict=True)
    told = Curves(tuple(names), np.array(seeds), np.array(reports), np.array(rows, np.float32))
    outcome, line = crashed_with(told)
    [found] = [part.points() for part in decode(line).outcome.details.curves]
    assert found.names == told.names
    for name in ("seed", "report", "values"):
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name))
    merged = outcome.merge(dataclasses.replace(outcome, seeds=np.arange(17, 20)))
    assert len(merged.details.curves) == 2


@pytest.mark.parametrize(
    ("seed", "change"),
    [
        *((9, {"names": ["a", "a"]}), (9, {"names": []}), (9, {"names": ["a", "b", "c"]})),
        *((9, {"data": "AAAA"}), (10, {})),
    ],
)
def test_curves_that_nobody_wrote_are_refused(seed, change):
    curves = Curves(("a", "b"), np.array([seed]), np.array([1]), np.ones((1, 2), np.float32))
    fields = json.loads(crashed_with(curves)[1])
    fields["curves"] |= change
    with pytest.raises(InputError, match=r"curves|damaged|is not an evaluation"):
        decode(json.dumps(fields))
