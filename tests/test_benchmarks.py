"""The benchmarks run and print ratios; how large they are is no test's business."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (
            "engines.py",
            [
                r"the thread's loop +\| +1 \| .*\(\S+x\)",
                r"stacked torch +\| +128 \| .*\(\S+x\)",
                r"fused +\| +128 \| .*\(1\.0x\)",
                r"One core: \d+ GFLOP/s",
            ],
        ),
        (
            "stacked.py",
            [
                r"2-5-1, 8 x 8, SGD +\| +\d+ \| +\d+ \| +\d+\.\dx",
                r"On a GPU: not|ns for an epoch of",
            ],
        ),
        (
            "journal.py",
            [
                r"no fsync at all +\| +\d+\.\d\d \|",
                r"is [+-]\d+\.\d% of the 80 s",
                r"grid +\| +\d+\.\d \| +\d+\.\d \|",
            ],
        ),
        (
            "scale.py",
            [
                r"\| random +\| +1,000 \| ",
                r"\| grid +\| +1,216 \| ",
                r"1,000 +\| +`load_run` \| +\d+\.\d \|",
                r"1,000 +\| +report\.md \| +\d+\.\d \|",
            ],
        ),
        ("sweep.py", [r"\| 1 +\| .* 1\.00x \|", r"pure training of 88,200 cells"]),
    ],
)
@pytest.mark.long
def test_quick_run_prints_ratios(script, lines):
    command = [sys.executable, str(BENCHMARKS / script), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert re.search(line, done.stdout), line
