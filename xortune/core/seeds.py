"""Seeds: a range for each use, so that "fresh" is true by construction; whether one is used.

torch's CPU generator distinguishes 2**32 seeds, 0 to 2**32 - 1. A search draws from the first
quarter. Each use whose seeds no search and no other use may have seen has its own range above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, kind_of, with_kind

MAX_SEED = 2**32 - 1  # torch's CPU generator uses the low 32 bits only

QUARTER = 2**30

SEARCH = range(QUARTER)
"""A search trains its configurations under these."""

HAND = range(QUARTER, QUARTER + QUARTER // 8)
"""Checks by hand, as reports suggest them: `xortune evaluate ... --first-seed 1073741824`."""

MARK = range(HAND.stop, QUARTER + QUARTER // 4)
"""Tests marked with `@pytest.mark.seeds`: the same seeds each time. They lie below 2**31, so that
every library accepts them."""

COMPARE = range(MARK.stop, QUARTER + QUARTER // 2)
"""Comparisons of configurations without seeds: the same for all, so that they can be paired."""

CERTIFY = range(COMPARE.stop, 2 * QUARTER)
"""Certificates of the finalists of a search, one attempt after the other."""

NEIGHBOURS = range(2 * QUARTER, 3 * QUARTER)
"""Neighbours of a finalist: its settings with small changes."""

GATE = range(3 * QUARTER, 3 * QUARTER + QUARTER // 2)
"""Gates: the same seeds each time, so that only a change of the training changes the answer."""

THREAD = range(GATE.stop, 4 * QUARTER)
"""Reserved for examples/thread (`FRESH` in measure.py), which trains the best cells of its sweep on
fresh seeds. No verb draws from these."""


def checked_seeds(seeds: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """int64, shape (S,): the seeds, checked.

    Raises:
        InputError: there is no seed, or one is no whole number, outside [0, 2**32) or repeated.
    """
    if _is_plain(seeds):
        return seeds if not seeds.flags.writeable else seeds.copy()

    def wrong(problem: str, fix: str | None = None) -> InputError:
        allowed = "whole numbers from 0 to 2**32 - 1, each once"
        return InputError(problem, field="seeds", allowed=allowed, fix=fix)

    if not isinstance(seeds, Iterable) or isinstance(seeds, str | bytes):
        raise wrong(with_kind(seeds), "range(100) is the first hundred seeds")
    if isinstance(seeds, range):  # its ends alone: a list takes 36 MB for a million seeds
        array = np.asarray([seeds[0], seeds[-1]] if seeds else [])
    else:
        array = np.asarray(seeds if isinstance(seeds, np.ndarray) else list(seeds))
    if array.size == 0:
        raise InputError("no seeds", field="seeds", allowed="at least one seed")
    if array.ndim != 1:
        raise wrong(f"an array of shape {array.shape}")
    if array.dtype.kind not in "iu":
        odd = next((one for one in array.tolist() if type(one) is not int), None)
        raise wrong("some are out of range" if odd is None else f"{odd!r} is {kind_of(odd)}")
    outside = (array < 0) | (array > MAX_SEED)
    if outside.any():
        fix = "torch uses the low 32 bits only: a larger seed would repeat another network"
        raise wrong(f"{array[outside][0]} is out of range", fix)
    if isinstance(seeds, range):
        return np.arange(seeds.start, seeds.stop, seeds.step, dtype=np.int64)
    array = array.astype(np.int64)
    values, counts = np.unique(array, return_counts=True)
    if values.size != array.size:
        raise wrong(f"{values[counts > 1][0]} is given twice")
    return array


def _is_plain(seeds: object) -> TypeGuard[NDArray[np.int64]]:
    """Whether the seeds are valid, ascending and int64 already, as they nearly always are."""
    return (
        isinstance(seeds, np.ndarray)
        and seeds.dtype == np.int64
        and seeds.ndim == 1
        and seeds.size > 0
        and bool(seeds[0] >= 0)
        and bool(seeds[-1] <= MAX_SEED)
        and bool((seeds[1:] > seeds[:-1]).all())
    )


# -------------------------------------------------------------------------------------------------
# Whether a training seems to ignore its seed: its numbers are the same for every seed.

REPEATED = 8
"""Minimum number of seeds that repeat the numbers of another one, from which on it is said."""

BY_CHANCE = 0.05
"""It is said if so many seeds repeat a number with at most this probability, see `repeats`."""

DISAGREE = 0.01
"""The smallest variation of a training that uses its seed: the share of rows, or of whatever its
number counts, about which two seeds disagree."""

FINEST = 10_000
"""Maximum number of rows that a number is taken to count. Others are taken to have no steps."""


def rows_of(number: float) -> int:
    """Of how many rows a number is the share of some, at least: 0.75 of 4; `FINEST` if of more."""
    share = Fraction(number).limit_denominator(FINEST)
    return share.denominator if math.isclose(share, number, rel_tol=1e-9) else FINEST


def repeats(rows: int) -> float:
    """The probability that the number of a second seed, a share of so many rows, is the same.

    The seeds disagree about `DISAGREE` of the rows, each for or against: the difference of their
    counts is that of two Poisson variables (Skellam (1946), JRSS 109, 296), and is 0 with
    probability exp(-m) I0(m), where m is the mean number of such rows: 0.98 for halves, 0.91 for
    tenths, 0.47 for hundredths, 0.04 for `FINEST` rows.
    """
    mean = DISAGREE * min(rows, FINEST)
    return float(np.exp(-mean) * np.i0(mean))


class IgnoredSeed:
    """Looks for two seeds of a configuration whose numbers differ. Without any it says so once.

    Whole numbers say nothing: many a training ends at 1, or at a return of 500, whatever its seed.
    Of a number with few values, such as an accuracy on four rows, many equal seeds are expected.
    Nor does one number of several configurations say anything: of networks that learn nothing the
    accuracy is the share of one class.

    Args:
        names: of the numbers that count: those that a rule judges or an objective summarises; of
            all numbers if it is empty.
        several: whether several configurations are trained.
        tell: called once, with `sentence`.

    Attributes:
        differs: whether two seeds had different numbers; then nothing is said any more.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        tell: Callable[[str], None] = lambda _: None,
        *,
        several: bool,
    ) -> None:
        self.differs, self._several = False, several
        self._names, self._tell, self._has_told = names, tell, False
        self._configs: dict[str, tuple[float, ...]] = {}  # the numbers of the first seed
        self._repeated: dict[str, int] = {}  # how many more seeds had the same, unless whole
        self._rows = 1  # of which all numbers may be shares

    def see(self, key: str, values: Mapping[str, NDArray[Any]]) -> None:
        """Look at the numbers of some seeds.

        Args:
            key: of their configuration.
            values: float64, shape (S,), by the name of the number; NaN of a seed that has none.
        """
        names = sorted(name for name in values if not self._names or name in self._names)
        if self.differs or not names or not len(values[names[0]]):
            return
        rows = np.stack([np.asarray(values[name], np.float64) for name in names], axis=1)
        is_new = key not in self._configs
        first = self._configs.setdefault(key, tuple(rows[0].tolist()))
        if is_new:
            self._rows = math.lcm(self._rows, *map(rows_of, filter(math.isfinite, first)))
        if not np.array_equal(rows, np.broadcast_to(first, rows.shape), equal_nan=True):
            self.differs = True
            self._configs.clear()
            self._repeated.clear()
            return
        if any(math.isfinite(number) and not number.is_integer() for number in first):
            self._repeated[key] = self._repeated.get(key, 0) + len(rows) - is_new
        if not self._has_told and self.sentence:
            self._has_told = True
            self._tell(self.sentence)

    @property
    def sentence(self) -> str:
        """That no seed made a difference, and what to do; empty if one did, or seeds are few."""
        repeated = {key: more for key, more in self._repeated.items() if more}
        values = {self._configs[key] for key in repeated}
        seeds = sum(repeated.values())
        if seeds < REPEATED or len(values) <= self._several:
            return ""
        if repeats(self._rows) ** seeds > BY_CHANCE:
            return ""
        [number, *_] = next(iter(values))
        same = f"all {1 + seeds} seeds gave the same number, {number:.6g}"
        if len(repeated) > 1:
            same = (
                f"all seeds of a configuration gave the same number, in each of {len(repeated)} "
                f"({seeds + len(repeated):,} seeds)"
            )
        return (
            f"{same}: does the training use its seed? If not, k of n says no more than one seed; "
            "give the seed to all that draws, as torch.manual_seed(seed) does"
        )
