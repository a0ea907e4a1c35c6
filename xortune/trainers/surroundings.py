"""What a training's methods may read and change beside their arguments: its surroundings.

These are the attributes of its objects, the variables that its functions name, in their own and in
other modules, what these functions call, and what all of it refers to.

A stack calls `batches` and `loss` of one object for all seeds, or for one seed after the other. A
seed may therefore read what another one has changed, such as a count of batches in an attribute.
`SharedState` notices it, and raises `Shares`: the seeds are then trained one at a time.
"""

from __future__ import annotations

import dis
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from io import IOBase
from operator import is_
from types import (
    BuiltinMethodType,
    CellType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xortune.trainers.batching_rules import LOOP, CannotStack

MOST_OPENED = 2_000
"""Maximum number of objects that are looked into; the nearest ones come first."""

MOST_FOLLOWED = 256
"""Maximum number of elements of a list or dict that are looked into; all are compared."""

MOST_COPIED = 16
"""An array of at most so many numbers is compared by its numbers, which may change in place. One
with more is data: only its replacement by another array is noticed."""

READ_BY_RUN = frozenset({"epochs", "clip_norm", "report_every"})
"""Attributes of a training that the loop over its epochs reads."""

OWN, SELF, OUTSIDE = range(3)
"""A stack has it for each seed (its model and optimizer); the training's object; all else."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None), CodeType)
_CONTAINERS = (list, tuple, set, frozenset, deque)
_LIBRARIES = {"torch", "numpy", "xortune", "builtins", "abc", *sys.stdlib_module_names}
_HAVE_STATE = {"os", "types", "argparse", "collections", "functools", "random", "enum"}
"""Modules of the standard library whose objects keep what a user gave them. What others keep is
their own: locks, caches of paths, handlers of logs."""


_PARTS = {
    (MethodType, classmethod, staticmethod): ("__func__", "__self__"),
    (BuiltinMethodType,): ("__self__",),  # such as random.random
    (partial,): ("func", "args", "keywords"),
    (property,): ("fget", "fset"),
}
"""Objects that are looked into by these attributes."""


class Place(NamedTuple):
    """Where a value is found.

    Attributes:
        within: the place of the object that refers to it; None for a root.
        key: the name of an attribute or variable, or a key or index.
        is_name: whether it is a name that the user's code writes.
        kind: OWN, SELF or OUTSIDE.
    """

    within: Place | None
    key: Any
    is_name: bool
    kind: int

    @property
    def path(self) -> tuple[Any, ...]:
        """The keys from the root on."""
        return (*(self.within.path if self.within else ()), self.key)

    @property
    def name(self) -> str:
        """The last name on the path."""
        place: Place | None = self
        while place is not None and not place.is_name:
            place = place.within
        return "" if place is None else str(place.key)

    def __str__(self) -> str:
        """As the user's code writes it, such as `settings.scale`."""
        if self.within is None:
            return str(self.key)
        before = str(self.within)
        if self.is_name:
            return f"{before}.{self.key}"
        return before if self.within.is_name else before.partition("[")[0]


DRAWN = "its random numbers"
"""The key of the state of a random generator that is not torch's."""


class Names(NamedTuple):
    """The names in a function's code and in the functions within it.

    Attributes:
        all: those of variables and attributes.
        read: those that are read, also as a text, as in getattr.
        imported: the modules that it imports.
    """

    all: frozenset[str]
    read: frozenset[str]
    imported: frozenset[str]


@cache
def _names_in(code: CodeType) -> Names:
    every, read, imported = set(code.co_names), set[str](), set[str]()
    for step in dis.get_instructions(code):
        known = isinstance(step.argval, str) and not step.opname.startswith("LOAD_FAST")
        if step.opname == "IMPORT_NAME":
            imported.add(step.argval)
        elif known and step.opname.startswith(("LOAD_", "IMPORT_FROM")):
            read.add(step.argval)
    texts = {one for one in code.co_consts if isinstance(one, str) and one.isidentifier()}
    inner = [_names_in(one) for one in code.co_consts if isinstance(one, CodeType)]
    return Names(
        frozenset(every | texts).union(*(one.all for one in inner)),
        frozenset(read | texts).union(*(one.read for one in inner)),
        frozenset(imported).union(*(one.imported for one in inner)),
    )


@cache
def _is_library(root: str) -> bool:
    """Whether a module, or one of the modules within it, is not the user's."""
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return root in _LIBRARIES or "site-packages" in file or "dist-packages" in file


@cache
def _slots_of(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The attributes that objects of a class keep in slots."""
    return tuple(
        (name, member)
        for base in kind.__mro__
        if "__slots__" in vars(base)
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType)
    )


class _Unknown:
    """What an iterator gives: reading it changes it, so this is another object at each look."""


_END = object()
"""Stands behind what an object refers to."""

Inner = tuple[str, Any, bool, int, Any]
"""What an object refers to: the module or class that has it (empty: the object), the key, whether
that is a name, the kind and the value."""


class View:
    """The surroundings at one moment.

    Attributes:
        values: what was found.
        found: each of them with the index of the value that refers to it; -1 for a root.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.found: list[tuple[int, Inner]] = []

    def is_same(self, other: View) -> bool:
        """Whether code that reads them finds the same objects, or the same numbers and texts."""
        return len(self.values) == len(other.values) and all(
            one is two or (isinstance(one, _PLAIN) and type(one) is type(two) and one == two)
            for one, two in zip(self.values, other.values, strict=True)
        )

    def by_path(self) -> dict[tuple[Any, ...], int]:
        """The index of each value by its path."""
        paths: list[tuple[Any, ...]] = []
        for within, (owner, key, *_) in self.found:
            paths.append(((owner,) if owner else paths[within] if within >= 0 else ()) + (key,))
        return {
            path: index
            for index, (path, (_, (_, key, *_, value))) in enumerate(
                zip(paths, self.found, strict=True)
            )
            if key is not type and not isinstance(value, _Unknown)
        }

    def place(self, index: int) -> Place:
        """The place of the value at an index."""
        within, (owner, key, is_name, kind, _) = self.found[index]
        root = Place(None, owner, True, kind) if owner else None
        return Place(root or (self.place(within) if within >= 0 else None), key, is_name, kind)


class Surroundings:
    """Watches what a training and its model read and change.

    Attributes:
        version: a number that grows whenever code that reads it may find something else.

    Args:
        training: a user's.
        model: of one of its seeds.
    """

    def __init__(self, training: Any, model: Any) -> None:
        self._training, self._model = training, model
        self._home = type(training).__module__.partition(".")[0]
        self._codes: set[CodeType] = set()
        self._own: set[int] = set()
        self._kept: list[Any] = []
        self.version = 0
        self._read: list[tuple[Callable[[Any], Iterable[Any]], Any]] = []
        self._states: list[tuple[Any, Any]] = []
        self.own(model)
        self._view = self._look()

    def is_own(self, value: Any) -> bool:
        """Whether it is a tensor of the model of a seed."""
        return isinstance(value, Tensor) and id(value) in self._own

    def own(self, *objects: Any) -> None:
        """Note models and optimizers, which are of a seed, and not shared."""
        self._kept += objects  # no other object gets their ids
        for one in objects:
            self._own.add(id(one))
            if isinstance(one, torch.nn.Module):
                self._own.update(map(id, one.modules()))
                self._own.update(map(id, (*one.parameters(), *one.buffers())))

    def changes(self) -> list[Place]:
        """The places with another value than at the last call."""
        if self._is_untouched():
            return []
        before, self._view = self._view, self._look()
        if before.is_same(self._view):
            return []
        self.version += 1
        old, new = before.by_path(), self._view.by_path()
        return [before.place(old[path]) for path in old if path not in new] + [
            self._view.place(index)
            for path, index in new.items()
            if path not in old
            or not self._are_equal(before.values[old[path]], self._view.values[index])
        ]

    def _is_untouched(self) -> bool:
        """Whether all that was looked into refers to the same objects: a quick `is_same`."""
        now, before = self._referred(), self._before
        return (
            len(now) == len(before)
            and all(map(is_, now, before))
            and all(_state_of(one) == state for one, state in self._states)
        )

    def _referred(self) -> list[Any]:
        """What all that was looked into refers to, object after object."""
        values: list[Any] = []
        for read, one in self._read:
            values += read(one)
            values.append(_END)
        return values

    def shared(
        self,
        places: Iterable[Place],
        *,
        but: Iterable[str],
        kinds: Iterable[int],
        draws: bool = True,
    ) -> Place | None:
        """The first of some places that the user's code reads.

        Args:
            places: that have changed.
            but: methods of the training whose own reading does not count.
            kinds: of the places that count.
            draws: whether random generators count.
        """
        left_out = {
            method.__code__
            for name in but
            for base in type(self._training).__mro__
            if isinstance(method := vars(base).get(name), FunctionType)
        }
        codes = self._codes - left_out
        read = READ_BY_RUN.union(*(_names_in(code).read for code in codes))
        return next(
            (
                place
                for place in sorted(places, key=str)
                if place.kind in kinds and place.name in read and (draws or place.key != DRAWN)
            ),
            None,
        )

    def _are_equal(self, one: Any, two: Any) -> bool:
        if one is two or (id(one) in self._own and id(two) in self._own):
            return True
        if type(one) is not type(two):
            return False
        if isinstance(one, Tensor):
            try:
                return one.dtype == two.dtype and torch.equal(one, two)
            except RuntimeError:  # within `vmap`
                return False
        if isinstance(one, np.ndarray):
            return np.array_equal(one, two)
        if isinstance(one, FunctionType):
            return one.__code__ is two.__code__
        return one == two if isinstance(one, (*_PLAIN, type, ModuleType)) else True

    # What follows is called for each epoch: it makes no texts and sorts nothing.

    def _look(self) -> View:
        view = View()
        values, places = view.values, view.found
        self._read, self._states = [], []
        queue = deque[tuple[int, int, Any]]()
        for name, kind, root in (("the model", OWN, self._model), ("self", SELF, self._training)):
            queue.append((len(values), kind, root))
            values.append(root)
            places.append((-1, ("", name, True, kind, root)))
        seen = set(map(id, values))
        for _ in range(MOST_OPENED):
            if not queue:
                break
            index, kind, value = queue.popleft()
            followed = 0
            for inner in self._inner(value, kind):
                found = inner[-1]
                values.append(found)
                places.append((index, inner))
                if isinstance(found, _PLAIN) or id(found) in seen or followed == MOST_FOLLOWED:
                    continue
                followed += 1
                seen.add(id(found))
                own = OWN if id(found) in self._own else inner[3]
                queue.append((len(values) - 1, own, found))
        self._before = self._referred()
        return view

    def _inner(self, value: Any, kind: int) -> Iterable[Inner]:
        if isinstance(value, dict):
            # Not `value.items()`: a `TrackedConfig` would note that it is read.
            self._read.append((dict.values, value))
            return [("", key, False, kind, inner) for key, inner in tuple(dict.items(value))]
        if isinstance(value, _CONTAINERS):
            if not isinstance(value, tuple | frozenset):
                self._read.append((tuple, value))
            return [("", key, False, kind, inner) for key, inner in enumerate(value)]
        if isinstance(value, FunctionType):
            return self._in_function(value)
        if isinstance(value, type):
            return self._in_class(value)
        if isinstance(value, ModuleType):  # an attribute of an object, say
            names = frozenset[str]().union(*(_names_in(code).all for code in self._codes))
            return self._in_module(value, names)
        if isinstance(value, Iterator) and not isinstance(value, IOBase):
            self._read.append((_unknown, None))
            return [("", "", False, OWN, _Unknown())]
        for kinds, parts in _PARTS.items():
            if isinstance(value, kinds):
                found = (getattr(value, part, None) for part in parts)
                return [("", place, False, kind, one) for place, one in enumerate(found)]
        return self._in_object(value, kind)

    def _in_object(self, value: Any, kind: int) -> Iterator[Inner]:
        root = type(value).__module__.partition(".")[0]
        users = self._is_users(root)
        if kind != OWN and (state := _state_of(value)) is not None:
            self._states.append((value, state))
            yield "", state[0], False, kind, state[1]
        if root in sys.stdlib_module_names and root not in _HAVE_STATE:
            return
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            self._read.append((dict.values, own))
            for key, inner in own.copy().items():
                yield "", key, users, kind, inner
        if slots := _slots_of(type(value)):  # type: ignore[arg-type]  # a class is hashable
            self._read.append((_in_slots, value))
        for key, member in slots:
            with suppress(AttributeError):  # not set yet
                yield "", key, users, kind, member.__get__(value)
        yield "", type, False, OUTSIDE, type(value)

    def _in_class(self, value: type) -> Iterator[Inner]:
        if not self._is_users(value.__module__):
            return
        self._read.append((_values_of_class, value))
        for key, inner in tuple(vars(value).items()):
            if not key.startswith("__") or isinstance(inner, FunctionType):
                yield value.__name__, key, True, OUTSIDE, inner
        for base in value.__mro__[1:]:
            yield base.__name__, "", False, OUTSIDE, base

    def _in_function(self, value: FunctionType) -> Iterator[Inner]:
        if not self._is_users(value.__module__ or ""):
            return
        self._codes.add(value.__code__)
        names, variables = _names_in(value.__code__), value.__globals__
        self._read.append((_in_cells, value.__closure__ or ()))
        self._read.append((partial(_variables, variables), names.all))
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with suppress(ValueError):  # not set yet
                yield value.__name__, key, True, OUTSIDE, cell.cell_contents
        for part in (value.__defaults__, value.__kwdefaults__, value.__dict__):
            if part:
                yield value.__name__, "", False, OUTSIDE, part
        for key in sorted(names.all & variables.keys()):
            inner = variables[key]
            if isinstance(inner, ModuleType):
                yield from self._in_module(inner, names.all)
            else:
                yield value.__module__, key, True, OUTSIDE, inner
        for name in sorted(names.imported):
            if (module := sys.modules.get(name)) is not None:
                yield from self._in_module(module, names.all)

    def _in_module(self, module: ModuleType, names: frozenset[str]) -> Iterator[Inner]:
        """The attributes of a module that a function names."""
        if module.__name__.partition(".")[0] in {"torch", "xortune"}:
            return  # not the user's
        own = vars(module)
        self._read.append((partial(_variables, own), names))
        for key in sorted(names & own.keys()):
            inner = own[key]
            if not isinstance(inner, ModuleType):
                yield module.__name__, key, True, OUTSIDE, inner
            elif inner.__name__.startswith(f"{module.__name__}."):
                yield from self._in_module(inner, names)

    def _is_users(self, module: str) -> bool:
        root = module.partition(".")[0]
        return root == self._home or not _is_library(root)


def _values_of_class(one: type) -> Iterable[Any]:
    return vars(one).values()


def _variables(own: dict[str, Any], names: Iterable[str]) -> Iterable[Any]:
    return map(own.get, names)


def _in_cells(cells: Iterable[CellType]) -> Sequence[Any]:
    found = []
    for cell in cells:
        with suppress(ValueError):  # not set yet
            found.append(cell.cell_contents)
    return found


def _in_slots(one: Any) -> Sequence[Any]:
    return [getattr(one, key, None) for key, _ in _slots_of(type(one))]  # type: ignore[arg-type]


def _unknown(_: object) -> Sequence[Any]:
    return [_Unknown()]


def _state_of(value: Any) -> tuple[str, str | bytes] | None:
    """What changes in place in an object without attributes: its key, and it as text or bytes."""
    if isinstance(value, Tensor):
        try:
            small = value.numel() <= MOST_COPIED and not value.requires_grad
            return ("", str(value.tolist())) if small else None
        except RuntimeError:  # within `vmap`, or without storage
            return None
    if isinstance(value, np.ndarray):
        return ("", value.tobytes()) if value.size <= MOST_COPIED else None
    if isinstance(value, random.Random):
        return DRAWN, str(value.getstate())
    if isinstance(value, np.random.RandomState):
        _, key, place, *_ = value.get_state(legacy=True)
        return DRAWN, np.asarray(key).tobytes() + str(place).encode()
    if isinstance(value, np.random.Generator):
        return DRAWN, str(value.bit_generator.state)
    if isinstance(value, torch.Generator):
        return DRAWN, value.get_state().numpy().tobytes()
    return None


# -------------------------------------------------------------------------------------------------
# What the seeds of a stack share.


class Shares(CannotStack):
    """Why seeds in a stack would share what each has to have for itself, in a sentence."""


_DESCRIBE = {
    *(
        getattr(Tensor, name).__get__
        for name in ("device", "dtype", "is_cuda", "layout", "ndim", "requires_grad", "shape")
    ),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.nelement),
    *(Tensor.is_floating_point, Tensor.get_device),
}
"""What says of a tensor what it is, and not its numbers."""


class _Untouched(TorchFunctionMode):
    """See `SharedState.untouched`; `is_own` says which tensors may not be used."""

    def __init__(self, is_own: Callable[[Any], bool]) -> None:
        super().__init__()
        self._is_own = is_own

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute a function of torch."""
        given = (*args, *(kwargs or {}).values())
        listed = [one for some in given if isinstance(some, list | tuple) for one in some]
        if func not in _DESCRIBE and any(map(self._is_own, (*given, *listed))):
            raise Shares(f"a method other than `loss` and `score` uses the model's weights: {LOOP}")
        return func(*args, **(kwargs or {}))


class SharedState:
    """What a training reads and changes that is neither a seed's model nor its optimizer.

    Attributes:
        changed: names of the attributes of the training's object that `batches` or `loss` has
            changed, as keys.

    Args:
        training: a user's.
        model: of one of its seeds.
        owned: models, optimizers and schedulers, of which each seed has its own.
    """

    def __init__(self, training: Any, model: torch.nn.Module, *owned: Any) -> None:
        self._surroundings = Surroundings(training, model)
        self._surroundings.own(*owned)
        self._seen_version = 0
        self.changed: dict[str, None] = {}

    def own(self, model: torch.nn.Module) -> None:
        """Note the model of another seed, which is not shared."""
        self._surroundings.own(model)

    def changes(self) -> list[Place]:
        """The places that have changed since the last look."""
        return self._surroundings.changes()

    def changes_by_user(self) -> list[Place]:
        """As `changes`, for places that `batches` or `loss` has changed."""
        places = self.changes()
        self.changed.update((one.path[1], None) for one in places if one.kind == SELF)
        return places

    def has_changed(self) -> bool:
        """Whether the loss may read something else than at the last call of this method."""
        self.changes_by_user()
        before, self._seen_version = self._seen_version, self._surroundings.version
        return before != self._seen_version

    def refuse(
        self,
        places: Sequence[Place],
        *,
        kinds: Sequence[int] = (SELF, OUTSIDE),
        but: Sequence[str] = (),
        draws: bool = True,
    ) -> None:
        """Refuse a training that reads what it has changed where its seeds would share it.

        Args:
            places: that have changed.
            kinds: of places that seeds would share.
            but: methods that may read them, beside those that make a seed's model and optimizer.
            draws: whether random generators count.

        Raises:
            Shares: it does.
        """
        if places:
            may_read = ("__init__", "model", "optimizer", *but)
            found = self._surroundings.shared(places, but=may_read, kinds=kinds, draws=draws)
            if found is not None:
                raise Shares(f"{_changed_in(found)}: {LOOP}")

    def refuse_outside(self, places: Sequence[Place]) -> None:
        """As `refuse`, where the training may change its own object: it does so once an epoch."""
        self.refuse(places, kinds=(OUTSIDE,))

    def untouched(self, *more: Tensor) -> TorchFunctionMode:
        """Within this context torch may use no tensor of the seeds' models, and none of `more`.

        The tensors of a stack are trained, and not those of the models that the training's object
        may have kept, which `loss` and `score` alone are given.

        Raises:
            Shares: from the functions of torch within it.
        """
        ids = set(map(id, more))
        return _Untouched(lambda one: id(one) in ids or self._surroundings.is_own(one))

    @staticmethod
    def refuse_own(places: Sequence[Place]) -> None:
        """Refuse changes of a seed's own model between the batches of an epoch.

        Raises:
            Shares: there is one. All batches are made before the first loss.
        """
        for place in places:
            if place.kind == OWN:
                raise Shares(f"{_changed_in(place)}: {LOOP}")


def _changed_in(place: Place) -> str:
    """That a training changes what is at a place, for users."""
    if place.key == DRAWN:
        return f"random numbers that are not torch's are drawn ({place})"
    return f"the training changes {place}, which the seeds of a stack would share"
