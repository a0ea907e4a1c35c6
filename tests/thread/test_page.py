"""thread.md and the figures: the same bytes again, tables that are tables, the values' numbers."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

import xortune as xt
from xortune.errors import InputError
from xortune.report.plot import Line, Plot, Points, Rule
from xortune.seed_ranges import THREAD
from xortune.thread import settle as settle_module
from xortune.thread.figures import figures
from xortune.thread.measure import Measured
from xortune.thread.page import answer, page
from xortune.thread.wording import at_least, named, probability, times


@pytest.fixture(scope="module")
def written(settled, tmp_path_factory):
    return xt.write_thread(settled, tmp_path_factory.mktemp("thread") / "new" / "reports")


@pytest.fixture(scope="module")
def text(written):
    return written[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def swept_text(swept):
    return page(swept, figures(swept))


def tables_of(text):
    """Each table as its lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def test_the_files(written):
    assert [path.name for path in written] == [
        *("thread.md", "thread.csv", "thread_comparisons.csv", "thread_curves.csv"),
        *("thread_claims.svg", "thread_lr.svg"),
    ]
    assert sorted(p.name for p in written[0].parent.iterdir()) == sorted(p.name for p in written)


def test_a_second_measurement_gives_the_same_bytes(written, tmp_path):
    again = xt.thread(only=["T10", "T8c", "T5", "T3"], seeds=48)
    for first, second in zip(written, xt.write_thread(again, tmp_path), strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()
        assert str(tmp_path).encode() not in second.read_bytes()


def test_writing_again_replaces(settled, written, tmp_path):
    (tmp_path / "thread.md").write_text("old")
    (tmp_path / "mine.txt").write_text("keep")
    xt.write_thread(settled, str(tmp_path))
    assert (tmp_path / "thread.md").read_bytes() == written[0].read_bytes()
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_where_nothing_can_be_written_it_is_told(tmp_path):
    settled = xt.thread(only=["T1"], seeds=1)  # which has no figure
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "below", "nul\0l"):
        with pytest.raises(InputError, match="cannot be written") as caught:
            xt.write_thread(settled, output)
        assert "--output" in str(caught.value)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("which", ["text", "swept_text"])
def test_tables_are_tables(which, request):
    text = request.getfixturevalue(which)
    tables = tables_of(text)
    assert len(tables) >= 3
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1, lines
        assert re.fullmatch(r"\|( (:--|--:) \|)+", lines[1])
        assert len(lines) > 2
        assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert text.endswith("\n")
    assert "\n\n\n" not in text
    for word in ("None", "nan", "Verdict.", "{", "as_posted"):
        assert word not in text


def test_sections_are_there_in_order_and_none_is_empty(text):
    parts = re.split(r"^##? (.*)$", text, flags=re.MULTILINE)[1:]
    assert parts[::2] == [
        "Learning XOR: the thread, settled",
        "Every claim",
        "Which is better",
        "Why the posts disagreed",
        "Claim by claim",
        "How this was measured, and how to check it",
    ]
    assert all(len(body.strip()) > 100 for body in parts[1::2])


def test_every_image_is_a_file_with_words_for_it(text, written):
    images = re.findall(r"!\[(.*)\]\((.*)\)", text)
    assert {name for _, name in images} == {p.name for p in written if p.suffix == ".svg"}
    assert all(len(alt) > 40 for alt, _ in images)
    for link in re.findall(r"\[[^\]]*\]\(([^)]*)\)", text):
        assert (written[0].parent / link).exists(), link


def test_the_overview_holds_what_was_measured(text, settled):
    rows = {line.split(" | ")[0].strip("| "): line for line in tables_of(text)[0]}
    for one in settled.rows:
        if one.variant.name == "as_posted":
            cells = rows[one.row.id].strip("| ").split(" | ")
            assert cells[2:4] == [one.row.quoted.shown, f"{one.k}/48"]
            assert cells[5] == str(one.verdict)


def test_what_the_thread_was_worth(text, settled):
    assert "Of 5 quoted counts, 5 agree with what their scripts do under 48 seeds." in text
    assert "Refuted: T10." in text  # by its curve
    rates = {o.row.id: o.rate for o in settled.rows if o.variant.name == "as_posted"}
    high = max(rates, key=rates.get)
    assert f"from 0.0 % (T5) to {100 * rates[high]:.1f} % ({high}) of seeds" in text
    assert "What to do" not in text, "without a sweep there is no answer to give"


def test_why_the_posts_disagreed(text, settled):
    found = {(o.row.id, o.variant.name): o for o in settled.rows}
    body = text.partition("## Why the posts disagreed")[2].partition("\n## ")[0]
    accumulating, truncating, ignored = tables_of(body)
    assert [line.split(" | ")[0] for line in accumulating[2:]] == ["| T8c"]
    posted, cleared = found["T8c", "as_posted"], found["T8c", "zero_grad"]
    assert accumulating[2].endswith(f"| {posted.k}/48 | {cleared.k}/48 |")
    pairs = [
        *(("T3", "as_posted", "half"), ("T3", "zero_grad", "zero_grad_half")),
        *(("T5", "as_posted", "half"), ("T5", "hidden_dim_5", "hidden_dim_5_half")),
    ]
    for line, (row_id, strict, half) in zip(truncating[2:], pairs, strict=True):
        assert line.startswith(f"| {row_id} |")
        assert line.endswith(f"| {found[row_id, strict].k}/48 | {found[row_id, half].k}/48 |")
    [one] = settled.explanations
    assert ignored[2].endswith(f"| {times(one.ratio)} |")
    assert f"All together: {times(one.ratio)} times likelier with 0.03." in body
    [(curve, lines, test)] = settled.curves
    assert f"{test.k_beside} of 48 seeds at 0.03, {test.k_best} at" in body
    enough = [v for v, k in zip(curve.points, lines[1].k, strict=True) if k >= 0.95 * 48]
    assert f"Momentum 0.9: 95 % of the seeds or more from {enough[0]:.3g} to" in body


def test_each_variant_is_stated_exactly(text):
    body = text.partition("## Claim by claim")[2]
    t8c = body.partition("### T8c")[2].partition("### ")[0]
    assert "> 22 / 100 = 22.00% successes" in t8c
    lines = [line for line in t8c.splitlines() if line.startswith("| as posted")]
    assert len(lines) == 1
    assert "optimizer Adam, lr 0.03, hidden_dim 5, epochs 1000, zero_grad false" in lines[0]
    assert "stop below 1e-08" in lines[0]
    t3 = body.partition("### T3")[2].partition("### ")[0]
    assert ["int(output)" in line for line in t3.splitlines() if line.startswith("| ")][2:] == [
        *(True, False, True, False)
    ]


def test_how_it_can_be_checked(text):
    assert "Seeds 0 to 47 for every row" in text
    assert f"{THREAD.start:,}" in text


# --- the sweep and the answer --------------------------------------------------------------------


def test_the_answer_is_the_best_cell_with_its_certificate(swept, swept_text):
    best = swept.best[0]
    text = answer(swept)[0]
    assert text.startswith(
        f"**What to do.** Put {best.config.activation} between the two layers of a network with 5 "
        "hidden units, clear the gradients before each step, train with "
        f"{best.config.loss} and {best.config.optimizer} at a learning rate of 0.03"
    )
    assert f"under {best.outcome.successes} of 64 seeds that had no part in choosing it" in text
    lower = math.floor(best.lower * 10_000) / 100
    assert f"so at least {lower:.2f} % of all seeds do" in text
    assert lower / 100 <= best.lower
    assert f"for the {len(swept.best)} best settings together" in text
    epochs = sorted(e for e in best.outcome.solved_epoch.tolist() if e)
    half = int(re.search(r"fewer than (\d+) epochs", text)[1])
    assert sum(e < half for e in epochs) >= len(epochs) / 2
    assert sum(e < half - 1 for e in epochs) <= len(epochs) / 2
    assert f"the slowest {epochs[-1]};" in text
    assert swept_text.index("What to do") < swept_text.index("| claim |")


def test_the_answers_command_repeats_it(swept):
    command = answer(swept)[1]
    assert command.startswith("```sh\n")
    words = command.replace("\\\n", " ").split()
    options = dict(itertools.pairwise(words))
    assert words[1:3] == ["xortune", "evaluate"]
    assert (options["--first-seed"], options["--seeds"]) == (str(THREAD.start), "64")
    assert options["--activation"] == swept.best[0].config.activation
    assert options["--epochs"] == "200"


@pytest.mark.parametrize(
    ("lower", "shown"),
    [(0.99949, "99.94 %"), (0.9999, "99.99 %"), (0.5, "50.00 %"), (0.999999, "99.99 %")],
)
def test_a_lower_bound_is_rounded_down(swept, lower, shown):
    assert at_least(replace(swept.best[0], lower=lower)) == shown


def test_the_sweep_is_summed_up(swept, swept_text):
    body = swept_text.partition("## The sweep")[2].partition("\n## ")[0]
    assert "5 cells, 20 seeds each, 200 epochs (the thread's script has 10,000): 3 (60.0 %)" in body
    assert "solved every seed, 1 (20.0 %) none." in body
    activation, loss, optimizer, best = tables_of(body)
    assert activation[2:] == [
        "| ELU | 1 | 100.0 % |  |",
        "| Sigmoid | 1 | 100.0 % |  |",
        "| Tanh | 1 | 100.0 % |  |",
        "| ReLU | 2 | 37.5 % |  |",
    ]
    assert loss[2].startswith("| MSELoss | 4 | 93.8 %")
    assert optimizer[2:] == ["| Rprop | 1 | 100.0 % |  |", "| Adam | 4 | 68.8 % |  |"]
    assert len(best) == 2 + 4
    for line, cell in zip(best[2:], swept.best, strict=True):
        cells = line.strip("| ").split(" | ")
        assert cells[0].startswith(f"activation {cell.config.activation}, loss MSELoss")
        assert cells[1:3] == [f"{cell.search_k}/20", f"{cell.outcome.successes} of 64"]
        assert cells[3] == at_least(cell)


def test_the_sweeps_figure(swept):
    [plot] = figures(swept)
    assert plot.name == "thread_sweep"
    [panel] = plot.panels
    assert panel.y.categories == (
        *("ELU", "Sigmoid", "Tanh", "ReLU", "MSELoss", "L1Loss", "Rprop", "Adam"),
    )
    *gaps, points = panel.layers
    assert [gap.at for gap in gaps] == [3.5, 5.5]
    assert points.x == pytest.approx((1, 1, 1, 0.375, 0.9375, 0, 1, 0.6875))
    assert points.y == tuple(range(8))
    assert points.texts[3] == "37.5 % over 2 cells"


# --- figures -------------------------------------------------------------------------------------


def test_the_figure_of_the_claims(settled):
    plot = figures(settled)[0]
    assert isinstance(plot, Plot)
    [panel] = plot.panels
    posted = [o for o in settled.rows if o.variant.name == "as_posted"]
    assert panel.y.categories == tuple(o.row.id for o in posted)
    quoted, measured = panel.layers
    assert quoted.x == (0.37, 0.0, 0.22, 0.02, 0.98)
    assert measured.x == tuple(o.rate for o in posted)
    assert measured.x_low == tuple(o.low for o in posted)
    assert all(
        low <= x <= high for low, x, high in zip(quoted.x_low, quoted.x, quoted.x_high, strict=True)
    )
    for row, (above, below) in enumerate(zip(quoted.y, measured.y, strict=True)):
        assert row - 0.5 < above < row < below < row + 0.5
    assert measured.texts[0] == f"measured: {posted[0].k} of 48"
    assert plot.alt.endswith("All agree.")
    assert "48 seeds" in plot.note


def test_the_figure_of_a_curve(settled):
    [panel] = figures(settled)[1].panels
    [(curve, lines, _)] = settled.curves
    assert panel.x.kind == "log"
    assert not panel.x.whole
    assert [rule.at for rule in panel.layers if isinstance(rule, Rule)] == [0.03]
    drawn = [layer for layer in panel.layers if isinstance(layer, Line)]
    points = [layer for layer in panel.layers if isinstance(layer, Points)]
    assert len({line.role for line in drawn}) == len(drawn)
    for one, at, line in zip(drawn, points, lines, strict=True):
        assert one.x == at.x == curve.points
        assert one.y == at.y == tuple(k / 48 for k in line.k)
        assert (one.low, one.high) == (line.low, line.high)
        assert one.role == at.role
        assert at.texts[0].endswith(f": {line.k[0]} of 48")


def test_svg_files_hold_their_finding(settled, tmp_path, pictures):
    drawn = {figure.name: figure for figure in figures(settled)}
    for path in xt.write_thread(settled, tmp_path / "drawn"):
        if path.suffix == ".svg":
            words = " ".join(ET.parse(path).getroot().itertext())
            assert drawn[path.stem].title in words
            assert drawn[path.stem].alt in words


# --- the whole page, without training ------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(sweep_run):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(settle_module, "measure", lambda *_: Measured(np.arange(9) < 4))
        patched.setattr(settle_module, "measure_config", lambda *_: Measured(np.arange(9) < 4))
        return xt.thread(seeds=9, sweep=sweep_run)


def test_the_whole_page(whole, tmp_path):
    text = page(whole, figures(whole))
    for lines in tables_of(text):
        assert len({line.count("|") for line in lines}) == 1, lines
    for row in whole.claims.rows:
        assert text.count(f"\n### {row.id}: ") == 1
    assert re.search(r"Refuted: .*T1, .*T7.*\.", text)
    assert "Not testable: T2, T12, T14b." in text
    assert "Not decided: T6." in text
    assert "in 4 of 9 seeds all weights are the same" in text
    for figure in figures(whole):
        assert f"]({figure.name}.svg)\n\n*{figure.note.replace('_', chr(92) + '_')}*\n" in text
    assert {figure.name for figure in figures(whole)} == {
        *("thread_claims", "thread_hidden_dim", "thread_lr", "thread_sweep")
    }


def test_small_words():
    assert named(("T8c", "as_posted")) == "T8c"
    assert named(("T8c", "lr_0.001")) == "T8c (lr 0.001)"
    assert (probability(None), probability(5e-5), probability(0.0123)) == ("", "< 0.0001", "0.0123")
    assert (times(57.3), times(1e5), times(1e-3)) == ("57.3", "1.0e+05", "1.0e-03")
