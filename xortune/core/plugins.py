"""What installed packages add to xortune: samplers, trackers, figures and more.

A package names a value, or a tuple of values, as an entry point of a group:

    [project.entry-points."xortune.samplers"]
    halton = "my_package:HALTON"

Each process loads the values of a group when they are first asked for. `import xortune` loads none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

from xortune.core.errors import InputError, error_text, kind_of, refuse_unknown


class HasName(Protocol):
    """A value that users ask for by its name."""

    @property
    def name(self) -> str:
        """What users write."""


T = TypeVar("T", bound=HasName)


@dataclass(frozen=True)
class Offer:
    """What one entry point of an installed package gives.

    Attributes:
        group: such as ``xortune.samplers``.
        name: of the entry point.
        package: the name of the distribution.
        version: of the distribution.
        values: what can be used.
        refused: the names of what cannot be used; of an entry point that was not loaded, its own.
        error: why it cannot be used; None if everything can.
    """

    group: str
    name: str
    package: str
    version: str
    values: tuple[Any, ...] = ()
    refused: tuple[str, ...] = ()
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.name} of {self.package} {self.version}"


def installed(group: str, kind: type[T], own: Sequence[T] = ()) -> tuple[T, ...]:
    """All values of a kind: xortune's own, then those of installed packages.

    What cannot be used is left out; `find` says why when it is asked for by its name.

    Args:
        group: of entry points, such as ``xortune.samplers``.
        kind: the type of the values.
        own: xortune's own values.
    """
    return (*own, *(value for offer in offers(group, kind, own) for value in offer.values))


def find(name: object, group: str, kind: type[T], own: Sequence[T], *, field: str) -> T:
    """The value of a name.

    Args:
        name: that the user gave.
        group: see `installed`.
        kind: of the values.
        own: xortune's own values.
        field: what the name is of, for messages: `sampler`.

    Raises:
        InputError: there is none, its package cannot be loaded, or two packages give one.
    """
    given = offers(group, kind, own)
    for offer in given:
        if name in offer.refused:
            raise InputError(
                f"{name!r} cannot be used: {offer}: {offer.error}",
                field=field,
                fix="repair, upgrade or uninstall that package; `xortune plugins` lists all",
            )
    known = {value.name: value for value in installed(group, kind, own)}
    broken = "".join(f"; {offer} cannot be used: {offer.error}" for offer in given if offer.error)
    refuse_unknown(name, known, f"unknown {field} {name!r}{broken}", field=field)
    return known[str(name)]


def offers(group: str, kind: type[T], own: Sequence[T] = ()) -> tuple[Offer, ...]:
    """What each entry point of a group gives, by package and name; for the rest see `installed`.

    A name that is given twice is refused, also where one of the two is xortune's own.
    """
    loaded = _loaded(group, kind)
    givers: dict[str, list[str]] = {value.name: ["xortune itself"] for value in own}
    for offer in loaded:
        for value in offer.values:
            givers.setdefault(value.name, []).append(str(offer))
    return tuple(_without_twice(offer, givers) for offer in loaded)


def _without_twice(offer: Offer, givers: dict[str, list[str]]) -> Offer:
    twice = [value.name for value in offer.values if len(givers[value.name]) > 1]
    if not twice:
        return offer
    names = [f"{name!r} is given by {' and by '.join(givers[name])}" for name in twice]
    once = tuple(value for value in offer.values if value.name not in twice)
    return replace(offer, values=once, refused=tuple(twice), error=", ".join(names))


@cache
def _loaded(group: str, kind: type) -> tuple[Offer, ...]:
    found = [_offer(group, kind, point) for point in entry_points(group=group)]
    return tuple(sorted(found, key=lambda offer: (offer.package, offer.name)))


def _offer(group: str, kind: type, point: EntryPoint) -> Offer:
    package, version = ("", "") if point.dist is None else (point.dist.name, point.dist.version)
    offer = Offer(group, point.name, package, version)
    try:
        value = point.load()
    except (Exception, SystemExit) as error:  # code of others, which must not end this program
        return replace(offer, refused=(point.name,), error=error_text(error))
    values = value if isinstance(value, tuple) else (value,)
    for one in values:
        if not isinstance(one, kind):
            wrong = f"{point.value} is {kind_of(one)}, and not a {kind.__name__}"
            return replace(offer, refused=(point.name,), error=wrong)
    return replace(offer, values=values)
