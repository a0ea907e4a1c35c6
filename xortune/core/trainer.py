"""A trainer: blocks in, outcomes or errors out; and what is true of it."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xortune.core.errors import InputError, TrainingError, check_number, kind_of
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.pruning import Pruning
from xortune.core.success import Rule

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
        audited: those of its seeds that train alone, too, if they train in a stack; None: its
            trainer draws them. No part of it, either.
    """

    point: Point
    first: int
    count: int
    pruning: Pruning | None = field(default=None, compare=False, repr=False)
    agreed: int | None = field(default=0, compare=False, repr=False)
    audited: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def seeds(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.count)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes alone: the default for slots inspects the class each time."""
        return Block, (
            *(self.point, self.first, self.count),
            self.pruning,
            self.agreed,
            self.audited,
        )

    def part(self, first: int, count: int) -> Block:
        """The part of it that begins with a seed."""
        return Block(self.point, first, count, self.pruning, self.agreed, self.audited)


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


@dataclass(frozen=True)
class Traits:
    """What is true of a trainer, for all who check, train, certify or compare with it.

    Attributes:
        users_code: any seed may hang or kill its process; see `training.jobs`.
        own_process: for that reason not even its check trains in the process of the driver; see
            `training.processes`.
        takes_many_seeds: all seeds of a block train in one call.
        takes_many_blocks: all blocks of a batch train in one call.
        stacks_seeds: all blocks of a batch train in one call, as one model where that is possible.
        gives_reports: seeds report results while they train, and can be cancelled then.
        is_watchable: seeds give numbers on their way, as reports or in another way.
        awaits: `Trainer.attempt` trains a seed: one event loop of the driver trains many at once.
        runs_programs: each seed is a program that the process which trains has started.
        is_compiled: the compiled engine of the built-in network trains.
        killed_after: seconds of a seed, if only killing its process enforces them.
        threads: of torch in each process that trains.
        seconds: assumed for a seed until seeds are measured. It decides how many proposals a
            learning sampler makes ahead of results, and so has to be the same on all machines.
        rule: which of a seed's numbers are a success; None if the training says it itself.
        source: where a user's function comes from, of `trainers.source`; None if there is none.
            Trainers with the same one may share their workers.
    """

    users_code: bool = False
    own_process: bool = False
    takes_many_seeds: bool = False
    takes_many_blocks: bool = False
    stacks_seeds: bool = False
    gives_reports: bool = False
    is_watchable: bool = False
    awaits: bool = False
    runs_programs: bool = False
    is_compiled: bool = False
    killed_after: float | None = None
    threads: int = 1
    seconds: float = 1.0
    rule: Rule | None = None
    source: Any = None

    @property
    def trains_as_one(self) -> bool:
        """Whether a batch is one training: nothing is known of its seeds before all have ended."""
        return self.takes_many_blocks or not self.users_code

    @property
    def sends_singly(self) -> bool:
        """Whether each seed is a call, because it has a time limit of its own."""
        return self.killed_after is not None and not self.takes_many_seeds

    @property
    def mixes_seeds(self) -> bool:
        """Whether a seed may depend on those beside it, as a call of the user's gets both."""
        return self.takes_many_seeds and not self.stacks_seeds


class Trainer(ABC):
    """Interprets points: the base of all that train. `train` and `describe` are to be written.

    A trainer is picklable, since it is sent to workers, and does not change: what differs is
    another trainer. All else has a default, of a trainer that takes any point as it is:

        @dataclass(frozen=True)
        class Asks(Trainer):
            address: str

            @property
            def traits(self):
                return Traits(users_code=True, seconds=0.5)

            def describe(self):
                return {"trainer": self.address}

            def train(self, blocks):
                return [self.ask(block) for block in blocks]
    """

    @property
    def traits(self) -> Traits:
        """What is true of it."""
        return Traits()

    @abstractmethod
    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """Return for each block, in order, its outcome or why there is none."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return the manifest's entries: `trainer`, its name; and all else that decides results.

        Results of trainers that say otherwise are never counted together.
        """

    def check(self, point: Point) -> Point:
        """Return the point's normal form, so that equal trainings have equal keys.

        Raises:
            InputError: this trainer cannot train the point; `field` names the parameter.
        """
        return point

    def cost(self, block: Block) -> float:
        """Return roughly how many seconds one core takes; the same number on every machine.

        The search corrects it by measured times and sizes its batches by that. How many proposals
        a learning sampler makes ahead of results follows from this number alone.
        """
        return block.count * self.traits.seconds

    @property
    def called_with(self) -> str | None:
        """What it trains with, in words for `xortune space`."""
        return None

    async def attempt(self, block: Block) -> Outcome | TrainingError:
        """Return the outcome of a block of one seed; one that `awaits` does so here."""
        return self.train([block])[0]

    def prepare(self, blocks: Sequence[Block]) -> None:  # noqa: B027  # some need nothing
        """Import what trains, in a worker, and try how these blocks train."""

    def stacking(self, block: Block) -> Stacking | None:  # noqa: ARG002
        """Return how it stacks the seeds of a block that it has trained here, if it does."""
        return None

    def refuse_beyond_memory(  # noqa: B027  # only who knows what it takes
        self, point: Point, seeds: int = 1
    ) -> None:
        """Raise an InputError if so many seeds of a point need more memory than there is."""

    # The same trainer, but for one thing.

    def knowing(self, known: Mapping[tuple[str, int], Outcome]) -> Trainer:  # noqa: ARG002
        """Return the one that gives these outcomes, by config key and seed, without training."""
        return self

    def retrying(self, retry: tuple[type[BaseException], ...]) -> Trainer:
        """Return the one to which these exceptions say nothing of the training; see `Void`.

        Raises:
            InputError: it calls no function that could raise them.
        """
        if not retry:
            return self
        raise InputError(
            "no function trains that could raise it",
            field="retry",
            allowed="with train=, a function",
            fix=f"a command exits with code {os.EX_TEMPFAIL} where it is to be tried again",
        )

    def debugged(self, on_raise: Callable[[BaseException], None]) -> Trainer:  # noqa: ARG002
        """Return the one for the user's own process, which gives it what seeds raise."""
        return self

    def judging_finite(self) -> Trainer:
        """Return the one to which each finite number is a success, if it judges numbers."""
        return self

    def for_worker(self, gpus: float = 0.0) -> Trainer:  # noqa: ARG002
        """Return the one for a worker with one core and this share of GPUs."""
        return self

    def on_all_cores(self) -> Trainer:
        """Return the one for this process alone, on all cores."""
        return self


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
        waits: Sequence[Any] = TRY_AGAIN_SECONDS
        if isinstance(retry_wait, Sequence) and not isinstance(retry_wait, str):
            waits = retry_wait
        elif retry_wait is not None:
            waits = (retry_wait,) * len(TRY_AGAIN_SECONDS)
        for seconds in waits:
            allowed = "seconds, 0 or more"
            check_number("retry_wait", seconds, lambda one: 0 <= one < math.inf, allowed)
        share = MAX_VOID if max_void is None else max_void
        check_number("max_void", share, lambda one: 0 <= one <= 1, "0 to 1")
        return cls(exceptions(retry), tuple(map(float, waits)), share)

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
