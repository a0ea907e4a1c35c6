"""A comparison that is made again: what of the seeds before it uses, and what it says of them."""

import itertools
import json
import random
from pathlib import Path

import pytest
from commands import _somewhere, xortune  # noqa: F401  # every test has a folder
from listening import sentences

import xortune as xt
from xortune.core import trainer as core_trainer
from xortune.core.seeds import COMPARE
from xortune.training import worker

FIRST = COMPARE.start
PAIR = [{"x": 0.98}, {"x": 0.99}]
HERE = {"labels": ["a", "b"], "workers": 0, "verbose": 0, "output": "out"}


def reads(config, seed):
    """An agent that solves as many seeds as the prompt of its file lets it."""
    tried.append((config["x"], seed))
    good = float(Path("prompt.txt").read_text())
    return random.Random(seed).random() < (config["x"] if good == 1 else good)


def scores(config, seed):
    return reads(config, seed) + random.Random(seed).random()


tried = []


@pytest.fixture(autouse=True)
def _prompt(_somewhere, monkeypatch):  # noqa: F811
    monkeypatch.setattr(core_trainer, "TRY_AGAIN_SECONDS", (0.0,) * 7)
    monkeypatch.setattr(worker, "PIECE_SECONDS", 0.0)  # each seed is in the journal when it ends
    Path("prompt.txt").write_text("1")
    tried.clear()


def compare(train=reads, **more):
    given = {"train": train, **HERE, **more}
    return xt.compare(PAIR, **({"seeds": 60} | given if "sequential" not in more else given))


STEP = {"sequential": True, "max_seeds": 60}


@pytest.mark.parametrize("asked", [{}, STEP])
def test_seeds_of_a_comparison_that_has_ended_are_not_used_unasked(asked):
    compare(**asked)
    Path("prompt.txt").write_text("0.3")  # which no digest of the function knows
    found = compare(**asked)
    counts = [one.outcome.successes for one in found.contestants]
    seeds = range(FIRST, FIRST + 60)
    expected = sum(random.Random(seed).random() < 0.3 for seed in seeds)
    assert list(counts) == [expected] * 2
    assert found.reused is None
    assert "old" not in str(found)
    kept = sorted(path.name for path in Path("out").glob("trained-*.jsonl"))
    assert len(kept) == 2, "what was trained before is kept"


@pytest.mark.parametrize("asked", [{}, STEP, {"by": "value_mean"}])
def test_where_asked_for_the_answer_says_how_many_are_old_and_from_when(asked):
    train = scores if asked.get("by") else reads
    before = compare(train, **asked)
    assert (before.reused, len(tried)) == (None, 120)
    tried.clear()
    found = compare(train, reuse=True, **asked)
    assert tried == [(0.98, FIRST), (0.99, FIRST)], "the first of each is tried again"
    assert (found.reused.count, found.reused.of) == (120, 120)
    assert 0 < found.reused.oldest <= found.reused.newest
    for text in (str(found), repr(found), found._repr_html_()):
        assert "120 of the 120 seeds are old, trained " in text
        assert " UTC" in text
    assert str(found).startswith(str(before)), "the answer is the same"
    page = Path(xt.write_comparison(found, "out")[0]).read_text()
    assert "120 of the 120 seeds are old, trained " in page


def test_old_and_new_ones_are_counted_apart():
    compare(seeds=20)
    found = compare(seeds=60, reuse=True)
    assert (found.reused.count, found.reused.of) == (40, 120)
    assert len(tried) == 40 + 2 + 80
    fewer = compare(seeds=10, reuse=True)
    assert (fewer.reused.count, fewer.reused.of) == (20, 20)
    new = xt.compare(
        [PAIR[0], {"x": 0.5}], train=reads, seeds=20, reuse=True, **HERE | {"labels": None}
    )
    assert (new.reused.count, new.reused.of) == (20, 40)


def test_a_first_call_may_ask_for_old_ones():
    found = compare(seeds=20, reuse=True)
    assert found.reused.count == 0
    assert "None of the 40 seeds is old: all were trained now." in str(found)
    assert compare(seeds=20, reuse=True).reused.count == 40


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("asked", [{}, STEP])
def test_a_first_seed_that_differs_ends_it(side, asked):
    garbage = [False]

    def service(config, seed):
        return {"score": 0.5 if garbage[0] and config["x"] == PAIR[side]["x"] else 1.0 + seed % 7}

    more = {"train": service, "success": "score >= 1", **asked}
    compare(**more)
    garbage[0] = True
    label = HERE["labels"][side]
    about = rf"reuse: seed {FIRST} of {label} gave score {1 + FIRST % 7} on 20.* UTC and gives 0\.5"
    with pytest.raises(xt.InputError, match=f"{about} now: .*; fix: start without reuse=True: all"):
        compare(reuse=True, **more)
    assert compare(**more).first_is_worse == (side == 0), "a new one trains all anew"
    garbage[0] = False
    with pytest.raises(xt.InputError, match=r"and gives \d now"):
        compare(reuse=True, **more)


def interrupted(after, train=reads):
    """The training, which the user interrupts after so many seeds."""
    calls = itertools.count()  # which is no part of the digest of the function

    def stops(config, seed):
        if next(calls) == after:
            raise KeyboardInterrupt
        return train(config, seed)

    return stops


@pytest.mark.parametrize("asked", [{}, STEP])
def test_an_interrupted_one_goes_on_and_another_begins_anew(asked):
    train = interrupted(50)
    with pytest.raises(KeyboardInterrupt):
        compare(train, **asked)
    told = []
    found = compare(train, listener=sentences(told.append), **asked)
    assert len(tried) == 120 + 2
    assert found.reused is None, "it is one comparison, and its seeds are its own"
    assert str(found) == str(compare(output="plain", **asked))
    assert any("50 seeds were trained before: the first of each is tried" in one for one in told)
    tried.clear()
    compare(train, **asked)
    assert len(tried) == 120, "it has ended"


def test_another_call_does_not_take_what_an_interrupted_one_has_left():
    train = interrupted(50)
    with pytest.raises(KeyboardInterrupt):
        compare(train)
    tried.clear()
    compare(train, seeds=30)
    assert len(tried) == 60
    assert compare(train, seeds=61, reuse=True).reused.count == 60, "the last one with an answer"


def test_an_interrupted_one_whose_first_seed_differs_ends_and_then_begins_anew():
    train = interrupted(50)
    with pytest.raises(KeyboardInterrupt):
        compare(train)
    Path("prompt.txt").write_text("0")
    about = (
        rf"^seed {FIRST} of a gave a success on .* and gives no success now: .*"
        "fix: start again: the same call now trains all seeds anew"
    )
    with pytest.raises(xt.InputError, match=about):
        compare(train)
    tried.clear()
    found = compare(train)
    assert [one.outcome.successes for one in found.contestants] == [0, 0]
    assert len(tried) == 120


def test_one_that_used_old_seeds_and_was_interrupted_goes_on_only_with_them():
    train = interrupted(130)
    compare(train)
    with pytest.raises(KeyboardInterrupt):
        compare(train, seeds=90, reuse=True)
    tried.clear()
    assert compare(train, seeds=90, reuse=True).reused.count == 128
    assert len(tried) == 180 - 128 + 2
    tried.clear()
    compare(train, seeds=90)
    assert len(tried) == 180


def test_a_seed_that_cannot_be_tried_again_is_no_answer():
    down = [False]

    def service(config, seed):
        if down[0]:
            raise xt.Unavailable("503")
        return reads(config, seed)

    compare(service)
    down[0] = True
    with pytest.raises(xt.TrainingError, match=f"a: seed {FIRST} could not be tried again: .*503"):
        compare(service, reuse=True)
    down[0] = False
    assert compare(service, reuse=True).reused.count == 120


def test_old_seeds_are_asked_for_where_seeds_are_trained():
    both = [xt.evaluate(one, range(30), train=reads, workers=0, verbose=0) for one in PAIR]
    with pytest.raises(xt.InputError, match="reuse: True; allowed: only where seeds are trained"):
        xt.compare(both, reuse=True)


def test_the_command(tmp_path):
    (tmp_path / "prompted.py").write_text(
        "import random\nfrom pathlib import Path\n\n\ndef run(config, seed):\n"
        "    good = float(Path('prompt.txt').read_text())\n"
        "    return random.Random(seed).random() < good * config['x']\n"
    )

    def solved(good):
        seeds = range(FIRST, FIRST + 60)
        return [sum(random.Random(s).random() < good * one["x"] for s in seeds) for one in PAIR]

    for name, x in (("new", 0.98), ("old", 0.99)):
        (tmp_path / f"{name}.yaml").write_text(f"x: {x}\n")
    words = ["compare", "new.yaml", "old.yaml", "--trainer", "./prompted.py:run", "--seeds", 60]
    words += ["--output", "out", "--workers", 0, "--fail-if-worse"]
    before = json.loads(xortune(*words, "--json", code=0).stdout)
    assert (before["reused"], [one["k"] for one in before["contestants"]]) == (None, solved(1))
    again = xortune(*words, "--reuse", code=0)
    assert "120 of the 120 seeds are old, trained " in " ".join(again.stdout.split())
    found = json.loads(xortune(*words, "--reuse", "--json", code=0).stdout)
    assert found["reused"]["count"] == found["reused"]["of"] == 120
    assert found["reused"]["oldest"][:3] == "202"
    assert found["reused"]["oldest"] <= found["reused"]["newest"]
    assert any("seeds are old" in note for note in found["notes"])
    Path("prompt.txt").write_text("0.3")
    now = json.loads(xortune(*words, "--json", code=0).stdout)
    assert [one["k"] for one in now["contestants"]] == solved(0.3)
    Path("prompt.txt").write_text("1")
    differs = xortune(*words, "--reuse", code=2).stderr
    assert "error: --reuse: seed" in differs
    assert "fix: start without --reuse: all seeds train anew" in differs


def test_a_wrong_name_of_a_number_ends_no_comparison():
    with pytest.raises(xt.InputError, match="there is no number 'scored'"):
        compare(lambda *given: {"score": scores(*given)}, by="scored_mean")
    train = {"train": lambda config, seed: {"score": scores(config, seed)}}
    for by in ("scored_mean", "score_mean"):
        tried.clear()
        try:
            compare(**train, by=by, output="same")
        except xt.InputError:
            assert len(tried) == 120
    assert len(tried) == 2, "what was trained for the first call is there"


def test_a_function_whose_file_was_missing_trains_all_anew():
    Path("prompt.txt").unlink()
    with pytest.raises(xt.InputError, match="all 60 seeds of every configuration crashed"):
        compare()
    Path("prompt.txt").write_text("1")
    assert compare().contestants[0].outcome.successes > 50


# What cannot be tried.


def test_void_seeds_are_a_share_of_all_seeds_of_the_comparison():
    down = {(0.98, FIRST + 3), (0.99, FIRST + 10)}

    def limited(config, seed):
        if (config["x"], seed) in down:
            raise xt.Unavailable("429")
        return reads(config, seed)

    for reuse in (False, True, True):  # the same two, which are all that is tried the second time
        found = compare(limited, reuse=reuse)
        assert [one.outcome.n for one in found.contestants] == [58, 58]
    assert "a: 1 seed could not be tried: Unavailable: 429; left out for all." not in str(found)
    assert "a, b: 1 seed could not be tried: Unavailable: 429; left out for all." in str(found)
    down.clear()
    assert [one.outcome.n for one in compare(limited, reuse=True).contestants] == [60, 60]


@pytest.mark.parametrize("asked", [{}, {"sequential": True, "max_seeds": 60}])
def test_the_first_seeds_may_be_those_that_are_void(asked):
    """Two of 120 are few, also where they are two of the first two."""

    def limited(config, seed):
        if seed == FIRST:
            raise xt.Unavailable("429")
        return seed % 2 == 0

    found = compare(limited, **asked)
    assert "a, b: 1 seed could not be tried" in str(found) or "a: 1 seed could not" in str(found)


def test_a_comparison_of_few_seeds_that_a_proof_has_ended_does_not_hide_how_many_are_void():
    """They are a share of those that were tried, not of the most that were allowed."""

    def limited(config, seed):
        if seed in (FIRST, FIRST + 2, FIRST + 4):
            raise xt.Unavailable("429")
        return config["x"] == 0.99

    with pytest.raises(xt.TrainingError, match=r"6 of \d\d seeds could not be tried, which is"):
        compare(limited, sequential=True, max_seeds=1000)


def test_a_service_that_is_down_is_not_tried_for_each_seed_of_a_comparison():
    def down(config, seed):
        tried.append(seed)
        raise xt.Unavailable("503")

    with pytest.raises(
        xt.TrainingError, match=r"the last 10 seeds could not be tried, and 10 of 10"
    ):
        compare(down, seeds=1000)
    assert len(tried) == 10 * 8


def test_a_service_that_goes_down_ends_a_sequential_comparison_of_two_functions():
    def down(config, seed):
        if seed >= FIRST + 16:
            tried.append(seed)
            raise xt.Unavailable("503")
        return seed % 2 == 0

    def other(config, seed):
        return down(config, seed)

    with pytest.raises(xt.TrainingError, match=r"16 of 48 seeds could not be tried"):
        compare([down, other], sequential=True, max_seeds=1000, different_tasks=True)
    assert len(set(tried)) == 8


def test_one_that_an_outage_has_ended_goes_on_with_the_same_call():
    down = itertools.count()

    def outage(config, seed):
        if 50 <= next(down) < 200:
            raise xt.Unavailable("503")
        return reads(config, seed)

    with pytest.raises(xt.TrainingError, match="could not be tried"):
        compare(outage)
    for _ in down:
        if next(down) > 200:
            break
    assert [one.outcome.n for one in compare(outage).contestants] == [60, 60]
    assert len(tried) == 120 + 2


def test_many_void_seeds_end_it_with_what_was_finished():
    def limited(config, seed):
        if config["x"] == 0.99 and seed % 3 == 0:
            raise xt.Unavailable("429")
        return seed % 2 == 0

    with pytest.raises(xt.TrainingError, match=r"\d of 120 seeds could not be tried") as caught:
        compare(limited)
    first, second = caught.value.outcome
    assert min(first.n, second.n) > 0
    assert all(seed % 3 for seed in second.seeds.tolist())
    for one in (first, second):
        assert one.solved.tolist() == [seed % 2 == 0 for seed in one.seeds.tolist()]
    given = xt.evaluate({}, range(30), train=lambda _, seed: seed > 3, workers=0, verbose=0)
    with pytest.raises(xt.TrainingError) as caught:
        xt.compare([given, PAIR[1]], train=limited, seeds=60, **HERE | {"output": "given"})
    assert caught.value.outcome[0] is given
    assert caught.value.outcome[1].n


def goes_down(config, seed):
    if seed % 2**20 > 20:
        raise xt.Unavailable("503")
    return {"score": float(seed % 3 > 0)}


def test_evaluate_and_gate_end_with_what_was_finished():
    given = {"train": goes_down, "success": "score >= 1", "workers": 0, "verbose": 0}
    calls = (
        lambda: xt.evaluate({}, range(100), **given),
        lambda: xt.gate({}, min_rate=0.6, first_seed=0, **given),
        lambda: xt.gate({}, min_mean=0.6, first_seed=0, **given | {"success": None}),
    )
    for call in calls:
        with pytest.raises(xt.TrainingError, match="could not be tried") as caught:
            call()
        found = caught.value.outcome
        assert found.seeds.tolist() == list(range(21))
        assert found.numbers("score").tolist() == [float(seed % 3 > 0) for seed in range(21)]
        assert min(found.details.void) == 21
    with pytest.raises(xt.TrainingError) as caught:
        xt.evaluate({}, range(100, 200), **given)
    assert caught.value.outcome is None


SPACE = {
    "name": "certified",
    "parameters": {"x": {"choice": [0.9, 1.0]}},
    "seeds": {"ladder": [4]},
    "search": {"sampler": "grid"},
}


def test_certify_ends_with_what_was_finished_and_its_share_is_of_all_seeds():
    down = [40]

    def limited(config, seed):
        if seed > 2**30 and seed % down[0] == 7:
            raise xt.Unavailable("429")
        return seed % 9 > 0

    options = {"train": limited, "workers": 0, "verbose": 0}
    xt.search(SPACE, output="run", **options)
    for _ in range(2):  # the second time those few are all that is tried
        assert xt.certify("run", seeds=120, **options).latest is None
    down[0] = 2**31
    assert xt.certify("run", seeds=120, **options).latest.complete
    down[0] = 8
    with pytest.raises(xt.TrainingError, match="could not be tried") as caught:
        xt.certify("run", seeds=500, **options)
    attempts = caught.value.outcome.attempts
    assert [(one.number, one.complete) for one in attempts] == [(1, True), (2, False)]


def test_a_resumed_search_takes_the_share_of_all_its_seeds():
    calls = itertools.count()

    def limited(config, seed):
        if seed == 39:
            raise xt.Unavailable("429")
        if next(calls) == 70:
            raise KeyboardInterrupt
        return seed % 2 == 0

    space = SPACE | {"seeds": {"ladder": [40]}}
    options = {"train": limited, "output": "run", "workers": 0, "verbose": 0, "check": False}
    with pytest.raises(KeyboardInterrupt):
        xt.search(space, **options)
    run = xt.search(space, resume=True, **options)
    assert [one.outcome.n for one in run.results] == [39, 39]


# What the command says, print says.


def test_print_says_that_a_training_seems_to_ignore_its_seed():
    def ignores(config, seed):
        return {"score": config["x"]}

    for more in ({}, STEP, {"by": "score_mean"}):
        given = {"success": "score >= 0.5"} if "by" not in more else {}
        found = compare(ignores, output=f"out{len(more)}{'by' in more}", **given, **more)
        assert "does the training use its seed?" in str(found)
