"""Each way to fail that one can think of: one message, an exit code of the README, no traceback."""

import json
import shlex
import shutil

import pytest
from commands import _somewhere, xortune  # noqa: F401  # every test has a folder
from hand_made import TINY_SPACE, solved, tiny_run

COMMANDS = {
    "report": ("report", "run", "--format", "md,csv"),
    "certify": ("certify", "run", "--seeds", "4"),
    "compare": ("compare", "run", "other", "--seeds", "4"),
    "status": ("status", "run"),
    "export": ("export", "run"),
    "resume": ("search", "space.yaml", "--output", "run", "--resume", "--quiet"),
}


@pytest.fixture(autouse=True)
def runs(tmp_path):
    """`run`, finished; `other`; and `space.yaml`."""
    (tmp_path / "space.yaml").write_text(TINY_SPACE)
    tiny_run(tmp_path / "run", [solved(0, 3, 4, epochs=30)], trials=1)
    shutil.copytree(tmp_path / "run", tmp_path / "other")


DIRECTORY = object()

DAMAGES = {
    "no such run": ("", None),
    "a file in its place": ("", b"a file"),
    "a directory without a run": ("", DIRECTORY),
    "manifest: removed": ("manifest.json", None),
    "manifest: empty": ("manifest.json", b""),
    "manifest: no JSON": ("manifest.json", b"{"),
    "manifest: a list": ("manifest.json", b"[]"),
    "manifest: no text": ("manifest.json", b"\xff\xfe\x00"),
    "manifest: deep": ("manifest.json", b"[" * 100_000),
    "manifest: words for trials": ("manifest.json", {"trials": "many"}),
    "manifest: a ladder of words": ("manifest.json", {"ladder": ["a"]}),
    "manifest: no ladder": ("manifest.json", {"ladder": None}),
    "manifest: a list for a name": ("manifest.json", {"name": ["a"]}),
    "manifest: a task that is not": ("manifest.json", {"task": "xro"}),
    "manifest: a number for a trainer": ("manifest.json", {"trainer": 3}),
    "journal: no JSON": ("evaluations.jsonl", b"{\n{\n"),
    "journal: no text": ("evaluations.jsonl", b"\xff\xfe\n\xff\n"),
    "journal: a list": ("evaluations.jsonl", b"[]\n[]\n"),
    "journal: other fields": ("evaluations.jsonl", b'{"a": 1}\n{"a": 1}\n'),
    "space: removed": ("space.yaml", None),
    "space: no YAML": ("space.yaml", b"{a: [\n"),
    "space: no text": ("space.yaml", b"\xff\xfe"),
    "space: a list": ("space.yaml", b"- a\n"),
    "space: empty": ("space.yaml", b""),
    "report: a directory": ("report.md", DIRECTORY),
    "table: a directory": ("table.csv", DIRECTORY),
    "figures: a file": ("figures", b""),
}


def put(path, content):
    """Replace a file or a directory by other content, fields of JSON, a directory or nothing."""
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content).encode()
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if content is DIRECTORY:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run(command, damage, tmp_path):
    """0 and no error, or 2 and one; nothing else, whatever is wrong with the files."""
    name, content = DAMAGES[damage]
    put(tmp_path / "run" / name, content)
    result = xortune(*COMMANDS[command])
    assert result.exit_code in (0, 2), result.output
    assert result.stderr.count("error: ") == (result.exit_code == 2), result.stderr
    assert "unexpected error" not in result.stderr
    if damage.startswith(("no such", "a ", "journal")) and command != "resume":
        assert (result.exit_code, result.stdout) == (2, "")


REFUSED = """
space nowhere.yaml
space .
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
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "error" in result.stderr.lower()
    assert "unexpected error" not in result.stderr
