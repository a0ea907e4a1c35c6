"""What a status says of a run's certificate: its file, and the fresh seeds in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xortune.run_certificate import Certificate
from xortune.run_certificate_file import CERTIFICATE, read_certificate
from xortune.status_journal import AttemptCount

__all__ = ["CertificateState", "Certifying"]


@dataclass(frozen=True)
class CertificateState:
    """How far a run is certified.

    Attributes:
        state: `none` without fresh seeds; `begun` if the last attempt lacks some; `complete`.
        attempt: number of the last attempt.
        done: fresh seeds that it has.
        planned: fresh seeds that it wants, those of neighbours included.
        key: of the first finalist of the last complete attempt.
        k: its fresh seeds solved.
        n: its fresh seeds.
        lower_bound: of its success rate.
        confidence: of all bounds together.
    """

    state: Literal["none", "begun", "complete"] = "none"
    attempt: int | None = None
    done: int = 0
    planned: int = 0
    key: str | None = None
    k: int | None = None
    n: int | None = None
    lower_bound: float | None = None
    confidence: float | None = None


class Certifying:
    """The certificate of one run, its file read again only if it has changed."""

    def __init__(self) -> None:
        self._read: tuple[tuple[int, int, int], Certificate] | None = None

    def state(self, path: Path, attempts: Mapping[int, AttemptCount]) -> CertificateState:
        """How far it is.

        Args:
            path: the run's directory.
            attempts: what the journal has of each.

        Raises:
            InputError: `certificate.json` is no certificate.
        """
        certificate = self._file(path / CERTIFICATE)
        number = max(attempts, default=certificate.attempts[-1].number if certificate else 0)
        if not number:
            return CertificateState()
        count = attempts.get(number, AttemptCount())
        best = certificate.finalists[0] if certificate and certificate.finalists else None
        written = certificate is not None and certificate.attempts[-1].number >= number
        whole = written and certificate is not None and certificate.attempts[-1].complete
        return CertificateState(
            state="complete" if whole and count.done >= count.planned else "begun",
            attempt=number,
            done=count.done,
            planned=count.planned,
            key=best.key if best else None,
            k=best.k if best else None,
            n=best.n if best else None,
            lower_bound=best.lower_bound if best else None,
            confidence=certificate.confidence if certificate else None,
        )

    def _file(self, place: Path) -> Certificate | None:
        try:
            found = place.stat()
        except (OSError, ValueError):
            return None
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._read is None or self._read[0] != mark:
            self._read = mark, read_certificate(place)
        return self._read[1]
