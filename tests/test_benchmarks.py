"""The benchmarks: ratios are printed; the truth, accounts and tables of searches; fuzzing."""

import math
import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from hand_made import append, done

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.trainer import Block

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


def test_tracer_counts_and_takes_down(tracer, monkeypatch):
    clock = iter([1.0, 2.5, 3.0, 99.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    tracer._started = 0.0
    outcome = tracer.train(GOOD, range(8))
    assert outcome.seeds.tolist() == list(range(3_000_000, 3_000_008))
    tracer.answer(GOOD, 8, 8)
    tracer.answer(GOOD, 8, 8)  # nothing new
    tracer.train(POOR, range(100))
    tracer.answer(GOOD, 31, 32)
    tracer.answer(POOR, 90, 100)
    found = [(s.spent, s.seconds, s.config, s.k, s.n) for s in tracer.steps]
    assert found == [(800, 1.0, 0, 8, 8), (10_800, 2.5, 0, 31, 32), (10_800, 3.0, 1, 90, 100)]
    assert [point["kind"] for point in tracer.points] == ["b", "b"]


def test_xortunes_journal_tells_its_answers(tracer, tmp_path):
    from quality.journal import Journal
    from quality.spaces import SPACES, SpaceTrainer

    bench = SPACES["synthetic"]
    trainer = SpaceTrainer(bench, 3)
    journal = Journal(tmp_path, tracer)
    counts = []
    # 8 seeds of a poor one, 8 of a good one, 24 more of the good one, 96 more of it.
    blocks = [(POOR, 0, 8), (GOOD, 0, 8), (GOOD, 8, 24), (GOOD, 32, 96)]
    for number, (point, first, count) in enumerate(blocks):
        [outcome] = trainer.train([Block(Point(point), first, count)])
        counts.append(outcome.successes)
        append(tmp_path, done(number, point, outcome))
        journal.read()
    assert counts[0] < counts[1] == 8
    found = [(s.spent // bench.epochs, s.config, s.k, s.n) for s in tracer.steps]
    assert found[:2] == [(8, 0, counts[0], 8), (16, 1, 8, 8)]
    assert found[2:] == [(40, 1, 8 + counts[2], 32), (136, 1, sum(counts[1:]), 128)]


def _record(method="flat", repetition=0, steps=(), rates=(), **changes):
    from quality.record import Record
    from quality.trace import Step

    fields = {"space": "made-up", "epochs": 10, "seconds": 8.0, "rates": tuple(rates)}
    fields |= dict.fromkeys(("asked", "budget", "spent"), 4000) | changes
    steps = tuple(Step(*step) for step in steps)
    return Record(method=method, repetition=repetition, steps=steps, **fields)


def test_a_good_answer_counts_from_where_it_is_kept():
    from quality.summary import held, reached

    steps = ((100, 1.0, 0, 1, 1), (200, 2.0, 1, 2, 2), (300, 3.0, 0, 2, 2), (400, 4.0, 2, 8, 8))
    record = _record(steps=(*steps, (5000, 9.0, 1, 9, 9)), rates=(0.991, 0.5, 0.999))
    assert reached(record) == 100
    assert held(record) == 300
    assert held(record, "seconds") == 3.0
    assert held(record, target=0.995) == 400
    assert held(_record(steps=steps[:2], rates=(0.991, 0.5))) == math.inf
    assert held(_record()) == math.inf


def test_summary_says_who_is_how_much_slower():
    from quality.summary import across, summary

    # From 1,000 seed-epochs (2 s) on with a rate of 0.5, from 3,000 (6 s) with 0.995.
    steps = ((1000, 2.0, 0, 60, 100), (3000, 6.0, 1, 100, 100))
    records = [
        *(_record("xortune", i, ((500, 1.0, 0, 128, 128),), (0.999,)) for i in range(4)),
        *(_record("flat", i, steps, (0.5, 0.995)) for i in range(4)),
        _record("smac", 0, steps, (0.5, 0.995), budget=2000),
    ]
    text = summary(records)
    lines = text.split("Median true rate")[0].splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("|")]
    rows = {name: found[:-1] for _, name, *found in cells}
    assert rows["xortune"][:7] == ["4", "4", "0.9990", "0.749", "0.5 (4/4)", "1 s", "0.5"]
    assert rows["flat"] == [
        *["4", "4", "0.9950", "0.250", "3 (4/4)", "6 s", "3", "+0.5, +0.5"],
        *["6 (6 to 6)", "6 (6 to 6)"],
    ]
    never = ["∞ (0/1)", "∞ s", "∞", "+10.0, +10.0", "∞ (∞ to ∞)", "∞ (∞ to ∞)"]
    assert (rows["smac"][0], rows["smac"][4:]) == ("1", never)
    assert "Cut off by the clock before the budget was spent: smac." in text
    rows = [line.split("|")[2:5] for line in across(records).splitlines() if "| made-up" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["0.874", "0.499", "0.250"],
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
