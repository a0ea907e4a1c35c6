"""The verbs: what they accept, refuse, hand on, say and plot; what a search would do, dry."""

import inspect
import json
import os
import pickle
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import plotly.graph_objects as go
import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from figure_runs import HIDDEN, RATE, two_workers
from hand_made import CONFIG, TINY_SPACE, done, solved, write_run
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import xortune as xt
from xortune.core.errors import InputError, from_command_line
from xortune.core.outcome import Curves, Details, SeedCount
from xortune.driver import session as session_module
from xortune.runs.certificate import Attempt, Certificate, CertifiedResult
from xortune.runs.sessions import first_manifest
from xortune.spaces.space import parse_space
from xortune.training.resources import Cluster, Resources

TINY = parse_space(TINY_SPACE)

OF_RUNS = ("load_run", "status", "certify", "export", "to_optuna", "plot_ranking")


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path


@pytest.fixture
def sessions(monkeypatch):
    """Instead of a search with Ray: one evaluation is written, and the arguments are kept."""
    calls = []

    def session(space, trainer, directory, *, resume, **more):
        manifest = first_manifest(space, trainer, resume.command)
        calls.append({"space": space, "trainer": trainer, "manifest": manifest, **more})
        point = trainer.check(xt.Config(**{**CONFIG, "epochs": 30}).point)
        lines = [done(0, point, solved(0, 3, 4, epochs=30))]
        write_run(directory, lines, space_text=space.text, **manifest)
        return True

    monkeypatch.setattr(session_module, "search_session", session)
    session.calls = calls
    return session


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"seeds": [1, 1]}, "1 is given twice"),
        ({"seeds": 100}, "seeds: 100 is an int"),
        ({"checkpoints": [21]}, "21 is not an epoch.*1 to 20"),
        ({"checkpoints": [True]}, "True is not an epoch"),
        ({"engine": "warp"}, "unknown engine 'warp'"),
        ({"task": "parity"}, "parity"),
        ({"config": None}, "config: None; allowed: a xortune.Config"),
        ({"seeds": None}, "seeds: None; allowed: whole numbers"),
        ({"config": {"lr": 1}}, "config: activation is missing; allowed: a config of the built-in"),
    ],
)
def test_evaluate_refuses(make_config, more, words):
    with pytest.raises(InputError, match=words):
        xt.evaluate(**{"config": make_config(epochs=20), "seeds": range(2)} | more)


PAIR = [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("verb", "given", "more", "words"),
    [
        *((verb, None, {}, "None; allowed: the path of a run") for verb in OF_RUNS),
        ("write_report", "run", {}, "run: 'run' is a str; allowed: a run, such as xt.load_run"),
        ("search", TINY, {"workers": "2"}, "workers: '2' is no whole number; allowed: 0 or more"),
        ("search", TINY, {"workers": 1.5}, "workers: 1.5 is no whole number"),
        ("search", TINY, {"ray": 1}, "ray: 1 is an int; allowed: True, False, or xt.Ray("),
        ("Workers", 2, {"cpus": "2"}, "cpus: '2' is no number"),
        ("Workers", 2, {"cpus": 0}, "cpus: 0 is out of range; allowed: above 0"),
        ("Workers", 0, {"timeout": 3}, "timeout: 3; allowed: only where others train"),
        ("Ray", "auto", {"cpus": float("nan")}, "cpus: nan"),
        ("Ray", "auto", {"gpus": True}, "gpus: True is no number"),
        ("Ray", "auto", {"gpus": -0.5}, "gpus: -0.5 is out of range; allowed: 0 or more"),
        ("Ray", "auto", {"timeout": "soon"}, "timeout: 'soon' is not a duration"),
        ("search", TINY, {"address": 2}, "address: 2 is an int; allowed: text"),
        ("search", TINY, {"output": 2}, "2 is an int; allowed: the path of a run's directory"),
        ("search", TINY, {"tags": 3}, "tags: 3 is an int; allowed: a tag, or a list of tags"),
        ("search", TINY, {"trackers": 3}, "trackers: 3 is an int; allowed: a list of xt.Tensor"),
        ("search", TINY, {"trackers": ["mlflow"]}, "trackers: 'mlflow' is a str; allowed: a list"),
        ("search", TINY, {"trackers": [xt.TensorBoard(3)]}, "tensorboard: 3 is an int; allowed: a"),
        ("search", TINY, {"trackers": [xt.MLflow(3)]}, "mlflow: 3 is an int"),
        ("search", TINY, {"trackers": [xt.WandB(3)]}, "wandb: 3 is an int"),
        (
            "search",
            TINY,
            {"listener": 3},
            "listener: 3 is an int; allowed: a function of one event",
        ),
        ("search", TINY, {"check": "twice"}, "check: 'twice'; allowed: True, False, or \"seeds\""),
        ("compare", 3, {}, "runs: 3 is an int; allowed: runs"),
        ("compare", PAIR, {"alpha": "0.05"}, "alpha: '0.05' is no number; allowed: above 0 and"),
        ("compare", PAIR, {"train": 3}, "train: 3 is an int; allowed: a function"),
        ("compare", PAIR, {"train": max, "success": 3}, "success: 3 is an int; allowed: a rule"),
        ("compare", PAIR, {"train": max, "labels": 3}, "labels: 3 is an int; allowed: one text"),
        ("import_results", "a.csv", {"config": 3}, "3 is an int; allowed: the name of a column"),
        ("plan", 0.9, {"config": 3}, "config: 3 is an int; allowed: a xortune.Config"),
        ("plan", "0.9", {}, "rate: '0.9' is no number; allowed: above 0 and below 1"),
        ("plan", None, {"between": 0.9}, "between: 0.9 is a float; allowed: two rates"),
        ("plan", None, {"between": ("0.9", 0.5)}, "between: '0.9' is no number; allowed: rates f"),
        ("SeedRacePruner", None, {"futility": "3"}, "futility: '3' is no number"),
    ],
)
def test_another_type_is_refused_in_a_sentence(verb, given, more, words):
    Path("a.csv").write_text("x,seed,success\n1,0,1\n")
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        getattr(xt, verb)(*(() if given is None and verb not in OF_RUNS else (given,)), **more)
    assert not Path("runs").exists()


def test_a_search_of_a_function_alone_names_the_argument_for_it():
    with pytest.raises(InputError, match=r"space: a builtin.*fix: give the function as train="):
        xt.search(max)


def test_resume_simply_starts_where_there_is_no_run(space_file, sessions):
    run = xt.search(str(space_file), output="new/run", resume=True)
    assert run.path == Path("new/run")
    Path("empty").mkdir()
    assert xt.search(space_file, output=Path("empty"), resume=True).path == Path("empty")
    assert xt.search(space_file, resume=True).path == Path("runs/tiny")
    assert [xt.search(space_file).path.name for _ in range(2)] == ["tiny-2", "tiny-3"]


def test_what_is_given_replaces_what_the_file_says(space_file, sessions):
    def heard(event):
        raise AssertionError(event)

    how = {"trials": 7, "seed": 5, "sampler": "tpe"}
    more = {"address": "auto", "time_budget": "2m", "listener": heard}
    run = xt.search(space_file, **how, ray=xt.Ray(cpus=0.5, gpus=0.25, timeout="1m"), **more)
    (call,) = sessions.calls
    assert vars(call["space"].search).items() >= (how | {"time_budget": 120}).items()
    assert call["cluster"] == Cluster(
        "auto", ray=True, each=Resources(cpus=0.5, gpus=0.25, timeout="1m")
    )
    assert call["voice"].listener is heard
    assert (call["trainer"].engine, call["trainer"].gpus) == ("auto", 0.25)
    assert run.asked == call["space"], "space.yaml says what was run"


def test_the_manifest_says_how_the_run_was_made(space_file, sessions):
    command = ["xortune", "search", "tiny.yaml"]
    with from_command_line(command):
        run = xt.search(space_file)
    manifest = json.loads((run.path / "manifest.json").read_text())
    wanted = {"name": "tiny", "command": command, "seed": 0, "sampler": "random", "trials": 3}
    wanted |= {"ladder": [4], "first_seed": 0, "space_file": str(space_file)}
    wanted |= {"task_fingerprint": xt.Task.xor().fingerprint, "git_commit": None}  # no checkout
    assert {name: manifest[name] for name in wanted} == wanted
    assert set(manifest["versions"]) == {"python", "xortune", "torch", "ray", "optuna", "numpy"}
    assert manifest["started"] <= manifest["finished"]
    for name in ("host", "platform", "torch", "engine", "device"):
        assert manifest[name]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        *(({"trials": 0}, "trials: 0"), ({"trials": 2.5}, "trials: 2.5")),
        *(({"seed": -1}, "seed: -1"), ({"sampler": "tpee"}, "did you mean 'tpe'")),
        *(({"sampler": "grid"}, "grid"), ({"time_budget": "soon"}, "soon")),
        ({"workers": xt.Workers(2, cpus=2), "ray": True}, "give cpus and timeout to xt.Ray"),
        ({"address": "a:1", "ray": xt.Ray("b:1")}, "address: 'a:1' and .*leave one of the two out"),
        ({"output": "tiny.yaml"}, "tiny.yaml"),
    ],
)
def test_search_refuses_before_anything_is_written(space_file, sessions, more, words):
    with pytest.raises(InputError, match=words):
        xt.search(space_file, **more)
    assert not Path("runs").exists()
    assert space_file.read_text() == TINY_SPACE


@pytest.mark.parametrize("verb", [xt.search, xt.evaluate, xt.certify, xt.gate])
def test_an_argument_that_a_verb_lacks_is_refused_by_the_verbs_name(verb):
    with pytest.raises(TypeError, match=rf"^{verb.__name__}\(\) got an unexpected .* 'trails'"):
        verb("here", trails=3)


def test_searchs_arguments_keep_their_names_and_come_by_name():
    """Scripts that were written for an earlier version go on."""
    first, *others = inspect.signature(xt.search).parameters.values()
    assert (first.name, first.default) == ("space", first.empty)
    assert {one.kind for one in others} == {inspect.Parameter.KEYWORD_ONLY}
    assert {one.name: one.default for one in others} == {
        **dict.fromkeys(("output", "trials", "seed", "sampler", "time_budget", "address")),
        **dict.fromkeys(("train", "from_", "workers", "listener", "max_void", "retry_wait")),
        **dict.fromkeys(("note", "tags")),
        **dict.fromkeys(("resume", "extend", "accept_versions", "fail_fast", "ray"), False),
        "engine": "auto",
        "trackers": (),
        "retry": (),
        "dry_run": False,
        "check": True,
        "verbose": 1,
    }


def test_a_cluster_that_does_not_answer_is_told_at_once_and_leaves_nothing():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"{address}.* cannot be reached.*ray status"):
            xt.search(parse_space(TINY_SPACE), address=address)
    assert list(Path("runs").iterdir()) == []


def test_a_job_server_is_no_cluster_to_connect_to(space_file):
    with pytest.raises(InputError, match="ray job submit"):
        xt.search(space_file, address="http://head:8265")


# A dry run.

OWN = """
name: own
trainer: ./own.py:run
parameters: {x: {choice: [1, 2]}}
search: {sampler: random, trials: 2}
seeds: {ladder: [4]}
"""


@pytest.mark.parametrize("output", [None, "there/run"])
@pytest.mark.usefixtures("no_ray")
def test_a_dry_run_starts_nothing_and_says_what_would_be(space_file, output, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    options = [] if output is None else ["--output", output]
    result = xortune("search", space_file, "--dry-run", "--trials", 7, *options)
    assert result.exit_code == 0, result.output
    assert f"the search would make {output or 'runs/tiny'}; nothing was started" in result.stdout
    assert "7 configurations" in result.stderr
    found = json.loads(xortune("search", space_file, "--dry-run", *options, "--json").stdout)
    wanted = {"dry_run": True, "run": output or "runs/tiny", "continues": 0}
    assert found.items() >= wanted.items()
    assert found["space"]["name"] == "tiny"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("no_ray")
def test_a_file_may_leave_the_number_of_trials_to_the_search(space_file):
    space_file.write_text(TINY_SPACE.replace(", trials: 3", ""))
    refused(xortune("search", space_file, "--dry-run"), "give --trials")
    result = xortune("search", space_file, "--dry-run", "--trials", 7)
    assert "7 configurations" in result.stderr
    assert xt.search(space_file, trials=7, dry_run=True).continues == 0
    grid = xortune("search", space_file, "--dry-run", "--trials", 7, "--sampler", "grid")
    refused(grid, "grid")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--sampler", "bayes"], "unknown sampler 'bayes'"),
        *((["--cpus-per-trial", 0], "--cpus-per-trial: 0.0 is out of range"),),
        *((["--engine", "fast"], "unknown engine"), (["--output", "held"], "already holds a run")),
        (["--output", "held", "--resume"], "space"),
        (["--max-void", 7], "--max-void"),
    ],
)
def test_a_dry_run_refuses_what_a_search_refuses(space_file, options, word):
    write_run(Path("held"), [done(0, {"x": 1}, solved(0, 1, 4))])
    refused(xortune("search", space_file, "--dry-run", "--quiet", *options), word)


def test_a_dry_run_in_python_is_that_of_the_command_line(space_file, capsys):
    plan = xt.search(space_file, trials=7, dry_run=True)
    assert plan == xt.DryRun(plan.space, Path("runs/tiny"))
    assert plan.space.search.trials == 7
    assert "the search would make runs/tiny; nothing was started" in capsys.readouterr().out
    assert not Path("runs").exists()
    write_run(Path("held"), [done(0, {"x": 1}, solved(0, 1, 4))])
    with pytest.raises(InputError, match="already holds a run"):
        xt.search(space_file, output="held", dry_run=True, verbose=0)
    assert capsys.readouterr().out == ""


def test_a_dry_run_calls_a_function_once():
    own, calls = Path("own.yaml"), Path("calls")
    own.write_text(OWN)
    Path("own.py").write_text("def run(*_):\n    return bool(open('calls', 'a').write('x'))\n")
    result = xortune("search", own, "--dry-run")
    assert result.exit_code == 0, result.output
    assert calls.read_text() == "x"
    assert "of seed 0 with x=1" in result.stderr
    assert "would make runs/own" in result.stdout
    assert xortune("search", own, "--dry-run", "--no-check").exit_code == 0
    assert calls.read_text() == "x"
    Path("own.py").write_text("def run(config, seed):\n    return 'text'\n")
    assert "returned a str" in xortune("search", own, "--dry-run").stderr
    assert xortune("search", own, "--dry-run", "--no-check").exit_code == 0
    assert not Path("runs").exists()


def test_a_search_says_nothing_before_it_refuses_options_that_exclude_each_other(space_file):
    result = xortune("search", space_file, "--no-check", "--check-seeds")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --check-seeds")
    assert result.stdout == ""


def test_a_dry_run_checks_what_is_continued(space_file):
    run = xt.search(space_file, output="run", trials=2)
    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    words = ("--output", "run", "--resume", "--dry-run")
    result = xortune("search", space_file, *words, "--trials", 4)
    assert result.exit_code == 0, result.output
    assert f"would continue run, which has {len(run.evaluations)} evaluations" in result.stdout
    Path("other.yaml").write_text(TINY_SPACE.replace("hidden_dim: 3", "hidden_dim: 4"))
    refused(xortune("search", "other.yaml", *words, "--quiet"), "hidden_dim: 3 -> 4", lines=3)
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == files


# What users read.


def test_a_repr_is_a_line():
    lines = [done(i, CONFIG | {"lr": 0.01 + i / 1000}, solved(0, i % 9, 8)) for i in range(300)]
    run = write_run(Path("run"), lines, trainer="network", task="xor", trials=300)
    many = {"name": "dict", "parameters": {"x": {"choice": list(range(500))}}}
    space = xt.load_space(many | {"search": {"sampler": "random", "trials": 2}})
    first = run.results[0]
    numbers = (1, SeedCount(8, 8), 2**30, 0.99257, 0.95)
    result = CertifiedResult(997, 1000, "a1b2c3d4", first.point, *numbers)
    certificate = Certificate(0.95, (Attempt(1, 1000, "exact", 0.975, True, (result,)),))
    values = (
        *(run, first.outcome, first, xt.compare([first.outcome] * 2)),
        *(certificate, result, certificate.attempts[0], xt.status(run), space),
        *(xt.Task.parity(8), xt.plan(0.99, measure=False), xt.Config(**CONFIG)),
    )
    shown = list(map(repr, values))
    assert max(map(len, shown)) < 700
    assert max(map(len, shown[:1] + shown[3:5] + shown[7:10])) < 250
    assert not any("\n" in text for text in shown)
    best = "best 8/8 (67–100 %): activation Tanh, "
    assert shown[0].startswith(f"Run({str(run.path)!r}, 300 evaluations, {best}")
    assert repr(write_run(Path("empty"), [])) == "Run('empty', 0 evaluations)"
    assert "(a1b2c3d4) succeeds under at least 99.25 % of all seeds" in shown[4]
    assert shown[4].endswith("with confidence 0.95 (this run only): 997 of 1,000 fresh seeds.)")
    assert "300 of 300 proposals, best 8/8" in shown[7]


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("continue it with --resume, or give another --output", "resume=True, or give another out"),
        ("give --rate 0.99, or --between 0.9 0.95", "give rate=0.99, or between=(0.9, 0.95)"),
        ("train by another engine: --engine auto", "another engine: engine='auto'"),
        ("name them: --config lr,epochs", "name them: config=['lr', 'epochs']"),
        ("name 'a' with --config, or leave it out", "name 'a' with config, or leave it out"),
        ("make one: `xortune certify RUN --seeds 9`", "make one: `xortune certify RUN --seeds 9`"),
        ("give --accept-versions", "give accept_versions=True"),
        ("name --address and --gpus-per-trial, or", "name address and gpus of xt.Ray, or"),
        ("start it with --no-check: it", "start it with check=False: it"),
        ("an unknown --flag", "an unknown --flag"),
    ],
)
def test_a_fix_names_options_at_the_command_line_and_arguments_in_python(option, argument):
    error = xt.InputError("wrong", fix=option)
    assert argument in str(error)
    with from_command_line([]):
        assert option in str(error)
    assert argument in str(error)


def test_a_message_has_its_parts_at_any_place_and_in_any_process():
    first = InputError("is missing", field="lr", allowed="a number", fix="add it")
    moved = pickle.loads(pickle.dumps(first.at("space.yaml:3")))
    assert type(moved) is InputError
    assert (moved.field, first.place) == ("lr", "lr")
    for error, place in ((first, "lr"), (moved, "space.yaml:3")):
        assert str(error) == f"{place}: is missing; allowed: a number; fix: add it"


# What is plotted, by both libraries.

VERBS = [name for name in xt.__all__ if name.startswith("plot_")]
OF_COMPARISONS = ("plot_differences", "plot_numbers", "plot_profile", "plot_wins")
OF_NUMBERS = ("plot_improvement", "plot_intervals", "plot_number_profile")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Some solve all seeds, some a few, so that there is something in every figure."""
    seeds, way = np.arange(16), np.linspace(4, 1, 48, dtype=np.float32)
    curves = Curves(("loss",), np.tile(seeds, 3), np.repeat([1, 2, 3], 16), way[:, None])
    details = Details({"loss": np.linspace(0.0, 1.0, 16)}, curves=(curves,))
    few = [("Tanh", 0.03, 4, 9), ("Tanh", 0.01, 2, 2), ("ReLU", 0.03, 2, 5), ("ReLU", 0.1, 3, 1)]
    lines = [
        done(
            place,
            CONFIG | {"activation": activation, "lr": lr, "hidden_dim": hidden, "epochs": 200},
            replace(solved(0, k, 16, epoch=30 + lr * 1000, epochs=200), details=details),
        )
        for place, (activation, lr, hidden, k) in enumerate([*few, ("ELU", 0.05, 5, 16)])
    ]
    noted = {"importance": {"activation": 0.5, "lr": 0.3, "hidden_dim": 0.2}}
    noted |= {"objectives": [RATE, HIDDEN], "trainer": "network", "task": "xor"}
    return write_run(tmp_path_factory.mktemp("plots") / "run", lines, **noted)


@pytest.fixture(scope="module")
def comparison(run):
    outcomes = [one.outcome for one in run.results[:3]]
    return xt.compare(outcomes, labels=["first", "second", "third"])


@pytest.fixture(scope="module")
def required(run, tmp_path_factory):
    """The same results of a search that requires a rate."""
    noted = {"objectives": [{**HIDDEN, "required": {"rate": 0.5, "alpha": 0.05}}]}
    path = tmp_path_factory.mktemp("plots") / "required"
    return write_run(path, list(run.evaluations), trainer="network", task="xor", **noted)


@pytest.mark.parametrize("verb", VERBS)
def test_both_libraries_draw_it_and_an_unknown_one_is_told(
    run, required, comparison, tmp_path, verb
):
    of = comparison if verb in (*OF_COMPARISONS, *OF_NUMBERS) else run
    if verb == "plot_frontier":
        of = required
    if verb == "plot_timeline":
        of = two_workers(tmp_path / "workers")
    draw = getattr(xt, verb)
    figure = draw(of)
    assert isinstance(figure, go.Figure)
    assert figure.data
    assert len(figure.layout.title.text) > 10
    assert len(figure.layout.title.subtitle.text) > 20, "n, interval and confidence"
    assert figure == draw(of, backend="plotly")
    found = draw(of, backend="matplotlib")
    axes = found.tolist() if isinstance(found, np.ndarray) else [found]
    assert all(isinstance(one, Axes) for one in axes)
    assert all(one.has_data() for one in axes)
    assert len(axes) == len({trace.xaxis for trace in figure.data})
    assert axes[0].figure.get_suptitle()
    axes[0].figure.draw_without_rendering()
    plt.close("all")
    with pytest.raises(xt.InputError, match="did you mean 'plotly'") as caught:
        draw(of, backend="plotli")
    assert "plotly, matplotlib" in str(caught.value)


def test_arguments_reach_the_figure(run):
    assert len(xt.plot_ranking(run, top=2).layout.yaxis.tickvals) == 2
    figure = xt.plot_contour(run, parameters=["lr", "activation"])
    assert [figure.layout[axis].title.text for axis in ("xaxis", "yaxis")] == ["lr", "activation"]
    chosen = xt.plot_success_by_epoch(run, keys=[run.results[-1].key])
    assert len(chosen.data) > len(xt.plot_success_by_epoch(run).data)
    assert xt.plot_success_by_epoch(run, keys=run.results[-1].key) == chosen, "one key"


@pytest.mark.parametrize("top", [0, -3, 1.5, True])
@pytest.mark.parametrize("verb", ["plot_ranking", "plot_failures", "plot_parallel_coordinate"])
def test_top_is_a_whole_number(run, verb, top):
    with pytest.raises(xt.InputError, match=r"top.*1 or more"):
        getattr(xt, verb)(run, top=top)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        *(("plot_slice", "no parameter differs"), ("plot_contour", "fewer than two parameters")),
        ("plot_parallel_coordinate", "no parameter differs"),
        *(("plot_param_importances", "no importance"), ("plot_pareto_front", "one objective")),
        ("plot_decision_surface", "two inputs"),
    ],
)
def test_where_there_is_nothing_to_draw_it_is_told(run, tmp_path, verb, words):
    one = write_run(tmp_path / "one", run.evaluations[:1], trainer="custom")
    with pytest.raises(xt.InputError, match=words):
        getattr(xt, verb)(one)


def test_a_number_is_chosen_by_its_name(comparison):
    assert xt.plot_numbers(comparison, number="loss") == xt.plot_numbers(comparison)
    with pytest.raises(xt.InputError, match="loss"):
        xt.plot_numbers(comparison, number="accuracy")


@pytest.mark.parametrize("verb", OF_COMPARISONS)
def test_a_run_is_no_comparison(run, verb):
    with pytest.raises(xt.InputError, match=r"a Run.*xortune\.compare"):
        getattr(xt, verb)(run)


# What is too large is refused before it starts; what is large takes no more than it needs.

ONCE = xt.Config(**CONFIG | {"epochs": 1})
COMMAND = ("evaluate", *(f"--{name.replace('_', '-')}={CONFIG[name]}" for name in CONFIG))
COMMAND = (*COMMAND[:-2], "--epochs", 1)  # zero_grad has no value


@pytest.fixture
def little_memory(monkeypatch):
    """A machine with 2 GB free, whatever this one has."""
    monkeypatch.setattr("xortune.trainers.limits.free_memory", lambda: 2 * 10**9)


def long_task(rows):
    inputs = np.random.default_rng(0).integers(0, 2, (rows, 2)).astype(np.float32)
    return xt.Task("long", inputs, (inputs.sum(axis=1, keepdims=True) % 2).astype(np.float32))


MEASURE = """\
import atexit, re, runpy, sys
from pathlib import Path

def kilobytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

Path("/proc/self/clear_refs").write_text("5")  # the most begins anew
before = kilobytes("VmRSS")
atexit.register(lambda: print(kilobytes("VmHWM") - before, file=sys.stderr))
runpy.run_module("xortune", run_name="__main__")
"""


def test_one_seed_of_a_long_table_takes_the_memory_of_one_network(tmp_path):
    """64 networks of 100,000 rows take 0.65 GB; one takes 0.02 GB."""
    rows = "".join(f"{i % 2},{i // 2 % 2},{(i + i // 2) % 2}\n" for i in range(100_000))
    (tmp_path / "long.csv").write_text(f"a,b,y\n{rows}")
    words = [*map(str, COMMAND), "--task", "long.csv", "--seeds", "1"]
    done = forked.run(["-c", MEASURE, *words], cwd=tmp_path)
    assert 5_000 < int(done.stderr.splitlines()[-1]) < 350_000


def test_a_seed_of_a_long_table_does_not_depend_on_those_beside_it():
    task = long_task(100_000)
    three, one = (xt.evaluate(ONCE, seeds, task=task) for seeds in ([1, 2, 3], [3]))
    assert three.final_loss[2:].tobytes() == one.final_loss.tobytes()
    assert three.patterns[2] == one.patterns[0]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--hidden-dim", 5, "--seeds", 10**9), ("1,000,000,000 seeds take about", "GB", "up to")),
        (("--hidden-dim", 10**9, "--seeds", 1), ("hidden_dim 1,000,000,000 on 4 rows", "240.0 GB")),
        (("--hidden-dim", 5000, "--seeds", 10**9), ("1,000,000,000 seeds take about",)),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_with_the_memory_it_takes(more, words):
    assert "2.0 GB are free" in refused(xortune(*COMMAND, *more), *words)


@pytest.mark.usefixtures("little_memory")
def test_a_long_table_is_refused_with_the_memory_it_takes():
    """A network has its activations of every row."""
    config = xt.Config(**CONFIG | {"hidden_dim": 100})
    with pytest.raises(xt.InputError, match=r"hidden_dim 100 on 1,000,000 rows takes about 2\.\d"):
        xt.evaluate(config, range(1), task=long_task(10**6))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "hidden_dim",
    ["1000000000", "{choice: [2, 1000000000]}", "{low: 2, high: 1000000000, log: true}"],
)
def test_a_search_with_a_network_too_large_is_refused_before_it_starts(tmp_path, hidden_dim):
    text = TINY_SPACE.replace("hidden_dim: 3", f"hidden_dim: {hidden_dim}")
    (tmp_path / "space.yaml").write_text(text)
    for dry in ((), ("--dry-run",)):
        result = xortune("search", "space.yaml", *dry)
        said = refused(result, "error: space.yaml:9: parameters.hidden_dim: ", lines=2)
        assert "takes about" in said
        assert "2.0 GB are free" in said
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


EVERY_VERB = """
import os
before = dict(os.environ)

import xortune as xt

def run(config, seed):
    return {"accuracy": (seed % 3 + config["x"]) / 3}

given = {"train": run, "workers": 0, "verbose": 0}
if __name__ == "__main__":
    rule = {"success": "accuracy >= 0.5", **given}
    choice = {"x": {"choice": [1.0, 1.5, 2.0]}}
    space = {"name": "own", "parameters": choice, "success": "accuracy >= 0.5",
        "seeds": {"ladder": [4]}}
    found = xt.search(space | {"search": {"sampler": "grid"}}, output="run", **given)
    xt.search(space | {"search": {"sampler": "auto", "trials": 3}}, output="other", **given)
    xt.evaluate({"x": 1}, range(4), **rule)
    xt.gate({"x": 1}, min_rate=0.2, **rule)
    xt.compare({"x": 1}, {"x": 2}, seeds=5, output="compared", **rule)
    xt.certify(found, seeds=5, **given)
    xt.write_report(found)
    xt.status(found.path)
    for name in before.keys() | os.environ.keys():
        if before.get(name) != os.environ.get(name):
            print(name, before.get(name), os.environ.get(name))
"""


def test_every_verb_leaves_the_environment_as_it_was(tmp_path):
    """In a process that has imported nothing yet: some packages change it at their import."""
    words = [sys.executable, "-c", EVERY_VERB]
    env = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
    how = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    ran = subprocess.run(words, check=False, **how)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
