"""Values of installed packages: found by entry points, and told where they cannot be used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import xortune

import xortune as xt
from xortune.core import plugins
from xortune.core.errors import InputError
from xortune.spaces.samplers import SAMPLERS, sampler_named, samplers
from xortune.spaces.space import json_schema, parse_space, with_search

GIVES = """
import xortune as xt

def make(seed):
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed)

def sampler(name, **more):
    traits = {"learns": True, "several": True, "exact_resume": False, "keeps_state": True}
    return xt.Sampler(name, "evolution", make=make, **(traits | more))

VALUE = sampler("nsgaiii")
"""
SPACE = """
name: plugged
parameters: {a: {low: 0.0, high: 1.0}, b: {choice: [1, 2]}}
search: {sampler: nsgaiii, trials: 12}
seeds: {ladder: [2]}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that gives what its text calls VALUE, as an entry point `name`."""
    place = tmp_path / "installed"
    before = {*sys.modules}

    def installed(package, text=GIVES, name="value", group="xortune.samplers", object_="VALUE"):
        data = place / f"{package}-1.5.dist-info"
        data.mkdir(parents=True)
        (data / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        (data / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}:{object_}\n")
        (place / f"{package}.py").write_text(text)
        monkeypatch.syspath_prepend(str(place))
        plugins._loaded.cache_clear()
        return place

    yield installed
    plugins._loaded.cache_clear()
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


def solve(config, seed):
    return config["a"] + seed % 2 > 0.5


def test_a_sampler_of_a_package_is_one_like_any_other(install, tmp_path, monkeypatch):
    install("nsga")
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)
    assert [one.name for one in samplers()] == [*(one.name for one in SAMPLERS), "nsgaiii"]
    schema = json.loads(json_schema())["$defs"]["SearchSettings"]["properties"]["sampler"]
    assert schema["enum"][-1] == "nsgaiii"
    said = []
    run = xt.search("space.yaml", output="run", train=solve, workers=0, verbose=0)
    assert (len(run.results), run.manifest["sampler"]) == (12, "nsgaiii")
    again = {"output": "run", "train": solve, "workers": 0, "verbose": 0, "resume": True}
    xt.search("space.yaml", **again, listener=lambda event: said.append(str(event)))
    assert any("sampler nsgaiii does not resume exactly" in one for one in said)


def test_a_run_is_read_without_the_package_of_its_sampler(install, tmp_path, monkeypatch):
    place = install("nsga")
    given = {"output": tmp_path / "run", "train": solve, "workers": 0, "verbose": 0}
    space = parse_space(SPACE)
    xt.search(space, **given)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(place)])
    plugins._loaded.cache_clear()
    for command in ("report", "status", "export"):
        assert xortune(command, str(tmp_path / "run")).exit_code == 0
    with pytest.raises(InputError, match=r"unknown sampler 'nsgaiii'; allowed: auto, .*cmaes"):
        xt.search(space, **given, resume=True)


ODD = """
def odd(space):
    if space.search.seed:
        raise xt.InputError("too odd")

VALUE = sampler("nsgaiii", several=False, needs=(odd,))
"""


def test_what_a_sampler_of_a_package_cannot_do_is_refused_as_of_others(install):
    install("nsga", GIVES + ODD)
    space = parse_space(SPACE)
    with pytest.raises(InputError, match="too odd"):
        with_search(space, seed=3)
    with pytest.raises(InputError, match="sampler nsgaiii with 2 objectives"):
        parse_space(SPACE + "objectives: [success_rate, a]\n")


BROKEN = "raise ImportError('no module of mine')\n"


def test_what_cannot_be_loaded_breaks_nothing_and_is_told_where_it_is_asked_for(install):
    install("broken", BROKEN, "lost")
    install("nsga")
    assert sampler_named("nsgaiii").about == "evolution"
    assert parse_space(SPACE.replace("nsgaiii", "tpe")).search.sampler == "tpe"
    cause = "lost of broken 1.5: ImportError: no module of mine"
    with pytest.raises(InputError, match=rf"^sampler: 'lost' cannot be used: {cause}; fix: repair"):
        with_search(parse_space(SPACE), sampler="lost")
    text = SPACE.replace("nsgaiii", "lost")
    with pytest.raises(InputError, match=rf"s.yaml:4: search\.sampler: 'lost' cannot .*{cause}"):
        parse_space(text, "s.yaml")
    with pytest.raises(
        InputError, match=r"unknown sampler .los.; lost of broken 1\.5 cannot be used"
    ):
        sampler_named("los")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("VALUE = [1]\n", "broken:VALUE is a list, and not a Sampler"),
        ("VALUE = (1,)\n", "broken:VALUE is an int, and not a Sampler"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("", "AttributeError: module 'broken' has no attribute 'VALUE'"),
    ],
)
def test_the_cause_is_told(install, text, told):
    install("broken", text, "lost")
    with pytest.raises(InputError, match=told):
        sampler_named("lost")
    assert samplers() == SAMPLERS


def test_a_name_that_two_packages_give_is_refused_with_both(install):
    install("one", GIVES.replace('sampler("nsgaiii")', '(sampler("nsgaiii"), sampler("mine"))'))
    install("two", name="other")
    both = r"'nsgaiii' is given by value of one 1\.5 and by other of two 1\.5"
    with pytest.raises(InputError, match=both):
        parse_space(SPACE)
    assert samplers()[len(SAMPLERS) :] == (sampler_named("mine"),)


def test_a_name_of_xortune_that_a_package_gives_is_refused_with_both(install):
    install("one", GIVES.replace("nsgaiii", "tpe"))
    with pytest.raises(InputError, match=r"'tpe' is given by xortune itself and by value of one"):
        with_search(parse_space(SPACE.replace("nsgaiii", "random")), sampler="tpe")
    assert samplers() == SAMPLERS


def test_the_command_lists_what_is_installed_and_what_cannot_be_used(install):
    assert xortune("plugins").stdout == "No installed package adds anything.\n"
    assert json.loads(xortune("plugins", "--json").stdout) == {"plugins": []}
    install("broken", BROKEN, "lost")
    install("nsga")
    assert xortune("plugins").stdout.splitlines() == [
        "xortune.samplers: lost of broken 1.5: cannot be used: ImportError: no module of mine",
        "xortune.samplers: value of nsga 1.5: nsgaiii",
    ]
    broken, good = json.loads(xortune("plugins", "--json").stdout)["plugins"]
    assert (broken["package"], broken["version"], broken["values"]) == ("broken", "1.5", [])
    assert broken["error"] == "ImportError: no module of mine"
    assert (good["group"], good["name"]) == ("xortune.samplers", "value")
    assert (good["values"], good["error"]) == (["nsgaiii"], None)


def knows(config, seed):
    return sampler_named("nsgaiii").name == "nsgaiii"


def test_importing_loads_nothing_and_a_worker_loads_the_same(install, monkeypatch):
    place = install("nsga", "print('loaded')\n" + GIVES)
    path = os.pathsep.join([str(place), str(Path(xt.__file__).parents[1])])
    monkeypatch.setenv("PYTHONPATH", path)
    program = "import xortune.cli, xortune as xt; xt.search; xt.load_space"
    assert subprocess.check_output([sys.executable, "-c", program]) == b""
    found = xt.evaluate({"x": 1}, range(2), train=knows, workers=1, verbose=0)
    assert found.successes == 2


TRAINS = """
from xortune.core.outcome import Outcome
from xortune.core.trainer import Trainer
from xortune.driver.trainer import Kind
from xortune.training.executors import ExecutorKind, LocalExecutor
from xortune.trainers.verdicts import SeedResults, judged

class Half(Trainer):
    def describe(self):
        return {"trainer": "half"}

    def train(self, blocks):
        found = []
        for block in blocks:
            results = SeedResults(block)
            for seed in block.seeds:
                results.add(judged(seed % 2 == 0, None))
            found.append(results.outcome())
        return found

class Named(LocalExecutor):
    used = 0

    def send(self, batch):
        Named.used += 1
        super().send(batch)

TRAINER = Kind("half", "half", lambda asked: asked.space.trainer == "half:", lambda _: Half())
EXECUTOR = ExecutorKind("named", "here", lambda _: True, lambda asked: Named(asked.trainer))
"""


@pytest.mark.parametrize("kind", ["trainer", "executor"])
def test_a_kind_of_a_package_is_one_like_any_other(install, tmp_path, kind):
    is_trainer = kind == "trainer"
    install("kinds", TRAINS, kind, f"xortune.{kind}s", kind.upper())
    text = SPACE.replace("nsgaiii", "random")
    space = parse_space("trainer: 'half:'" + text if is_trainer else text)
    train = None if is_trainer else solve
    run = xt.search(space, output=tmp_path / "run", train=train, workers=0, verbose=0)
    assert len(run.results) == 12
    if is_trainer:
        assert run.manifest["trainer"] == "half"
        assert {one.outcome.rate for one in run.results} == {0.5}
    else:
        assert sys.modules["kinds"].Named.used
    assert f"xortune.{kind}s: {kind} of kinds 1.5: " in xortune("plugins").output


VALUES = """
import dataclasses
from pathlib import Path

from xortune.core.numbers import Statistic
from xortune.integrations.export import Export
from xortune.integrations.trackers import Tracker, TrackerKind
from xortune.reports.drawing.model import Axis, Mark, Panel, Plot, Series
from xortune.reports.figures import Figure

def plot(run):
    dots = Series("seeds", (Mark(1.0, 2.0),))
    panel = Panel(Axis("x"), Axis("y"), (dots,))
    return Plot("dots", "Dots.", "One dot.", "A dot. No more.", (panel,))

@dataclasses.dataclass(frozen=True)
class Lists(Tracker):
    file: str

    name, package = "a list", "values"

    def check(self, output):
        pass

    def write(self, run, configs):
        Path(self.file).write_text("".join(config.key + "\\n" for config in configs))

LARGEST = Statistic("largest", "largest", "largest", lambda them: them.max(), lambda _: None)
DOTS = Figure("dots", "more", plot)
KEY = Export("key", "the key alone", (".key",), lambda run, key, _: run.results[0].key)
LISTS = TrackerKind("lists", "a list", Lists)
"""


def measure(config, seed):
    return config["a"] + seed


def measured(folder, objective="value_mean"):
    text = SPACE.replace("nsgaiii", "random") + f"objectives: [{objective}]\nsuccess: value >= 1\n"
    return xt.search(parse_space(text), output=folder, train=measure, workers=0, verbose=0)


def test_a_statistic_of_a_package_is_a_column_and_an_objective(install, tmp_path, monkeypatch):
    place = install("values", VALUES, "v", "xortune.statistics", "LARGEST")
    run = measured(tmp_path / "run", "value_largest")
    best = run.results[0]
    assert best.outcome.details.values["value"].max() == max(
        one.outcome.details.values["value"].max() for one in run.results
    )
    assert "value_largest" in (run.path / "table.csv").read_text().partition("\n")[0]
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(place)])
    plugins._loaded.cache_clear()
    told = xortune("report", run.path)
    assert told.exit_code == 2
    assert "the run orders by value_largest, a statistic that is not installed" in told.output


def test_a_figure_of_a_package_stands_at_the_end_of_a_report(install, tmp_path):
    install("values", VALUES, "v", "xortune.figures", "DOTS")
    report = (measured(tmp_path / "run").path / "report.md").read_text()
    assert "![One dot." in report.partition("## More figures")[2]


def test_a_form_and_a_tracker_of_a_package_have_the_options_of_others(install, tmp_path):
    install("values", VALUES, "v", "xortune.exports", "KEY")
    run = measured(tmp_path / "run")
    key = run.results[0].key
    assert xortune("export", run.path, "--format", "key").stdout == key
    assert xortune("export", run.path, "--output", tmp_path / "best.key").exit_code == 0
    assert (tmp_path / "best.key").read_text() == key
    place = tmp_path / "installed" / "values-1.5.dist-info" / "entry_points.txt"
    place.write_text("[xortune.trackers]\nv = values:LISTS\n")
    plugins._loaded.cache_clear()
    assert xortune("log", run.path, "--tracker", f"lists={tmp_path / 'list'}").exit_code == 0
    assert key in (tmp_path / "list").read_text().splitlines()
    told = xortune("log", run.path, "--tracker", "list")
    assert told.exit_code == 2
    assert (
        "--tracker: unknown tracker 'list'; allowed: tensorboard, mlflow, wandb, lists"
        in told.output
    )
