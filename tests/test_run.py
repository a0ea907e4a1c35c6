"""The run directory: made, found and loaded; what follows from its journal; its certificate."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import reported
from commands import refused, xortune
from compared import purpose
from hand_made import (
    CONFIG,
    RIGHT,
    TINY_SPACE,
    WRONG,
    ZERO,
    done,
    failed,
    outcome,
    solved,
    write_run,
)
from pyarrow import parquet

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.reports.files import write_report
from xortune.runs.certificate import certificate_json, certificate_of, lower_bound, risk_of
from xortune.runs.evaluation import decode, encode
from xortune.runs.manifest import update_manifest
from xortune.runs.run import (
    Run,
    create,
    fresh_directory,
    holds_run,
    load_run,
    refuse_files_of_others,
)
from xortune.stats.sequential import boundary


def test_create_then_load(tmp_path):
    path = create(tmp_path / "a" / "b", space_text="name: é\n", manifest={"seed": 1})
    assert (path / "space.yaml").read_text(encoding="utf-8") == "name: é\n"
    assert not holds_run(path)
    run = load_run(str(path))
    assert run.manifest == {"format": 1, "seed": 1}
    assert (len(run.evaluations), len(run.results)) == (0, 0)
    assert sorted(p.name for p in path.iterdir()) == ["manifest.json", "space.yaml"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a\\b", "nul\0"])
def test_hostile_directory_names(tmp_path, name):
    with pytest.raises(InputError, match="not a directory name"):
        fresh_directory(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_update_manifest_keeps_the_rest(tmp_path):
    create(tmp_path, space_text="", manifest={"a": 1, "b": 2})
    update_manifest(tmp_path, b=3, c={"d": None})
    assert load_run(tmp_path).manifest == {"format": 1, "a": 1, "b": 3, "c": {"d": None}}
    for found in (2, "1", None):
        (tmp_path / "manifest.json").write_text(json.dumps({"format": found}))
        with pytest.raises(InputError, match=r"manifest.json: format: has the .*a newer one"):
            load_run(tmp_path)


def test_load_from_the_journal_alone(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    for name in ("space.yaml", "manifest.json"):
        (run.path / name).unlink()
    assert load_run(run.path).table["k"].tolist() == [1]
    with pytest.raises(InputError, match=r"space\.yaml: cannot be read"):
        _ = load_run(run.path).space_text


def test_blocks_that_contradict_each_other(tmp_path):
    lines = done(0, CONFIG, solved(0, 1, 2)), done(0, CONFIG, solved(2, 1, 2, epochs=9))
    with pytest.raises(InputError, match=rf"{Point(CONFIG).key}: blocks of different epochs"):
        _ = Run(tmp_path, {}, lines).results


def test_the_order_is_bound_then_epochs_then_key_and_each_proposal_counts_once(tmp_path):
    outcomes = {
        "none": solved(0, 0, 8),
        "zilch": solved(0, 0, 99),
        "uncounted": solved(0, 8, 8, epochs=0),  # of a user's trainer
        "small": solved(0, 8, 8),
        "twin": solved(0, 8, 8),
        "slow": solved(0, 8, 8, epoch=301),
        "large": solved(0, 100, 100),
    }
    lines = [done(i, {"p": name}, found) for i, (name, found) in enumerate(outcomes.items())]
    lines.append(done(7, {"p": "large"}, solved(200, 50, 50)))
    lines.append(done(6, {"p": "large"}, solved(100, 99, 100)))
    lines.append(failed(8, {"p": "slow"}, 8, 4, final=False))  # it is tried again
    results = Run(tmp_path, {}, tuple(lines)).results
    twins, hopeless = (
        sorted(names, key=lambda name: Point({"p": name}).key)
        for names in (["small", "twin"], ["none", "zilch"])
    )
    order = [result.point["p"] for result in results]
    assert order == ["large", *twins, "slow", "uncounted", *hopeless]
    trials = {result.point["p"]: result.trials for result in results}
    assert trials == dict.fromkeys(outcomes, 1) | {"large": 2}


def test_values_keep_their_type(tmp_path):
    values = {
        "whole": [1, 2],
        "huge": [2**70, 1],
        "real": [1, 0.5],
        "flag": [True, False],
        "mixed": [1, "1"],
        "yes": [True, 1],
        "null": [None, None],
        "half": [None, 3],
    }
    points = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    lines = [done(i, point, solved(0, 2 - i, 2)) for i, point in enumerate(points)]
    run = write_run(tmp_path / "r", lines)
    write_report(run)
    table = parquet.read_table(run.path / "table.parquet")
    found = {name: table[name].to_pylist() for name in values}
    texts = {"mixed": ["1", "1"], "yes": ["true", "1"]}
    assert found == values | {"huge": [float(2**70), 1.0]} | texts
    assert found["flag"][0] is True


def test_an_objective_that_no_seed_has_is_an_empty_column(tmp_path):
    goal = {"number": "steps", "statistic": "q50", "name": "steps_q50", "direction": "minimize"}
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], objectives=[goal])
    assert run.table["objective"].isna().tolist() == [True]


TOLD = ("key", "seed", "solved", "status", "solved_epoch", "pattern", "reason")


def test_the_seeds_file(tmp_path):
    run = write_run(
        tmp_path / "r",
        [
            done(0, {"x": 1}, outcome(3, [RIGHT, WRONG, ZERO], diverged=[2])),
            failed(0, {"x": 1}, 0, 1),
            done(1, {"x": 2}, solved(0, 2, 2)),
        ],
    )
    write_report(run)
    table = parquet.read_table(run.path / "seeds.parquet")
    assert table.column_names == [*TOLD[:5], "final_loss", *TOLD[5:]]
    one, two = Point({"x": 1}).key, Point({"x": 2}).key
    *rows, losses = (table[name].to_pylist() for name in (*TOLD, "final_loss"))
    assert list(zip(*rows, strict=True)) == [
        (two, 0, True, "solved", 300, "0110", None),
        (two, 1, True, "solved", 300, "0110", None),
        (one, 0, False, "crashed", None, None, "it broke"),
        (one, 3, True, "solved", 300, "0110", None),
        (one, 4, False, "wrong_pattern", None, "0111", None),
        (one, 5, False, "diverged", None, "0000", None),
    ]
    np.testing.assert_array_equal(losses, [0, 1, np.nan, 0, 0.5, 1])
    frame = run.seeds
    assert frame["solved_epoch"].dtype == "Int32"
    assert frame["pattern"].isna().tolist() == [False, False, True, False, False, False]


def test_a_journal_with_a_torn_line_alone_holds_no_run(tmp_path):
    made = "0" * 8  # what says that a manifest is a run's
    create(tmp_path, space_text="", manifest={"made": {made: {}}, "sessions": [{"made": made}]})
    (tmp_path / "evaluations.jsonl").write_text('{"proposal":0,')
    assert not holds_run(tmp_path)
    refuse_files_of_others(tmp_path)


def test_what_was_asked_finds_the_files_of_the_original_space(tmp_path):
    (tmp_path / "data.csv").write_text("a,b,y\n0,1,1\n1,1,0\n")
    text, place = f"task: {{csv: data.csv}}{TINY_SPACE}", str(tmp_path / "space.yaml")
    run = write_run(tmp_path / "runs" / "r", [], space_text=text, space_file=place)
    assert run.asked.name == "tiny"
    assert run.asked.task.inputs.tolist() == [[0, 1], [1, 1]]


DERIVED = [f"{name}.parquet" for name in ("table", "seeds")]
DERIVED += ["table.csv", "table.tex", "report.html", "report.md"]


POINTS = [CONFIG | {"lr": 0.01 * 2**number} for number in range(6)]
LINES = [done(i, point, solved(0, i, 8)) for i, point in enumerate(POINTS)]
LINES += [done(i, point, solved(8, 2 * i, 24)) for i, point in enumerate(POINTS)]


def test_derived_files_are_rebuilt_the_same(tmp_path):
    run = write_run(tmp_path / "r", LINES, trainer="network", task="xor", ladder=[8, 32])
    write_report(run)
    figures = [f"figures/{path.name}" for path in (run.path / "figures").iterdir()]
    assert "figures/ranking.svg" in figures
    first = {name: (run.path / name).read_bytes() for name in [*DERIVED, *figures]}
    for name in first:
        (run.path / name).unlink()
    write_report(load_run(run.path))
    assert {name: (run.path / name).read_bytes() for name in first} == first
    assert sorted(p.name for p in run.path.iterdir()) == sorted(
        [*DERIVED, "figures", "evaluations.jsonl", "manifest.json", "space.yaml"]
    )


@pytest.mark.parametrize("trainer", ["network", "function"])
def test_no_config_still_gives_files(tmp_path, trainer):
    run = write_run(tmp_path / "r", [], trainer=trainer)
    write_report(run)
    header = (run.path / "table.csv").read_text()
    assert header.count("\n") == 1
    assert "key,k,n,rate,low,high,epochs_to_solve,trials" in header
    assert len(pd.read_parquet(run.path / "table.parquet")) == 0
    assert len(pd.read_parquet(run.path / "seeds.parquet")) == 0
    assert len(run.seeds) == 0


def test_figures_are_not_written_to_where_a_link_leads(tmp_path):
    run = write_run(tmp_path / "r", LINES)
    (tmp_path / "elsewhere").mkdir()
    (run.path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="figures: is a symbolic link"):
        write_report(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


KILLED = """
import os, signal, sys
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["xortune", "report", sys.argv[1]]
from xortune.cli import main
main()
"""


def test_a_report_that_is_killed_as_it_writes_leaves_nothing_behind(tmp_path):
    run = write_run(tmp_path / "r", LINES, trainer="network", task="xor", ladder=[8, 32])
    before = sorted(run.path.rglob("*"))
    killed = subprocess.run([sys.executable, "-c", KILLED, run.path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in sorted(run.path.rglob("*")) if path.is_file()] == before


# -------------------------------------------------------------------------------------------------
# The certificate: its lines of the journal, its file, the gate on it, and it as a paragraph.

A, B = {**CONFIG, "lr": 0.02}, {**CONFIG, "lr": 0.05}
KEY_A, KEY_B = Point(A).key, Point(B).key
CERTIFY = 2**30 + 2**29


def check(point, result, attempt=1, **more):
    told = purpose(Point(point), 1 if point is A else 2, 2, 100)
    return replace(done(0, point, result), purpose=replace(told, attempt=attempt, **more))


FIRST = [
    check(A, solved(CERTIFY, 60, 60)),
    check(B, solved(CERTIFY, 60, 60)),
    check(A, solved(CERTIFY + 60, 38, 40)),
    check(B, solved(CERTIFY + 60, 40, 40)),
]


# A line of the journal.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("kind", "search"), ("attempt", 0), ("attempt", True), ("rank", "1"), ("finalists", 0)),
        *(("seeds", 1.5), ("confidence", 1.0), ("confidence", 95), ("extendable", 1)),
        *(("search_k", -1), ("search_n", 0), ("finalist", 3), ("moved", 3), ("by", "worst")),
        *(("by", None), ("neighbours", -1), ("first", -1)),
        ("attempt", 10**9),  # 2**attempt would be computed
        *((name, 10**400) for name in ("rank", "finalists", "seeds", "search_k", "search_n")),
        ("neighbours", 10**400),
    ],
)
def test_a_damaged_purpose_is_refused(name, value):
    fields = json.loads(encode(FIRST[0]))
    without = {field: told for field, told in fields["purpose"].items() if field != name}
    for told in (fields["purpose"] | {name: value}, without):
        with pytest.raises(InputError, match=rf"purpose\.{name}"):
            decode(json.dumps(fields | {"purpose": told}))


# What follows from the lines.


def test_the_risks_of_all_attempts_and_finalists_add_up_to_less_than_alpha():
    total = math.fsum(5 * risk_of(attempt, 0.95, 5) for attempt in range(1, 40))
    assert 0.0499 < total <= 0.05 + 1e-12
    assert risk_of(1, 0.95, 5) == pytest.approx(0.008)
    assert risk_of(3, 0.95, 1) == pytest.approx(0.05 / 36)  # of a fifth, 1/4 - 1/9


def test_an_attempt_that_lacks_seeds_has_no_bound():
    found = certificate_of(FIRST[:3])
    assert (found.attempts[0].complete, found.latest, found.finalists) == (False, None, ())
    unknown = {f.key: f.lower_bound is None for f in found.attempts[0].finalists}
    assert unknown == {KEY_A: False, KEY_B: True}  # A has its seeds
    with pytest.raises(InputError, match="it continues"):
        _ = found.best
    assert not certificate_of(FIRST[:1]).attempts[0].complete
    assert certificate_of([]) is None


def sequence(*lines):
    """The only finalist of an attempt that proves 0.9 with at most 40 seeds."""
    told = {"min_rate": 0.9, "seeds": 40, "first": CERTIFY, "finalists": 1}
    found = certificate_of([replace(one, purpose=replace(one.purpose, **told)) for one in lines])
    [attempt] = found.attempts
    return attempt.complete, attempt.finalists[0]


def void(*seeds):
    lines = [check(A, solved(CERTIFY + seed, 1, 1)) for seed in seeds]
    return [replace(line, outcome=None, error="void: 429", final=False) for line in lines]


def of_seeds(*given):
    """Lines of seeds of a sequence; negative ones fail."""
    return [check(A, solved(CERTIFY + abs(seed), int(seed > 0), 1)) for seed in given]


def test_void_seeds_count_behind_all_others_in_a_sequence():
    rule = boundary(0.9, 40, risk_of(1, 0.95, 1))
    needed = rule.first(0)
    known = of_seeds(*(seed for seed in range(1, 40) if seed != 5))
    enough = known[: needed - 1]
    seed_0 = check(A, solved(CERTIFY, 1, 1))
    complete, found = sequence(seed_0, *void(5), *enough)
    assert (complete, found.k, found.n, found.lower_bound) == (True, needed, needed, 0.9)
    assert not sequence(seed_0, *enough)[0]  # its place is before theirs until it is void
    assert not sequence(*void(5), *enough)[0]  # seed 0 still trains
    # It comes back as a failure: the seeds before its new place have proven the rate all the same.
    assert sequence(seed_0, *void(5), *of_seeds(-5), *enough) == (True, found)
    # So it does where others are void later; and the order of lines decides nothing.
    assert sequence(*enough, *of_seeds(-5), seed_0, *void(5, 39)) == (True, found)


def test_a_void_seed_that_a_sequence_needs_is_taken_for_the_worst():
    rule = boundary(0.9, 40, risk_of(1, 0.95, 1))
    most = int(rule.allowed[-1])
    assert most == 0
    known = of_seeds(*range(40 - rule.first(0) + 1, 40))
    first = [*void(*range(1, 40 - rule.first(0) + 1)), check(A, solved(CERTIFY, 1, 1))]
    assert sequence(*first, *known)[0]
    lacking = [*first, *void(39), *known[:-1]]
    assert (sequence(*lacking)[0], sequence(*lacking)[1].lower_bound) == (False, None)
    # One that fails gives it up, whatever the others come to.
    complete, found = sequence(*lacking, *of_seeds(-3))
    assert (complete, found.n - found.k) == (True, 1)
    assert found.lower_bound == rule.bound_given_up(34)


# The file.


def written(path, certificate):
    text = json.dumps(certificate_json(certificate, {"name": "x", "other": 1}))
    (path / "certificate.json").write_text(text)
    return path / "certificate.json"


def test_the_file_holds_all_that_is_needed_to_check_it(tmp_path):
    second = [check(point, solved(CERTIFY + 100, k, 100), 2) for point, k in ((A, 100), (B, 99))]
    certificate = certificate_of([*FIRST, *second])
    values = json.loads(written(tmp_path, certificate).read_text())
    assert (values["confidence"], values["run"]) == (0.95, {"name": "x"})
    assert "1 / (5 a**2) of alpha" in values["promise"]
    [finalist] = [found for found in values["finalists"] if found["key"] == KEY_A]
    search = {"search_k": 8, "search_n": 8, "search_rank": 1}
    fresh = {"k": 100, "n": 100, "seeds": {"first": CERTIFY + 100, "count": 100}}
    assert finalist | {"key": KEY_A, "config": A} | search | fresh == finalist
    again = lower_bound(100, 100, alpha=1 - finalist["confidence"], bound=values["bound"])
    assert finalist["lower_bound"] == pytest.approx(again)
    [earlier] = finalist["earlier_attempts"]
    first = {"attempt": 1, "k": 98, "n": 100, "seeds": {"first": CERTIFY, "count": 100}}
    assert earlier | first == earlier
    assert [attempt["attempt"] for attempt in values["attempts"]] == [1, 2]


# The gate on it.


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8)), *FIRST], trainer="network")


def test_a_run_that_was_never_certified_is_bad_input(tmp_path):
    run = write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8))], trainer="network")
    assert run.certificate is None
    result = xortune("gate", run.path, "--min-rate", 0.9)
    refused(result, "no certificate", f"xortune certify {run.path}")


def test_the_gate_reads_the_lower_bound_of_the_best_finalist(run):
    assert run.certificate == certificate_of(FIRST)
    bound = run.certificate.best.lower_bound
    result = xortune("gate", run.path, "--min-rate", 0.95)
    assert (result.exit_code, result.stdout) == (
        0,
        f"proven: 100/100 seeds solved, lower bound {math.floor(bound * 1e4) / 1e4:.4f} is at "
        "least 0.95 (confidence 0.95, this run only, certified config "
        f"{KEY_B}, seeds {CERTIFY} to {CERTIFY + 99})\n",
    )
    assert xt.gate(run, min_rate=bound).passed
    assert not xt.gate(run, min_rate=bound + 1e-9).passed
    result = xortune("gate", run.path, "--min-rate", 0.97)
    assert result.exit_code == 1
    assert result.stdout.startswith("undecided: 100/100 seeds solved, lower bound 0.961")
    assert "is below 0.97" in result.stdout


def test_a_later_attempt_that_proves_less_takes_nothing_back(tmp_path):
    """All bounds hold together, so each configuration's largest one counts."""
    second = [check(B, solved(CERTIFY + 100, 93, 100), 2, finalists=1)]
    run = write_run(
        tmp_path / "run", [done(0, A, solved(0, 8, 8)), *FIRST, *second], trainer="network"
    )
    first, again = run.certificate.attempts
    assert again.finalists[0].lower_bound < first.finalists[0].lower_bound
    assert [(f.key, f.attempt, f.k) for f in run.certificate.finalists] == [
        *((KEY_B, 1, 100), (KEY_A, 1, 98))
    ]
    bound = first.finalists[0].lower_bound
    assert xt.gate(run, min_rate=bound).passed
    assert xortune("gate", run.path, "--min-rate", 0.95).exit_code == 0
    assert "this is attempt 1" in xt.export(run, format="paragraph")
    written(run.path, run.certificate)
    values = json.loads((run.path / "certificate.json").read_text())
    shown = [(f["key"], f["attempt"], f["lower_bound"]) for f in values["finalists"]]
    assert shown[0] == (KEY_B, 1, bound)
    # A better one replaces it.
    more = [*second, check(B, solved(CERTIFY + 200, 1000, 1000), 3, finalists=1, seeds=1000)]
    best = certificate_of([*FIRST, *more]).best
    assert (best.key, best.attempt, best.n) == (KEY_B, 3, 1000)


def test_what_other_versions_proved_is_not_said_of_these():
    lines = [replace(line, fingerprint="1" * 8) for line in FIRST]
    second = [check(B, solved(CERTIFY + 100, 93, 100), 2, finalists=1)]
    lines += [replace(line, fingerprint="2" * 8) for line in second]
    assert [(f.attempt, f.k) for f in certificate_of(lines).finalists] == [(2, 93)]


def test_more_confidence_than_the_certificate_has_is_refused(run):
    written(run.path, certificate_of(run.checks))
    assert xortune("gate", run.path, "--min-rate", 0.9, "--confidence", 0.9).exit_code == 0
    result = xortune("gate", run.path, "--min-rate", 0.9, "--confidence", 0.99)
    refused(result, "certify again with --confidence 0.99")


# As a paragraph, for a paper or a model card.

WHOLE = """\
A search (xortune, sampler unknown) tried 5 configurations in 40 trainings, each configuration \
under several random seeds. In the search, the configuration with activation = Tanh, loss = \
MSELoss, optimizer = Adam, lr = 0.04, hidden_dim = 3, epochs = 30, zero_grad = true (key \
df3f2fa0a436edc3) succeeded for 7 of 8 seeds; the search selected it by such counts, so they tend \
to overestimate its rate. The 3 finalists of the search were each trained under 100 fresh seeds \
that the search had not used. This one was selected because it has the highest lower bound of its \
own success rate. It succeeded for 100 of the 100 fresh seeds 1681856109 to 1681856208 (100.0 %). \
Its success rate is therefore at least 95.77 %. The lower bounds of all 3 finalists (one-sided \
Clopper-Pearson) and those of all other attempts to certify this training by the same number hold \
together with confidence 95 %; this is attempt 1.
"""


def test_a_paragraph_says_what_was_searched_selected_and_proven(tmp_path):
    run = reported.certified(tmp_path / "run")
    assert xt.export(run, format="paragraph") == WHOLE
    second = run.certificate.finalists[1]
    told = xt.export(run, format="paragraph", key=second.key)
    assert "Among them this one is number 2 in the order of the lower bounds of their" in told
    assert f"It succeeded for {second.k} of the 100 fresh seeds" in told
    ruled = run.noted(success="accuracy >= 0.9", sampler="tpe")
    told = xt.export(ruled, format="paragraph")
    assert told.startswith("A search (xortune, sampler tpe) tried")
    assert told.endswith(" A training succeeds if accuracy >= 0.9.\n")
    with pytest.raises(InputError, match="is not a finalist"):
        xt.export(ruled, format="paragraph", key="0000")
    searched = reported.searched(tmp_path / "searched")
    with pytest.raises(InputError, match="fix: make one: `xortune certify"):
        xt.export(searched, format="paragraph")
