"""Hopeless seeds: the band that reports have to stay in, and the seeds that left it.

`racing.hopeless` learns a band in a search. A trainer ends a seed that leaves it; `left_by` and
`judged_by` say the same of an outcome whose seeds were trained to the end. So the status of a seed
follows from its reports and its band alone, and not from who was quicker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import Curves, Details, Left, Outcome, Status, Watched, has_number

LOOK_BITS = 3
"""A seed is looked at after reports 1 to 8, 10, 12, 14, 16, 20, ...: those whose number is its
first `LOOK_BITS` bits and zeros. So long trainings have few looks, and the first ones are early."""

MAX_REPORT = 2**24
"""No seed is looked at after this report."""


def is_look(report: int) -> bool:
    """Whether a seed is looked at after a report; the first one is 1."""
    spare = max(0, report.bit_length() - LOOK_BITS)
    return 0 < report <= MAX_REPORT and report >> spare << spare == report


LOOKS: tuple[int, ...] = tuple(
    report
    for size in range(MAX_REPORT.bit_length())
    for report in range(2**size, 2 ** (size + 1), max(1, 2 ** (size + 1 - LOOK_BITS)))
    if report <= MAX_REPORT
)
"""All reports after which a seed is looked at, ascending."""


@dataclass(frozen=True)
class Band:
    """What a seed has to reach at each look, or it is hopeless.

    Attributes:
        on: the number that is looked at.
        higher: whether more of it is better.
        audit: share of the hopeless seeds that are trained on.
        draw: the search's seed, which draws them.
        limits: by the report of a look, the least value of a seed that goes on; float32, of the
            number, or of its negative where less is better.
        own: whether the band is learned from seeds of the same configuration.
    """

    on: str
    higher: bool
    audit: float
    draw: int
    limits: Mapping[int, float] = field(default_factory=dict)
    own: bool = False

    def is_left(self, report: int, number: Any) -> bool:
        """Whether a seed with this number at this report is hopeless."""
        limit = self.limits.get(report)
        return limit is not None and bool(upward(number, higher=self.higher) < limit)

    def is_audited(self, key: str, seed: int) -> bool:
        """Whether a seed of a configuration is trained on if it is hopeless: a draw by hash."""
        digest = blake2b(f"{self.draw} {key} {seed}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.audit * 2**64

    def first_left(self, reports: Sequence[int], numbers: NDArray[Any]) -> int | None:
        """The first report at which a seed with these numbers is hopeless; None: it is not.

        A report that lacks the number says nothing.
        """
        told = np.flatnonzero(has_number(numbers)).tolist()
        return next((int(reports[i]) for i in told if self.is_left(reports[i], numbers[i])), None)

    @cached_property
    def last(self) -> int:
        """The last report with a limit; 0 without any."""
        return max(self.limits, default=0)


def upward(numbers: Any, *, higher: bool) -> Any:
    """float32: the numbers, or their negatives where less is better; NaN is the worst."""
    with np.errstate(over="ignore"):
        array = np.asarray(numbers, np.float32)
    return np.where(np.isnan(array), np.float32(-math.inf), array if higher else -array)


def reports_of(details: Details, on: str) -> dict[int, tuple[list[int], NDArray[np.float32]]]:
    """By seed, its reports that are kept, ascending, and the number `on` of each."""
    found: dict[int, tuple[list[int], NDArray[np.float32]]] = {}
    for kept in details.curves:
        curves: Curves = kept.points()
        if on not in curves.names:
            continue
        numbers = curves.values[:, curves.names.index(on)]
        order = np.lexsort((curves.report, curves.seed))
        seeds, starts = np.unique(curves.seed[order], return_index=True)
        for seed, rows in zip(seeds.tolist(), np.split(order, starts[1:]), strict=True):
            found[seed] = curves.report[rows].tolist(), numbers[rows]
    return found


def left_by(band: Band, details: Details) -> dict[int, Left]:
    """The seeds whose reports leave a band, but for those that are noted already."""
    watched, found = details.watched or Watched(), dict[int, Left]()
    for seed, (reports, numbers) in reports_of(details, band.on).items():
        if seed in watched.left or (report := band.first_left(reports, numbers)) is None:
            continue
        found[seed] = Left(report, watched.length or reports[-1], band.own)
    return found


def judged_by(band: Band, key: str, outcome: Outcome, left: Mapping[int, Left]) -> Outcome:
    """The outcome of a configuration with these seeds as hopeless ones: stopped, or audited.

    One that is not audited is stopped, even if it was trained to the end before that was decided.
    """
    watched = outcome.details.watched or Watched()
    ends = [seed for seed in left if not band.is_audited(key, seed)]
    status = np.where(np.isin(outcome.seeds, ends), np.uint8(Status.STOPPED), outcome.status)
    return stopped(outcome, status, replace(watched, left={**watched.left, **left}))


def stopped(outcome: Outcome, status: NDArray[np.uint8], watched: Watched) -> Outcome:
    """The outcome with these statuses: what stopped seeds returned and how they failed is left out.

    So they are alike whether they ended early or were trained to the end before that was decided.
    """
    ended = status == Status.STOPPED
    details = outcome.details
    gone = set(outcome.seeds[ended].tolist())
    values = {name: np.where(ended, np.nan, array) for name, array in details.values.items()}
    failed = {seed: why for seed, why in details.failed.items() if seed not in gone}
    output = {seed: text for seed, text in details.output.items() if seed not in gone}
    kept = replace(details, values=values, failed=failed, output=output, watched=watched)
    return replace(
        outcome,
        status=status,
        solved_epoch=np.where(ended, 0, outcome.solved_epoch).astype(np.int32),
        final_loss=np.where(ended, np.nan, outcome.final_loss).astype(np.float32),
        details=kept if failed else replace(kept, traceback=None, raised=None),
    )
