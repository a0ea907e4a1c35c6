"""Compiled code is kept in the user's cache directory; a cache that is no good costs time only."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba import njit

from xortune.trainers import kernels
from xortune.trainers.kernels import cache

SOURCES = Path(kernels.__file__).parent


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The directory that this process keeps its code in during a test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return cache.directory()


def fresh():
    """A function that nothing has been compiled of in this process."""

    @njit
    def double(x):
        return x + x

    return double


def compiled_anew(value: float = 1.5) -> bool:
    """Calls a fresh function; whether it had to be compiled."""
    dispatcher = fresh()
    assert cache.compiled(dispatcher)(value) == 2 * value
    return sum(dispatcher.stats.cache_hits.values()) == 0


def files(place: Path) -> list[Path]:
    """Those that numba has written: an index and the code."""
    return sorted(path for path in place.iterdir() if path.suffix in {".nbi", ".nbc"})


# --- kept and found ------------------------------------------------------------------------------


def test_code_is_kept_and_found_again(place):
    assert compiled_anew()
    index, code = sorted(files(place), key=lambda path: path.suffix, reverse=True)
    assert (index.suffix, code.suffix) == (".nbi", ".nbc")
    assert not compiled_anew()
    assert compiled_anew(value=2), "of another type"
    assert not compiled_anew(value=2)


def test_other_sources_have_another_directory(place, tmp_path, monkeypatch):
    copies = tmp_path / "kernels"
    copies.mkdir()
    for source in SOURCES.glob("*.py"):
        (copies / source.name).write_bytes(source.read_bytes())
    digests = []
    for change in ("", "# a comment"):
        path = copies / "formulas.py"
        path.write_bytes(path.read_bytes() + change.encode())
        cache._digest.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(cache, "__file__", str(copies / "cache.py"))
            digests.append(cache._digest())
    cache._digest.cache_clear()
    assert place.name == f"kernels-{digests[0]}"
    assert digests[0] != digests[1]


# --- no good -------------------------------------------------------------------------------------

DAMAGES = {
    "empty": lambda _: b"",
    "all but one byte": lambda content: content[:-1],
    "text": lambda _: b"no pickle at all\n" * 20,
    "a pickle of nothing": lambda _: b"\x80\x04N.",
    "a pickle of a class that is no more": lambda _: b"cnot_here\nThing\n.",
    "an index out of range": lambda _: b"h\xff.",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_compiled_anew_and_replaced(place, suffix, damage):
    assert compiled_anew()
    (path,) = (path for path in files(place) if path.suffix == suffix)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert compiled_anew()
    assert not compiled_anew(), "the damage has not been made good"


def test_a_place_that_is_a_file_costs_time_only(tmp_path):
    (tmp_path / "cache").write_text("I am in the way")
    assert compiled_anew()
    assert compiled_anew()
    assert (tmp_path / "cache").read_text() == "I am in the way"


def test_a_place_that_cannot_be_written_costs_time_only(place, monkeypatch):
    """The superuser may write everywhere: so the refusal is the system's."""
    place.mkdir(parents=True)

    def refuse(*args, **more):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(cache.os, "open", refuse)
    assert compiled_anew()
    assert compiled_anew()
    assert list(place.iterdir()) == []


def test_a_lock_that_is_held_is_not_waited_for_forever(place, monkeypatch):
    import fcntl

    place.mkdir(parents=True)
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.2)
    with (place / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert compiled_anew()


# --- whole processes -----------------------------------------------------------------------------

DRAW = """
import numpy as np
from xortune.trainers.kernels.draws import uniform
from xortune.trainers.kernels.cache import compiled, directory
values = np.empty((3, 16), np.float32)
compiled(uniform)(np.arange(16, dtype=np.uint32), np.ones(3, np.float32), True, values)
print(directory(), sum(uniform.stats.cache_hits.values()), values.sum())
"""


def start(**environment: str) -> subprocess.Popen:
    more = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}}
    return subprocess.Popen(
        [sys.executable, "-c", DRAW],
        env=more | {"PYTHONPATH": str(SOURCES.parents[2])} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen) -> tuple[Path, int, float]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert not err
    place, hits, total = out.rsplit(maxsplit=2)
    return Path(place), int(hits), float(total)


def test_two_processes_that_start_at_once_compile_once(tmp_path):
    """Into the user's cache directory, and nothing beside the sources."""
    before = sorted(SOURCES.rglob("*.nb*"))
    both = [said(process) for process in [start(XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]]
    assert sorted(hits for _, hits, _ in both) == [0, 1]
    assert both[0][2] == both[1][2]
    (place, *_), _ = both
    assert place.is_relative_to(tmp_path / "xortune")
    assert len(files(place)) == 2
    assert sorted(SOURCES.rglob("*.nb*")) == before == []
