"""What every figure says: what one sees, n, its intervals or that it has none, and its finding."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import compared_runs
import numpy as np
import parameter_runs
import pytest
import success_runs
from hand_made import CONFIG, done, solved, write_run
from markdown_it import MarkdownIt

import xortune
from xortune.core.config import Config
from xortune.core.task import Task
from xortune.reports.drawing.matplotlib import matplotlib_figure
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.figures.surface import decision_surface
from xortune.reports.plot import Bars, Cells, Line, Lines, Points
from xortune.trainers import fused

FIGURES = Path(xortune.__file__).parent / "reports" / "figures"
REPORTS = Path(xortune.__file__).parents[1] / "reports"

UNITS = {
    *("epoch", "epochs", "seeds", "configurations", "probability", "success rate", "output"),
    *("share of all seeds", "share of the unsolved seeds", "share of its seeds"),
}
"""What an axis of numbers may be called by itself; others say a unit, or are a parameter's name."""

WITHOUT = ("nothing is estimated", "has no interval", "n = 1 seed", "counts, and shares of few")
"""How a note says that there is no interval."""


def surface(folder):
    """Of a run whose best config fails under some seeds."""
    config = Config(
        activation="ReLU", loss="MSELoss", optimizer="Adam", lr=0.05, hidden_dim=3, epochs=200
    )
    line = done(0, config.point, fused.train(config, Task.xor(), np.arange(24)))
    return decision_surface(write_run(folder, [line], trainer="network", task="xor"))


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    """One of each."""
    folder = tmp_path_factory.mktemp("every")
    found = [*success_runs.figures(folder / "success"), *parameter_runs.figures(folder / "levels")]
    (folder / "compared").mkdir()
    found += [*compared_runs.figures(folder / "compared"), surface(folder / "surface")]
    return {plot.name: plot for plot in found}


def names_made():
    """The names of all figures that the package makes, by its source."""
    for path in FIGURES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Plot":
                [name] = [part.value for part in node.keywords if part.arg == "name"]
                yield name.value


def test_none_is_forgotten_here(plots):
    assert sorted(plots) == sorted(names_made())


def test_the_title_says_what_one_sees(plots):
    for name, plot in plots.items():
        assert len(plot.title.split()) >= 3, name
        assert plot.title[-1] not in ".:", name
        assert len(plot.title) < 120, name


def test_the_alt_text_says_the_finding(plots):
    for name, plot in plots.items():
        assert plot.alt != plot.title, name
        assert plot.alt.endswith("."), name
        named = re.search(r"\d", plot.alt) or "as far as the data tell" in plot.alt
        assert named, f"{name}: {plot.alt}"
        assert not re.search(r"\b(nan|inf|None)\b", plot.alt), name


def test_the_note_says_n_and_what_the_bars_are(plots):
    for name, plot in plots.items():
        assert re.search(r"\bn = [\d,]+|unsolved seeds of n\b", plot.note), name
        if any(_has_ends(layer) for panel in plot.panels for layer in panel.layers):
            assert re.search(r"\d+ %", plot.note), f"{name}: no confidence"
            assert re.search(r"(?i)\b(bars?|bands?|line)\b", plot.note), name
        else:
            assert any(words in plot.note for words in WITHOUT) or "%" in plot.note, name


def _has_ends(layer):
    if isinstance(layer, Points):
        return bool(layer.x_low or layer.y_low)
    return isinstance(layer, Line) and bool(layer.low)


def test_what_is_estimated_has_an_interval(plots):
    """But for clouds of points, each of which is one config, and what is told of them all."""
    for name, plot in plots.items():
        for panel in plot.panels:
            for layer in panel.layers:
                if isinstance(layer, Points) and layer.role not in {"muted", "best"}:
                    counted = name in {"history", "agreement"}  # told of in their notes
                    assert _has_ends(layer) or counted, f"{name}: {layer.label}"
                if isinstance(layer, Line) and not (layer.dashed or layer.role == "best"):
                    assert layer.low, f"{name}: {layer.label}"


def test_axes_have_units(plots):
    for name, plot in plots.items():
        for panel in plot.panels:
            for axis in (panel.x, panel.y):
                assert axis.label.strip(), name
                if axis.kind == "number" and not any(
                    isinstance(layer, Lines | Cells) for layer in panel.layers
                ):
                    unit = re.search(r"seeds|epochs|points|config|better|spent", axis.label)
                    parameter = name in {"slices", "numbers"}  # it has what its owner gave it
                    assert unit or parameter or axis.label in UNITS, f"{name}: {axis.label}"


def test_the_page_and_the_picture_say_the_same(plots):
    for name, plot in plots.items():
        drawn = plotly_json(plot)
        assert drawn["data"], name
        canvas = matplotlib_figure(plot)
        words = " ".join(canvas.get_suptitle().split())
        assert words.replace(r"\$", "$") == " ".join(plot.title.split()), name
        marks = sum(
            len(axes.collections) + len(axes.lines) + len(axes.patches) for axes in canvas.axes
        )
        bare = all(isinstance(layer, Bars) for panel in plot.panels for layer in panel.layers)
        assert marks > 0 or bare, name


def committed():
    """(report, name, alt text, note) of each picture in the committed reports."""
    for path in sorted(REPORTS.rglob("*.md")):
        tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
        inline = [token for token in tokens if token.type == "inline"]
        for token, after in itertools.pairwise(inline):
            for child in token.children or ():
                if child.type == "image":
                    yield path, str(child.attrs["src"]), child.content, after.content


def test_the_committed_pictures_say_it_too():
    found = list(committed())
    assert len(found) > 30
    for path, source, alt, note in found:
        assert (path.parent / source).exists(), source
        assert re.search(r"\d", alt) or "as far as the data tell" in alt, f"{path.name}: {source}"
        assert re.search(r"\bn = |\bn\b|\d seeds", note), f"{path.name}: {source}: {note}"
        assert "%" in note or any(words in note for words in WITHOUT), f"{path.name}: {source}"


def test_a_run_in_which_nothing_is_sure_says_so(tmp_path):
    """Two seeds each: no figure claims more than that."""
    lines = [done(i, CONFIG | {"lr": 0.01 * (i + 1)}, solved(0, i % 3, 2)) for i in range(3)]
    run = write_run(tmp_path / "r", lines, trainer="network", task="parity-2")
    ranking = success_runs.ours(run)[0]
    assert "95 % interval 34–100 %" in ranking.alt
    assert "n = 2 seeds each" in ranking.note
