"""What the thread claims, and of which systems: read from claims.yaml, the only place it is in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from xortune.config import Config

__all__ = [
    "AS_POSTED",
    "CLAIMS",
    "Claims",
    "Comparison",
    "Curve",
    "Line",
    "NumpyNetwork",
    "Quoted",
    "Row",
    "Variant",
    "read_claims",
]

CLAIMS = Path(str(resources.files("xortune.thread") / "claims.yaml"))
"""The file with every quoted figure."""

AS_POSTED = "as_posted"
"""The first variant of every row: what the posted script really did."""

Settings = dict[str, Any]


def _valid(config: Settings) -> Settings:
    Config.from_point(config)
    return config


Network = Annotated[Settings, AfterValidator(_valid)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quoted(_Frozen):
    """What a post says of a system; exactly one of the first four is given.

    Attributes:
        k, n: so many of so many seeds.
        share: 1 for every seed, 0 for none.
        more_than: it solves more seeds than this variant of its row.
        untestable: why no count could contradict it.
        all_zero: of the n seeds, those that ended with four zeros; also quoted in one case.
        words: how a claim without a count is put in a table.
    """

    k: int | None = None
    n: int | None = None
    share: Literal[0, 1] | None = None
    more_than: str | None = None
    untestable: str | None = None
    all_zero: int | None = None
    words: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Quoted:
        forms = (self.k, self.share, self.more_than, self.untestable)
        if sum(form is not None for form in forms) != 1:
            raise ValueError("give one of k and n, share, more_than, untestable")
        if (self.k is None) != (self.n is None):
            raise ValueError("k and n go together")
        if self.k is not None and self.n is not None and not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} seeds")
        return self

    @property
    def counted(self) -> tuple[int, int] | None:
        """(k, n), if a count is quoted."""
        return (self.k, self.n) if self.k is not None and self.n is not None else None

    @property
    def shown(self) -> str:
        """As in a table: `37/100`, `every time`, or nothing."""
        if self.counted:
            return f"{self.k}/{self.n}"
        if self.words:
            return self.words
        return "" if self.share is None else ("never", "always")[self.share]


class NumpyNetwork(_Frozen):
    """Settings of the network written by hand; see `numpy_network.train`."""

    hidden_dim: int
    lr: float
    epochs: int


class Variant(_Frozen):
    """One way of measuring a row.

    Attributes:
        name: `as_posted`, or what is different.
        changes: the same in words; empty for `as_posted`.
        config: of the built-in network; absent for `numpy` and `sweep`.
        judge: `half` (above 0.5 is a 1) or `truncating` (only an output of exactly 1.0 is).
        stop_loss: the training ends before the first step at which the loss is below this.
        same_weights_as: a second config; a seed counts if both have the same weights at each step.
        numpy: the network written by hand.
        sweep: counts of the sweep: its `seeds`, or its `cells` with every seed solved.
    """

    name: str
    changes: str = ""
    config: Network | None = None
    judge: Literal["half", "truncating"] = "half"
    stop_loss: float | None = None
    same_weights_as: Network | None = None
    numpy: NumpyNetwork | None = None
    sweep: Literal["seeds", "cells"] | None = None

    @model_validator(mode="after")
    def _one_system(self) -> Variant:
        if sum(system is not None for system in (self.config, self.numpy, self.sweep)) != 1:
            raise ValueError("give one of config, numpy, sweep")
        if self.stop_loss is not None and self.judge == "truncating":
            raise ValueError("no script truncates and stops at a loss")
        return self


class Row(_Frozen):
    """A claim about one system.

    Attributes:
        id: `T1` to `T15`, some with a letter.
        place: in the thread.
        words: quoted from there.
        system: what was trained, in words.
        quoted: what the post says of it.
        because: what explains what is measured.
        rivals: two variants, one of which the quoted count comes from.
        variants: ways of measuring it, `as_posted` first.
    """

    id: Annotated[str, Field(pattern=r"^T\d+[a-z]?$")]
    place: str
    words: str
    system: str
    quoted: Quoted
    because: str
    rivals: tuple[str, str] | None = None
    variants: tuple[Variant, ...]

    @model_validator(mode="after")
    def _names(self) -> Row:
        names = [variant.name for variant in self.variants]
        if names[0] != AS_POSTED or len(set(names)) < len(names):
            raise ValueError(f"{self.id}: {AS_POSTED} comes first, and every name once")
        for name in (*(self.rivals or ()), self.quoted.more_than or AS_POSTED):
            if name not in names:
                raise ValueError(f"{self.id} has no variant {name}")
        return self

    @property
    def number(self) -> str:
        """The row of the thread that it belongs to: T8 of T8c."""
        return self.id.rstrip("abcdefghijklmnopqrstuvwxyz")


Place = tuple[str, str]
"""A row's id and a variant's name."""


class Comparison(_Frozen):
    """A claim that one system solves more seeds than another.

    Attributes:
        place: the row of the thread.
        claim: in the thread's words, or nearly.
        more: what is said to solve more.
        than: what it is compared with.
    """

    place: str
    claim: str
    more: Place
    than: Place


class Line(_Frozen):
    """One line of a curve: a config but for the parameter that the curve varies."""

    name: str
    config: Settings


class _Values(_Frozen):
    """Whole numbers `first` to `last`, or so many values for each factor of ten."""

    first: int | None = Field(default=None, alias="from")
    last: int | None = Field(default=None, alias="to")
    log_from: float | None = None
    log_to: float | None = None
    per_decade: int = 1


class Curve(_Frozen):
    """The success rate over one parameter.

    Attributes:
        name: of its figure.
        place: the row of the thread.
        claim: what the curve answers; empty if a comparison of the row says it.
        parameter: what is varied.
        values: which values it takes.
        beside: the value that the others are compared with.
        lines: the systems.
    """

    name: str
    place: str
    claim: str = ""
    parameter: str
    values: _Values
    beside: float | None = None
    lines: tuple[Line, ...]

    @property
    def points(self) -> tuple[float, ...]:
        """The values, ascending, with `beside` among them."""
        v = self.values
        if v.first is not None and v.last is not None:
            return tuple(range(v.first, v.last + 1))
        assert v.log_from is not None
        assert v.log_to is not None
        low, high = round(math.log10(v.log_from) * v.per_decade), math.log10(v.log_to)
        found = {
            float(f"{10 ** (i / v.per_decade):.3g}")
            for i in range(low, round(high * v.per_decade) + 1)
        }
        return tuple(sorted(found | ({self.beside} if self.beside is not None else set())))


class Claims(_Frozen):
    """Everything in claims.yaml.

    Attributes:
        defaults: settings that the file's configs start from.
        rows: claims about systems.
        comparisons: claims that one is better.
        curves: claims about a parameter.
    """

    defaults: Settings
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    curves: tuple[Curve, ...]

    @model_validator(mode="after")
    def _places(self) -> Claims:
        known = {(row.id, variant.name) for row, variant in self.measured}
        for comparison in self.comparisons:
            for place in (comparison.more, comparison.than):
                if place not in known:
                    raise ValueError(f"there is no {place}")
        return self

    @property
    def measured(self) -> Iterator[tuple[Row, Variant]]:
        """Every row with each of its variants."""
        return ((row, variant) for row in self.rows for variant in row.variants)

    def only(self, numbers: set[str]) -> Claims:
        """Without the rows, comparisons and curves of other numbers (`T8` has T8a to T8h)."""
        rows = tuple(row for row in self.rows if {row.id, row.number} & numbers)
        ids = {row.id for row in rows}
        return Claims(
            defaults=self.defaults,
            rows=rows,
            comparisons=tuple(c for c in self.comparisons if c.more[0] in ids and c.than[0] in ids),
            curves=tuple(c for c in self.curves if {row.number for row in rows} & {c.place}),
        )


def read_claims(path: Path = CLAIMS) -> Claims:
    """Read a file of claims.

    Raises:
        pydantic.ValidationError: a file that is not one; the shipped one is, as a test shows.
    """
    return Claims.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
