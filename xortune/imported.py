"""A run that xortune did not make: what its manifest says of where its results come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["IMPORTED", "Origin", "imported_from", "is_imported"]

IMPORTED = "imported"
"""What a manifest calls the trainer of such a run, and the entry that says where it is from."""


@dataclass(frozen=True)
class Origin:
    """Where the results of a run come from.

    Attributes:
        source: the file as it was named, `a DataFrame`, or the study.
        sha256: of the file, or of the values.
        rows: how many results were read; each is one seed of one config.
        success: the column that says what a success is, or the rule for a number.
        at: when it was imported, ISO 8601.
    """

    source: str
    sha256: str
    rows: int
    success: str
    at: str

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For those who read about the run."""
        return (
            f"These results were imported from {self.source} ({self.rows:,} rows, SHA-256 "
            f"{self.sha256[:12]}) on {self.at[:10]}; xortune did not train them. A success is what "
            f"{self.success!r} says, and where this says search, it means whatever made them."
        )


def is_imported(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's results come from somewhere else."""
    return manifest.get("trainer") == IMPORTED and IMPORTED in manifest


def imported_from(manifest: Mapping[str, Any]) -> Origin | None:
    """Where a run's results come from; None for xortune's own, or where the entry is damaged."""
    entry = manifest.get(IMPORTED)
    if not is_imported(manifest) or not isinstance(entry, Mapping):
        return None
    texts = [entry.get(name) for name in ("source", "sha256", "success", "at")]
    rows = entry.get("rows")
    if not all(isinstance(text, str) for text in texts) or not isinstance(rows, int):
        return None
    source, sha256, success, at = map(str, texts)
    return Origin(source, sha256, rows, success, at)
