"""Each way to fail that one can think of: one message, an exit code of the README, no traceback."""

import json
import shlex
import shutil

import pytest
from commands import _somewhere, xortune
from hand_made import TINY_SPACE, solved, tiny_run

__all__ = ["_somewhere"]  # the fixture

COMMANDS = {
    "report": ("report", "run", "--format", "md,csv"),
    "certify": ("certify", "run", "--seeds", "4"),
    "compare": ("compare", "run", "other", "--seeds", "4"),
    "status": ("status", "run"),
    "export": ("export", "run"),
    "resume": ("search", "space.yaml", "--output", "run", "--resume", "--quiet"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (folder / "space.yaml").write_text(TINY_SPACE)
    tiny_run(folder / "run", [solved(0, 3, 4, epochs=30)], trials=1)
    shutil.copytree(folder / "run", folder / "other")
    return folder


@pytest.fixture(autouse=True)
def runs(kept, tmp_path):
    """`run`, finished; `other`; and `space.yaml`."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)


def put(name, data):
    def damage(run):
        (run / name).write_bytes(data)

    return damage


def manifest(**changes):
    def damage(run):
        value = json.loads((run / "manifest.json").read_text()) | changes
        (run / "manifest.json").write_text(json.dumps(value))

    return damage


def directory(name):
    def damage(run):
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return damage


def nowhere(run):
    shutil.rmtree(run)


def a_file(run):
    shutil.rmtree(run)
    run.write_text("a file")


def empty(run):
    shutil.rmtree(run)
    run.mkdir()


DAMAGES = {
    "no such run": nowhere,
    "a file in its place": a_file,
    "a directory without a run": empty,
    "manifest: removed": lambda run: (run / "manifest.json").unlink(),
    "manifest: empty": put("manifest.json", b""),
    "manifest: no JSON": put("manifest.json", b"{"),
    "manifest: a list": put("manifest.json", b"[]"),
    "manifest: no text": put("manifest.json", b"\xff\xfe\x00"),
    "manifest: deep": put("manifest.json", b"[" * 100_000),
    "manifest: words for trials": manifest(trials="many"),
    "manifest: a ladder of words": manifest(ladder=["a"]),
    "manifest: no ladder": manifest(ladder=None),
    "manifest: a list for a name": manifest(name=["a"]),
    "manifest: a task that is not": manifest(task="xro"),
    "manifest: a number for a trainer": manifest(trainer=3),
    "journal: no JSON": put("evaluations.jsonl", b"{\n{\n"),
    "journal: no text": put("evaluations.jsonl", b"\xff\xfe\n\xff\n"),
    "journal: a list": put("evaluations.jsonl", b"[]\n[]\n"),
    "journal: other fields": put("evaluations.jsonl", b'{"a": 1}\n{"a": 1}\n'),
    "space: removed": lambda run: (run / "space.yaml").unlink(),
    "space: no YAML": put("space.yaml", b"{a: [\n"),
    "space: no text": put("space.yaml", b"\xff\xfe"),
    "space: a list": put("space.yaml", b"- a\n"),
    "space: empty": put("space.yaml", b""),
    "report: a directory": directory("report.md"),
    "table: a directory": directory("table.csv"),
    "figures: a file": put("figures", b""),
}

AS_ONE = ("no such run", "a ", "journal: no JSON", "space: no YAML", "manifest: no JSON")
"""Certify, compare and export read a run as report does: one damage of each kind for them."""

UNREAD = ("manifest: words", "manifest: a l", "manifest: no ladder", "manifest: a task")
"""A search that goes on has no reason to notice these damages."""

CASES = [
    (command, damage)
    for command in COMMANDS
    for damage in DAMAGES
    if damage.startswith(AS_ONE)
    or command in ("report", "status")
    or (command == "resume" and not damage.startswith(UNREAD))
]


@pytest.mark.parametrize(("command", "damage"), CASES)
def test_a_damaged_run(command, damage, tmp_path):
    """0 and no error, or 2 and one; nothing else, whatever is wrong with the files."""
    DAMAGES[damage](tmp_path / "run")
    result = xortune(*COMMANDS[command])
    assert result.exit_code in (0, 2), result.output
    assert result.stderr.count("error: ") == (result.exit_code == 2), result.stderr
    assert "unexpected error" not in result.stderr
    if damage.startswith(("no such", "a ", "journal")) and command != "resume":
        assert (result.exit_code, result.stdout) == (2, "")


REFUSED = """
search
search /dev/null
search run/evaluations.jsonl
search LONG.yaml
search space.yaml --output space.yaml
search space.yaml --output space.yaml/run
search space.yaml --output LONG
search space.yaml --output /proc/run
search space.yaml --output /dev/full
search space.yaml --output ''
search space.yaml --output nowhere://run
search space.yaml --trials many
search space.yaml --trials BIG
search space.yaml --seed BIG
search space.yaml --trial-timeout 0s
search space.yaml --engine steam
search space.yaml --study-storage nowhere
search space.yaml --study-storage sqlite:////nowhere/study.db
search space.yaml --address nowhere:0
search space.yaml --nothing
evaluate NETWORK --epochs 10 --seeds BIG
evaluate NETWORK --epochs 10 --seeds 4 --first-seed 4294967295
evaluate NETWORK --epochs 10 --task .
evaluate NETWORK --epochs 10 --task run/evaluations.jsonl
evaluate NETWORK --epochs 10 --lr 1e999
evaluate NETWORK --epochs BIG
report LONG
report ''
report nowhere://run
report /dev/null
certify run --seeds BIG
certify run --confidence nan
certify run --engine steam
certify run --trainer nowhere.py:f
certify run --trainer space.yaml:f
certify run --trial-timeout never
certify run --address nowhere:0
compare
compare run other#nothing
compare run other --output space.yaml
compare run --reference space.yaml
compare run --reference .
compare run --reference /dev/null
compare run --reference run/space.yaml --column lr
"""
NETWORK = "--activation Tanh --loss MSELoss --optimizer Adam --lr 0.03 --hidden-dim 5"


@pytest.mark.parametrize("words", REFUSED.strip().splitlines())
def test_what_cannot_be_is_refused(words):
    for name, text in {"LONG": "x" * 300, "BIG": "1" * 30, "NETWORK": NETWORK}.items():
        words = words.replace(name, text)
    result = xortune(*shlex.split(words))
    assert result.exit_code == 2, result.output
    assert "error" in result.stderr.lower()
    assert "unexpected error" not in result.stderr
    assert result.stdout == ""
