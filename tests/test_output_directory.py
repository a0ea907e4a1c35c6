"""An output that holds somebody's files and no run: it is refused, and nothing is written over."""

from itertools import product

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import SPACE, without_ray

import xortune as xt
from xortune.runs.run import JOURNAL, refuse_files_of_others

MINE = [
    *("space.yaml", "manifest.json", "report.md", "table.csv", "figures/mine.svg"),
    *("certificate.json", "space-1.yaml", "evaluations.jsonl"),
]


@pytest.fixture
def commands(tmp_path):
    """What writes a run, by its name: a search and an import."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    (tmp_path / "results.csv").write_text("lr,seed,success\n0.1,0,1\n0.1,1,0\n")
    return {
        "search": ("search", tmp_path / "tiny.yaml", "--quiet"),
        "resume": ("search", tmp_path / "tiny.yaml", "--quiet", "--resume"),
        "import": ("import", tmp_path / "results.csv", "--config", "lr"),
    }


STORED = product(["search", "import"], ["report.md", "manifest.json", "figures/mine.svg"])


@pytest.mark.parametrize(
    ("verb", "name", "store"),
    [
        *((*words, "") for words in product(["search", "resume", "import"], MINE)),
        *((*words, "file://") for words in STORED),
    ],
)
def test_files_of_somebody_else_are_not_written_over(
    tmp_path, commands, verb, name, store, monkeypatch
):
    monkeypatch.setenv("XORTUNE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "mine" / name
    place.parent.mkdir(parents=True)
    place.write_text('{"mine": 1}')
    output = f"{store}{tmp_path}/mine"
    ran = xortune(*commands[verb], "--output", output)
    refused(ran, output, name.partition("/")[0], "" if store else "--output")
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [place]
    assert place.read_text() == '{"mine": 1}'


def test_other_files_and_what_an_earlier_start_left_are_no_hindrance(
    tmp_path, commands, monkeypatch
):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "figures").mkdir()
    without_ray(monkeypatch.setattr)
    before = xt.search(tmp_path / "tiny.yaml", output=folder)
    (folder / JOURNAL).write_bytes(b'{"proposal"')  # killed before its first line was whole
    ran = xortune(*commands["search"], "--output", folder)
    assert ran.exit_code == 0, ran.output
    assert len(xt.load_run(folder).evaluations) == len(before.evaluations)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_journal_without_a_manifest_is_somebody_elses(tmp_path):
    (tmp_path / JOURNAL).write_text("mine")
    with pytest.raises(xt.InputError, match=r"no run, but evaluations.jsonl that a run would"):
        refuse_files_of_others(tmp_path)
    assert (tmp_path / JOURNAL).read_text() == "mine"
