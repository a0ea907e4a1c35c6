"""Where packs are trained, and what each may use there."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["THIS_MACHINE", "Cluster"]


@dataclass(frozen=True)
class Cluster:
    """A Ray that runs packs.

    Attributes:
        address: of a Ray cluster; None starts Ray on this machine for as long as it is needed.
        cpus_per_trial: logical CPUs for each trial, fractions allowed.
        gpus_per_trial: logical GPUs for each trial, fractions allowed.
        trial_timeout: seconds that a pack may take before its worker is killed; None for any time.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    trial_timeout: float | None = None


THIS_MACHINE = Cluster()
