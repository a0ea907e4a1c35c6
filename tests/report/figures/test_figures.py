"""All figures: their values and words, what each says, their order, runs that are strange."""

import json
import os
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from figure_runs import (
    EPOCHS,
    HIDDEN,
    HOSTILE,
    RATE,
    figures,
    in_front,
    keeps_to_the_rules,
    ours,
    series,
)
from hand_made import CONFIG, done, failed, solved, write_run

import xortune
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Details
from xortune.core.task import Task
from xortune.reports.drawing.model import Mark
from xortune.reports.figures import FIGURES, figures_of
from xortune.reports.figures.distributions import learning_curves, scores
from xortune.reports.figures.seeds import seeds_so_far
from xortune.reports.figures.surface import decision_surface
from xortune.trainers import fused

ROOT = Path(xortune.__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden.json")


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    return figures(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def every(plots, tmp_path_factory):
    """Each with a decision surface, of a run whose best config fails under some seeds."""
    config = Config(**CONFIG | {"activation": "ReLU", "lr": 0.05, "hidden_dim": 3, "epochs": 200})
    outcome = fused.train(config, Task.xor(), np.arange(24))
    loss = outcome.final_loss.astype(float)
    way = np.concatenate([2 * loss, loss]).astype(np.float32)[:, None]
    curves = Curves(("loss",), np.tile(outcome.seeds, 2), np.repeat([1, 2], 24), way)
    details = Details({"loss": loss}, curves=(curves,))
    line = done(0, config.point, replace(outcome, details=details))
    run = write_run(tmp_path_factory.mktemp("surface"), [line], trainer="network", task="xor")
    more = [draw(run) for draw in (decision_surface, scores, learning_curves, seeds_so_far)]
    return {plot.name: plot for plot in [*plots, *more]}


def close(found, kept):
    """Equal, floats as far as libraries agree."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(close, found, kept))
    if type(kept) is float:
        return found == pytest.approx(kept, abs=2e-6, rel=1e-6, nan_ok=True)
    return found == kept


def as_json(plots):
    """What they say beyond the defaults, as JSON has it."""

    def told(value):
        if isinstance(value, Mark):
            return [told(part) for part in value if part is not None and part != ""]
        if is_dataclass(value):
            pairs = ((f, getattr(value, f.name)) for f in fields(value))
            kept = {f.name: told(part) for f, part in pairs if part != f.default}
            return {"is": type(value).__name__, **kept}
        if isinstance(value, list | tuple):
            return [told(part) for part in value]
        return round(value, 9) if isinstance(value, float) else value

    return {plot.name: told(plot) for plot in plots}


def test_golden(plots):
    """After a wanted change: run this file with GOLDEN=renew in the environment; read the diff."""
    text = json.dumps(as_json(plots), indent=1, ensure_ascii=False)
    if os.environ.get("GOLDEN") == "renew":
        GOLDEN.write_text(text + "\n", encoding="utf-8")
    found, kept = json.loads(text), json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(kept)
    for name, plot in found.items():
        assert close(plot, kept[name]), name


def test_none_is_forgotten_here(every):
    folder = ROOT / "xortune" / "reports" / "templates" / "figures"
    names = {path.name.removesuffix(".txt.jinja") for path in folder.glob("*.jinja")}
    assert sorted(every) == sorted(names - {"tested"})


def test_each_says_what_one_sees_what_is_found_and_how_sure_that_is(every):
    for name, plot in every.items():
        keeps_to_the_rules(plot)
        assert 3 <= len(plot.title.split()) < 25, name
        assert plot.title[-1] not in ".:", name
        assert plot.alt.endswith("."), name
        assert re.search(r"\d", plot.alt) or "as far as the data tell" in plot.alt, name
        assert not re.search(r"\b(nan|inf|None)\b", plot.alt), name
        assert re.search(r"\bn = [\d,]+|unsolved seeds of n\b", plot.note), name
        none = "without any uncertainty|has no interval|n = 1 seed|counts, and shares of few"
        assert re.search(f"%|{none}", plot.note), name  # how sure, or that nobody knows
        for layer in series(plot):
            found = any(mark.x_ends or mark.y_ends for mark in layer.marks)
            if found and layer.kind != "bars":
                assert re.search(r"\d+ %", plot.note), f"{name}: no confidence"
                assert re.search(r"(?i)\b(bars?|bands?|line)\b", plot.note), name
            # A cloud of points, each of them a config, has no intervals.
            cloud = layer.role in {"muted", "best"} or name in {"history", "agreement"}
            assert found or cloud, f"{name}: {layer.label}"


def test_a_run_without_a_finished_config_has_none(tmp_path):
    assert figures_of(write_run(tmp_path / "empty", [])) == ()
    lines = [failed(0, CONFIG, 0, 8, final=False)]
    run = write_run(tmp_path / "tried", lines)
    assert figures_of(run) == ()
    for figure, _ in FIGURES[:5]:
        with pytest.raises(InputError, match="no configuration is finished"):
            figure(run)


def alike(k, configs=4):
    return [done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, k, 8)) for i in range(configs)]


def hostile():
    lines = [
        done(i, {HOSTILE: HOSTILE + str(i), "n\nm": i, "huge": 10**300}, solved(0, i, 8))
        for i in range(5)
    ]
    return [*lines, done(5, {HOSTILE: 1e-300, "\ud800": None, "b": True}, solved(0, 2, 8))]


ALWAYS, SUCCESS, FAILURE = ["ranking"], "success-by-epoch", "failures"


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (alike(8, 1), [*ALWAYS, SUCCESS]),
        (alike(0, 1), [*ALWAYS, FAILURE]),
        ([failed(0, CONFIG, 0, 8)], [*ALWAYS, FAILURE]),
        (alike(0), [*ALWAYS, FAILURE]),
        (hostile(), [*ALWAYS, SUCCESS, FAILURE, "history"]),
        (
            [*alike(8), done(9, CONFIG | {"lr": 1.0}, solved(0, 1, 2, epochs=7, epoch=7))],
            [*ALWAYS, SUCCESS, "seeds-spent", FAILURE, "history"],
        ),
    ],
)
def test_runs_that_are_strange(tmp_path, lines, names):
    run = write_run(tmp_path / "run", lines, trainer="own", ladder=[2, 8])
    assert [plot.name for plot in ours(run)] == names
    for plot in figures_of(run):
        keeps_to_the_rules(plot)


def test_a_front_of_which_nothing_is_known_is_left_out(tmp_path):
    rows = [(3, 0, 16, 1), (4, 0, 16, 1)]
    nothing = ours(in_front(tmp_path / "nothing", rows, (RATE, EPOCHS)))
    assert [plot.name for plot in nothing] == [*ALWAYS, FAILURE]
    known = ours(in_front(tmp_path / "known", rows, (RATE, HIDDEN)))
    assert [plot.name for plot in known] == [*ALWAYS, FAILURE, "front"]
