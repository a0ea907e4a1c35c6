import os
from dataclasses import replace

import numpy as np
import pytest
from hand_made import CONFIG, done, failed, outcome, solved

from xortune.core.errors import InputError
from xortune.core.outcome import Details
from xortune.runs import journal
from xortune.runs.evaluation import JournalLines, Purpose, encode
from xortune.runs.journal import Journal, JournalReader, read, torn


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
    path = tmp_path / "torn"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        reader = JournalReader(path)
        assert len(reader.read_on()) == sum(end <= size for end in ends)
        assert reader.size == max([0, *(end for end in ends if end <= size)])
    for size in (0, 1, ends[0] - 1, ends[0], ends[1] + 5, ends[2] - 1):
        path.write_bytes(data[:size])
        kept = len(read(path))
        write(path, THREE[kept:])
        assert path.read_bytes() == data


@pytest.mark.parametrize("tail", [b"x" * 200_000, bytes(5000)], ids=["long", "a power cut"])
def test_a_torn_tail_longer_than_a_read(tmp_path, tail):
    write(tmp_path / "j", THREE)
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data + tail)
    assert torn(tmp_path / "j") == len(tail)
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
