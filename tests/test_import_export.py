"""Results of tables and of Optuna as a run; a run as a study, a program and a config's file."""

import contextlib
import hashlib
import io
import json
import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from compared import purpose
from hand_made import CONFIG, append, done, solved, tiny_run, write_run
from hypothesis import given
from hypothesis import strategies as st
from listening import sentences
from optuna.distributions import FloatDistribution

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import SeedCount, Status
from xortune.core.point import Point
from xortune.integrations.importing import ImportRequest as Asked
from xortune.integrations.importing import parameter_in, read_table, results_in, space_text
from xortune.racing.objectives import sampler_values, summary_of
from xortune.reports.page import page
from xortune.reports.run import run_document
from xortune.runs.journal import Journal
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space
from xortune.stats.anytime import anytime_lower

optuna.logging.set_verbosity(optuna.logging.ERROR)

LR = Asked(("lr",))
RULE = "accuracy >= 0.9"


def table(tmp_path, text):
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def read_in(tmp_path, text, asked=LR):
    return results_in(table(tmp_path, text), asked)


CELLS = st.dictionaries(
    st.tuples(
        st.sampled_from(["0.1", "0.01", "1e-3", ""]),
        st.sampled_from(["adam", "sgd, nesterov", 'a "b"']),
        st.integers(0, 2**32 - 1) | st.integers(0, 6),
    ),
    st.sampled_from(["true", "False", "1", "0"]),
    min_size=1,
    max_size=60,
)


@given(CELLS, st.randoms(use_true_random=False), st.sampled_from([",", ";", "\t"]))
def test_the_counts_are_those_of_a_plain_loop_over_the_rows(tmp_path_factory, cells, rng, sign):
    rows = [(opt, success, lr, seed) for (lr, opt, seed), success in cells.items()]
    rng.shuffle(rows)
    rows.append(("adam", "1", "0.5", 0))  # a column without a rate would be another table
    frame = pd.DataFrame(rows, columns=["opt", "success", "lr", "seed"])
    text = frame.to_csv(sep=sign, index=False)
    found = read_in(tmp_path_factory.mktemp("t"), text, Asked(("lr", "opt")))
    wanted, n = Counter(), Counter()
    for opt, success, lr, _ in rows:
        config = (float(lr) if lr else None, opt)
        n[config] += 1
        wanted[config] += success in ("true", "1")
    k, seeds = Counter(), Counter()
    for e in found.evaluations:
        config = (e.block.point.get("lr"), e.block.point["opt"])
        k[config] += e.outcome.successes
        seeds[config] += e.outcome.n
        assert e.outcome.seeds.tolist() == list(e.block.seeds)  # without a gap
    assert (+k, seeds) == (+wanted, n)
    points = {e.proposal: e.block.point for e in found.evaluations}
    assert [(p.get("lr"), p["opt"]) for p in points.values()] == list(n)


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        *(("1,2,-3", "whole number", [1, 2, -3]), ("1,2.0,3", "number", [1.0, 2.0, 3.0])),
        ("1e-3,.5,7", "number", [0.001, 0.5, 7.0]),
        ("True,false,TRUE", "true or false", [True, False, True]),
        *(("0,1,0", "whole number", [0, 1, 0]), ("007,8,9", "text", ["007", "8", "9"])),
        *(("1_0,2,3", "text", ["1_0", "2", "3"]), ("a,b,true", "text", ["a", "b", "true"])),
        *(("a,,b", "text", ["a", None, "b"]), ("1,,2", "whole number", [1, None, 2])),
        *((" 5 ,6,7", "whole number", [5, 6, 7]), ("nan,a,b", "text", ["nan", "a", "b"])),
    ],
)
def test_types_are_read_from_all_cells(tmp_path, cells, kind, values):
    text = "x,y\n" + "".join(f"{cell},1\n" for cell in cells.split(","))
    found = parameter_in(table(tmp_path, text), "x")
    assert (found.kind, found.values) == (kind, values)
    assert [type(v) for v in found.values] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("text", "success", "statuses", "failed"),
    [
        (
            "success,reason\ntrue,\n0,\nfalse,out of\tmemory\n,killed\n1,\n",
            "success",
            "solved wrong_pattern crashed crashed solved",
            {2: "out of memory", 3: "killed"},
        ),
        (
            "acc,reason\n0.9,\n0.89,\nnan,\ninf,\n,boom\n0.95,late\n",
            "acc >= 0.9",
            "solved wrong_pattern diverged diverged crashed crashed",
            {2: "acc is nan", 3: "acc is inf", 4: "boom", 5: "late"},
        ),
    ],
)
def test_the_statuses_of_rows(tmp_path, text, success, statuses, failed):
    head, *rows = text.splitlines()
    lines = [f"{head},lr,seed", *(f"{row},1,{seed}" for seed, row in enumerate(rows))]
    [line] = read_in(tmp_path, "\n".join(lines), Asked(("lr",), success=success)).evaluations
    assert [Status(one).label for one in line.outcome.status] == statuses.split()
    assert line.outcome.details.failed == failed
    assert (line.outcome.n, line.outcome.epochs) == (len(rows), 0)
    if "acc" in head:
        accuracies = [0.9, 0.89, np.nan, np.inf, np.nan, 0.95]
        np.testing.assert_array_equal(line.outcome.details.values["acc"], accuracies)


@pytest.mark.parametrize(
    ("success", "cell", "told"),
    [
        *(("success", cell, ".* says") for cell in ("", "nan", "NaN")),
        ("acc > 0", "", "nothing says how this seed went"),
    ],
)
def test_nothing_said_is_refused_or_a_failure_as_one_wishes(tmp_path, success, cell, told):
    column = success.split()[0]
    text, fix = f"lr,seed,{column}\n1,0,1\n1,1,{cell}\n", r"rows as failed \(missing_fails=True\)"
    with pytest.raises(InputError, match=rf"r.csv:3: {column}: {told}.*{fix}; if"):
        read_in(tmp_path, text, Asked(("lr",), success=success))
    asked = Asked(("lr",), success=success, missing_fails=True)
    [line] = read_in(tmp_path, text, asked).evaluations
    assert line.outcome.status.tolist() == [Status.SOLVED, Status.CRASHED]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr,seed,success\n1,0,yes\n", "r.csv:2: success: 'yes' says neither; allowed: true, fal"),
        ("lr,seed,success\n1,0,1.0\n", "r.csv:2: success: '1.0' says neither"),
        ("lr,seed,success\n1,0,1\n1,x,1\n", "r.csv:3: seed: 'x' is not a seed"),
        ("lr,seed,success\n1,,1\n", "r.csv:2: seed: a missing seed"),
        ("lr,seed,success\n1,-1,1\n", "r.csv:2: seed: seed -1; allowed: a whole number from 0"),
        ("lr,seed,success\n1,4294967296,1\n", "r.csv:2: seed: seed 4294967296"),
        ("lr,seed,success\n0.1,0,1\nnan,1,1\n", "r.csv:3: lr: nan is not finite"),
        ("lr,seed,success\n,0,1\n", "r.csv:2: lr: is empty in every row"),
        ("lr,seed,success\n1,0,1\n,1,1\n", "r.csv:3: no parameter has a value in this row"),
        ("lr,seed,success,acc\n1,0,1,0.5\n1,1,1,O.5\n", "r.csv:3: acc: 'O.5' is not a number"),
        ("lr,seed,success,reason\n1,0,1,why\n", "r.csv:2: success: a success that has a reason"),
        ("lr,seed,success\n", "r.csv: no rows below a header"),
        ('lr,seed,success,x\n1,0,1,"a\nb"\n\n1,1,perhaps,c\n', "r.csv:5: success: 'perhaps'"),
        ("lr,seed,ok\n1,0,1\n", "success: .*r.csv has no column 'success'; allowed: a column with"),
        ("x,seed,success\n1,0,1\n", "config: .*r.csv has no column 'lr'; allowed: x, seed"),
        ("lr,success\n1,1\n", "seed: .*r.csv has no column 'seed'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        read_in(tmp_path, text)


def test_a_config_and_seed_twice_is_refused_with_both_lines_and_what_differs(tmp_path):
    text = "lr,drop,seed,success\n0.1,0,7,1\n0.1,0,8,1\n0.1,0.5,7,0\n"
    with pytest.raises(InputError) as caught:
        read_in(tmp_path, text)
    told = str(caught.value)
    assert f"{tmp_path}/r.csv:4: seed 7 of lr 0.1 was already given in {tmp_path}/r.csv:2" in told
    assert "a parameter that tells them apart (drop, success)" in told
    lines = read_in(tmp_path, text, Asked(("lr", "drop"))).evaluations
    assert [line.block.count for line in lines] == [2, 1]


def test_epochs_to_solve_are_counted_with_the_budget_of_the_config(tmp_path):
    text = "epochs,seed,success,epochs_to_solve\n100,0,1,10\n100,1,1,40\n100,2,0,\n100,3,0,100\n"
    found = read_in(tmp_path, text, Asked(("epochs",)))
    [line] = found.evaluations
    assert line.outcome.epochs_to_solve == (10 + 40 + 100 + 100) / 2
    for cell, told in (("", "is missing for a success"), ("101", "'101'"), ("0", "'0'")):
        bad = text.replace("1,40", f"1,{cell}")
        with pytest.raises(InputError, match=f"r.csv:3: epochs_to_solve: {told}"):
            read_in(tmp_path, bad, Asked(("epochs",)))
    with pytest.raises(InputError, match="without a parameter 'epochs'"):
        read_in(tmp_path, "lr," + text.replace("\n", "\n1,", 4), LR)


def test_the_space_that_is_written_can_be_read_and_holds_what_was_seen(tmp_path):
    rows = "".join(
        f"{0.001 * (s + 1):g},{s % 3},{'yes' if s % 2 else 'a: b'},same,{s},1\n" for s in range(30)
    )
    asked = Asked(("lr", "w", "opt", "fixed"))
    found = read_in(tmp_path, "lr,w,opt,fixed,seed,success\n" + rows, asked)
    more = {"configs": 30, "seeds": 1, "success": "a >= 1", "trainer": "./t.py:f"}
    space = parse_space(space_text("t", found, source='a "b".csv', **more))
    lr, w, opt, fixed = space.parameters
    assert (lr.low, lr.high, lr.integer) == (0.001, 0.03, False)
    assert w.values == (0, 1, 2)
    assert set(opt.values) == {"yes", "a: b"}
    assert fixed.value == "same"
    assert (space.trainer, str(space.success)) == ("./t.py:f", "a >= 1")


TRAINER = """
def run(config, seed):
    if seed % 50 == 7:
        raise ValueError("unlucky")
    return {"accuracy": 0.95 if seed % 10 else 0.5}
"""
ROWS = [
    (lr, width, seed, round(0.8 + 0.15 * ((seed * 7 + width) % 10 < 10 * lr), 3))
    for lr in (0.5, 0.9, 1.0)
    for width in (8, 16)
    for seed in range(40)
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    frame = pd.DataFrame(ROWS, columns=["lr", "width", "seed", "accuracy"])
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(results):
    place = results.parent / "run"
    return xt.import_results(results, config=["lr", "width"], success=RULE, output=place)


def test_the_seeds_of_the_run_are_those_of_the_file(run):
    seeds = run.seeds.join(run.table.set_index("key")[["lr", "width"]], on="key")
    assert sorted(zip(seeds.lr, seeds.width, seeds.seed, seeds.accuracy, strict=True)) == ROWS
    assert seeds.solved.tolist() == (seeds.accuracy >= 0.9).tolist()
    assert run.table.epochs_to_solve.isna().all()


def test_a_parquet_file_is_the_same_run_and_what_is_none_is_told(run, results, tmp_path):
    place = tmp_path / "results.parquet"
    pd.read_csv(results).to_parquet(place)
    same = xt.import_results(place, config=["lr", "width"], success=RULE, output=tmp_path / "run")
    assert same.seeds.equals(run.seeds)
    noted = same.manifest["imported"]
    assert noted["source"] == str(place)
    assert noted["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()
    place.write_text("lr,seed\n")
    with pytest.raises(xt.InputError, match=r"results\.parquet: is not a parquet file"):
        xt.import_results(place, config=["lr"])


def test_manifest_and_reports_say_that_it_was_imported(run, results):
    noted, sha256 = run.manifest["imported"], hashlib.sha256(results.read_bytes()).hexdigest()
    wanted = {"source": str(results), "rows": 240, "success": RULE, "sha256": sha256}
    assert noted.items() >= wanted.items()
    assert run.manifest["columns"]["config"] == {"lr": "number", "width": "whole number"}
    told = f"These results were imported from {results} (240 rows, SHA-256 {sha256[:12]})"
    markdown = (run.path / "report.md").read_text()
    assert told.replace("_", r"\_") in markdown.replace("\n", " ") or told in markdown
    assert "xortune did not train them" in page(run_document(run))
    assert "xortune has not trained them again" in " ".join(markdown.split())
    for word in ("How the search went", "Where the seeds went", "stopped early"):
        assert word not in markdown
    assert not (run.path / "figures" / "history.svg").exists()
    shown = xortune("report", run.path, "--format", "csv")
    assert "xortune did not train them" in shown.stdout.replace("\n", " ")


@pytest.mark.parametrize("objectives", [None, "accuracy"])
def test_the_only_configuration_has_won_nothing(tmp_path, objectives):
    """Neither in a report nor on the terminal, whoever made its seeds."""
    rows = [f"0.1,{seed},{0.95 - 0.1 * (seed % 7 == 0)}" for seed in range(20)]
    (tmp_path / "one.csv").write_text("\n".join(["lr,seed,accuracy", *rows]))
    asked = {"config": ["lr"], "success": "accuracy >= 0.9", "output": tmp_path / "run"}
    run = xt.import_results(tmp_path / "one.csv", **asked)
    if objectives:
        noted = {"name": "accuracy_mean", "number": "accuracy", "statistic": "mean"}
        run = run.noted(objectives=[{**noted, "direction": "maximize"}])
        xt.write_report(run)
    texts = [(run.path / name).read_text() for name in ("report.md", "table.tex")]
    texts += [page(run_document(run)), xortune("report", run.path).stdout]
    for text in texts:
        shown = re.sub(r"<script.*?</script>", "", text, flags=re.S)
        assert "on fresh seeds" in shown.lower() or "tabular" in shown
        found = re.search(r"\bluck\b|\bwinner|optimistic|\bwon\b|best was|best 1 ", shown)
        assert found is None, shown[found.start() - 200 : found.end() + 50]


def test_without_a_trainer_certify_refuses_and_with_one_it_certifies(
    run, results, tmp_path, monkeypatch
):
    monkeypatch.setattr("xortune.trainers.network.is_compiled", lambda: False)  # nor needed here
    assert "--seeds 1000 --trainer FILE.py:FUNCTION" in xortune("report", run.path).stdout
    result = refused(xortune("certify", run.path), "imported, and nothing says what trains")
    assert "--trainer ./train.py:run" in result
    (tmp_path / "train.py").write_text(TRAINER)
    words = ["--config", "lr,width", "--success", RULE, "--trainer", "./train.py:run"]
    made = xortune("import", results, *words, "--output", "again")
    assert made.exit_code == 0, made.output
    # fewer seeds than Ray is started for
    result = xortune("certify", "again", "--top", "2", "--seeds", "100")
    assert result.exit_code == 0, result.output
    assert "note: whether this trainer produced the imported results is not known" in result.stderr
    assert "->" not in result.stderr
    certificate = xt.load_run("again").certificate
    assert [found.n for found in certificate.finalists] == [100, 100]
    best = certificate.best
    lucky = [s for s in range(best.first, best.first + 100) if s % 10 and s % 50 != 7]
    assert (best.k, best.search) == (len(lucky), SeedCount(40, 40))
    verdict = xortune("gate", "again", "--min-rate", "0.7")
    assert re.match("proven: .*certified config", verdict.stdout, re.S)


def test_a_gate_of_imported_seeds_holds_for_all_configs_at_once(results, tmp_path):
    run = xt.import_results(results, config=["lr", "width"], success=RULE, output="six")
    verdict = xt.gate(run, min_rate=0.8)
    low = float(anytime_lower(40, 40, alpha=0.05 / 6))
    assert (verdict.k, verdict.n, verdict.bound) == (40, 40, low)
    assert xt.gate(run, min_rate=low - 1e-6).answer == "proven"
    assert xt.gate(run, min_rate=low + 1e-6).answer == "undecided"
    worst = run.results[-1].key
    assert xt.gate(run, min_rate=0.9, key=worst).answer == "refuted"
    assert f"imported seeds of config {verdict.key}" in verdict.line
    one = pd.read_csv(results).query("lr == 1 and width == 8")
    only = xt.import_results(one, config=["lr"], success=RULE, output="one")
    assert xt.gate(only, min_rate=0.8).bound == float(anytime_lower(40, 40, alpha=0.05))


def test_the_command_shows_what_it_read_and_refuses_in_one_line(results, tmp_path):
    words = ["import", results, "--success", RULE]
    text = refused(xortune(*words), "--config: it is unknown which columns", "--config lr,width")
    assert text.startswith("error: --config")
    words += ["--config", "lr,width"]
    result = xortune(*words)
    assert result.exit_code == 0, result.output
    assert f"240 rows of {results}" in result.stdout
    assert "6 configurations of lr (number), width (whole number); a success is" in result.stdout
    assert (tmp_path / "runs" / "results" / "report.html").exists()
    again = json.loads(xortune(*words, "--json").stdout)
    assert (again["run"], again["configs"], again["best"]["k"]) == ("runs/results-2", 6, 40)
    refused(xortune(*words, "--output", "runs/results"), "already holds a run")
    (tmp_path / "r.csv").write_text("lr,seed,success\n1,0,perhaps\n")
    refused(xortune("import", "r.csv", "--config", "lr"), "r.csv:2: success: 'perhaps'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "runs"]


def test_an_import_that_is_interrupted_does_not_look_whole(tmp_path, monkeypatch):
    (tmp_path / "r.csv").write_text("lr,seed,success\n1,0,1\n2,0,1\n")
    append = Journal.append

    def once(journal, evaluation):
        if evaluation.proposal:
            raise KeyboardInterrupt
        return append(journal, evaluation)

    monkeypatch.setattr(Journal, "append", once)
    assert xortune("import", "r.csv", "--config", "lr", "--output", "run").exit_code == 3
    assert xt.status("run").state == "stopped"
    assert xt.load_run("run").manifest["complete"] is False


# Studies of Optuna.


@pytest.fixture
def searched(tmp_path):
    return tiny_run(tmp_path / "run", [solved(0, k, 4, epochs=30) for k in (1, 4, 3)])


def test_each_config_is_a_trial_with_what_was_told_and_what_was_counted(searched):
    study = xt.to_optuna(searched)
    assert [trial.params["lr"] for trial in study.trials] == [0.02, 0.05, 0.09]
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    by_key = {result.key: result for result in searched.results}
    for trial in study.trials:
        result = by_key[trial.user_attrs["key"]]
        seen = summary_of(result.outcome, searched.objectives)
        assert trial.values == list(sampler_values(searched.objectives, result.point, seen))
        low, high = result.outcome.interval()
        counted = {"k": result.outcome.successes, "n": 4, "low": low, "high": high}
        counted["config"] = result.point.as_dict()
        assert {name: trial.user_attrs[name] for name in counted} == counted
        assert trial.distributions["lr"] == FloatDistribution(0.01, 0.1, log=True)
        assert trial.distributions["activation"].choices == ("Tanh", "ReLU")
    assert study.best_trial.user_attrs["key"] == searched.results[0].key
    assert xt.to_optuna(str(searched.path), values="rate").best_value == 1.0
    assert [t.value for t in xt.to_optuna(searched, values="rate").trials] == [0.25, 1.0, 0.75]


def studied(objective, n, **kinds):
    sampler = optuna.samplers.RandomSampler(1)
    study = optuna.create_study(study_name="mine", sampler=sampler, **kinds)
    study.optimize(objective, n_trials=n, catch=ValueError)
    return study


def test_a_study_of_a_search_for_seconds_has_them(tmp_path):
    space = {
        "name": "quick",
        "trainer": "f.py:f",
        "parameters": {"lr": {"choice": [1.0, 2.0]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [16]},
        "require": {"rate": 0.5},
        "objectives": [{"minimize": "seconds"}],
    }
    lines = [
        replace(done(i, {"lr": float(i)}, solved(0, 16, 16, epochs=0)), seconds=16.0 * i)
        for i in (1, 2)
    ]
    required = {"rate": 0.5, "alpha": 0.05}
    objectives = [{"name": "seconds", "direction": "minimize", "required": required}]
    run = write_run(
        tmp_path / "run", lines, space_text=json.dumps(space), objectives=objectives, trainer="f"
    )
    told = {trial.params["lr"]: trial.value for trial in xt.to_optuna(run).trials}
    assert told == {1.0: pytest.approx(1 / 2), 2.0: pytest.approx(2 / 3)}


def test_repeated_trials_are_the_seeds_of_a_config(tmp_path):
    def objective(trial):
        lr = trial.suggest_categorical("lr", [0.1, 0.2])
        trial.set_user_attr("seed", trial.number)
        if trial.number % 9 == 4:
            raise ValueError
        if trial.number % 9 == 5:
            raise optuna.TrialPruned
        return lr + trial.number / 60

    study = studied(objective, 60)
    waiting, said, place = study.ask(), [], tmp_path / "run"
    run = xt.from_optuna(
        study, success="value >= 0.6", output=place, listener=sentences(said.append)
    )
    table = {row.lr: (row.k, row.n) for row in run.table.itertuples()}
    for lr in (0.1, 0.2):
        mine = [t for t in study.trials if t.params.get("lr") == lr]
        k = sum(t.state.name == "COMPLETE" and t.value >= 0.6 for t in mine)
        assert table[lr] == (k, len(mine))
    assert sum(n for _, n in table.values()) == 60
    failed = run.seeds[run.seeds.status == Status.CRASHED.label]
    assert dict(failed.reason.value_counts()) == {"the trial failed": 7, "the trial was pruned": 7}
    assert f"skipped trials that wait or run: 1 of {len(study.trials)}" in said
    assert waiting.number == 60
    assert run.manifest["imported"]["source"] == "study mine"
    assert run.manifest["name"] == "mine"
    assert math.isnan(run.seeds.value[run.seeds.status == "crashed"].iloc[0])


def test_a_seed_among_the_parameters_and_a_success_that_is_said(tmp_path):
    def objective(trial):
        trial.suggest_int("width", 1, 2)
        seed = trial.suggest_int("seed", 0, 2**31)
        trial.set_user_attr("success", seed % 2 == 0)
        trial.set_user_attr("accuracy", 0.5)
        if seed % 4 == 0:  # no success, whatever it has said
            raise optuna.TrialPruned
        return 0.0, 1.0

    study = studied(objective, 20, directions=["maximize", "minimize"])
    run = xt.from_optuna(study, output=tmp_path / "run")
    assert run.parameters == ("width",)
    seeds = [trial.params["seed"] for trial in study.trials]
    assert run.table.k.sum() == sum(seed % 4 == 2 for seed in seeds)
    assert {"accuracy", "value_0", "value_1"} <= set(run.seeds.columns)
    some = xt.from_optuna(
        study, output=tmp_path / "rule", success="value_1 > 0", ignore=["success", "accuracy"]
    )
    assert some.table.k.sum() == sum(seed % 4 != 0 for seed in seeds) < 20


def test_what_of_a_study_cannot_be_seeds(tmp_path, searched):
    with pytest.raises(xt.InputError, match="trial 0: no 'seed' among its parameters"):
        xt.from_optuna(xt.to_optuna(searched), output=tmp_path / "x")
    with pytest.raises(xt.InputError, match="study mine: no trial has ended"):
        xt.from_optuna(studied(float, 0), output=tmp_path / "x")
    with pytest.raises(xt.InputError, match=r"a dict; allowed: an optuna.Study"):
        xt.from_optuna({}, output=tmp_path / "x")

    def twice(trial):
        trial.suggest_int("lr", 1, 1)
        trial.set_user_attr("seed", 0)
        trial.set_user_attr("success", True)
        return 0.0

    told = "study mine, trial 1: seed 0 of lr 1 was already given"
    with pytest.raises(xt.InputError, match=told):
        xt.from_optuna(studied(twice, 2), output=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def study_of_means(*values):
    study = optuna.create_study(direction="maximize")
    for value in values:
        trial = study.ask({"lr": FloatDistribution(0, 1)})
        study.tell(trial, value, state=None if value else optuna.trial.TrialState.FAIL)
    return study


def test_a_study_of_means_over_seeds_is_counts(tmp_path):
    words = []
    study = study_of_means(0.8, None, 1.0, 0.6000001)
    run = xt.from_optuna(study, n=5, output=tmp_path / "run", listener=sentences(words.append))
    found = {r.point["lr"]: (r.outcome.successes, r.outcome.n) for r in run.results}
    shares = {t.params["lr"]: (round(5 * t.value), 5) for t in study.trials if t.value}
    assert found == shares
    seeds = [set(r.outcome.seeds.tolist()) for r in run.results]
    assert len(set.union(*seeds)) == 15, "seeds that nobody knows are never paired"
    assert "skipped trials that are not complete: 1 of 4" in words


def test_a_rule_judges_trials_of_one_seed_that_name_none(tmp_path):
    study = study_of_means(0.97, None, 0.5)
    run = xt.from_optuna(study, n=1, success="value >= 0.95", output=tmp_path / "run")
    found = {r.point["lr"]: (r.outcome.successes, r.outcome.n) for r in run.results}
    assert found == dict(
        zip((t.params["lr"] for t in study.trials), ((1, 1), (0, 1), (0, 1)), strict=True)
    )
    with pytest.raises(xt.InputError, match=r"success: 'value >= 0.95' with n=5.*leave success"):
        xt.from_optuna(study, n=5, success="value >= 0.95", output=tmp_path / "other")


@pytest.mark.parametrize(("values", "n"), [((0.85,), 5), ((1.2,), 5), ((0.8,), 0), ((0.8,), True)])
def test_a_value_that_is_no_share_of_n_is_refused(values, n, tmp_path):
    with pytest.raises(xt.InputError, match="n"):
        xt.from_optuna(study_of_means(*values), n=n, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parameter", "asked", "attributes"),
    [
        ("value", {"success": "value >= 0.5"}, {"seed": 3}),
        ("x", {"success": "value >= 0.5"}, {"seed": 3, "value": 4.0}),
        ("success", {"n": 2}, {}),
        ("seed", {"n": 2}, {}),
        ("seed", {"n": 1, "success": "value >= 0.5"}, {}),
    ],
)
def test_no_parameter_of_a_study_is_replaced(tmp_path, parameter, asked, attributes):
    def objective(trial):
        trial.suggest_categorical(parameter, [7])
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        return 0.5

    name = parameter if "value" not in attributes else "value"
    with pytest.raises(xt.InputError, match=f"trial 0: '{name}' is a parameter"):
        xt.from_optuna(studied(objective, 1), output=tmp_path / "run", **asked)


# Exports.

SPACE = """
name: small
epochs: 300
parameters: {activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.03, hidden_dim: 5}
search: {sampler: random, trials: 1}
"""
FIRST = Point({**CONFIG, "epochs": 300, "lr": 0.05})
SECOND = Point({**CONFIG, "epochs": 300, "lr": 0.02})


@pytest.fixture
def two(tmp_path):
    counted = enumerate([(FIRST, 8), (SECOND, 6)])
    lines = [done(i, point, solved(0, k, 8, epochs=300)) for i, (point, k) in counted]
    return write_run(tmp_path / "run", lines, space_text=SPACE, trainer="network", task="xor")


def certified(run):
    """A certificate by which the second is better."""
    for rank, (point, k) in enumerate([(FIRST, 45), (SECOND, 50)], 1):
        line = done(0, point, solved(2**30 + 2**29, k, 50, epochs=300))
        append(run.path, replace(line, purpose=purpose(point, rank, 2, 50)))
    xt.write_report(load_run(run.path))
    return load_run(run.path)


def printed(script):
    """What the program prints, in this process: another one imports torch again."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(script, "best.py", "exec"), {"__name__": "__main__"})
    return out.getvalue().splitlines()


def test_the_program_counts_what_the_run_counted_and_knows_nothing_of_us(tmp_path):
    point = Point({**CONFIG, "lr": 0.1, "activation": "ReLU", "epochs": 80})
    counted = done(0, point, xt.evaluate(xt.Config.from_point(point), range(24)))
    run = write_run(tmp_path / "real", [counted], space_text=SPACE, trainer="network", task="xor")
    script = xt.export(run)
    assert "xortune" not in script
    assert set(re.findall(r"^ *(?:from|import) (\w+)", script, re.M)) == {"torch"}
    outcome = run.results[0].outcome
    k = int(outcome.solved[:20].sum())
    assert 0 < k < 20  # else the wrong rule could count the same
    told = f"# Config {run.best.key}, task xor: {outcome.successes} of 24 seeds solved in the"
    assert script.startswith(told)
    *lines, last = printed(script)
    assert last == f"{k}/20 seeds solved, {k}/20 expected"
    words = {True: "solved", False: "not solved"}
    assert lines == [f"seed {s}: {words[bool(outcome.solved[s])]}" for s in range(20)]


def test_more_or_fewer_seeds_of_those_that_are_known(two):
    run = certified(two)
    first = run.certificate.best.first
    assert f"SEEDS = [*range(0, 8), *range({first}, {first + 12})]" in xt.export(run)
    assert "SEEDS = [*range(0, 3)]\nEXPECTED = 3 " in xt.export(run, seeds=3)
    few = xt.export(run, key=FIRST.key, seeds=56)
    assert f"SEEDS = [*range(0, 8), *range({first}, {first + 48})]\nEXPECTED = 53 " in few
    for seeds in (59, 0):
        told = f"--seeds: {seeds} seeds, but the run has results of only 58; allowed: 1 to 58"
        refused(xortune("export", run.path, "--seeds", seeds), told, "xortune certify")


def test_a_certified_run_gives_the_config_that_a_gate_would_pass(two):
    loaded = certified(two)
    assert loaded.best.lr == 0.05
    result = xortune("export", two.path)
    assert "lr=0.02" in result.stdout
    told = f"# On fresh seeds from {loaded.certificate.best.first}: 50 of 50, so at least 92."
    assert re.search(
        rf"{told}4\d* % of all seeds \(confidence 0.95, this run only\).\n", result.stdout
    )
    assert f"the search's first was {FIRST.key}" in result.stderr
    assert xt.gate(loaded, min_rate=0.9).key == SECOND.key
    assert xortune("export", two.path, "--key", FIRST.key).stderr == ""


def test_held_out_rows_are_judged(tmp_path):
    table = tmp_path / "data.csv"
    rows = [f"{i % 2},{i // 2 % 2},{(i % 2) ^ (i // 2 % 2)},{int(i >= 8)}" for i in range(12)]
    table.write_text("a,b,y,test\n" + "\n".join(rows) + "\n")
    space = SPACE.replace("epochs", f"task: {{csv: {table}, target: y, held_out: test}}\nepochs", 1)
    lines = [done(0, FIRST, solved(0, 8, 8, epochs=300))]
    run = write_run(tmp_path / "run", lines, space_text=space, trainer="network")
    config = xt.Config.from_point(FIRST)
    same = xt.evaluate(config, range(8), task=run.asked.task)
    *said, last = printed(xt.export(run))
    assert [line.endswith(": solved") for line in said] == same.solved.tolist()
    assert last == f"{same.successes}/8 seeds solved, 8/8 expected"


def test_yaml_and_json_are_read_by_hydra_s_reader_as_they_were(tmp_path):
    from omegaconf import OmegaConf

    odd = {"lr": 1e-05, "big": 1e22, "half": 0.5, "width": 64, "on": True, "null value": None}
    odd |= {"text": "1e5", "word": "yes", "colon": "a: b # c", "name.with.dots": "x", "empty": ""}
    run = write_run(tmp_path / "own", [done(0, odd, solved(0, 1, 2))], trainer="./train.py:run")
    text = xt.export(run, format="yaml")
    first, rest = text.split("\n", 1)
    assert first == f"# Config {Point(odd).key} of {run.path}: 1 of 2 seeds solved in the search."
    path = tmp_path / "best.yaml"
    path.write_text(text)
    for loaded in (OmegaConf.to_container(OmegaConf.load(path)), yaml.safe_load(text)):
        assert loaded == odd
        assert [type(v) for v in loaded.values()] == [type(v) for v in odd.values()]
    path.write_text(xt.export(run, format="json"))
    assert OmegaConf.to_container(OmegaConf.load(path)) == odd == json.loads(path.read_text())
    assert rest.count("\n") == len(odd)


@pytest.mark.parametrize("text", ["${lr}", "???"])
def test_what_omegaconf_takes_for_something_else_is_refused(tmp_path, text):
    run = write_run(tmp_path / "own", [done(0, {"a": text}, solved(0, 1, 2))], trainer="f")
    with pytest.raises(xt.InputError, match="would be interpreted by OmegaConf"):
        xt.export(run, format="yaml")
    assert json.loads(xt.export(run, format="json")) == {"a": text}


def test_the_ending_of_the_output_says_the_format(two, tmp_path):
    for name in ("c.yaml", "c.yml", "c.YAML"):
        assert xortune("export", two.path, "--output", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text() == xt.export(two, format="yaml")
    xortune("export", two.path, "--output", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == FIRST.as_dict()
    xortune("export", two.path, "--output", tmp_path / "c.txt", "--format", "json")
    assert (tmp_path / "c.txt").read_text() == (tmp_path / "c.json").read_text()
    verdict = xortune("gate", "--config", tmp_path / "c.yaml", "--min-rate", "0.01")
    assert verdict.exit_code == 0, verdict.output
    for words, told in (
        (["yml"], "error: --format: unknown format 'yml'; allowed: py, yaml, json"),
        (["yaml", "--seeds", "3"], "--seeds: 3 with yaml; allowed: with format py"),
    ):
        refused(xortune("export", two.path, "--format", *words), told)
