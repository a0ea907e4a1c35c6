"""Pruned seeds: what a worker needs to end a seed by its reports, and the outcome that follows.

The search grants seeds together with a `Pruning`: a pruner of Optuna and the seeds that were known
then. So what becomes of a seed follows from its own reports and the order of decisions, and not
from who was quicker: `judged` says the same of a seed that was trained to its end.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import Curves, Details, Outcome, Status, has_number

TRAINED_ON = 0.1
"""The share of the pruned seeds that are trained on, to see what becomes of them."""

LOOK_BITS = 4
"""See `is_look`."""


def is_look(report: int) -> bool:
    """Whether a pruner is asked after a report: 1 to 16, 18, ..., 32, 36, ...; the first is 1.

    They are the numbers with `LOOK_BITS` bits and zeros. So long trainings have few of them.
    """
    spare = max(0, report.bit_length() - LOOK_BITS)
    return report > 0 and report >> spare << spare == report


IsPruned = Callable[[int, float], bool]
"""Whether a seed is pruned, by a report and its number; called once for each, in their order."""


@dataclass(frozen=True)
class Pruning:
    """Prunes the seeds of a block.

    Attributes:
        on: the number that is compared.
        draw: the search's seed, which draws the seeds that are trained on.
        study: a study of Optuna, pickled, with the pruner. Its trials are the seeds known so far.
    """

    on: str
    draw: int
    study: bytes

    def is_trained_on(self, key: str, seed: int) -> bool:
        """Whether a seed of a configuration is trained on if it is pruned: a draw by hash."""
        digest = blake2b(f"{self.draw} {key} {seed}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < TRAINED_ON * 2**64

    def of_seed(self) -> IsPruned:
        """The judge of one seed."""
        return asked(pickle.loads(self.study).ask())  # noqa: S301  # from our own driver

    def of_trained(self, key: str, seed: int) -> IsPruned | None:
        """The judge of a seed that ends where it is pruned; None if it is trained on."""
        return None if self.is_trained_on(key, seed) else self.of_seed()


def asked(trial: Any) -> IsPruned:
    """The judge of a seed that is a running trial of Optuna."""

    def is_pruned(report: int, number: float) -> bool:
        if not is_look(report):
            return False
        with np.errstate(over="ignore"):  # as a run keeps it
            trial.report(float(np.float32(number)), report)
        with warnings.catch_warnings():  # NumPy's, of a seed without any number
            warnings.simplefilter("ignore", RuntimeWarning)
            return bool(trial.should_prune())

    return is_pruned


def reports_of(details: Details, on: str) -> dict[int, tuple[list[int], NDArray[np.float32]]]:
    """By seed, its reports that are kept and have the number `on`, ascending, and the number."""
    found: dict[int, tuple[list[int], NDArray[np.float32]]] = {}
    for kept in details.curves:
        curves: Curves = kept.points()
        if on not in curves.names:
            continue
        numbers = curves.values[:, curves.names.index(on)]
        rows = np.flatnonzero(has_number(numbers))
        rows = rows[np.lexsort((curves.report[rows], curves.seed[rows]))]
        seeds, starts = np.unique(curves.seed[rows], return_index=True)
        for seed, of_seed in zip(seeds.tolist(), np.split(rows, starts[1:]), strict=True):
            found[seed] = curves.report[of_seed].tolist(), numbers[of_seed]
    return found


def pruned_at(pruning: Pruning, details: Details) -> dict[int, int]:
    """By seed, the report at which it is pruned, but for those that are noted already."""
    found = {}
    for seed, (reports, numbers) in reports_of(details, pruning.on).items():
        if seed in details.pruned:
            continue
        is_pruned = pruning.of_seed()
        pairs = zip(reports, numbers.tolist(), strict=True)
        at = next((report for report, number in pairs if is_pruned(report, number)), None)
        if at is not None:
            found[seed] = at
    return found


def judged(pruning: Pruning, key: str, outcome: Outcome, pruned: Mapping[int, int]) -> Outcome:
    """The outcome of a configuration of which these seeds are pruned, too, or trained on.

    What pruned seeds returned and how they failed is left out: so they are alike whether they ended
    early or were trained to the end before that was decided.
    """
    ends = [seed for seed in pruned if not pruning.is_trained_on(key, seed)]
    ended, details = np.isin(outcome.seeds, ends), outcome.details
    values = {name: np.where(ended, np.nan, array) for name, array in details.values.items()}
    failed = {seed: why for seed, why in details.failed.items() if seed not in ends}
    output = {seed: text for seed, text in details.output.items() if seed not in ends}
    noted = {**details.pruned, **pruned}
    kept = replace(details, values=values, failed=failed, output=output, pruned=noted)
    return replace(
        outcome,
        status=np.where(ended, np.uint8(Status.PRUNED), outcome.status),
        details=kept if failed else replace(kept, traceback=None, raised=None),
    )
