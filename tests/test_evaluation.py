"""Outcomes as the journal holds them: the same numbers, one by one or thousands at once."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from hand_made import CONFIG as VALUES
from hand_made import done, solved
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.seeds import MAX_SEED
from xortune.core.trainer import Block
from xortune.runs.evaluation import MAX_TIME, Evaluation, Evaluations, decode, encode
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.results import ConfigResults, Counts, config_table, counted

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
    assert (mine.epochs, mine.n, mine.successes) == (theirs.epochs, theirs.n, theirs.successes)
    assert mine.epochs_to_solve == theirs.epochs_to_solve
    assert mine.counts == theirs.counts
    assert mine.patterns == theirs.patterns
    for name in ARRAYS:
        one, other = getattr(mine, name), getattr(theirs, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


NUMBERS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
POINTS = st.dictionaries(
    st.text(st.characters(), min_size=1), NUMBERS | st.text(st.characters()), max_size=4
).map(Point)


@st.composite
def evaluations(draw):
    result, error, final = None, draw(st.text(st.characters())), draw(st.booleans())
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
        draw(st.text(st.characters())),
        made=draw(st.sampled_from([None, "0123abcd"])),
        at=draw(st.none() | st.integers(0, MAX_TIME)),
    )


def unsaid(reason):
    return Evaluation(0, Block(Point({"a": reason}), 0, 1), None, reason, True, 0.0, "host:1")


@example(unsaid("caf\u00e9\u2028"))
@example(unsaid("caf\udce9"))  # of a file's name: no text
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
    assert [fields[name] for name in ("proposal", "first", "count", "k", "n", "epochs")] == [
        *(3, 8, 4, 2, 4, 1000)
    ]
    assert fields["key"] == CONFIG.key
    assert fields["error"] is None


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
        *(("proposal", -1), ("proposal", True), ("at", None), ("at", True), ("at", 1.5)),
        *(("at", MAX_TIME + 1), ("made", None), ("made", "3"), ("made", "A" * 8)),
        *(("purpose", None), ("purpose", []), ("purpose", {}), ("values", None), ("failed", None)),
        *(("output", None), ("more", 1), ("key", "0" * 16), ("config", [])),
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
    np.testing.assert_array_equal(table["x"], [result.point["x"] for result in results])
    for name, column in counted(each).items():
        np.testing.assert_array_equal(table[name], column)


def test_only_the_blocks_own_seeds_are_packed():
    outcome = Outcome.crashed(range(4), 9)
    assert pack(Block(CONFIG, 0, 4), outcome).n == 4
    with pytest.raises(InputError, match="are not those it was asked for"):
        pack(Block(CONFIG, 1, 4), outcome)


@given(st.data(), st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=3, unique=True))
def test_curves_are_read_as_they_were_written(data, names):
    """Of three seeds from 7 on, with any numbers."""
    numbers = st.lists(st.floats(width=32), min_size=len(names), max_size=len(names))
    row = st.tuples(st.sampled_from([7, 8, 9]), st.integers(1, 2**32 - 1), numbers)
    seeds, reports, rows = zip(*data.draw(st.lists(row, min_size=1, max_size=6)), strict=True)
    told = Curves(tuple(names), np.array(seeds), np.array(reports), np.array(rows, np.float32))
    outcome = dataclasses.replace(Outcome.crashed(range(7, 10), 0), details=Details(curves=(told,)))
    line = encode(Evaluation(0, Block(CONFIG, 7, 3), outcome, None, True, 1.0, "h:1"))
    [found] = [part.points() for part in decode(line).outcome.details.curves]
    assert found.names == told.names
    for name in ("seed", "report", "values"):
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name))
    merged = outcome.merge(dataclasses.replace(outcome, seeds=np.arange(17, 20)))
    assert len(merged.details.curves) == 2


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
