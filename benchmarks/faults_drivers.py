"""What faults.py disturbs: a cluster of processes, a driver of its own, a small disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
from ray.cluster_utils import Cluster

__all__ = ["END_SECONDS", "Driver", "Machines", "machines", "small_disk"]

QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
"""How soon the cluster's head finds that a node is gone; Ray's own settings take 15 seconds."""

END_SECONDS = 300.0
"""A search that takes longer than that undisturbed, from wherever it is, hangs."""


class Machines:
    """A cluster whose head trains nothing, and its one node with the given CPUs."""

    def __init__(self, cpus: int) -> None:
        self._cpus, self._folder = cpus, tempfile.mkdtemp(prefix="xt", dir="/tmp")  # short: sockets
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "temp_dir": self._folder,
                "_system_config": QUICK,
            },
        )
        from ray._common.utils import reset_ray_address  # Ray 2.43 has it elsewhere

        reset_ray_address()  # which others would connect to who start a Ray of their own
        self.address: str = self._cluster.address
        self._node: Any = self._cluster.add_node(num_cpus=cpus)

    def replace_node(self, pause: float) -> None:
        """The node leaves at once; after so many seconds another joins."""
        self._cluster.remove_node(self._node, allow_graceful=False)
        time.sleep(pause)
        self._node = self._cluster.add_node(num_cpus=self._cpus)

    def workers(self) -> list[int]:
        """The processes that train, of this cluster alone."""
        raylet = self._node.all_processes["raylet"][0].process.pid
        found = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(raylet)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        return [int(line.split()[0]) for line in found if "ray::PackTrainable" in line]

    def stop(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def machines(cpus: int) -> Iterator[Machines]:
    started = Machines(cpus)
    try:
        yield started
    finally:
        started.stop()


class Driver:
    """A process of `xortune search --resume`."""

    def __init__(self, space: Path, folder: Path, address: str | None) -> None:
        self._said = space.with_name(f"said-{time.monotonic_ns()}")
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        cpus = str(len(machine.cores())) if address is None else "1"  # one pack at a time
        command = [sys.executable, "-m", "xortune", "search", str(space), "--resume"]
        command += ["--output", str(folder), "--engine", "fused", "--cpus-per-trial", cpus]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command if address is None else [*command, "--address", address],
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
            )

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGALRM

    def said(self) -> str:
        """Its stderr so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A tmpfs of some MB at the folder, where that may be mounted; whether it is."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "xortune-faults", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
