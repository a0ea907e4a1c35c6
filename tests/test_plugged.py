"""A kind of trainers, as another package adds it; and what is asked of a status."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hand_made import solved

import xortune as xt
from xortune.core.trainer import Trainer, Traits
from xortune.driver import trainer as kinds
from xortune.reports.drawing.model import COLOURS
from xortune.reports.figures.seeds import OTHERS
from xortune.runs.columns import COLUMNS

ROOT = Path(xt.__file__).parents[1]

SPACE = """
name: asked
trainer: "asks:somebody"
parameters:
  lr: {choice: [0.1, 0.5, 0.9]}
search: {sampler: random, trials: 3, seed: 1}
seeds: {ladder: [4, 8]}
"""


@dataclass(frozen=True)
class Asks(Trainer):
    """The share of seeds that are solved is the learning rate."""

    address: str

    @property
    def traits(self):
        return Traits(users_code=True)

    def describe(self):
        return {"trainer": self.address}

    def train(self, blocks):
        shares = [block.point["lr"] for block in blocks]
        return [
            solved(block.first, int(block.count * share), block.count)
            for block, share in zip(blocks, shares, strict=True)
        ]


ASKS = kinds.Kind(
    "asks",
    "asks an address",
    matches=lambda wanted: (wanted.space.trainer or "").startswith("asks:"),
    make=lambda wanted: Asks(wanted.space.trainer),
)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, ASKS))
    path = tmp_path / "asked.yaml"
    path.write_text(SPACE)
    return path


def test_a_kind_of_trainers_is_one_value_whoever_trains(asked, tmp_path):
    tables = []
    for workers in (0, 2):
        run = xt.search(asked, output=tmp_path / str(workers), workers=workers)
        tables.append((run.path / "table.csv").read_text())
        assert run.manifest["trainer"] == "asks:somebody"
    assert tables[0] == tables[1]
    found = xt.certify(run, seeds=40, top=1, workers=0)
    assert found.finalists[0].n == 40


def test_no_trainer_is_asked_for_its_class_or_an_attribute_by_its_name():
    asks = re.compile(r"isinstance\([\w.]*trainer,[^)]*Trainer\b|[gh](?:et|as)attr\([\w.]*trainer,")
    code = [*ROOT.glob("xortune/**/*.py"), *ROOT.glob("hydra_plugins/**/*.py")]
    assert [path.name for path in code if asks.search(path.read_text())] == []


def test_what_is_said_of_a_status_stands_at_the_status_alone():
    """Whoever adds one edits `Status`: tables, figures and sentences ask it."""
    named = re.compile(r"status\.label (?:==|!=|in|not in)")
    templates = ROOT.glob("xortune/reports/templates/**/*.jinja")
    assert [path.name for path in templates if named.search(path.read_text())] == []
    drawn = [status for status in xt.Status if status.ending.colour]
    assert {status: COLOURS[status.label] for status in drawn} == {
        status: status.ending.colour for status in drawn
    }
    failed = {*xt.Status} - {xt.Status.SOLVED}
    assert {*OTHERS} == failed - {xt.Status.WRONG_PATTERN}
    assert {status.label for status in failed} <= {column.name for column in COLUMNS}


@pytest.mark.parametrize("patterns", [True, False])
def test_where_no_predictions_are_known_no_pattern_is_wrong(patterns):
    wrong, zero, pruned = xt.Status.WRONG_PATTERN, xt.Status.ALL_ZERO, xt.Status.PRUNED
    said = wrong.words(patterns=patterns), wrong.sentence(patterns=patterns)
    assert said == (
        ("wrong pattern", "learned a wrong pattern")
        if patterns
        else ("no success", "ended without success")
    )
    assert wrong.bar(patterns=patterns) == ("another wrong pattern" if patterns else "no success")
    assert [one.is_told(0, patterns=patterns) for one in (wrong, zero, pruned)] == [
        True,
        patterns,
        False,
    ]
    assert pruned.is_told(1, patterns=patterns)
