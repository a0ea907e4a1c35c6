"""Who trains, and what each worker may use: `xt.Ray`, `xt.Workers`, and what they ask for.

A field says all of itself in its annotation, and the docstring of its class what it is for. The
commands' options, their help, the checks of arguments and the resources of a trial of Ray Tune
follow: to add one, write a field here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_type_hints

from xortune.core.errors import InputError, check_count, check_number, check_type, refuse_given
from xortune.training.process import is_connected


@dataclass(frozen=True)
class Setting:
    """What a field says of itself.

    Attributes:
        option: of the commands, by the name of its argument.
        check: called with the field's name and a value other than its default; raises an
            `InputError` if the value is not usable.
        resource: Ray's name, if it is a resource that each trial holds.
    """

    option: str
    check: Callable[[str, Any], object]
    resource: str | None = None


def settings(of: type) -> Mapping[str, Setting]:
    """What the fields of a class below say of themselves, by their names."""
    hints = get_type_hints(of, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def _above_0(name: str, value: float) -> None:
    check_number(name, value, lambda amount: amount > 0, "above 0")


def _0_or_more(name: str, value: float) -> None:
    check_number(name, value, lambda amount: amount >= 0, "0 or more")


def _an_address(name: str, value: str) -> None:
    check_type(name, value, str, "text, such as auto or HOST:PORT")


def _how_many(_: str, value: int) -> None:
    check_count("workers", value, 0)


def _seconds(name: str, value: float | str) -> float:
    from xortune.spaces.model import parse_duration  # slow to import

    try:
        return parse_duration(value)
    except InputError as error:
        error.field = error.place = name
        raise


# -------------------------------------------------------------------------------------------------
# What a worker may use.


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """What any worker may use: a process of this machine, or a trial of Ray Tune.

    Attributes:
        cpus: logical CPUs for each trial, fractions allowed.
        timeout: seconds, or 90s, 10m, for a batch of trainings. A worker that takes longer is
            killed, and a training that takes longer alone counts as crashed.

    Raises:
        InputError: a value is out of range.
    """

    cpus: Annotated[float, Setting("cpus_per_trial", _above_0, "CPU")] = 1.0
    timeout: Annotated[float | str | None, Setting("trial_timeout", _seconds)] = None

    def __post_init__(self) -> None:
        for name, setting in settings(type(self)).items():
            value = getattr(self, name)
            if value is not getattr(type(self), name):  # its default
                setting.check(name, value)

    @property
    def limit(self) -> float | None:
        """The timeout in seconds; None for any time."""
        return None if self.timeout is None else _seconds("timeout", self.timeout)


@dataclass(frozen=True, kw_only=True)
class Resources(WorkerResources):
    """What a trial of Ray Tune may use: also what Ray alone hands out.

    Attributes:
        gpus: logical GPUs for each trial; with fractions trials share one.
    """

    gpus: Annotated[float, Setting("gpus_per_trial", _0_or_more, "GPU")] = 0.0

    @classmethod
    def of(cls, asked: WorkerResources) -> Resources:
        """Those of an `xt.Ray` or an `xt.Workers`."""
        names = settings(cls).keys() & settings(type(asked)).keys()
        return cls(**{name: getattr(asked, name) for name in names})

    @property
    def amounts(self) -> dict[str, float]:
        """The resources of a trial that are not 0, by Ray's names."""
        named = {one.resource: getattr(self, name) for name, one in settings(Resources).items()}
        return {kind: amount for kind, amount in named.items() if kind is not None and amount}


@dataclass(frozen=True)
class Ray(Resources):
    """Train by Ray Tune: `ray=xt.Ray(address="auto", gpus=0.25)`.

    Attributes:
        address: of a Ray cluster, such as auto; if not given, Ray starts on this machine, and stops
            at the end.
        cpus: logical CPUs for each trial, fractions allowed.
        gpus: logical GPUs for each trial, by Ray; with 0.25 four trials share one. Above 0, the
            engine `auto` is `cuda` if torch sees a GPU here.
        timeout: seconds, or 90s, 10m, for a batch of trainings. A worker that takes longer is
            killed, and a training that takes longer alone counts as crashed.

    Raises:
        InputError: a value is out of range.
    """

    address: Annotated[str | None, Setting("address", _an_address)] = None


@dataclass(frozen=True)
class Workers(WorkerResources):
    """Train in processes of this machine: `workers=xt.Workers(4, cpus=2)`.

    Attributes:
        count: how many processes train at once on this machine; if not given, as many as its CPUs
            allow. 0: this process.
        cpus: logical CPUs for each, and so its threads; fractions allowed.
        timeout: seconds, or 90s, 10m, for a batch of trainings. A worker that takes longer is
            killed, and a training that takes longer alone counts as crashed.

    Raises:
        InputError: a value is out of range.
    """

    count: Annotated[int | None, Setting("workers", _how_many)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count == 0:
            refuse_given(ELSEWHERE, timeout=self.timeout)


ELSEWHERE = "only where others train, not with --workers 0"


# -------------------------------------------------------------------------------------------------
# Who trains.


@dataclass(frozen=True)
class Cluster:
    """Who trains.

    Attributes:
        address: of a Ray cluster; None starts Ray on this machine for as long as it is needed.
        workers: how many train at once on this machine; None for as many as its CPUs allow. With 0
            this process trains one block after the other.
        ray: whether Ray trains also on this machine.
        each: what each may use.
    """

    address: str | None = None
    workers: int | None = None
    ray: bool = False
    each: Resources = Resources()

    @classmethod
    def pool(cls, workers: int | Workers | None) -> Cluster:
        """Processes of this machine, or with 0 this process.

        Raises:
            InputError: that is no number of workers.
        """
        pool = workers if isinstance(workers, Workers) else Workers(workers)
        return cls(workers=pool.count, each=Resources.of(pool))

    @classmethod
    def of(
        cls,
        workers: int | Workers | None = None,
        ray: bool | Ray = False,
        address: str | None = None,
    ) -> Cluster:
        """Who trains, by a user's arguments.

        Raises:
            InputError: one is of another type, two contradict each other, or `workers` is given
                although Ray is already running.
        """
        known = ", ".join(f"{name}=" for name in settings(Ray))
        check_type("ray", ray, bool | Ray, f"True, False, or xt.Ray({known})")
        asked = ray if isinstance(ray, Ray) else Ray(address) if ray or address else None
        cluster = cls.pool(workers)
        if asked is not None:
            if address not in (None, asked.address):
                if asked.address is not None:
                    fix = "leave one of the two out"
                    raise InputError(f"{address!r} and {asked}", field="address", fix=fix)
                asked = replace(asked, address=address)
            if cluster.each != Resources():
                fix = f"give {' and '.join(settings(WorkerResources))} to xt.Ray"
                raise InputError(
                    f"{workers} with Ray", field="workers", allowed="a number", fix=fix
                )
            if cluster.workers == 0:
                refuse_given(ELSEWHERE, address=asked.address, ray=bool(ray))
            cluster = cls(asked.address, cluster.workers, ray=True, each=Resources.of(asked))
        if cluster.workers and (cluster.place != "local" or is_connected()):
            here = "" if cluster.ray else "0 (this process), or "
            raise InputError(
                f"{cluster.workers}, but Ray is already running",
                field="workers",
                allowed=f"{here}any number where the search starts Ray itself",
                fix="leave it out; --cpus-per-trial says how many run at once there",
            )
        return cluster

    @property
    def is_ray(self) -> bool:
        """Whether Ray trains: it is asked for, or has been started before."""
        return self.ray or self.place != "local" or is_connected()

    @property
    def place(self) -> str:
        """The address, or `local`."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"


THIS_MACHINE = Cluster()

ATTEMPTS_AT_ONCE = 16
"""How many seeds of an async function are awaited at once, where the user does not say: they wait
for others, such as a model that is served elsewhere, and not for this machine's cores."""


def awaiting(cluster: Cluster) -> Cluster:
    """The same with the number of seeds that are awaited at once as workers."""
    return cluster if cluster.workers is not None else replace(cluster, workers=ATTEMPTS_AT_ONCE)
