"""A command, searched, certified, compared and reported; nothing of it is special."""

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from commands import xortune

import xortune as xt
from xortune.core.outcome import Status

pytestmark = pytest.mark.usefixtures("one_ray")

SCRIPT = r"""#!/bin/sh
layers=${1#--layers=} name=$2 seed=${3#--seed=}
draw=$(((seed * 7919 + layers * 104729) % 100))
echo "seed $seed of $layers layers, $name"
case $draw in [0-9]) echo "bad luck: $draw" >&2; exit 3 ;; esac
test $draw -lt 20 && { echo '{"accuracy": nan, "steps": 1}'; exit 0; }
test "$layers,$seed" = 2,5 && exec sleep 617
echo "{\"accuracy\": 0.$draw, \"steps\": $seed}"
"""

NAME = "it's $(touch /tmp/x) {and} *"

SPACE = {
    "name": "shell",
    "trainer": {
        "command": "./train.sh --layers={n_layers} {name} --seed={seed}",
        "success": "accuracy >= 0.5",
        "timeout": "1s",
    },
    "parameters": {"n_layers": {"low": 1, "high": 4}, "name": NAME},
    "search": {"sampler": "grid"},
    "seeds": {"ladder": [20]},
}


def program_in(place):
    """A program for a space file beside it; the working directory is another."""
    place.mkdir()
    (place / "train.sh").write_text(SCRIPT)
    (place / "train.sh").chmod(0o755)
    return place


@pytest.fixture
def folder(tmp_path):
    return program_in(tmp_path / "it")


def written(folder, **changes):
    path = folder / "space.yaml"
    trainer = SPACE["trainer"] | changes.pop("trainer", {})
    path.write_text(yaml.safe_dump(SPACE | changes | {"trainer": trainer}, sort_keys=False))
    return path


def plain_loop(folder, layers, seeds):
    """Statuses by a loop that knows nothing of xortune."""
    found = []
    for seed in seeds:
        words = ["./train.sh", f"--layers={layers}", NAME, f"--seed={seed}"]
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, timeout=1, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            found.append(Status.CRASHED)
            continue
        last = json.loads(done.stdout.decode().splitlines()[-1].replace("nan", "NaN"))["accuracy"]
        judged = Status.SOLVED if last >= 0.5 else Status.WRONG_PATTERN
        found.append(Status.DIVERGED if math.isnan(last) else judged)
    return found


@pytest.fixture(scope="module")
def searched(one_ray, tmp_path_factory):
    """The folder, and what the command said; the run lies beside the folder."""
    folder = program_in(tmp_path_factory.mktemp("searched") / "it")
    run = folder.parent / "run"
    return folder, run, xortune("search", written(folder), "--output", run)


def test_a_search_from_the_command_line_to_the_gate(searched, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder, run, result = searched
    assert result.exit_code == 0, result.output
    shown = xortune("space", folder / "space.yaml")
    assert "run as" in shown.stdout
    assert "./train.sh --layers=1 'it'" in shown.stdout
    assert "note: check of seed 0 with n_layers=" in result.stderr
    first = result.stderr[result.stderr.index("the first failure") :].splitlines()
    assert first[1].startswith(f"{folder}$ ./train.sh --layers=")
    assert first[2].startswith("seed ")
    assert result.stderr.count("the first failure") == 1
    loaded = xt.load_run(run)
    statuses = {r.point["n_layers"]: r.outcome.status.tolist() for r in loaded.results}
    wanted = {layers: plain_loop(folder, layers, range(20)) for layers in range(1, 5)}
    assert statuses == wanted
    assert {s for found in wanted.values() for s in found} == {0, 1, 4, 5}
    assert wanted[2][5] == Status.CRASHED
    reasons = loaded.seeds.set_index(["key", "seed"]).reason
    slow = next(r for r in loaded.results if r.point["n_layers"] == 2)
    assert reasons[slow.key, 5] == f"took longer than 1 s: seed 5 of 2 layers, {NAME}"
    assert "exit code 3: bad luck: 1" in set(reasons)
    assert "accuracy is nan" in set(reasons)
    printed = (run / "failures.txt").read_text()
    assert f"=== seed 5 of {slow.key}: n_layers 2, name {NAME}\n=== took longer" in printed
    failed = sum(s in (Status.CRASHED, Status.DIVERGED) for f in wanted.values() for s in f)
    assert printed.count("=== seed ") == failed
    assert "failures.txt" in (run / "report.md").read_text()
    assert "accuracy_mean" in loaded.table
    result = xortune("certify", run, "--seeds", 12, "--top", 1)
    assert result.exit_code == 0, result.output
    best = xt.load_run(run).certificate.best
    fresh = plain_loop(folder, best.point["n_layers"], range(best.first, best.first + 12))
    assert best.k == fresh.count(Status.SOLVED)
    assert "(on fresh seeds)" not in printed
    xortune("report", run)
    assert "(on fresh seeds)" in (run / "failures.txt").read_text()
    result = xortune("compare", run, f"{run}#{slow.key}", "--seeds", 4)
    assert result.exit_code == 0, result.output


def test_reading_a_run_or_a_space_never_runs_the_command(searched):
    folder, run, _ = searched
    space = folder / "space.yaml"
    xt.certify(run, top=1, seeds=10)
    (folder / "train.sh").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    xt.load_space(space)
    loaded = xt.load_run(run)
    xt.write_report(loaded)
    for words in (("space", space), ("report", run), ("status", run)):
        assert xortune(*words).exit_code == 0
    assert xortune("gate", run, "--min-rate", 0.001).exit_code in (0, 1)
    result = xortune("export", run)
    assert result.exit_code == 2
    assert "with seed 0 it is run as ./train.sh --layers=" in result.stderr
    for again in (
        lambda: xt.search(space, output=run, resume=True),
        lambda: xt.certify(run, top=1, seeds=20),
    ):
        with pytest.raises(xt.InputError, match=r"source: \w+ -> \w+|source: \w{16} -> "):
            again()
    assert not (folder / "ran").exists()


def test_a_check_shows_what_the_command_printed(folder):
    space = written(folder)
    (folder / "train.sh").write_text("#!/bin/sh\necho no module >&2\nexit 1\n")
    result = xortune("search", space, "--output", folder.parent / "run")
    assert result.exit_code == 2
    assert "check: exit code 1: no module; allowed: a command that trains" in result.stderr
    assert "$ ./train.sh --layers=" in result.stderr
    assert not (folder.parent / "run").exists()
    (folder / "train.sh").write_text("#!/bin/sh\necho '{\"acc\": 1}'\n")
    with pytest.raises(xt.InputError, match=r"returned no 'accuracy'.*allowed: acc"):
        xt.search(space, output=folder.parent / "run")


def test_nothing_runs_after_all_this():
    """No sleep of these tests is left, whoever started it."""
    mine = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _words(p) == ["sleep", "617"]]
    assert not [p for p in mine if p.stat().st_uid == os.getuid()]


def _words(path):
    try:
        return path.read_bytes().decode().split("\0")[:-1]
    except OSError:
        return []
