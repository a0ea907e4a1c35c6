"""A user's own function, searched, certified, compared and reported; nothing of it is special.

What it will cost is said before it is spent; the call before the start is not trained twice.
"""

import functools
import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
import yaml
from listening import sentences

import xortune as xt
from xortune.core.outcome import Status
from xortune.core.trainer import Stacking
from xortune.driver import certify
from xortune.driver import evaluate as evaluate_module
from xortune.driver import search as search_module
from xortune.driver import trainer as trainer_module
from xortune.driver.certify import estimate_of_seeds
from xortune.driver.session import cost_of
from xortune.driver.trainer import Check
from xortune.spaces.space import load_space, with_search
from xortune.training.resources import Cluster

ENGINE = Path(__file__).parent / "engine"
pytestmark = pytest.mark.usefixtures("no_ray")
xortune = functools.partial(commands.xortune, traceback=True)

SPACE = {
    "name": "own",
    "trainer": "./seedy.py:luck",
    "success": "accuracy >= 0.6",
    "parameters": {"n_layers": {"low": 1, "high": 6}, "k": {"choice": [1, 5, 20]}},
    "search": {"sampler": "random", "trials": 4},
    "seeds": {"ladder": [20]},
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A folder with the trainer is the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("seedy.py", "seedy_parts.py"):
        shutil.copy(ENGINE / name, name)


def written(**changes):
    """A space file."""
    values = {name: part for name, part in {**SPACE, **changes}.items() if part is not None}
    Path("space.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return "space.yaml"


def of_one_point(program, ladder, **trainer):
    """The run of one configuration by a program that says which seeds are solved."""
    Path("program.py").write_text(program)
    changes = {"parameters": {"x": 0}, "search": {"sampler": "grid"}, "seeds": {"ladder": [ladder]}}
    changes["trainer"] = {"function": "./program.py:run", **trainer}
    return xt.search(written(**changes, success=None), output="run")


def other(config, seed):
    return seed < config["k"]


def plain_loop(config, seeds):
    """Statuses by a loop that knows nothing of xortune."""
    sys.path.insert(0, str(ENGINE))
    import seedy

    found = []
    for seed in seeds:
        try:
            accuracy = seedy.luck(dict(config), seed)["accuracy"]
        except RuntimeError:
            found.append("crashed")
            continue
        found.append("diverged" if np.isnan(accuracy) else "solved" if accuracy >= 0.6 else "no")
    return found


def test_a_search_from_the_command_line_to_the_gate(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    space = written()
    assert "./seedy.py:luck, called with (config, seed)" in xortune("space", space).stdout
    result = xortune("search", space, "--output", "run", "--workers", 1, code=0)
    assert "note: check of seed 0 with n_layers=" in result.stderr
    _, first = result.stderr.split("the first failure")  # it is told of once
    # Results come on the way: a seed without a number may be told of before one that raised.
    assert re.match(r": seed \d+ of n_layers=\d, k=\d+\n(accuracy is nan|Traceback \()", first)
    assert "site-packages" not in first
    loaded = xt.load_run("run")
    assert (loaded.is_network, loaded.parameters) == (False, ("n_layers", "k"))
    for found in loaded.results:
        wanted = plain_loop(found.point, range(20))
        rows = loaded.seeds[loaded.seeds.key == found.key]
        assert rows.seed.tolist() == list(range(20))
        status = [s if s in ("solved", "diverged", "crashed") else "no" for s in rows.status]
        assert status == wanted
        assert found.outcome.successes == wanted.count("solved")
    table = Path("run/table.csv").read_text().splitlines()
    assert table[0].startswith("n_layers,param_k,key,k,n,rate,low,high,epochs_to_solve,trials")
    xortune("certify", "run", "--seeds", 30, "--top", 1, code=0)
    best = xt.load_run("run").certificate.best
    fresh = plain_loop(best.point, range(best.first, best.first + 30))
    assert best.k == fresh.count("solved")
    xortune("gate", "run", "--min-rate", 0.01, code=0)
    for words in (("report", "run"), ("status", "run"), ("compare", "run", "run")):
        assert xortune(*words).exit_code in (0, 2), words
    config = xortune("export", "run", code=0).stdout
    assert yaml.safe_load(config) == best.point.as_dict()
    assert xt.export("run") == config == xt.export("run", format="yaml")
    result = xortune("export", "run", "--output", "best.py", code=2)
    assert "its own function or command is the program; --format yaml or json" in result.stderr


def test_a_report_that_cannot_be_written_takes_no_result_away():
    xt.search(written(), output="run", trials=2)
    shutil.rmtree("run/figures")
    for name in ("report.html", "report.md", "table.csv"):
        Path("run", name).unlink()
    Path("run/report.html/taken").mkdir(parents=True)
    result = xortune("search", "space.yaml", "--output", "run", "--resume", code=2)
    assert "key" in result.stdout  # the table
    said = result.stderr.index("error: run/report.html: cannot be written (Is a directory)")
    assert result.stderr.count("cannot be written") == 1
    assert "`xortune report run` writes the report again; all" in result.stderr[said:]
    others = ("report.md", "table.csv", "seeds.parquet", "figures/ranking.svg")
    assert all(Path("run", name).is_file() for name in others)
    assert xt.load_run("run").manifest["complete"]
    told = []
    run = xt.search(
        "space.yaml", output="run", resume=True, trials=5, listener=sentences(told.append)
    )
    assert len(run.results) == 5
    assert told[-1] == run.unwritten
    assert "report.html: cannot be written" in run.unwritten


def test_a_library_that_does_not_fit_into_the_memory_is_told(monkeypatch):
    """The report of a search needs more than its training does."""

    def starved(run):
        raise ImportError("libXau.so: failed to map segment from shared object")

    monkeypatch.setattr("xortune.driver.search.write_report", starved)
    monkeypatch.setattr("resource.getrlimit", lambda _: (700 * 2**20, 700 * 2**20))
    result = xortune("search", written(), "--output", "run", code=2)
    assert "key" in result.stdout
    assert "this process may use 700 MiB of memory, which is too little; raise" in result.stderr


def test_fail_fast_ends_the_search_and_resume_goes_on():
    search = functools.partial(xortune, "search", written(), "--output", "run", "--trials", 30)
    result = search("--fail-fast", code=4)
    assert "stopped: " in result.stderr
    assert Path("run/report.html").exists()
    stopped = xt.load_run("run")
    assert 0 < len(stopped.evaluations) < 30
    assert stopped.manifest["complete"] is False
    assert search("--resume", "--quiet").exit_code == 0
    assert sum(found.trials for found in xt.load_run("run").results) == 30


def test_a_function_given_from_python():
    def luck(config, seed):
        return (seed + config["n_layers"]) % 3 > 0

    run = xt.search(written(trainer=None, success=None), train=luck, output="run")
    for found in run.results:
        assert found.outcome.successes == sum(luck(found.point, seed) for seed in range(20))
    two = [run, f"run#{run.results[1].key}"]
    certify = functools.partial(xt.certify, run, top=1, seeds=12)
    compare = functools.partial(xt.compare, two, seeds=30, output="compared")
    for verb, given, words in (
        (certify, {}, "give it again: train="),
        (certify, {"train": other}, "not the one that trained the run"),
        (compare, {}, "give it again: train="),
        (compare, {"train": [luck]}, "1 function for 2 configurations"),
        (
            compare,
            {"train": "train.py:run"},
            "a str; allowed: a function.*; fix: give the function",
        ),
        (compare, {"train": "ab"}, "'ab' is a str"),
        (compare, {"train": {"one": luck, "two": luck}}, "is a dict; allowed: a function"),
        (compare, {"train": luck, "labels": "ab"}, "labels: 'ab' is a str"),
        (compare, {"train": [luck, 3]}, r"train\[1\]: 3 is an int; allowed: a function"),
        (compare, {"train": luck, "trainer": luck}, "given together with trainer"),
        (compare, {"train": [luck, other]}, "not the one that trained the run"),
    ):
        with pytest.raises(xt.InputError, match=words):
            verb(**given)
    assert certify(train=luck).best.k == 8
    found = compare(train=luck)
    assert [one.outcome.successes for one in found.contestants] == [20, 20]
    assert compare(train=[luck, luck]).pairs == found.pairs


def test_a_search_without_parameters_trains_one_configuration():
    def most(config, seed):
        return dict(config) == {} and seed % 3 > 0

    changes = {"parameters": {}, "search": {"sampler": "grid"}, "trainer": None, "success": None}
    run = xt.search(written(**changes), train=most, output="run")
    assert [(dict(found.point), found.outcome.successes) for found in run.results] == [({}, 13)]
    assert str(xt.certify(run, train=most, seeds=12)).startswith("{} (")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "xor"}, r"space.yaml:[0-9]+: task: means nothing with a function of your own"),
        ({"epochs": 3}, r"epochs: means nothing .* write epochs below parameters"),
        ({"success": "accuracy"}, r"space.yaml:3: success: 'accuracy' is not a rule"),
        ({"trainer": "./none.py:luck"}, r"space.yaml:2: trainer: there is no file"),
        ({"trainer": "./seedy.py:luk"}, r"seedy has no function 'luk'"),
        ({"objectives": ["success_rate", "epochs_to_solve"]}, "epochs_to_solve is not known"),
        ({"trainer": None}, "success: a rule for success, but no trainer"),
        ({"objectives": ["acuracy_q10"]}, "acuracy_q10 without a direction"),
        (
            {"objectives": [{"name": "acuracy_q10", "direction": "maximize"}]},
            "'acuracy', which was not returned; .*did you mean 'accuracy'",
        ),
        ({"success": None}, r"no rule says what a success .* `success: \"accuracy >= 0\.9\"` to"),
        ({"parameters": {"k": {"value": 1, "when": {"j": 1}}}}, "'j', .*; fix: remove the cond"),
        ({"success": "acuracy >= 0.9"}, "did you mean 'accuracy'"),
        ({"trainer": "./seedy.py:broken"}, r"(?s)KeyError: 'lr'.*check=False\nTraceback"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(changes, words):
    path = written(**changes)
    with pytest.raises(xt.InputError, match=words):
        xt.search(path, output="new/run")
    assert not Path("new").exists()


@pytest.mark.parametrize("output", ["file/run", "gone/run", None])
def test_where_no_run_can_be_is_told_before_a_seed_trains(output):
    Path("program.py").write_text("def run(config, seed): open('trained', 'w')")
    for name in ("file", "runs"):
        Path(name).touch()
    Path("gone").symlink_to("nowhere")
    path = written(trainer="./program.py:run", success=None)
    with pytest.raises(xt.InputError, match=f"{output or 'runs/own'}: cannot be written"):
        xt.search(path, output=output)
    assert not Path("trained").exists()


MANY = """
import numpy as np

def first(config, seeds):  # a generator for all
    rng = np.random.default_rng(seeds[0])
    return {"accuracy": rng.random(len(seeds))}

def first_verdict(config, seeds):
    return first(config, seeds)["accuracy"] > 0.5

def shared(config, seeds):  # as a normalisation over all seeds does
    x = own(config, seeds)["accuracy"]
    return {"accuracy": x - x.mean()}

def own(config, seeds):
    x = np.array([np.random.default_rng(s).random() for s in seeds])
    rounded = 1 + 1e-6 * len(seeds)
    return {"accuracy": rounded * x, "seconds": np.full(len(seeds), float(len(seeds)))}

def own_verdict(config, seeds):
    return own(config, seeds)["accuracy"] > 0.5
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("first", r"0 and 1 at once, seed 1 gave accuracy 0\.26\d*, and called for alone "),
        ("first_verdict", r"at once, seed \d+ gave (a|no) success, and called for"),
        ("shared", "gave accuracy .*default_rng.* for s in seeds"),
        ("own", None),
        ("own_verdict", None),
    ],
)
def test_seeds_at_once_must_come_to_what_each_comes_to_alone(name, words):
    """By what is counted, and to rounding."""
    Path("many.py").write_text(MANY)
    success = None if "verdict" in name else "accuracy >= 0.6"
    path = written(trainer=f"./many.py:{name}", success=success)
    if words is None:
        assert xt.search(path, output="run", trials=1).results
        return
    with pytest.raises(xt.InputError, match=words):
        xt.search(path, output="run")
    assert not Path("run").exists()


def test_what_is_printed_or_raised_without_end_is_kept_in_part(capfd):
    """A seed that prints or raises much, and what is left of it on the terminal and in the run."""
    program = """
import sys
import time

def run(config, seed):
    print("begin", "x" * 10**7, "end")
    print("x" * 10**7, file=sys.stderr)
    if seed: raise ValueError("first " + "m" * 10**7 + " last")
    return True
"""
    run = of_one_point(program, 2)
    printed = capfd.readouterr().err
    assert len(printed) < 100_000
    assert re.search(r"(?s)begin xxx.*\(19,9.* characters left out\) \.\.\.", printed)
    reason = run.seeds.reason[1]
    assert re.fullmatch(r"ValueError: first mmm.* characters left out.*mmm last", reason)
    assert len(reason) <= 500
    assert sum(file.stat().st_size for file in run.path.rglob("*")) < 10**7


@pytest.mark.parametrize(
    ("program", "timeout", "ladder", "failed"),
    [
        (
            "run(config, seed):\n    while seed == 3: time.sleep(1)\n"
            "    if seed == 5: os._exit(0)\n    return True\n",
            *(1, 8, {3: "took longer than 1 s", 5: "ended its process (exit code 0)"}),
        ),
        (
            "run(config, seeds):\n    time.sleep(5 * (len(seeds) > 2))\n    return seeds >= 0\n",
            *(0.3, 3, {}),  # all at once take longer than that of each; each alone does not
        ),
    ],
)
def test_a_seed_has_its_time_and_many_at_once_that_of_all(program, timeout, ladder, failed):
    """The process is killed then; the other seeds of a block are not concerned."""
    run = of_one_point(f"import os, time\n\ndef {program}", ladder, timeout=timeout)
    assert run.manifest["timeout"] == f"{timeout} s"
    [found] = run.results
    assert found.outcome.solved.tolist() == [seed not in failed for seed in range(ladder)]
    assert dict(found.outcome.details.failed) == failed


def test_loading_a_run_or_a_space_never_imports_the_trainer():
    space = written()
    xt.search(space, output="run", trials=1)
    Path("seedy.py").write_text("raise SystemExit('imported')\n")
    loaded = xt.load_run("run")
    assert load_space(space).trainer == loaded.asked.trainer == "./seedy.py:luck"
    xt.write_report(loaded)
    for words in (("report", "run"), ("status", "run")):
        xortune(*words, code=0)
    assert Status.CRASHED.label in loaded.table.columns


# What it will cost.

COSTLY = {
    "name": "costs",
    "success": "accuracy >= 0.5",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 3},
    "seeds": {"ladder": [4, 8]},
}
CALLS: Counter[tuple[float, int]] = Counter()


def train(config, seed):
    CALLS[config["x"], seed] += 1
    return {"accuracy": (seed * 7 % 11) / 11 * config["x"] + 0.3}


def at_once(config, seeds):
    return {"accuracy": [train(config, seed)["accuracy"] for seed in seeds]}


def stepwise(config, seed):
    for step in range(3):
        yield {"accuracy": step / 10}
    yield train(config, seed)


def first_raises(config, seed):
    if seed == 0:
        raise ValueError
    return train(config, seed)


@pytest.mark.parametrize(
    ("function", "options", "kept", "most"),
    [
        *((one, {}, "(counted)", 2) for one in (train, first_raises, stepwise)),
        (at_once, {}, "(not counted)", 5),
        (train, {"check": False}, None, 1),
    ],
)
def test_a_seed_that_is_trained_before_the_start_is_counted(function, options, kept, most):
    CALLS.clear()
    told = []
    common = {"train": function, "workers": 0, "listener": sentences(told.append)}
    run = xt.search(COSTLY, output="run", **common, **options)
    assert max(CALLS.values()) <= most
    assert [kept in sentence for sentence in told[:1]] == [True] * (kept is not None)
    seeds = run.seeds
    assert sorted(seeds.seed[seeds.key == seeds.key[0]]) == list(range(run.table.n[0]))
    points = {result.key: result.point["x"] for result in run.results}
    if function is stepwise:
        parts = [part.points() for one in run.results for part in one.outcome.details.curves]
        assert sum(len(part.report) for part in parts) == 4 * len(seeds)
    for row in seeds.itertuples():
        if row.status != "crashed":
            assert row.accuracy == train({"x": points[row.key]}, row.seed)["accuracy"]


@pytest.mark.parametrize(
    ("seconds", "workers", "said"),
    [
        (4.9, 1, None),
        (300.0, 2, "certify: 5 x 1,000 seeds, about 2.5 min on 2 workers"),
        (33_120.0, 2, "certify: 5 x 1,000 seeds, about 4.6 h on 2 workers; seeds=200 takes 55 min"),
    ],
)
def test_an_estimate_of_seeds(seconds, workers, said):
    assert estimate_of_seeds("certify", 5, 1000, seconds, workers) == said


@pytest.mark.parametrize(
    ("gain", "said"),
    [(None, "2.0 min to 4.0 min"), (1.5, "2.0 min to 2.7 min"), (9.0, "about 2.0")],
)
def test_the_estimate_of_a_search_knows_how_much_faster_seeds_of_a_stack_are(gain, said):
    stacking = None if gain is None else Stacking(frozenset(), 32, gain)
    check = Check("", 10.0, stacking=stacking)  # 3 configurations x 4 to 8 seeds
    assert said in cost_of(load_space(COSTLY), Cluster(workers=0), check)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("3m", "2.0 min to 3.0 min on 1 worker; the time budget ends it after 3.0 min"),
        ("1m", "about 1.0 min on 1 worker; the time budget ends it after 1.0 min"),
        ("1h", "2.0 min to 4.0 min on 1 worker"),
    ],
)
def test_the_estimate_of_a_search_knows_its_time_budget(budget, said):
    space = with_search(load_space(COSTLY), time_budget=budget)
    found = cost_of(space, Cluster(workers=0), Check("", 10.0))
    assert f"{said}; then" in found or found.endswith(said)


def test_search_certify_and_compare_say_what_they_will_take(monkeypatch):
    monkeypatch.setattr(certify, "SHORT", 0.0)
    told = []
    common = {"train": train, "workers": 0, "listener": sentences(told.append)}
    space = COSTLY | {"seeds": {"ladder": [4, 8], "certify": 10}}
    run = xt.search(space, output="run", **common)
    assert told[1].startswith("search: 3 configurations x 4 to 8 seeds, ")
    assert "on 1 worker; then 5 x 10 seeds for the certificate: " in told[1]
    told.clear()
    xt.certify(run, top=2, seeds=20, **common)
    runs = ["run", f"run#{run.results[1].key}"]
    for reuse in (False, True):  # all is there, the second time
        xt.compare(runs, seeds=30, labels=["a", "b"], reuse=reuse, **common)
    xt.compare(runs, seeds=32, labels=["a", "b"], **common | {"workers": 2})
    told = [one for one in told if "were trained before" not in one]
    seeds = [(one.partition(",")[0], one.partition(" on ")[2]) for one in told]
    assert seeds == [
        ("certify: 2 x 20 seeds", "1 worker"),
        ("compare: 2 x 30 seeds", "1 worker"),
        ("compare: 2 x 32 seeds", "2 workers"),
    ]


# -------------------------------------------------------------------------------------------------
# A seed that does not determine its result.

AGREED = {**COSTLY, "parameters": {"x": 0.5}, "search": {"sampler": "grid"}}


def lucky(config, seed):
    return {"accuracy": random.random()}


def lucky_verdict(config, seed):
    return random.random() < 0.5


def lucky_at_once(config, seeds):
    return {"accuracy": [random.random() for _ in seeds]}


class Leaks:
    def __init__(self, config):  # noqa: ARG002
        self.trained = 0

    def run(self, seed):  # noqa: ARG002
        self.trained += 1
        return {"accuracy": self.trained / 100}


def rounded(config, seed):
    return {"accuracy": 1 + seed % 3 + random.random() * 1e-4, "seconds": random.random()}


class LuckyOrder(xt.TorchTraining):
    epochs = 2

    def model(self):
        return torch.nn.Linear(2, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, 0.1)

    def batches(self):
        rows = list(range(4))
        random.shuffle(rows)
        for row in rows:
            yield torch.eye(4)[row, :2], torch.tensor([float(row)])

    def loss(self, model, x, y):
        return (model(x) - y).square().mean()

    @torch.no_grad()
    def score(self, model):
        return {"accuracy": model(torch.ones(2)).item()}


def searched(function, output, **options):
    told = []
    space = AGREED if function is not lucky_verdict else {**AGREED, "success": None}
    space = {name: part for name, part in space.items() if part is not None}
    given = {"train": function, "workers": 0, "listener": sentences(told.append), "output": output}
    run = xt.search(space, **given | options)
    return run, [sentence for sentence in told if "does not determine it" in sentence]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lucky, r"seed 0 gave accuracy 0\.\d+, and 0\.\d+ the second time"),
        (lucky_verdict, r"seed \d gave (no|a) success, and (no|a) success the second time"),
        (lucky_at_once, r"seed 0 gave accuracy 0\.\d+, and 0\.\d+ the second time"),
        (Leaks, r"seed 0 gave accuracy 0\.01, and 0\.\d+ the second time"),
        (LuckyOrder, r"seed 0 gave accuracy -?\d\.\d+, and -?\d\.\d+ the second time"),
        (rounded, None),
        (train, None),
    ],
)
def test_a_seed_that_does_not_determine_its_result_is_told(function, told):
    random.seed(1)
    run, sentences = searched(function, "run")
    assert run.manifest["deterministic"] is (told is None)
    assert len(sentences) == (told is not None)
    for sentence in sentences:
        assert re.fullmatch(told + ": its seed does not determine it", sentence)
        text = " ".join(Path("run/report.md").read_text().replace("\\", "").split())
        assert sentence[1:] in text
    if told is None:
        assert "second time" not in Path("run/report.md").read_text()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lucky, r"seed 0 gave accuracy 0\.\d+, and 0\.\d+ the second time"),
        (Leaks, r"seed 0 gave accuracy 0\.\d+, and 0\.\d+ the second time"),
        (train, None),
    ],
)
def test_a_long_seed_trains_again_while_the_search_goes_on(function, told, workers, monkeypatch):
    monkeypatch.setattr(trainer_module, "AGAIN_SECONDS", 0)
    CALLS.clear()
    run, sentences = searched(function, "run", workers=workers)
    assert run.manifest["deterministic"] is (told is None)
    assert len(sentences) == (told is not None)
    for sentence in sentences:
        assert re.fullmatch(told + ": its seed does not determine it", sentence)
    if function is train and not workers:
        again = Counter({key: calls - 1 for key, calls in CALLS.items() if calls > 1})
        assert again[0.5, 0] == 1
        assert again.total() == 1, "the batch before has another seed"


BESIDE = """
import os, random, time
from pathlib import Path

def run(config, seed):
    with open(f"{config['x']}-{seed}", "a") as calls:
        print(os.getpid(), file=calls)
    while seed == 0 and config["x"] < 2 and not Path("1.0-1").exists():
        time.sleep(0.01)  # the check, which waits for a seed of the search
    if Path("broken").exists():
        time.sleep(0.6)
        raise KeyError("lr")
    return config["x"] + seed % 2 + LUCK
"""


def beside_the_check(luck="0", **parts):
    Path("beside.py").write_text(BESIDE.replace("LUCK", luck))
    space = {"parameters": {"x": {"choice": [1.0, 2.0, 3.0]}}, "search": {"sampler": "grid"}}
    space |= {"seeds": {"ladder": [3]}, "trainer": "./beside.py:run", "success": "value >= 2"}
    return xt.search(written(**space, **parts), output="run", workers=2, verbose=0)


@pytest.mark.parametrize(("luck", "twice"), [("0", True), ("0.1 * random.random()", False)])
def test_the_other_workers_train_while_the_check_takes_long(luck, twice, no_ray):
    run = beside_the_check(luck)
    calls = {path.name: path.read_text().split() for path in Path().glob("*-*")}
    assert {name: len(pids) for name, pids in calls.items()} == {
        f"{x:.1f}-{seed}": 1 + (x == 1 and seed == 0) for x in (1, 2, 3) for seed in range(3)
    }
    assert run.manifest["deterministic"] is twice
    assert calls["1.0-0"][1] == calls["1.0-1"][0], "it trains again after another of its config"
    assert run.table.sort_values("x").k.tolist() == [1, 3, 3]


def test_what_trains_beside_a_check_that_is_refused_ends_and_leaves_nothing():
    Path("broken").touch()
    with pytest.raises(xt.InputError, match=r"check: KeyError"):
        beside_the_check()
    for path in Path().glob("*-*"):
        for pid in path.read_text().split():
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)
    assert not Path("run").exists()


def test_the_command_tells_it_once_and_again_when_it_resumes():
    Path("train.py").write_text(
        "import random\ndef run(config, seed):\n    return random.random()\n"
    )
    parts = {"parameters": {"x": 0.5}, "search": {"sampler": "grid"}, "seeds": {"ladder": [4]}}
    written(trainer="./train.py:run", success="value >= 0.5", **parts)
    done = xortune("search", "space.yaml", "--output", "own", "--workers", 1, code=0)
    assert done.stderr.count("its seed does not determine it") == 1
    goes_on = xortune("search", "space.yaml", "--output", "own", "--resume", code=0)
    assert "so the counts may differ from those of an uninterrupted search" in goes_on.stderr


@pytest.mark.parametrize(
    ("longest", "options", "noted", "calls"),
    [
        (60, {}, True, 2),
        (0, {}, "unknown", 1),
        (0, {"check": "seeds"}, True, 2),
        (60, {"check": False}, "unknown", 1),
    ],
)
def test_what_is_not_trained_twice_is_unknown(monkeypatch, longest, options, noted, calls):
    monkeypatch.setattr(search_module, "LONG_SEED", longest)
    CALLS.clear()
    run, sentences = searched(train, "run", **options)
    assert (run.manifest["deterministic"], sentences) == (noted, [])
    assert max(CALLS.values()) == calls
    if noted == "unknown":
        CALLS.clear()
        again, _ = searched(train, "run", resume=True, check="seeds")
        assert (again.manifest["deterministic"], max(CALLS.values())) == (True, 2)
    with pytest.raises(xt.InputError, match="check: 'twice'; allowed: True, False, or \"seeds\""):
        searched(train, "other", check="twice")
    with pytest.raises(xt.InputError, match='check: 1; allowed: True, False, or "seeds"'):
        searched(train, "other", check=1)


def test_seeds_that_a_longer_search_does_not_ask_for_again_are_told(tmp_path):
    """With more trials the race decides anew; what it has trained before counts in the tables."""

    def lucky(config, seed):
        return random.Random(f"{config['x']} {seed}").random() < config["x"]

    space = {
        "name": "longer",
        "parameters": {"x": {"low": 0.2, "high": 0.98}},
        "search": {"sampler": "random", "trials": 8},
        "seeds": {"race": {"max": 32}},
    }
    told, seen = [], []

    def listener(event):
        if isinstance(event, xt.Progress):
            seen.append(event.seeds_done)
        elif isinstance(event, xt.Message):
            told.append(event.text)

    shared = {"train": lucky, "output": tmp_path / "run", "workers": 0, "listener": listener}
    first = xt.search(space, **shared)
    journal = first.path / "evaluations.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 3]))
    assert xt.search(space, **shared, resume=True).table.equals(first.table)
    assert not any("earlier sessions" in text for text in told)
    run = xt.search(space, **shared, trials=10, resume=True)
    [text] = [text for text in told if "earlier sessions, which now no decision asked" in text]
    unused = int(text.split()[0])
    assert 0 < unused < first.results.counts.n.sum()
    assert seen[-1] + unused == run.results.counts.n.sum()


def test_seeds_that_a_check_trained_have_their_own_seconds():
    """The first call may load or compile what the others use."""
    calls = []

    def slow_at_first(config, seed):
        time.sleep(0 if calls else 0.2)
        calls.append(seed)
        return {"accuracy": 1.0}

    run, _ = searched(slow_at_first, "run", workers=0)
    first, *others = [line.seconds for line in run.evaluations]
    assert 0.2 <= first < 0.3, "of two seeds"
    assert max(others) < 0.1


def test_the_check_of_a_function_of_a_second_trains_two_seconds_more(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: float(next(clock)))
    CALLS.clear()
    run, _ = searched(train, "run")
    assert CALLS[0.5, 0] == 2
    assert sum(CALLS.values()) == run.table.n[0] + 1, "another seed of the search is in between"


def test_evaluate_and_gate_say_that_a_seed_does_not_determine_its_result(caplog):
    random.seed(2)
    given = {"train": lucky, "success": "accuracy >= 0.1", "workers": 1}
    found = xt.evaluate({"x": 1}, range(20), **given)
    told = (
        r"seed 0 gave accuracy 0\.\d+, and 0\.\d+ the second time: its seed does not determine it"
    )
    assert (found.deterministic, bool(re.fullmatch(told, found.details.twice))) == (False, True)
    assert f"{found.details.twice}; the same call may count otherwise" in caplog.text
    verdict = xt.gate({"x": 1}, min_rate=0.5, **given)
    assert (verdict.answer, verdict.deterministic) == ("proven", False)
    assert "the same gate may answer otherwise" in caplog.text
    caplog.clear()
    sure = xt.evaluate({"x": 1}, range(20), **given | {"train": train})
    assert (sure.deterministic, sure.details.twice) == (True, "")
    assert xt.evaluate({"x": 1}, range(20), **given | {"workers": 0}).deterministic is None
    assert "otherwise" not in caplog.text


def test_a_second_training_is_cheap(monkeypatch):
    """None where a seed takes more than a second and a twentieth of all seeds."""
    monkeypatch.setattr(evaluate_module, "AGAIN_SECONDS", 0.0)
    given = {"train": lucky, "success": "accuracy >= 0.5", "workers": 1, "verbose": 0}
    assert xt.evaluate({"x": 1}, range(2), **given).deterministic is None


def test_seeds_that_do_not_determine_their_results_are_not_paired():
    random.seed(3)
    given = {"success": "accuracy >= 0.5", "seeds": 12, "verbose": 0, "workers": 1}
    points = [{"x": 1.0}, {"x": 0.5}]
    for function, paired in ((lucky, False), (train, True)):
        [pair] = (found := xt.compare(points, train=function, output=str(paired), **given)).pairs
        assert (pair.shared, pair.determined, pair.wins is None) == (paired, paired, not paired)
        assert ("12 and 12 seeds, not paired, Boschloo's exact test" in str(found)) != paired
        assert (
            sum("so its seeds are not paired" in note for note in found.notes) == (not paired) * 2
        )
    step = {"sequential": True, "max_seeds": 12, **given, "seeds": None}
    for function, noted in ((lucky, 2), (train, 0)):
        found = xt.compare(points, train=function, output=f"step-{noted}", **step)
        assert sum("the same comparison may end otherwise" in note for note in found.notes) == noted
    # As a search has noted it, and of outcomes.
    runs = [searched(function, f"run-{function.__name__}")[0] for function in (lucky, train)]
    found = xt.compare(runs, train=[lucky, train], different_tasks=True, **given)
    assert not found.pairs[0].shared
    kept = {"train": lucky, "success": "accuracy >= 0.5", "workers": 1, "verbose": 0}
    outcomes = [xt.evaluate({"x": 1}, range(12), **kept) for _ in "ab"]
    assert not xt.compare(outcomes).pairs[0].shared


@pytest.mark.parametrize("workers", [0, 2])
def test_where_a_search_is_too_short_the_seed_trains_again_at_its_end(workers, monkeypatch):
    monkeypatch.setattr(trainer_module, "AGAIN_SECONDS", 0)
    short = {**AGREED, "parameters": {"x": {"choice": [0.4, 0.6]}}, "seeds": {"ladder": [1]}}
    told = []
    given = {"workers": workers, "listener": sentences(told.append)}
    run = xt.search(short, train=lucky, output="lucky", **given)
    assert run.manifest["deterministic"] is False
    assert "does not determine it" in told[-1]
    sure = xt.search(short, train=train, output="sure", **given)
    assert sure.manifest["deterministic"] is True
