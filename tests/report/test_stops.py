"""Why configs got no more seeds: what the search recorded, and what follows from the counts."""

from dataclasses import replace

import pytest
from hand_made import CONFIG, done, failed, solved, write_run

from xortune.core.trainer import PROVEN_WORSE
from xortune.reports.figures.seeds import Stop, stops_of

LADDER = [4, 8, 32, 128]
COUNTS = ((128, 128), (32, 32), (7, 8), (3, 8), (0, 4))
FRONT = [
    {"name": "success_rate", "direction": "maximize"},
    {"name": "hidden_dim", "direction": "minimize"},
]


def point(number):
    return CONFIG | {"hidden_dim": 2 + number}


LINES = [done(i, point(i), solved(0, k, n)) for i, (k, n) in enumerate(COUNTS)]


def found(path, **manifest):
    """The reason for each config, by its number; the fourth is recorded as proven worse."""
    verdict = replace(failed(3, point(3), 8, 1, final=False), error=PROVEN_WORSE)
    given = {"trainer": "network", "ladder": LADDER, "complete": True, **manifest}
    run = write_run(path / "run", [*LINES, verdict], **given)
    reasons = {r.key: stop.name for r, stop in zip(run.results, stops_of(run), strict=True)}
    return [reasons[line.block.point.key] for line in LINES]


@pytest.mark.parametrize(
    ("manifest", "reasons"),
    [
        ({}, "FULL QUICKER AHEAD WORSE UNSOLVED"),
        ({"objectives": FRONT}, "FULL DOMINATED DOMINATED WORSE UNSOLVED"),
        ({"complete": False}, "FULL ENDED ENDED WORSE UNSOLVED"),
        ({"proven": {"key": "0", "rate": 0.9}}, "FULL ENDED ENDED WORSE UNSOLVED"),
        ({"ladder": [128]}, "FULL ENDED ENDED WORSE ENDED"),
        ({"ladder": None}, "FULL EARLY EARLY EARLY EARLY"),
    ],
)
def test_every_reason(tmp_path, manifest, reasons):
    assert found(tmp_path, **manifest) == reasons.split()


def test_seeds_of_several_versions_tell_nothing(tmp_path):
    other = replace(done(1, point(1), solved(32, 2, 2)), made="1" * 8)
    run = write_run(
        tmp_path / "run", [*LINES, other], trainer="network", ladder=LADDER, complete=True
    )
    assert run.set_aside
    assert set(stops_of(run)) == {Stop.FULL, Stop.EARLY}
