"""What `xortune space` says of a space."""

import json

from test_space import TEXT

from xortune.racing.grants import VERIFY, seeds_at_first
from xortune.spaces.describe import at_most, describe, described
from xortune.spaces.space import parse_space


def test_a_description_says_all_and_is_json():
    found = describe(parse_space(TEXT))
    assert (found["rows"], found["inputs"], found["trials"], found["grid_points"]) == (
        4,
        2,
        20,
        None,
    )
    assert found["seed_epochs"] == 20 * 16 * 10
    lines = dict(described(found))
    assert lines["optimizer"] == "choice: SGD, Adam"
    assert lines["momentum"] == "float: 0.0 to 0.9, linear, when optimizer is SGD"
    assert lines["lr"] == "float: 0.0001 to 1.0, log"
    assert lines["width"] == "int: 2 to 8 in steps of 3, linear"
    assert lines["epochs"] == "fixed: 10"
    assert lines["seeds"] == "4 for each configuration; more where they are worth most, up to 16"
    assert lines["rungs"] == "4, 16"
    assert lines["finalists"].startswith("5: a configuration is paused")
    assert lines["alpha"] == "0.05: the risk that any stop is wrong, at most"
    assert lines["cost"] == (
        "from 800 to 3,200 epochs of one seed (trials x 4 to 16 seeds x epochs)"
    )
    assert at_most(found) == "3,200 epochs of one seed"
    assert lines.keys() & {"stop", "objectives"} == set()
    assert json.loads(json.dumps(found))["parameters"][0]["name"] == "optimizer"


def test_one_rung_is_no_race_and_a_proof_is_described():
    text = TEXT.replace("ladder: [4, 16]", "ladder: [16]") + "\nstop: {proven_rate: 0.99}\n"
    lines = dict(described(describe(parse_space(text))))
    assert lines["seeds"] == "16 for each configuration"
    assert lines["stop"] == "as soon as a success rate of 0.99 is proven"
    assert lines["alpha"] == "0.05: the risk that any proof is wrong, at most"
    assert lines["cost"].startswith("at most 3,200 epochs")
    assert "finalists" not in lines
    alone = dict(described(describe(parse_space(TEXT.replace("[4, 16]", "[16]")))))
    assert alone["cost"].startswith("3,200 epochs")
    assert alone.keys() & {"alpha", "rungs", "finalists", "stop"} == set()


def test_a_race_is_described_as_it_goes():
    """The rungs that `seeds_at_first` grants are those that are shown as granted at once."""
    text = TEXT.replace("ladder: [4, 16]", "race: {alpha: 0.1, max: 100}, finalists: null")
    found = describe(parse_space(text))
    lines = dict(described(found))
    assert lines["seeds"] == "1 for each configuration; more where they are worth most, up to 100"
    assert lines["rungs"] == "1, 2, 4, 8, 16, 32, 64, 100"
    assert lines["finalists"].startswith("no limit")
    assert lines["alpha"].startswith("0.1:")
    assert (found["alpha"], found["finalists"]) == (0.1, None)
    assert (found["least_seed_epochs"], found["seed_epochs"]) == (20 * 10, 20 * 100 * 10)
    found = describe(parse_space(text + "\nstop: {proven_rate: 0.9}\n"))
    lines = dict(described(found))
    assert lines["seeds"] == (
        "2 for each configuration, 4, 8 as long as none has failed; half of all seeds go to "
        "promotions, up to 100"
    )
    at_first, seeds = [], found["ladder"][0]
    while (rung := seeds_at_first(found["ladder"], seeds, seeds)) is not None:
        at_first.append(rung)
        seeds = rung
    assert at_first == [4, 8]
    assert VERIFY == 0.5
    assert lines["rungs"] == "2, 4, 8, 16, 32, 64, 100"
    assert lines["cost"].startswith("at most 20,000 epochs")
    assert lines["cost"].endswith("less if it ends early")
    assert lines["alpha"].endswith("any stop is wrong, at most")


def test_what_a_trainer_of_ones_own_costs_is_told_in_trainings():
    text = "name: own\ntrainer: ./t.py:run\nparameters: {x: {low: 0.0, high: 1.0}}\n"
    text += "search: {trials: 20}\nseeds: {ladder: [4, 16]}\n"
    found = describe(parse_space(text))
    assert dict(described(found))["cost"] == "from 80 to 320 trainings (trials x 4 to 16 seeds)"
    assert at_most(found) == "320 trainings"
    sure = dict(described(describe(parse_space(text.replace("16]", "16], certify: 100")))))
    assert sure["cost"].endswith("seeds), and the certificate")
    brief = dict(described(describe(parse_space(text.replace("20}", "20, time_budget: 9}")))))
    assert brief["cost"].startswith("at most 320 trainings (")
