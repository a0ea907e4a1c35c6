"""What is too large is refused before it starts; what is large takes no more than it needs."""

import forked
import numpy as np
import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # a fixture
from hand_made import CONFIG, TINY_SPACE

import xortune as xt

ONCE = xt.Config(**CONFIG | {"epochs": 1})
COMMAND = ("evaluate", *(f"--{name.replace('_', '-')}={CONFIG[name]}" for name in CONFIG))
COMMAND = (*COMMAND[:-2], "--epochs", 1)  # zero_grad has no value


@pytest.fixture
def little_memory(monkeypatch):
    """A machine with 2 GB free, whatever this one has."""
    monkeypatch.setattr("xortune.trainers.limits._free", lambda: 2 * 10**9)


def long_task(rows):
    inputs = np.random.default_rng(0).integers(0, 2, (rows, 2)).astype(np.float32)
    return xt.Task("long", inputs, (inputs.sum(axis=1, keepdims=True) % 2).astype(np.float32))


MEASURE = """\
import atexit, re, runpy, sys
from pathlib import Path

def kilobytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

Path("/proc/self/clear_refs").write_text("5")  # the most begins anew
before = kilobytes("VmRSS")
atexit.register(lambda: print(kilobytes("VmHWM") - before, file=sys.stderr))
runpy.run_module("xortune", run_name="__main__")
"""


def test_one_seed_of_a_long_table_takes_the_memory_of_one_network(tmp_path):
    """64 networks of 100,000 rows take 0.65 GB; one takes 0.02 GB."""
    rows = "".join(f"{i % 2},{i // 2 % 2},{(i + i // 2) % 2}\n" for i in range(100_000))
    (tmp_path / "long.csv").write_text(f"a,b,y\n{rows}")
    words = [*map(str, COMMAND), "--task", "long.csv", "--seeds", "1"]
    done = forked.run(["-c", MEASURE, *words], cwd=tmp_path)
    assert 5_000 < int(done.stderr.splitlines()[-1]) < 350_000


def test_a_seed_of_a_long_table_does_not_depend_on_those_beside_it():
    task = long_task(100_000)
    three, one = (xt.evaluate(ONCE, seeds, task=task) for seeds in ([1, 2, 3], [3]))
    assert three.final_loss[2:].tobytes() == one.final_loss.tobytes()
    assert three.patterns[2] == one.patterns[0]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--hidden-dim", 5, "--seeds", 10**9), ("1,000,000,000 seeds take about", "GB", "up to")),
        (("--hidden-dim", 10**9, "--seeds", 1), ("hidden_dim 1,000,000,000 on 4 rows", "240 GB")),
        (("--hidden-dim", 5000, "--seeds", 10**9), ("1,000,000,000 seeds take about",)),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_with_the_memory_it_takes(more, words):
    assert "2 GB are free" in refused(xortune(*COMMAND, *more), *words)


@pytest.mark.usefixtures("little_memory")
def test_a_long_table_is_refused_with_the_memory_it_takes():
    """A network has its activations of every row."""
    config = xt.Config(**CONFIG | {"hidden_dim": 100})
    with pytest.raises(xt.InputError, match=r"hidden_dim 100 on 1,000,000 rows takes about 2\.\d"):
        xt.evaluate(config, range(1), task=long_task(10**6))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "hidden_dim",
    ["1000000000", "{choice: [2, 1000000000]}", "{low: 2, high: 1000000000, log: true}"],
)
def test_a_search_with_a_network_too_large_is_refused_before_it_starts(tmp_path, hidden_dim):
    text = TINY_SPACE.replace("hidden_dim: 3", f"hidden_dim: {hidden_dim}")
    (tmp_path / "space.yaml").write_text(text)
    for dry in ((), ("--dry-run",)):
        result = xortune("search", "space.yaml", *dry)
        said = refused(result, "error: space.yaml:9: parameters.hidden_dim: ", lines=2)
        assert "takes about" in said
        assert "2 GB are free" in said
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]
