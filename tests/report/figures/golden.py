"""Writes golden.json, what all figures of the small runs show and say.

To renew it after a wanted change: run this file, and read the diff.
"""

import json
import sys
import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # as a script

import compared_runs
import parameter_runs
import success_runs

from xortune.reports.drawing.model import Mark

GOLDEN = Path(__file__).with_name("golden.json")


def figures(folder):
    """All of them but the decision surface, whose values follow from a training."""
    for name in ("success", "parameters", "compared"):
        (folder / name).mkdir(parents=True)
    return [
        *success_runs.figures(folder / "success"),
        *parameter_runs.figures(folder / "parameters"),
        *compared_runs.figures(folder / "compared"),
    ]


def as_golden(plots):
    """What they say beyond the defaults, as JSON has it."""

    def told(value):
        if isinstance(value, Mark):
            return [told(part) for part in value if part is not None and part != ""]
        if is_dataclass(value):
            pairs = ((f, getattr(value, f.name)) for f in fields(value))
            kept = {f.name: told(part) for f, part in pairs if part != f.default}
            return {"is": type(value).__name__, **kept}
        if isinstance(value, list | tuple):
            return [told(part) for part in value]
        return round(value, 9) if isinstance(value, float) else value

    return {plot.name: told(plot) for plot in plots}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(as_golden(figures(Path(folder))), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
