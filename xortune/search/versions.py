"""What must be the same on every machine for its results to be counted together."""

from __future__ import annotations

import socket
from importlib.metadata import PackageNotFoundError, version

from xortune import __version__
from xortune.errors import InputError

__all__ = ["refuse_other_versions", "versions"]

PACKAGES = ("torch", "numba", "numpy")
"""On which a training's numbers depend."""


def versions() -> dict[str, str]:
    """Of xortune and of what computes here; without the build (`+cpu`), which may differ."""
    found = {"xortune": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def refuse_other_versions(drivers: dict[str, str]) -> None:
    """Refuse to train here what would be counted with what is trained elsewhere.

    Raises:
        InputError: a version differs from the driver's.
    """
    here = versions()
    other = [
        f"{name} {here[name]}, not {want}" for name, want in drivers.items() if here[name] != want
    ]
    if other:
        raise InputError(f"{socket.gethostname()} has {'; '.join(other)} as the driver has")
