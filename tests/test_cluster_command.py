"""A command whose files lie beside the space file runs on each node of a cluster, in a copy."""

import shutil

import pytest
from two_nodes import two_nodes

import xortune as xt

SPACE = """
name: nodes
trainer:
  command: ./beside/train.sh {x} {seed}
  metric: last line json
  files: [beside]
parameters: {x: {low: 0, high: 15}}
search: {sampler: grid}
seeds: {ladder: [4]}
"""

TRAIN = """#!/bin/sh
sleep 0.2
. ./beside/parts.sh
test "$(pwd)" = "@" && here=true || here=false
echo "{\\"success\\": $(good "$1" "$2"), \\"here\\": $here}"
"""

PARTS = "good() { test $((($1 + $2) % 3)) -gt 0 && echo true || echo false; }\n"


@pytest.mark.long
def test_both_nodes_run_what_the_driver_sent(tmp_path):
    space = tmp_path / "space"
    (space / "beside").mkdir(parents=True)
    (space / "beside" / "train.sh").write_text(TRAIN.replace("@", str(space)))
    (space / "beside" / "train.sh").chmod(0o755)
    (space / "beside" / "parts.sh").write_text(PARTS)
    (space / "space.yaml").write_text(SPACE)

    def gone(word):
        """As on a machine without the files: what the driver read is all there is."""
        if word.startswith("check of"):
            assert "here 1" in word
            shutil.rmtree(space / "beside")

    with two_nodes():
        run = xt.search(space / "space.yaml", output=tmp_path / "run", on_word=gone)
    assert not (space / "beside").exists()
    assert len(run.results) == 16
    for found in run.results:
        assert found.outcome.solved.tolist() == [(found.point["x"] + s) % 3 > 0 for s in range(4)]
    assert set(run.seeds.here) == {0.0}
    assert len({evaluation.worker for evaluation in run.evaluations}) == 2
