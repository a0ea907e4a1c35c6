"""Whether what trains here is what made a run, and what to say where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xortune.resume import DifferentRunError
from xortune.run_manifest import MANIFEST
from xortune.run_sessions import PACKAGES, last_identity, last_search

if TYPE_CHECKING:
    from xortune.run import Run

__all__ = ["changed_packages", "changed_trainer", "checked_versions"]


def changed_trainer(
    manifest: Mapping[str, Any], identity: Mapping[str, str], place: str
) -> list[tuple[str, str, str]]:
    """What trains otherwise than the last search did: name, before, now.

    A manifest from before there were sessions does not know all; what it does not know is no
    change.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    before = last_identity(manifest, place)
    names = sorted({**before, **identity})
    if "sessions" not in manifest:
        names = [name for name in names if name in before and name in identity]
    return [
        (name, before.get(name, "(none)"), identity.get(name, "(none)"))
        for name in names
        if before.get(name) != identity.get(name)
    ]


def changed_packages(
    manifest: Mapping[str, Any], versions: Mapping[str, str], place: str
) -> list[str]:
    """Packages that train nothing and are others than in the last search: ``optuna 4.8 -> 5.0``.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    before = last_search(manifest, place).get("versions", {})
    return [
        f"{name} {before[name]} -> {now}"
        for name, now in versions.items()
        if name not in PACKAGES and name in before and before[name] != now
    ]


def checked_versions(
    run: Run, identity: Mapping[str, str], versions: Mapping[str, str], *, accept: bool
) -> list[str]:
    """What the user should know of versions that differ from those of the run's last search.

    Args:
        run: what is continued.
        identity: of what trains now.
        versions: of the packages here.
        accept: whether what trains may be another; then its blocks are counted apart.

    Raises:
        DifferentRunError: what trains is another, or the run is to end with a proof.
    """
    place, manifest = str(run.path / MANIFEST), run.manifest
    changed, notes = changed_trainer(manifest, identity, place), []
    if changed:
        shown = [f"{name}: {before} -> {after}" for name, before, after in changed]
        if not accept:
            pins = [f"{n}=={before}" for n, before, _ in changed if n in PACKAGES]
            again = f"install {' '.join(pins)} again" if pins else "use what it was made with"
            raise DifferentRunError(
                "\n".join(
                    ["what trains here is not what made the run:", *(f"  {s}" for s in shown)]
                ),
                place=str(run.path),
                fix=f"{again}, give another --output, or go on with --accept-versions: seeds of "
                "one configuration are then counted of one of them only",
            )
        if run.asked.stop.proven_rate is not None:
            raise DifferentRunError(
                "\n".join(
                    ["a rate is proven by seeds of one kind only:", *(f"  {s}" for s in shown)]
                ),
                place=str(run.path),
                fix="use what the run was made with, or give another --output: with "
                "stop.proven_rate versions cannot be kept apart",
            )
        notes.append(
            f"made with other versions from here on ({', '.join(shown)}): of one configuration "
            "only the seeds of one of them are counted, and so do the race and the sampler"
        )
    if packages := changed_packages(manifest, versions, place):
        notes.append(
            f"{', '.join(packages)}: what is counted stays true, but proposals are no longer "
            "promised to be those of a search that was not interrupted"
        )
    return notes
