"""What a seed takes, how long the workers have trained, and when the time is over."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

from xortune.core.trainer import Block, Trainer
from xortune.runs.status import Pace

RECENT = 32
"""How many of the last measurements say what an unmeasured configuration may take."""

KEPT_WEIGHT = 0.7
"""Share of its weight that a measurement keeps with each later one, where one pace holds for all
configurations: the pace follows a machine that gets slower or faster."""

MEASURED_CONFIGS = 4096
"""Maximum number of configurations whose seconds are remembered, the last ones."""


class MeasuredSeconds:
    """What seeds take, by what was measured.

    A user's code tells nothing of the cost of a configuration. So one that was never trained is
    expected to take as long as the slowest of the last ones: a seed of unknown length should not
    keep others waiting. The built-in network's estimates are right up to a factor, which is
    measured.

    Args:
        trainer: estimates the cost of a block.
        seconds: of a seed of some configuration, if that is known, as from a check.
    """

    def __init__(self, trainer: Trainer, seconds: float | None = None) -> None:
        self._trainer, self._is_users = trainer, trainer.traits.users_code
        self._own: OrderedDict[str, float] = OrderedDict()  # seconds of a seed, by config key
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._weighted, self._costs = 0.0, 0.0
        if seconds is not None and self._is_users:
            self._recent.append(seconds)

    def note(self, block: Block, seconds: float) -> None:
        """Note what a block took."""
        if not self._is_users:
            self._weighted = KEPT_WEIGHT * self._weighted + seconds
            self._costs = KEPT_WEIGHT * self._costs + self._trainer.cost(block)
            return
        each = seconds / block.count
        self._recent.append(each)
        self._own[block.point.key] = each
        self._own.move_to_end(block.point.key)
        if len(self._own) > MEASURED_CONFIGS:
            self._own.popitem(last=False)

    def of(self, block: Block) -> float | None:
        """Expected seconds of a block; None before anything was measured."""
        if not self._is_users:
            pace = self._weighted / self._costs if self._costs else None
            return None if pace is None else pace * self._trainer.cost(block)
        each = self._own.get(block.point.key)
        if each is None and self._recent:
            each = max(self._recent)
        return None if each is None else each * block.count


class WorkerTime:
    """How long workers were there and how long they trained, from the first training on.

    Args:
        slots: how many workers there are.

    Attributes:
        slots: the same, now.
        seeds: how many they have trained.
        busy: seconds that they have trained, summed over them.
    """

    def __init__(self, slots: int) -> None:
        self.slots, self.seeds, self.busy = slots, 0, 0.0
        self._before = 0.0  # worker seconds with other numbers of workers
        self._since: float | None = None  # `time.monotonic`, from which on there are `slots`
        self._last = 0.0

    def resize(self, slots: int) -> None:
        """There are so many workers from now on."""
        if slots != self.slots and self._since is not None:
            now = time.monotonic()
            self._before += self.slots * (now - self._since)
            self._since = self._last = now
        self.slots = slots

    def note(self, seconds: float) -> None:
        """Note that a training of so many seconds has ended; 0 where nothing was trained."""
        if not seconds:
            return
        self._last = time.monotonic()
        self.busy += seconds
        if self._since is None:
            self._since = self._last - seconds
        elif not self._before:  # others may have begun earlier than the first that ended
            self._since = min(self._since, self._last - seconds)

    @property
    def pace(self) -> Pace:
        """How much the workers have trained."""
        since_resized = 0.0 if self._since is None else self.slots * (self._last - self._since)
        return Pace(self.seeds, self.slots, self.busy, self._before + since_resized)


class TimeBudget:
    """The time in which trainings may begin. It runs from the first batch on.

    Args:
        seconds: how long it is; None: no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._end: float | None = None  # `time.monotonic`

    def begin(self) -> None:
        """Note that a batch begins."""
        if self._end is None and self._seconds is not None:
            self._end = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds that are left; infinity without a limit and before the first batch."""
        return math.inf if self._end is None else self._end - time.monotonic()

    @property
    def until(self) -> float | None:
        """`time.time` from which on no training begins; None: never."""
        return None if self._end is None else time.time() + self.left
