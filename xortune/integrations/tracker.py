"""What a tracker is given: configurations of a run, each with its counts as seeds came."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from xortune.core.errors import InputError
from xortune.core.point import Value

State: TypeAlias = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class TrackedStep:
    """A configuration after a block of seeds.

    Attributes:
        n: seeds so far, crashed ones included; more than in the step before.
        at: when its last block came, in seconds since 1970; in a journal that does not say it, when
            the search began, or 0.
        metrics: by the names of the columns of table.csv, those that are numbers: `k`, `n`, `rate`,
            `low`, `high`, `epochs_to_solve`, the seeds that failed in each way, and what a trainer
            of the user's own told.
    """

    n: int
    at: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ConfigLog:
    """One configuration, as it is logged.

    Attributes:
        steps: one for each block of seeds, in the order in which they came; at least one.
        certified: what fresh seeds say of it, as `certified_k` and so on; nothing if they were not
            asked, or not all have answered.
    """

    key: str
    parameters: Mapping[str, Value]
    steps: tuple[TrackedStep, ...]
    certified: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class About:
    """The run that the configurations are of.

    Attributes:
        identity: 8 hexadecimal digits that stay, wherever the directory is moved.
        state: whether it is finished: then its configurations are closed.
    """

    path: Path
    name: str
    identity: str
    state: State

    @property
    def title(self) -> str:
        """Name and identity: two runs of one space are two."""
        return f"{self.name}-{self.identity}"


@dataclass
class Logged:
    """What a tracker has of a configuration."""

    run: str
    n: int = 0
    certified: Mapping[str, float] = field(default_factory=dict)

    def has(self, config: ConfigLog) -> bool:
        """Whether nothing is new."""
        return (self.n, self.certified) == (config.steps[-1].n, config.certified)


class Tracker(ABC):
    """Where runs are logged. What it holds already is not logged again.

    `following.trackers_for` lists the trackers.

    All methods raise whatever goes wrong there; those who call them go on.

    Attributes:
        name: as its makers write it.
        package: what has to be installed.
        live: whether it is of use while a search runs; else it is told all at the end.
        place: where it logs to, to be shown.

    Raises:
        InputError: the package is not installed.
    """

    name, package = "", ""
    live = True
    place = ""

    def __init__(self) -> None:
        if importlib.util.find_spec(self.package) is None:
            raise InputError(
                f"the package {self.package} is not installed",
                field=self.package,
                fix=f"pip install {self.package}",
            )

    def begin(self, about: About) -> None:  # noqa: B027  # some need none
        """Called before some configurations are logged; more than once for a run."""

    @abstractmethod
    def log(self, config: ConfigLog, about: About) -> None:
        """Log a configuration, with what was logged of it before."""

    def end(self, about: About) -> None:  # noqa: B027  # some need none
        """All configurations of the run are logged, as far as it has got."""
