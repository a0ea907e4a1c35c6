"""Space files and run directories from anybody: the short version of benchmarks/fuzz.py."""

import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def fuzz(*words):
    return forked.run([BENCHMARKS / "fuzz.py", *map(str, words)], check=False)


@pytest.mark.parametrize(
    "words",
    [
        ("--spaces", 60, "--runs", 8, "--seed", 20, "--sketch"),
        pytest.param(("--spaces", 120, "--runs", 30, "--seed", 21), marks=pytest.mark.long),
    ],
)
def test_what_is_mutated_is_refused_or_right_and_harms_nobody(words):
    done = fuzz(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 findings\n" in done.stdout
    # Some pass and some do not: the mutations reach deep enough, and are no mere noise.
    ends = dict(re.findall(r"^  (\w[\w -]*: \w+) +([\d,]+)$", done.stdout, flags=re.MULTILINE))
    for name in ("space", "load_run", "status", "report", "certify"):
        assert int(ends[f"{name}: done"]) >= 2
        assert int(ends[f"{name}: refused"]) >= 3


def test_the_program_sees_what_it_looks_for(tmp_path, monkeypatch):
    """A traceback, a message without words, a control character, a write and a read outside."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fuzz as program
    import fuzz_watch

    from xortune.core.errors import InputError

    def findings(action):
        found = program.Findings()
        watch.seen.clear()
        program.attempt(found, "case", "it", action)
        return " ".join(found.problems)

    watch = program.WATCH
    sys.addaudithook(watch.hook)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("x")
    ran = [sys.executable, "-V"]
    program.signal.signal(program.signal.SIGALRM, program._hang)
    watch.folder, watch.outside = inside, outside
    try:
        assert findings(lambda: "done") == ""
        assert "ZeroDivisionError" in findings(lambda: str(1 / 0))
        assert "says only" in findings(lambda: (_ for _ in ()).throw(InputError("no")))
        assert "to write" in findings(lambda: str((outside / "new").write_text("x")))
        assert "may have read" in findings((outside / "secret").read_text)
        assert findings(lambda: str((inside / "new").write_text("x"))) == ""
        assert "started" in findings(lambda: str(subprocess.run(ran, check=False)))
        monkeypatch.setattr(fuzz_watch, "WAITING", 0.1)
        assert "hangs" in findings(lambda: str(program.time.sleep(5)))
    finally:
        watch.folder = watch.outside = None
    for name, text, found in (
        ("table.csv", "a,b\n\x1b,1\n", "holds '\\x1b'"),
        ("table.csv", "a,b\n=1+1,1\n", "formula"),
        ("report.md", "`<b>` and <script>\n", "holds <s"),
    ):
        (inside / name).write_text(text)
        assert found in findings(program.harmless(inside, {}))
        (inside / name).unlink()
