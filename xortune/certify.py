"""Certify: the finalists of a search on seeds that nothing has seen yet.

What is asked for becomes tasks, which `xortune.search.certifying` has trained like the blocks of a
search, and the journal's lines of them become a certificate. Every block goes into the run's
journal with its purpose, so that the certificate can be made from the journal alone and an attempt,
once begun, is never forgotten: one that was interrupted goes on where it stopped, with the same
finalists and seeds, and one that disappoints stays on record and has spent its share of alpha.
`xortune.run_certificate` says what is promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xortune.certify_plan import Task, asked_of, attempt_tasks, extension_tasks, refuse_seen
from xortune.errors import InputError, nearest
from xortune.evaluation import Evaluation
from xortune.evaluation_purpose import Criterion
from xortune.run import Run
from xortune.run_certificate import Certificate, certificate_of
from xortune.run_certificate_file import write_certificate
from xortune.run_manifest import MANIFEST
from xortune.run_sessions import digests_of, identity_of
from xortune.seed_ranges import CERTIFY
from xortune.trainer import Trainer

__all__ = ["Call", "noted_certificate", "tasks_of"]


@dataclass(frozen=True)
class Call:
    """What is asked of a certificate. An attempt that was interrupted goes on with an equal one.

    Attributes:
        top: how many finalists; the first of the search's own order that solved any seed.
        seeds: how many each of them gets; with `extend`, how many more.
        confidence: with which all bounds of all attempts shall hold together.
        extendable: begin an attempt whose seeds may be added to later, with the anytime bound.
        extend: add seeds to the last attempt, which must be extendable; its finalists stay.
        neighbourhood: also train each finalist with its settings moved by so much.
        by: `own` or `neighbourhood`: whose lower bounds order the finalists.

    Raises:
        InputError: one of them is out of range, or does not go with another.
    """

    top: int
    seeds: int
    confidence: float = 0.95
    extendable: bool = False
    extend: bool = False
    neighbourhood: float | None = None
    by: str = "own"

    def __post_init__(self) -> None:
        for name, value, high in (("top", self.top, 1000), ("seeds", self.seeds, len(CERTIFY))):
            if not 1 <= value <= high:
                raise InputError(f"{value} is out of range", field=name, allowed=f"1 to {high:,}")
        if not 0 < self.confidence < 1:
            raise InputError(
                f"{self.confidence} is out of range",
                field="confidence",
                allowed="above 0 and below 1",
            )
        if self.extend and self.neighbourhood is not None:
            raise InputError(
                "an attempt that is extended has its neighbours already, or none",
                field="neighbourhood",
                allowed="at the beginning of an attempt",
                fix="leave it out, or begin another attempt without --extend",
            )
        assert self.criterion

    @property
    def criterion(self) -> Criterion:
        """`by`, which is one of two words."""
        if self.by == "own":
            return "own"
        if self.by != "neighbourhood":
            names = ("own", "neighbourhood")
            raise InputError(
                f"{self.by!r}",
                field="by",
                allowed=" or ".join(names),
                fix=nearest(self.by, names),
            )
        if self.neighbourhood is None:
            raise InputError(
                "'neighbourhood', and no neighbours are measured",
                field="by",
                allowed="together with a neighbourhood",
                fix="give --neighbourhood 0.2 too",
            )
        return "neighbourhood"


def tasks_of(run: Run, trainer: Trainer, call: Call, *, accept: bool = False) -> list[Task]:
    """All that is still to be trained for a call.

    Args:
        run: with a journal that nobody else writes to.
        trainer: what will train it.
        call: what is asked for.
        accept: whether an attempt that was begun with another engine or other versions may be left
            as it is, and a new one begun.

    Raises:
        InputError: nothing to certify, an attempt that cannot be extended or was begun with another
            engine or version, neighbours that there are not, or no fresh seeds left.
    """
    identity = identity_of(trainer.describe())
    own = digests_of(run.manifest, identity, str(run.path / MANIFEST))
    if call.extend:
        tasks = extension_tasks(run, call.seeds, own)
    else:
        asked = asked_of(
            run,
            call.top,
            call.seeds,
            call.confidence,
            extendable=call.extendable,
            by=call.criterion,
        )
        tasks = attempt_tasks(run, trainer, asked, call.neighbourhood, own, accept=accept)
    refuse_seen(tasks, run)
    return tasks


def noted_certificate(run: Run, more: Sequence[Evaluation] = ()) -> Certificate | None:
    """Write certificate.json, if there is anything to be in it.

    Args:
        run: as it was loaded.
        more: what its journal has got since.

    Raises:
        InputError: the directory cannot be written.
    """
    certificate = certificate_of((*run.checks, *more))
    if certificate is not None:
        write_certificate(run.path, certificate, run.manifest)
    return certificate
