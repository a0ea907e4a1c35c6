"""A run directory from somebody else: reading it runs nothing, leads nowhere, and ends."""

import base64
import json
import os
import struct
import zlib

import pandas as pd
import pytest
from commands import refused, xortune
from hand_made import CONFIG, done, failed, solved, write_run

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.files import MAX_BYTES, json_of, text_of
from xortune.core.task import read_numbers
from xortune.reports.files import csv_text
from xortune.runs.journal import Journal
from xortune.runs.lock import held
from xortune.runs.manifest import update_manifest
from xortune.runs.run import holds_run, load_run
from xortune.runs.store import JOURNAL

READERS = (["status"], ["report"], ["gate", "--min-rate", "0.5"], ["export"])


def read_by_all(place):
    """What the commands that read a run say of it: no traceback, and nothing that steers."""
    for command, *options in READERS:
        result = xortune(command, place, *options)
        assert result.exit_code in {0, 2}, result.output
        assert "\x1b" not in result.output + result.stderr
        yield result


FILES = (JOURNAL, "manifest.json", "space.yaml", f"lock/0001-{'f' * 32}.json")


@pytest.fixture
def run(tmp_path):
    lines = [done(0, CONFIG, solved(0, 6, 8)), failed(1, CONFIG | {"lr": 0.5}, 0, 8)]
    return write_run(tmp_path / "run", lines, name="mine", trainer="network", task="xor", trials=2)


KINDS = [
    (lambda place, secret: place.symlink_to(secret), "is a symbolic link"),
    (lambda place, _: place.symlink_to("/dev/zero"), "is a symbolic link"),
    (lambda place, _: os.mkfifo(place), "is no regular file"),
    (lambda place, _: place.mkdir(), "Is a directory"),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("make", "what"), KINDS, ids=["link", "device", "pipe", "directory"])
def test_what_is_no_file_of_the_run_is_refused_at_once(run, tmp_path, name, make, what):
    place, secret = run.path / name, tmp_path / "secret"
    secret.write_bytes(place.read_bytes() if place.exists() else b"{}")
    before = secret.read_bytes()
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    make(place, secret)
    told = [outputs.stderr for outputs in read_by_all(run.path)]
    assert any(f"{place}: cannot be read ({what}" in text for text in told), told
    assert secret.read_bytes() == before


def test_a_journal_is_not_appended_to_through_a_link(run, tmp_path):
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes((run.path / JOURNAL).read_bytes() + b"a torn line, or a note")
    before = outside.read_bytes()
    (run.path / JOURNAL).unlink()
    (run.path / JOURNAL).symlink_to(outside)
    with pytest.raises(InputError, match=r"evaluations\.jsonl: cannot be written"):
        Journal(run.path / JOURNAL)
    assert outside.read_bytes() == before
    assert not holds_run(run.path)


def test_a_run_that_cannot_be_written_is_made_writable_or_copied(run):
    (run.path / "table.csv").mkdir()
    words = r"cannot be written.*; fix: make it writable, or copy"
    with pytest.raises(InputError, match=words), held(run.path / JOURNAL):  # as certify begins
        pass
    with (
        pytest.raises(InputError, match="give another directory with output"),
        held(run.path / JOURNAL / "new"),
    ):
        pass
    with pytest.raises(InputError, match=words):
        xt.write_report(run)


def test_what_is_written_replaces_a_link(run, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for name in ("report.md", "table.csv", "table.parquet", "seeds.parquet"):
        (run.path / name).symlink_to(outside)
    xt.write_report(run)
    assert outside.read_text() == "mine"
    assert not (run.path / "table.csv").is_symlink()
    assert len(pd.read_csv(run.path / "table.csv")) == 2


def test_a_link_to_the_whole_directory_is_the_users_own(run, tmp_path):
    (tmp_path / "link").symlink_to(run.path)
    assert load_run(tmp_path / "link").results[0].key == run.results[0].key
    assert xt.status(tmp_path / "link").done == 2


def test_pickles_are_never_loaded(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run.path / "ray").mkdir()
    for name in ("table.parquet", "seeds.parquet", "table.csv", "ray/tuner.pkl", "study.pkl"):
        (run.path / name).write_bytes(b"cos\nmkdir\n(S'PWNED'\ntR.")
    assert len(list(read_by_all(run.path))) == len(READERS)
    loaded = load_run(run.path)
    assert len(loaded.table) == len(loaded.results) == 2
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "1e999", "[-1e999]", "9" * 5000, "[" * 100_000, "", "{"]
)
def test_json_that_is_none_is_refused(tmp_path, text):
    place = tmp_path / "x.json"
    place.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: is not JSON"):
        json_of(place)


def test_a_file_that_is_read_whole_has_a_limit(tmp_path):
    place = tmp_path / "x"
    with open(place, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"is too large; allowed: 64,000,000 bytes"):
        text_of(place)
    place.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        text_of(place)


def test_a_table_of_numbers_has_to_be_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for place in (tmp_path / "pipe.csv", "/dev/zero"):
        with pytest.raises(InputError, match="is no regular file"):
            read_numbers(place)
    (tmp_path / "t.csv").write_text("x,y\n0,1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "t.csv")
    assert read_numbers(tmp_path / "link.csv")[0]["y"].tolist() == [1.0]


@pytest.mark.parametrize(("seeds", "width", "size"), [(1, 2**31, 10**6), (8, 4, 10**8)])
def test_a_bomb_is_not_unpacked(run, seeds, width, size):
    data = zlib.compress(struct.pack("<I", width) + b"\0" * size, 9)
    bomb = {"seeds_data": base64.b64encode(data).decode()}
    line = json.loads((run.path / JOURNAL).read_text().splitlines()[0])
    line |= dict.fromkeys(("count", "k", "n"), seeds) | bomb
    (run.path / JOURNAL).write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match=f"seeds_data: does not hold {seeds} seeds"):
        load_run(run.path)


def test_a_budget_that_is_no_count_of_epochs(tmp_path):
    """Of a config without any outcome the budget is what its settings say, if that can be."""
    points = [CONFIG | {"epochs": epochs} for epochs in (10**400, -5, 7)]
    lines = [failed(number, point, 0, 4) for number, point in enumerate(points)]
    run = write_run(tmp_path / "run", lines)
    assert sorted(result.outcome.epochs for result in run.results) == [0, 0, 7]
    assert run.table["epochs_to_solve"].isna().all()


HOSTILE = "\x1b[31m\x07\u202e<script>[red]|`=1+1"


def test_names_steer_nothing_in_an_error(tmp_path):
    place = tmp_path / "a\x1b[31mb"
    for result in (*read_by_all(place), xortune("space", place)):
        assert "\x1b" not in refused(result, r"a\x1b[31mb")


def test_names_and_reasons_steer_nothing_in_any_output(tmp_path):
    point = CONFIG | {"activation": HOSTILE, HOSTILE: HOSTILE}
    lines = [done(0, point, solved(0, 2, 4)), failed(1, point, 4, 4, error=HOSTILE)]
    given = {"name": HOSTILE, "command": ["xortune", HOSTILE], "trainer": "own"}
    run = write_run(tmp_path / "run", lines, space_text=f"# {HOSTILE}\nname: x\n", **given)
    told = [xortune(command, run.path) for command in ("report", "status")]
    told.append(xortune("status", run.path, "--json"))
    assert [result.exit_code for result in told] == [0, 0, 0]
    files = [(run.path / name).read_text() for name in ("report.md", "table.csv")]
    for text in (*files, *(result.output for result in told)):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    outside_of_fences = (run.path / "report.md").read_text().split("```")[::2]
    assert not any("<script>" in part for part in outside_of_fences)


def test_csv_text():
    texts = ["=1", "+1", "-1", "-1+2", "@a", "\x1b[1m", "a\nb", None, "", "é"]
    table = pd.DataFrame({"=x": texts, "n": -1, "f": -0.5, "b": True})
    before = table.copy()
    lines = csv_text(table).splitlines()
    assert lines[0] == "'=x,n,f,b"
    cells = [line.split(",")[0] for line in lines[1:]]
    assert cells == ["'=1", "+1", "-1", "'-1+2", "'@a", r"\x1b[1m", r"a\nb", "", "", "é"]
    assert lines[1].endswith(",-1,-0.5,True")
    pd.testing.assert_frame_equal(table, before)
    assert csv_text(pd.DataFrame({"a": [1]})) == "a\n1\n"


@pytest.mark.parametrize(
    "entry",
    [
        *({"not_certified": 3}, {"not_certified": {"why": "x"}}),
        {"not_certified": {"seconds": "x", "why": "x", "command": "x"}},
        {"not_certified": {"seconds": 10**400, "why": [HOSTILE], "command": {HOSTILE: 1}}},
        *({"trials": 10**400}, {"trials": -1}, {"started": "9999-12-31T23:59:59-14:00"}),
        *({"ladder": [10**400]}, {"name": {HOSTILE: HOSTILE}}, {"importance": {"lr": "x"}}),
        {"versions": [HOSTILE]},
    ],
)
def test_a_manifest_may_say_anything(run, entry):
    update_manifest(run.path, **entry)
    assert len(list(read_by_all(run.path))) == len(READERS)
