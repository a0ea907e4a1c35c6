"""manifest.json: what a run says of itself beside its journal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xortune.errors import InputError
from xortune.files import FREE_SPACE, is_full, json_of
from xortune.run_files import replace_file
from xortune.run_url import as_path

__all__ = [
    "MANIFEST",
    "as_json",
    "manifest_of",
    "stopped_because",
    "unwritable",
    "update_manifest",
]

MANIFEST = "manifest.json"


def manifest_of(path: Path) -> dict[str, Any]:
    """What a run's manifest says; nothing if it is not there.

    Raises:
        InputError: it cannot be read, or is no JSON object.
    """
    place = path / MANIFEST
    if not place.exists():
        return {}
    manifest = json_of(place)
    if not isinstance(manifest, dict):
        raise InputError(f"is a {type(manifest).__name__}", place=str(place), allowed="an object")
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
