"""The benchmarks: ratios are printed; the truth, accounts and tables of searches; fuzzing."""

import math
import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from xortune.core.errors import InputError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("engines.py", r"stacked torch +\| +128 \| .*\(\S+x\)"),
        ("journal.py", r"grid +\| +\d+\.\d \| +\d+\.\d \|"),
        ("scale.py", r"race +\| +10 \| +1 min \| .* \d+\.\d%, \d+\.\d% \|"),
        ("sweep.py", r"\| 1 +\| .* 1\.00x \|"),
    ],
)
@pytest.mark.long
def test_quick_run_prints_ratios(script, line):
    command = [sys.executable, str(BENCHMARKS / script), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(line, done.stdout)


GOOD = {"kind": "b", "x": 29, "y": 11, "z": 7, "epochs": 100}
FAIR = {"kind": "c", "x": 10, "y": 28, "z": 4, "epochs": 100}
POOR = {"kind": "b", "x": 18, "y": 11, "z": 7, "epochs": 100}


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_the_scripts_find_what_they_import():
    scripts = ", ".join(path.stem for path in BENCHMARKS.glob("*.py"))
    found = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})"
    forked.run(["-c", f"{found}; import {scripts}"])


@pytest.fixture
def tracer():
    from quality.spaces import SPACES
    from quality.trace import Tracer

    return Tracer(SPACES["synthetic"], 3, 600 * SPACES["synthetic"].epochs)


@pytest.mark.parametrize("point", [GOOD, FAIR, POOR])
def test_synthetic_rate_is_the_tables(point):
    from quality import surface

    seeds = range(40_000)
    rate = surface.true_rate(point)
    error = math.sqrt(rate * (1 - rate) / len(seeds))
    assert surface.solved(point, seeds).mean() == pytest.approx(rate, abs=4 * error)


def test_tracer_counts_and_takes_down(tracer):
    outcome = tracer.train(GOOD, range(8))
    assert outcome.seeds.tolist() == list(range(3_000_000, 3_000_008))
    tracer.answer(GOOD, 8, 8)
    tracer.answer(GOOD, 8, 8)  # nothing new
    tracer.train(POOR, range(100))
    tracer.answer(GOOD, 31, 32)
    tracer.answer(POOR, 90, 100)
    found = [(s.spent, s.config, s.k, s.n) for s in tracer.steps]
    assert found == [(800, 0, 8, 8), (10_800, 0, 31, 32), (10_800, 1, 90, 100)]
    assert [point["kind"] for point in tracer.points] == ["b", "b"]


@pytest.mark.parametrize("method", ["xortune", "halving"])
def test_a_method_spends_its_budget_and_answers(tracer, method):
    from search_quality import METHODS

    METHODS[method](tracer)
    assert 0 <= tracer.spent - tracer.budget < 100 * tracer.bench.epochs
    assert 0 < tracer.steps[-1].k <= tracer.steps[-1].n


def _record(method="flat", steps=(), rates=()):
    from quality.record import Record
    from quality.trace import Step

    return Record("made-up", method, 0, 10, 4000, tuple(Step(*s) for s in steps), tuple(rates))


def test_a_good_answer_counts_from_where_it_is_kept():
    from quality.record import held

    steps = ((100, 0, 1, 1), (200, 1, 2, 2), (300, 0, 2, 2), (400, 2, 8, 8))
    record = _record(steps=(*steps, (5000, 1, 9, 9)), rates=(0.991, 0.5, 0.999))
    assert held(record) == 300
    assert held(record, target=0.995) == 400
    assert held(_record(steps=steps[:2], rates=(0.991, 0.5))) == math.inf
    assert held(_record()) == math.inf


def test_summary_has_areas_and_seeds():
    from quality.record import summary

    # From 1,000 seed-epochs on with a rate of 0.5, from 3,000 with 0.995.
    steps = ((1000, 0, 60, 100), (3000, 1, 100, 100))
    records = [
        *(_record("xortune", ((500, 0, 128, 128),), (0.999,)) for _ in range(4)),
        *(_record("flat", steps, (0.5, 0.995)) for _ in range(4)),
        _record("irace", steps, (0.5, 0.6)),
    ]
    rows = [line.split("|")[2:5] for line in summary(records).splitlines() if "| made-up" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["0.874", "0.499", "0.400"],
        ["50 (4/4)", "300 (4/4)", "∞ (0/1)"],
    ]


# Space files and run directories from anybody.


@pytest.mark.parametrize(
    "words",
    [
        ("--spaces", 40, "--runs", 6, "--seed", 20, "--sketch"),
        pytest.param(("--spaces", 120, "--runs", 30, "--seed", 21), marks=pytest.mark.long),
    ],
)
def test_what_is_mutated_is_refused_or_right_and_harms_nobody(words):
    done = forked.run([BENCHMARKS / "fuzz.py", *map(str, words)], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 findings\n" in done.stdout
    # Some pass and some do not: the mutations reach deep enough, and are no mere noise.
    ends = dict(re.findall(r"^  (\w[\w -]*: \w+) +([\d,]+)$", done.stdout, flags=re.MULTILINE))
    for name in ("space", "load_run", "status", "report", "certify"):
        assert int(ends[f"{name}: done"]) >= 2
        assert int(ends[f"{name}: refused"]) >= 3


def test_the_program_sees_what_it_looks_for(tmp_path, monkeypatch):
    """A traceback, a message without words, a control character, a write and a read outside."""
    import fuzz as program
    import fuzz_watch

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
    monkeypatch.setattr(watch, "folder", inside)
    monkeypatch.setattr(watch, "outside", outside)
    assert findings(lambda: "done") == ""
    assert "ZeroDivisionError" in findings(lambda: str(1 / 0))
    assert "says only" in findings(lambda: (_ for _ in ()).throw(InputError("no")))
    assert "to write" in findings(lambda: str((outside / "new").write_text("x")))
    assert "may have read" in findings((outside / "secret").read_text)
    assert findings(lambda: str((inside / "new").write_text("x"))) == ""
    assert "started" in findings(lambda: str(subprocess.run(ran, check=False)))
    monkeypatch.setattr(fuzz_watch, "WAITING", 0.1)
    assert "hangs" in findings(lambda: str(program.time.sleep(5)))
    for name, text, found in (
        ("table.csv", "a,b\n\x1b,1\n", "holds '\\x1b'"),
        ("table.csv", "a,b\n=1+1,1\n", "formula"),
        ("report.md", "`<b>` and <script>\n", "holds <s"),
    ):
        (inside / name).write_text(text)
        assert found in findings(program.harmless(inside, {}))
        (inside / name).unlink()
