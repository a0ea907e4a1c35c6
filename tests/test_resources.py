"""Each resource of a worker is one field: options, checks, errors and Ray Tune follow from it."""

import inspect
from dataclasses import fields

import pytest
from commands import refused, xortune
from hand_made import TINY_SPACE

import xortune as xt
from xortune.cli import app, shared
from xortune.core.errors import InputError
from xortune.driver.arguments import RayArguments, TrainingArguments
from xortune.training import ray_executor, slots
from xortune.training.resources import Cluster, Resources, WorkerResources, settings

COMMANDS = {
    one.name or one.callback.__name__: one.callback.__signature__.parameters
    for one in app.registered_commands
}
TRAIN = [name for name, options in COMMANDS.items() if "workers" in options]
ON_RAY = [name for name in TRAIN if "address" in COMMANDS[name]]
NAMES = list(settings(Resources))
OF_RAY = [name for name in NAMES if name not in settings(WorkerResources)]
HELD = [name for name in NAMES if settings(Resources)[name].resource]


def test_commands_that_train_are_known():
    assert TRAIN == ["search", "certify", "gate", "evaluate", "compare"]
    assert ON_RAY == ["search", "certify"]
    assert set(OF_RAY) < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_resource_is_an_option_of_each_command_that_trains(name):
    setting = settings(Resources)[name]
    for command in ON_RAY if name in OF_RAY else TRAIN:
        assert setting.option in COMMANDS[command], command
        shown = " ".join(xortune(command, "--help").stdout.replace("│", " ").split())
        flag = f"--{setting.option.replace('_', '-')} "
        assert flag in shown
        assert setting.help.partition(".")[0].split()[0] in shown.partition(flag)[2]
    for command in set(COMMANDS) - set(ON_RAY if name in OF_RAY else TRAIN):
        assert setting.option not in COMMANDS[command], command


@pytest.mark.parametrize("name", NAMES)
def test_each_resource_is_an_argument_of_ray_and_of_workers_unless_only_ray_has_it(name):
    default = next(one.default for one in fields(Resources) if one.name == name)
    for kind in (xt.Ray, xt.Workers):
        parameters = inspect.signature(kind).parameters
        if kind is xt.Workers and name in OF_RAY:
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                kind(**{name: 1})
        else:
            assert (parameters[name].default, parameters[name].kind) == (
                default,
                inspect.Parameter.KEYWORD_ONLY,
            )
            assert getattr(kind(**{name: 3}), name) == 3


@pytest.mark.parametrize("wrong", [-1, float("nan"), [], True, object], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_each_resource_is_checked(name, wrong):
    for kind in (xt.Ray,) if name in OF_RAY else (xt.Ray, xt.Workers):
        with pytest.raises(InputError, match=rf"^{name}: .*allowed: "):
            kind(**{name: wrong})


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_names_the_option(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (space := tmp_path / "space.yaml").write_text(TINY_SPACE)
    flag = f"--{settings(Resources)[name].option.replace('_', '-')}"
    refused(xortune("search", space, "--quiet", flag, "-1"), f"{flag}: ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", NAMES)
def test_an_option_is_the_argument_of_the_verb(name):
    option = settings(Resources)[name].option
    more = {"address": "auto"} if name not in OF_RAY else {}
    found = shared.asked(RayArguments, more | {option: 3})
    assert found["ray"] == xt.Ray(**more, **{name: 3})
    if name not in OF_RAY:
        assert shared.asked(TrainingArguments, {option: 3})["workers"] == xt.Workers(**{name: 3})


def test_options_that_are_not_given_ask_for_nothing():
    for of in (RayArguments, TrainingArguments):
        assert shared.asked(of, {}) == {"workers": None}
        assert shared.asked(of, {"workers": 0}) == {"workers": 0}
    on_ray = shared.asked(RayArguments, {"ray": True, "workers": 2})
    assert on_ray == {"workers": 2, "ray": xt.Ray()}


@pytest.mark.parametrize("name", HELD)
def test_each_resource_that_a_trial_holds_reaches_tune(name, monkeypatch, tmp_path):
    found = []

    class Reached(Exception):
        """Tune has the resources."""

    def noted(_, resources):
        found.append(resources.required_resources)
        raise Reached

    monkeypatch.setattr(ray_executor.tune, "with_resources", noted)
    monkeypatch.setattr(ray_executor.tune, "with_parameters", lambda *_, **__: None)
    monkeypatch.setattr(ray_executor.PickledTrainer, "of", lambda _: None)
    cluster = Cluster.of(ray=xt.Ray(**{name: 3}))
    with pytest.raises(Reached):
        ray_executor._TuneThread(None, cluster, tmp_path, None)._fit()
    assert found == [{"CPU": 1.0} | {settings(Resources)[name].resource: 3}]


@pytest.mark.parametrize("name", HELD)
def test_what_no_node_has_is_told_by_its_name(name, monkeypatch):
    monkeypatch.setattr(slots, "_nodes", lambda: [{"CPU": 1.0}])
    with pytest.raises(InputError, match=rf"^{name}: 3 for each trial, but the cluster has [01];"):
        slots.slots(Cluster(each=Resources(**{name: 3})))
