import contextlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hand_made import CONFIG, done, failed, outcome, solved
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Details, Outcome
from xortune.core.point import Point
from xortune.core.seeds import MAX_SEED
from xortune.core.trainer import Block
from xortune.runs import journal
from xortune.runs.evaluation import MAX_TIME, Evaluation, JournalLines, Purpose, decode, encode
from xortune.runs.journal import Journal, JournalReader, read

VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
POINTS = st.dictionaries(
    st.text(st.characters(), min_size=1), VALUES | st.text(st.characters()), max_size=4
).map(Point)


@st.composite
def evaluations(draw):
    count = draw(st.integers(1, 20))
    first = draw(st.integers(0, MAX_SEED - count + 1))
    block = Block(draw(POINTS), first, count)
    random = np.random.default_rng(draw(st.integers(0, 9)))
    width = draw(st.integers(0, 20))
    result, error, final = None, draw(st.text(st.characters())), draw(st.booleans())
    if draw(st.booleans()):
        loss = random.choice([0.0, 0.1, 1e-38, np.inf, np.nan], count)
        error, final = None, True
        result = Outcome(
            seeds=np.arange(first, first + count),
            epochs=draw(st.integers(0, 2**40)),
            status=random.integers(0, 6, count).astype(np.uint8),
            solved_epoch=random.integers(0, 2**31, count).astype(np.int32),
            final_loss=loss.astype(np.float32),
            predictions=random.random((count, width)) < 0.5,
        )
    seconds = draw(st.floats(0, 1e9))
    return Evaluation(
        draw(st.integers(0, 2**53)),
        block,
        result,
        error,
        final,
        seconds,
        draw(st.text(st.characters())),
        made=draw(st.sampled_from([None, "0123abcd"])),
        at=draw(st.none() | st.integers(0, MAX_TIME)),
    )


def same(a, b):
    arrays = ("seeds", "status", "solved_epoch", "final_loss", "predictions")
    for name in ("proposal", "block", "error", "final", "seconds", "worker", "made", "at"):
        assert getattr(a, name) == getattr(b, name)
    assert dict(a.block.point) == dict(b.block.point)
    assert list(a.block.point) == list(b.block.point)
    assert (a.outcome is None) == (b.outcome is None)
    if a.outcome is not None:
        assert a.outcome.epochs == b.outcome.epochs
        for name in arrays:
            mine, theirs = getattr(a.outcome, name), getattr(b.outcome, name)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


@given(evaluations())
def test_round_trip(evaluation):
    line = encode(evaluation)
    assert line.isascii()
    assert line.splitlines() == [line]
    same(decode(line), evaluation)


@pytest.mark.parametrize("error", ["caf\u00e9\u2028", "caf\udce9"])  # of a file's name: no text
def test_a_reason_of_any_letters_is_written_in_ascii_and_read_as_it_was(error):
    evaluation = Evaluation(0, Block(Point({"a": error}), 0, 1), None, error, True, 0.0, "host:1")
    line = encode(evaluation)
    assert line.isascii()
    same(decode(line), evaluation)


def test_the_line_can_be_read_by_a_person():
    fields = json.loads(encode(done(3, CONFIG, solved(8, 2, 4))))
    assert fields["config"] == CONFIG
    assert [fields[name] for name in ("proposal", "first", "count", "k", "n", "epochs")] == [
        *(3, 8, 4, 2, 4, 1000)
    ]
    assert fields["key"] == Point(CONFIG).key
    assert fields["error"] is None


@pytest.mark.parametrize(
    ("found", "error", "final"),
    [(solved(0, 1, 2), "why", True), (solved(0, 1, 2), None, False), (None, None, True)],
)
def test_what_could_not_be_read_back_is_not_written(found, error, final):
    with pytest.raises(InputError):
        encode(Evaluation(0, Block(Point(CONFIG), 0, 2), found, error, final, 0.1, "h:1"))


LINE = encode(done(3, CONFIG, solved(8, 2, 4)))


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


def write(path, found):
    with Journal.open(path) as opened:
        for evaluation in found:
            opened.append(evaluation)


THREE = [
    done(0, CONFIG, solved(0, 1, 2)),
    failed(1, CONFIG, 2, 3),
    done(2, CONFIG | {"lr": 1.0}, solved(0, 2, 2)),
]


def test_torn_at_every_byte(tmp_path):
    write(tmp_path / "whole", THREE)
    data = (tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) == 3
    torn = tmp_path / "torn"
    for size in range(len(data) + 1):
        torn.write_bytes(data[:size])
        reader = JournalReader(torn)
        assert len(reader.read_on()) == sum(end <= size for end in ends)
        assert reader.size == max([0, *(end for end in ends if end <= size)])
    for size in (0, 1, ends[0] - 1, ends[0], ends[1] + 5, ends[2] - 1):
        torn.write_bytes(data[:size])
        kept = len(read(torn))
        write(torn, THREE[kept:])
        assert torn.read_bytes() == data


def test_a_torn_tail_longer_than_a_read(tmp_path):
    write(tmp_path / "j", THREE)
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data + b"x" * 200_000)
    write(tmp_path / "j", [])
    assert (tmp_path / "j").read_bytes() == data


def test_a_malformed_line_in_the_middle_names_its_line(tmp_path):
    write(tmp_path / "j", THREE)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    for bad in (b"\n", b"{}\n", lines[1][:50] + b"\n", b"\xff\n", lines[1].replace(b":2", b":-2")):
        (tmp_path / "j").write_bytes(lines[0] + bad + lines[2])
        with pytest.raises(InputError, match=r"/j:2"):
            read(tmp_path / "j")


@pytest.fixture
def halves(monkeypatch):
    """Any journal is read by two processes; how many lines the other one has read, each time."""
    came, extend = [], JournalLines.extend
    monkeypatch.setattr(
        JournalLines, "extend", lambda one, other: came.append(len(other)) or extend(one, other)
    )
    monkeypatch.setattr(journal, "LARGE", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    return came


def test_two_processes_read_what_one_would(tmp_path, halves):
    purpose = ("certify", 1, "0123456789abcdef", 1, 1, 9, 0.95, True, 2, 3, None, "own", 0, None)
    told = Details({"a": np.array([0.5, np.nan])}, {31: "no"}, output={31: "text"})
    kinds = [
        lambda i: done(i, CONFIG, solved(9 * i, 1, 2)),
        lambda i: done(i, {"x": "ü", "y": None}, outcome(9 * i, [[1] * 4, [0] * 4])),
        lambda i: replace(failed(i, {"x": True, "z": i}, 6, 1), worker=f"else:{i}"),
        lambda i: replace(done(i, {"x": 1}, solved(4 + i, 1, 1)), purpose=Purpose(*purpose)),
        lambda i: replace(done(i, CONFIG, solved(9 * i, 1, 2)), made="0123abcd", at=i),
    ]
    lines = [encode(kinds[i % 5](i)) for i in range(80)]
    lines[30] = encode(done(30, CONFIG, replace(solved(30, 0, 2), details=told)))
    path = tmp_path / "j"
    path.write_text("\n".join(lines[:40]) + "\n{torn")
    reader = JournalReader(path)
    assert [encode(line) for line in reader.read_on()] == lines[:40]
    assert reader.torn
    path.write_text("\n".join(lines) + "\n")
    assert [encode(line) for line in reader.read_on()] == lines[40:]
    assert not reader.torn
    assert len(halves) == 2
    assert all(halves)


@pytest.mark.parametrize("bad", [0, 5, 19])
def test_two_processes_name_the_line_that_is_malformed(tmp_path, halves, bad):
    lines = [encode(done(i, CONFIG, solved(9 * i, 1, 2))) for i in range(20)]
    lines[bad] = "{}"
    (tmp_path / "j").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"/j:{bad + 1}:"):
        read(tmp_path / "j")
    assert not halves


def test_a_seed_twice_is_refused(tmp_path):
    write(tmp_path / "j", [*THREE, done(3, CONFIG, solved(4, 1, 2))])
    with pytest.raises(InputError, match=r"/j:4: seed 4 of config \w+ is also in line 2"):
        read(tmp_path / "j")


def test_a_second_writer_is_refused(tmp_path):
    with Journal.open(tmp_path / "j"), pytest.raises(InputError, match="another search"):
        Journal.open(tmp_path / "j")
    Journal.open(tmp_path / "j").close()
