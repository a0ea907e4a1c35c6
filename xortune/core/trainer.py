"""The Protocol of a trainer: blocks in, outcomes or errors out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from xortune.core.errors import InputError, TrainingError, check_number, kind_of
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.pruning import Pruning

NOT_FINISHED = "not finished: the configuration had been proven worse than another"
"""The journal's reason for cancelled seeds. They count neither as successes nor as failures."""

PROVEN_WORSE = "stopped: the configuration is proven worse than another"
"""The journal's reason why a configuration gets no more seeds: a race stopped it. The line's block
is the first seed that it does not get."""

AUDITED = "audited: trained as one model with others and alone"
"""The journal's reason for a line that has no result, but says what an audit of seeds showed. With
a fault it says that results are replaced: see `JournalLines.standing` of `runs.evaluation`."""

VOID = "void: "
"""How the journal's reason begins for a seed that could not be tried; see `Void`."""


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: a point and the seeds it trains under next.

    Attributes:
        point: in its trainer's normal form.
        first: the first seed.
        count: how many seeds, contiguous from `first`.
        pruning: prunes its seeds; None: all are trained to the end. No part of what a block is: a
            seed's training is the same.
        agreed: how many seeds of this training are known to give the same in a stack and alone;
            None: no seed is to be stacked. No part of what a block is, either.
        idle: workers that have nothing to do: as many forks of the block's may train seeds alone
            that train in a stack, too. No part of it, either.
    """

    point: Point
    first: int
    count: int
    pruning: Pruning | None = field(default=None, compare=False, repr=False)
    agreed: int | None = field(default=0, compare=False, repr=False)
    idle: int = field(default=0, compare=False, repr=False)

    @property
    def seeds(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.count)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes alone: the default for slots inspects the class each time."""
        return Block, (self.point, self.first, self.count, self.pruning, self.agreed, self.idle)

    def part(self, first: int, count: int) -> Block:
        """The part of it that begins with a seed."""
        return Block(self.point, first, count, self.pruning, self.agreed, self.idle)


@dataclass(frozen=True)
class Reported:
    """What a training reported last, on its way.

    Attributes:
        block: its config and its seeds.
        count: how many reports there were.
        numbers: of the last one; where many seeds train together, the median of each.
    """

    block: Block
    count: int
    numbers: Mapping[str, float]


def missing_seeds(seeds: range, blocks: Iterable[Block]) -> Iterator[range]:
    """The parts of `seeds` that none of the blocks has, ascending."""
    start = seeds.start
    for block in sorted(blocks, key=lambda block: block.first):
        if part := range(start, min(block.first, seeds.stop)):
            yield part
        start = max(start, block.seeds.stop)
    if part := range(start, seeds.stop):
        yield part


class Unfinished(TrainingError):
    """A block was cancelled because its outcome no longer matters.

    Attributes:
        outcome: of the seeds that were finished by then, the first ones; None if there are none.
    """

    def __init__(self, outcome: Any = None) -> None:
        super().__init__(NOT_FINISHED, outcome=outcome)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the outcome on the way from a Ray worker to the driver."""
        return type(self), (self.outcome,)


class Postponed(Unfinished):
    """Nothing is wrong with the block, or the rest of it: it trains later, if any does."""


class OutOfTime(Postponed):
    """The search's time was over before the block began, or between two of its seeds."""


class Void(Unfinished):
    """A seed could not be tried, for a reason that says nothing of its training.

    Attributes:
        reason: what the training raised, on one line.
        outcome: of the seeds of the block before it; None if there are none.
        after: seconds before the next try, if the error says them; see `outages.retry_after`.
    """

    def __init__(self, reason: str, outcome: Any = None, after: float | None = None) -> None:
        super().__init__(outcome)
        self.reason, self.after = reason, after

    def __str__(self) -> str:
        return f"{VOID}{self.reason}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep all on the way to the driver."""
        return type(self), (self.reason, self.outcome, self.after)


def is_void(error: str | None) -> bool:
    """Whether a journal's reason is that of a seed that could not be tried."""
    return error is not None and error.startswith(VOID)


def is_failure(error: str | None) -> bool:
    """Whether a journal's reason is that of a failed attempt."""
    return error not in (NOT_FINISHED, PROVEN_WORSE, AUDITED) and not is_void(error)


class Trainer(Protocol):
    """Interprets points. Picklable: the search sends it to its workers.

    It may have attributes that say how to train with it. One that is absent is false; see `has`.

    Attributes:
        users_code: any seed may hang or kill its process; see `training.retries`.
        own_process: for that reason not even its check trains in the process of the driver; see
            `training.processes`.
        takes_many_seeds: all seeds of a block train in one call.
        takes_many_blocks: all blocks of a batch train in one call.
        stacks_seeds: all blocks of a batch train in one call, as one model where that is possible.
        gives_reports: seeds report results while they train, and can be cancelled then.
        awaits: it is an async function, with a method `attempt` for a block of one seed: one event
            loop of the driver trains many seeds at once.
    """

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """Return for each block, in order, its outcome or why there is none."""
        ...

    def check(self, point: Point) -> Point:
        """Return the point's normal form, so that equal trainings have equal keys.

        Raises:
            InputError: this trainer cannot train the point; `field` names the parameter.
        """
        ...

    def cost(self, block: Block) -> float:
        """Return roughly how many seconds one core takes; the same number on every machine.

        The search corrects it by measured times and sizes its batches by that. How many proposals
        a learning sampler makes ahead of results follows from this number alone.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Return the manifest's entries: the engine, its version, the task's fingerprint."""
        ...


Trait: TypeAlias = Literal[
    "users_code",
    "own_process",
    "takes_many_seeds",
    "takes_many_blocks",
    "stacks_seeds",
    "gives_reports",
    "awaits",
]


def has(trainer: Trainer, trait: Trait) -> bool:
    """Whether an attribute of a trainer is true; see `Trainer`."""
    return bool(getattr(trainer, trait, False))


@dataclass(frozen=True)
class Stacking:
    """Which seeds a trainer stacks: they train in hardly more time than a few of them.

    Attributes:
        apart: parameters whose values are equal within a stack.
        width: seeds that take hardly longer than a few; 1 where each takes its own time.
        gain: how many times faster a seed trains in a stack of that width than alone.
    """

    apart: frozenset[str]
    width: int
    gain: float = 1.0


def stacking_of(trainer: Trainer, block: Block) -> Stacking | None:
    """The stacks of a trainer that has trained this block in this process, by its `stacking`.

    None if it has no such method, or did not stack the block's seeds.
    """
    method = getattr(trainer, "stacking", None)
    stacking: Stacking | None = None if method is None else method(block)
    return stacking


# -------------------------------------------------------------------------------------------------
# Seeds that cannot be tried: a rate limit or a lost mount says nothing of the training. Such a seed
# is tried again after a wait, and in the end it is `Void`. Whoever trains gives it back at once, so
# no worker waits: `batches.Untried` of the driver knows when it is next.

TRY_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Waits before a seed that could not be tried is tried again; after the last try it is void."""

PLACE_SECONDS = 1.0
"""A test that counts seeds in their order waits so long, in all, for a seed that is tried again.
Then the others pass it over; see `SeedLine`, and `Later` of `driver.shared_seeds`."""

HELD_AFTER = 8
"""After so many seeds in a row that could not be tried no further one begins until one of them has
a result, or is void: what they need is probably down."""

MAX_VOID = 0.05
"""The share of seeds that may be void where the user gives none."""

LEAST_JUDGED = 20
"""The share of void seeds is judged as if at least so many had been tried."""

Exceptions: TypeAlias = type[BaseException] | Sequence[type[BaseException]]
"""The argument `retry`."""

Waits: TypeAlias = float | Sequence[float]
"""The argument `retry_wait`."""


def exceptions(retry: object) -> tuple[type[BaseException], ...]:
    """The argument `retry` as classes of exceptions.

    Raises:
        InputError: it is something else.
    """
    listed = retry if isinstance(retry, Sequence) else (retry,)
    for one in listed:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            allowed = "a class of exceptions, or several: (RateLimitError, ConnectionError)"
            raise InputError(kind_of(one), field="retry", allowed=allowed)
    return tuple(listed)


def checked_waits(waits: Waits | None) -> tuple[float, ...]:
    """The argument `retry_wait`: the seconds before each further try.

    Raises:
        InputError: it is no number and no sequence of numbers, or one is negative or not finite.
    """
    if waits is None:
        return TRY_AGAIN_SECONDS
    if isinstance(waits, Sequence) and not isinstance(waits, str):
        listed = tuple(waits)
    else:
        listed = (waits,) * len(TRY_AGAIN_SECONDS)
    for seconds in listed:
        _check_seconds("retry_wait", seconds)
    return tuple(map(float, listed))


def _check_seconds(name: str, seconds: float) -> None:
    check_number(name, seconds, lambda one: 0 <= one < math.inf, "seconds, 0 or more")


def checked_max_void(share: float | None) -> float:
    """The argument `max_void`, a share.

    Raises:
        InputError: it is none.
    """
    if share is None:
        return MAX_VOID
    check_number("max_void", share, lambda one: 0 <= one <= 1, "0 to 1")
    return share


@dataclass(frozen=True)
class Outages:
    """What becomes of seeds that cannot be tried.

    Attributes:
        retry: exceptions that say nothing of the training, beside `Unavailable`.
        waits: seconds before each further try of a seed; after the last one it is void.
        max_void: the share of seeds that may be void.
    """

    retry: tuple[type[BaseException], ...] = ()
    waits: tuple[float, ...] = field(default_factory=lambda: TRY_AGAIN_SECONDS)
    max_void: float = MAX_VOID

    @classmethod
    def of(
        cls, retry: Exceptions = (), retry_wait: Waits | None = None, max_void: float | None = None
    ) -> Outages:
        """The arguments of a verb.

        Raises:
            InputError: one of them is not usable.
        """
        return cls(exceptions(retry), checked_waits(retry_wait), checked_max_void(max_void))

    def wait(self, tries: int, after: float | None) -> float | None:
        """Seconds before the next try of a seed; None if it is void.

        Args:
            tries: how many further tries the seed has had.
            after: what the error says, as `Unavailable.retry_after`; None if it says nothing.
        """
        if tries >= len(self.waits):
            return None
        return self.waits[tries] if after is None else after


def exceeds(void: int, seeds: int, max_void: float) -> bool:
    """Whether so many of these seeds may not be void."""
    return void > max_void * max(seeds, LEAST_JUDGED)


def retry_after(error: BaseException) -> float | None:
    """The seconds that an exception asks to wait, if it has a `retry_after` that is a number."""
    seconds = getattr(error, "retry_after", None)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return float(seconds) if 0 <= seconds < math.inf else None
