"""A tracker: a file with one line of JSON for each configuration after each block of seeds."""

import json
from dataclasses import dataclass
from pathlib import Path

from xortune.integrations.trackers import Tracker, TrackerKind


@dataclass(frozen=True)
class JSONLines(Tracker):
    """Lines of a file; `--tracker jsonl=FILE`, or `trackers=[JSONLines(FILE)]`."""

    file: str = "tracked.jsonl"

    name, package = "JSON lines", "xortune_plugin"

    @property
    def options(self):
        """What logs there on the command line."""
        return ("--tracker", f"jsonl={self.file}")

    def place(self, run):
        """Where a run is logged, for messages."""
        return self.file

    def check(self, output):
        """Any name of a file will do."""

    def write(self, run, configs):
        """Add the lines that the file lacks: it says itself which it has."""
        file = Path(self.file)
        text = file.read_text() if file.exists() else ""
        known = {
            (line["run"], line["config"], line["n"]) for line in map(json.loads, text.splitlines())
        }
        with file.open("a") as lines:
            for config in configs:
                for step in config.steps:
                    if (run.title, config.key, step.n) not in known:
                        named = {"run": run.title, "config": config.key, "n": step.n}
                        told = {"settings": config.settings, "metrics": dict(step.metrics)}
                        lines.write(json.dumps(named | told) + "\n")


JSONL = TrackerKind(
    "jsonl",
    "a line of JSON for each configuration and block of seeds",
    lambda where: JSONLines(where) if where else JSONLines(),
)
