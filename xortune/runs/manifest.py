"""manifest.json: what a run says of itself, and where imported results come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError
from xortune.core.files import FREE_SPACE, is_full, json_of
from xortune.runs.files import replace_file
from xortune.runs.store import as_path

# -------------------------------------------------------------------------------------------------
# manifest.json: what a run says of itself beside its journal.

MANIFEST = "manifest.json"

FORMAT = 1
"""Of a run's manifest and journal: a change that older programs misread makes it one more."""


def manifest_of(path: Path) -> dict[str, Any]:
    """What a run's manifest says; nothing if it is not there.

    Raises:
        InputError: it cannot be read, is no JSON object, or is of a newer format.
    """
    place = path / MANIFEST
    if not place.exists():
        return {}
    manifest = json_of(place)
    if not isinstance(manifest, dict):
        raise InputError(f"is a {type(manifest).__name__}", place=str(place), allowed="an object")
    if (found := manifest.get("format", FORMAT)) != FORMAT:
        raise InputError(
            f"has the format {found!r}, which this version of xortune does not read",
            place=f"{place}: format",
            allowed=str(FORMAT),
            fix="use the version that wrote it, or a newer one",
        )
    return manifest


def stopped_because(manifest: Mapping[str, Any]) -> str | None:
    """Why a search ended before its end, as it noted it; None if it did not."""
    reason = manifest.get("stopped")
    return reason if isinstance(reason, str) and manifest.get("complete") is False else None


def update_manifest(path: str | os.PathLike[str], **changes: Any) -> None:
    """Set some entries of a run's manifest and keep the others.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    directory = as_path(path)
    manifest = manifest_of(directory) | changes
    try:
        replace_file(directory / MANIFEST, as_json(manifest))
    except OSError as error:
        raise unwritable(directory, error) from None


def as_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


def unwritable(path: Path, error: Exception) -> InputError:
    """What to say of a directory that the file system does not let us write."""
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"cannot be written ({reason})",
        place=str(path),
        fix=FREE_SPACE if is_full(error) else "give another directory with --output",
    )


# -------------------------------------------------------------------------------------------------
# A run that xortune did not make: what its manifest says of where its results come from.

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
