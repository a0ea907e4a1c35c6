"""Does a test fail when the code is wrong? Changes one line at a time and runs the tests named.

    python tests/mutations.py            all of them
    python tests/mutations.py journal    those of files whose name has that in it

The wrong lines themselves are in mutated/, by topic.

Each change is made in a copy of the tree. Exit code 1 if a change is missed or no longer applies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutated import (
    certificates,
    commands,
    engine,
    figures,
    imported,
    races,
    runs,
    trackers,
    trainers,
    words,
)
from mutated.mutation import Mutation

ROOT = Path(__file__).parent.parent

PARTS = (engine, commands, trainers, runs, certificates, races, figures, words, imported, trackers)
MUTATIONS = [mutation for part in PARTS for mutation in part.MUTATIONS]


def caught(mutation: Mutation, tree: Path) -> bool | None:
    """Whether the tests fail in a tree with the change; None if the old text is not there once."""
    path = tree / "xortune" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        return None
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return not passes(mutation.tests, tree)
    finally:
        path.write_text(text, encoding="utf-8")


def passes(tests: str, tree: Path) -> bool:
    """Whether these tests pass with the package of that tree."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [*command, *tests.split()], cwd=tree, env=environment, capture_output=True, check=False
    )
    # 1 is a test that failed, 2 a package too broken to import; anything else is our mistake.
    if ran.returncode not in {0, 1, 2}:
        raise SystemExit(f"{tests}: pytest exits {ran.returncode}\n{ran.stdout.decode()}")
    return ran.returncode == 0


def main(wanted: str = "") -> int:
    """Try every mutation of the files wanted; print each and the total."""
    chosen = [mutation for mutation in MUTATIONS if wanted in mutation.file]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        for part in ("xortune", "tests", "search_spaces", "benchmarks"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", tree)
        broken = [t for t in sorted({m.tests for m in chosen}) if not passes(t, tree)]
        if broken:
            print("these tests fail without any change:", *broken, sep="\n  ")
            return 1
        results = []
        for mutation in chosen:
            results.append(caught(mutation, tree))
            word = {True: "caught", False: "MISSED", None: "NO LONGER APPLIES"}[results[-1]]
            change = f"{mutation.old.strip()} -> {mutation.new.strip()}"
            print(f"{word:7} {mutation.file}: {change}", flush=True)
    print(f"{results.count(True)} of {len(results)} caught")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
