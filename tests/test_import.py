"""Results that xortune did not produce, as a run: all that takes runs takes it, and says so."""

import hashlib
import json

import pandas as pd
import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder

import xortune as xt
from xortune.reports.html.page import page
from xortune.reports.run import run_document
from xortune.runs.journal import Journal
from xortune.stats.anytime import anytime_lower

CONFIG = "lr,width"
TRAINER = """
def run(config, seed):
    if seed % 50 == 7:
        raise ValueError("unlucky")
    return {"accuracy": 0.95 if seed % 10 else 0.5}
"""


def accuracy(lr, width, seed):
    return round(0.8 + 0.15 * ((seed * 7 + width) % 10 < 10 * lr), 3)


def rows():
    return [
        (lr, width, seed, accuracy(lr, width, seed))
        for lr in (0.5, 0.9, 1.0)
        for width in (8, 16)
        for seed in range(40)
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    frame = pd.DataFrame(rows(), columns=["lr", "width", "seed", "accuracy"])
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(results):
    return xt.import_results(
        results,
        config=["lr", "width"],
        success="accuracy >= 0.9",
        output=results.parent / "run",
    )


def test_the_counts_of_the_run_are_those_of_the_file(run):
    wanted = {}
    for lr, width, _, value in rows():
        k, n = wanted.get((lr, width), (0, 0))
        wanted[lr, width] = k + (value >= 0.9), n + 1
    table = run.table
    found = {(r.lr, r.width): (r.k, r.n) for r in table.itertuples()}
    assert found == wanted
    assert table.k.tolist() == sorted(table.k, reverse=True)
    assert table.trials.tolist() == [1] * 6
    assert table.epochs_to_solve.isna().all()
    again = pd.read_csv(run.path / "table.csv")
    assert again.k.tolist() == table.k.tolist()
    assert run.seeds.groupby("key", observed=True).size().tolist() == [40] * 6
    assert sorted(run.seeds.accuracy) == sorted(value for *_, value in rows())
    assert xt.load_run(run.path).table.equals(table)


def test_manifest_and_reports_say_that_it_was_imported(run, results):
    noted = run.manifest["imported"]
    assert noted["source"] == str(results)
    assert (noted["rows"], noted["success"]) == (240, "accuracy >= 0.9")
    assert noted["sha256"] == hashlib.sha256(results.read_bytes()).hexdigest()
    assert run.manifest["columns"]["config"] == {"lr": "number", "width": "whole number"}
    told = f"These results were imported from {results} (240 rows, SHA-256 {noted['sha256'][:12]})"
    markdown = (run.path / "report.md").read_text()
    assert told.replace("_", r"\_") in markdown.replace("\n", " ") or told in markdown
    assert "xortune did not train them" in page(run_document(run))
    assert "xortune has not trained them again" in " ".join(markdown.split())
    for word in ("How the search went", "Where the seeds went", "stopped early"):
        assert word not in markdown
    assert not (run.path / "figures" / "history.svg").exists()
    shown = xortune("report", run.path, "--format", "csv")
    assert "xortune did not train them" in shown.stdout.replace("\n", " ")


def test_without_a_trainer_certify_refuses_and_with_one_it_certifies(run, results, tmp_path):
    assert "--seeds 1000 --trainer FILE.py:FUNCTION" in xortune("report", run.path).stdout
    result = refused(xortune("certify", run.path), "imported, and nothing says what trains")
    assert "--trainer ./train.py:run" in result
    (tmp_path / "train.py").write_text(TRAINER)
    words = ["--config", CONFIG, "--success", "accuracy >= 0.9", "--trainer", "./train.py:run"]
    made = xortune("import", results, *words, "--output", "again")
    assert made.exit_code == 0, made.output
    # fewer seeds than Ray is started for
    result = xortune("certify", "again", "--top", "2", "--seeds", "100")
    assert result.exit_code == 0, result.output
    assert "note: whether this trainer made what was imported is not known" in result.stderr
    assert "->" not in result.stderr
    certificate = xt.load_run("again").certificate
    assert [found.n for found in certificate.finalists] == [100, 100]
    first = certificate.best.first
    lucky = [s for s in range(first, first + 100) if s % 10 and s % 50 != 7]
    assert certificate.best.k == len(lucky)
    assert certificate.best.search_k == certificate.best.search_n == 40
    verdict = xortune("gate", "again", "--min-rate", "0.7")
    assert verdict.exit_code == 0
    assert "certified config" in verdict.stdout


def test_a_gate_of_imported_seeds_holds_for_all_configs_at_once(results, tmp_path):
    run = xt.import_results(
        results, config=["lr", "width"], success="accuracy >= 0.9", output="six"
    )
    verdict = xt.gate(run, min_rate=0.8)
    low = float(anytime_lower(40, 40, alpha=0.05 / 6))
    assert (verdict.k, verdict.n, verdict.bound) == (40, 40, low)
    assert xt.gate(run, min_rate=low - 1e-6).answer == "proven"
    assert xt.gate(run, min_rate=low + 1e-6).answer == "undecided"
    worst = run.results[-1].key
    assert xt.gate(run, min_rate=0.9, key=worst).answer == "refuted"
    assert f"imported seeds of config {verdict.key}" in verdict.line
    with pytest.raises(xt.InputError, match="above 0 and below 1"):
        xt.gate(run, min_rate=1.0)
    only = xt.import_results(
        pd.read_csv(results).query("lr == 1 and width == 8"),
        config=["lr"],
        success="accuracy >= 0.9",
        output="one",
    )
    assert xt.gate(only, min_rate=0.8).bound == float(anytime_lower(40, 40, alpha=0.05))


def test_single_configs_are_compared_by_their_own_seeds_seed_by_seed(results, tmp_path):
    frame = pd.read_csv(results)
    runs = [
        xt.import_results(
            frame.query(f"lr == {lr} and width == 8"),
            config=["lr"],
            success="accuracy >= 0.9",
            output=f"lr-{lr}",
        )
        for lr in (0.5, 1.0)
    ]
    found = xt.compare(runs)
    [pair] = found.pairs
    assert pair.shared
    solved = [run.results[0].outcome.solved for run in runs]
    assert (pair.wins, pair.losses) == (0, int((solved[1] & ~solved[0]).sum()))
    assert pair.differs
    assert {one.origin for one in found.contestants} == {"given"}
    assert "imported from" in found.contestants[0].facts


def test_the_best_of_several_is_not_compared_by_the_counts_it_won_by(run, results, tmp_path):
    with pytest.raises(xt.InputError, match="imported, and nothing says what trains"):
        xt.compare([run, run])
    keys = [result.key for result in run.results]
    found = xt.compare([f"{run.path}#{keys[0][:6]}", f"{run.path}#{keys[-1]}"])
    assert [one.key for one in found.contestants] == [keys[0], keys[-1]]
    assert "they flatter it" in found.contestants[0].notes[0]


def test_the_command_shows_what_it_read_and_refuses_in_one_line(results, tmp_path):
    words = ["import", results, "--success", "accuracy >= 0.9"]
    text = refused(xortune(*words), "--config: it is unknown which columns", "--config lr,width")
    assert text.startswith("error: --config")
    result = xortune(*words, "--config", CONFIG)
    assert result.exit_code == 0, result.output
    told = "240 rows of " + str(results)
    assert told in result.stdout
    assert "6 configurations of lr (number), width (whole number); a success is" in result.stdout
    assert (tmp_path / "runs" / "results" / "report.html").exists()
    again = xortune(*words, "--config", CONFIG, "--json")
    assert json.loads(again.stdout)["run"] == "runs/results-2"
    assert json.loads(again.stdout)["configs"] == 6
    assert json.loads(again.stdout)["best"]["k"] == 40
    refused(xortune(*words, "--config", CONFIG, "--output", "runs/results"), "already holds a run")


def test_what_is_refused_leaves_nothing_behind(tmp_path):
    (tmp_path / "r.csv").write_text("lr,seed,success\n1,0,perhaps\n")
    refused(xortune("import", "r.csv", "--config", "lr"), "r.csv:2: success: 'perhaps'")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


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


def test_an_imported_run_is_not_searched_further(run):
    space = run.path / "space.yaml"
    result = xortune("search", space, "--output", run.path, "--resume")
    assert result.exit_code == 2
    assert xt.load_run(run.path).table.equals(run.table)


def test_what_is_no_source(tmp_path):
    with pytest.raises(xt.InputError, match="a list; allowed: the path of a CSV file, a DataFrame"):
        xt.import_results([1], config=["lr"])
