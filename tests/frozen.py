"""Writes what users see of a handful of runs into a folder, times and speeds taken out.

    python tests/frozen.py BEFORE      # at one commit
    python tests/frozen.py AFTER       # at another, on the same machine
    diff -r BEFORE AFTER               # empty where behaviour is the same

It searches eight spaces and imports a table, and keeps journals, tables, certificates, reports and
what each command prints as JSON. Trainings of the built-in network depend on the last bits that a
processor computes, so only folders of one machine can be compared.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NETWORK = """
task: xor
epochs: 300
parameters:
  activation: {choice: [ReLU, Tanh]}
  loss: MSELoss
  optimizer: {choice: [SGD, Adam]}
"""
WIDE = f"""{NETWORK}
  lr: {{low: 0.01, high: 1.0, log: true}}
  momentum: {{low: 0.0, high: 0.99, when: {{optimizer: SGD}}}}
  hidden_dim: {{low: 2, high: 8}}
"""
FEW = f"""{NETWORK}
  lr: {{choice: [0.03, 0.3]}}
  momentum: {{choice: [0.9], when: {{optimizer: SGD}}}}
  hidden_dim: {{choice: [2, 4, 8]}}
"""
OWN = """
parameters:
  width: {low: 1, high: 40}
  lr: {low: 0.001, high: 1.0, log: true}
trainer: ./train.py:run
success: "accuracy >= 0.93"
"""
COMMAND = """
parameters:
  width: {low: 1, high: 9}
trainer:
  command: "PYTHON program.py {width} {seed}"
  success: "value >= 0.7"
"""
RACE = "seeds: {race: {alpha: 0.05, max: %s}, certify: %s}"
SPACES = {
    "random": (WIDE, "search: {sampler: random, trials: 12}", "seeds: {ladder: [16]}"),
    "grid": (FEW, "search: {sampler: grid}", "seeds: {ladder: [10]}"),
    "tpe": (WIDE, "search: {sampler: tpe, trials: 24}", "seeds: {ladder: [20]}"),
    "race": (WIDE, "search: {sampler: tpe, trials: 40}", RACE % (128, 200)),
    "front": (
        WIDE,
        "search: {sampler: tpe, trials: 20}",
        "seeds: {race: {alpha: 0.05, max: 32}}",
        "objectives: [success_rate, epochs_to_solve, hidden_dim]",
    ),
    "function": (OWN, "search: {sampler: tpe, trials: 30}", RACE % (64, 100)),
    "numbers": (
        OWN,
        "search: {sampler: random, trials: 30}",
        "seeds: {ladder: [12]}",
        "objectives: [accuracy_q10]",
    ),
    "command": (COMMAND, "search: {sampler: random, trials: 5}", "seeds: {ladder: [4]}"),
}
TRAIN = """
import random


def run(config, seed):
    draw = random.Random(f"{seed} {config['width']}")
    accuracy = 0.8 + 0.2 * min(1.0, config["width"] / 30) - 0.15 * draw.random() ** 3
    if draw.random() < 0.02:
        raise ValueError("no luck")
    return {"accuracy": accuracy, "loss": 1 - accuracy}
"""
PROGRAM = """
import sys

width, seed = int(sys.argv[1]), int(sys.argv[2])
print(round(0.5 + (width * 7 + seed * 13) % 50 / 100, 3))
"""
RESULTS = "lr,seed,success\n" + "".join(
    f"{lr},{seed},{int((seed * 7 + i) % 5 > i)}\n"
    for i, lr in enumerate((0.01, 0.1, 1.0))
    for seed in range(12)
)
FILES = ("table.csv", "table.tex", "report.md", "certificate.json")
TIMES = "seconds|at|worker|pid|host|elapsed|left|path|run|directory|output|written|seconds_here"
SPEEDS = r"busy|seed_seconds|seconds_for_each|\w+_per_second"
TAKEN_OUT = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d| UTC)?", "TIME"),
    (rf'("(?:{TIMES}|{SPEEDS})": )("[^"]*"|[-0-9.e]+|null)', r"\1X"),
    (r"\b\d[\d,.]* ?(s|ms|µs|seconds|minutes|min|h)\b", "DURATION"),
    (r"about \w+ (seconds?|minutes?|hours?)", "about DURATION"),
    (r"busy [\d.]+ % of the time", "busy SOME % of the time"),
    (r"from \d+ of \d+ seeds on", "from SOME seeds on"),  # these follow the order in which
    (r"first failure: .*", "first failure: SOME"),  # workers come to their ends
)


def plain(text: str, folder: Path) -> str:
    """The text without what differs from one time to the next."""
    text = text.replace(str(folder), "FOLDER").replace(sys.executable, "PYTHON")
    for pattern, word in TAKEN_OUT:
        text = re.sub(pattern, word, text)
    return text


def lines_of(journal: Path) -> str:
    """The journal's evaluations, sorted: which worker is quicker decides their order."""
    entries = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        for name in ("seconds", "at", "worker", "made"):
            entry.pop(name, None)
    return "".join(sorted(json.dumps(entry, sort_keys=True) + "\n" for entry in entries))


def commands() -> dict[str, str]:
    """What is run, by the name of the file that keeps what it prints."""
    found = {}
    for name in SPACES:
        found[f"{name}.space"] = f"space {name}.yaml --json"
        found[f"{name}.search"] = f"search {name}.yaml --json --quiet"
    found["imported.import"] = (
        "import results.csv --config lr --seed seed --success success --output runs/imported --json"
    )
    for name in (*SPACES, "imported"):
        for command in ("status", "report"):
            found[f"{name}.{command}"] = f"{command} runs/{name} --json"
        found[f"{name}.export"] = f"export runs/{name}"
    for name, seeds in (("tpe", 100), ("numbers", 30)):
        found[f"{name}.certify"] = f"certify runs/{name} --top 2 --seeds {seeds} --json --quiet"
    found["compare"] = "compare runs/tpe runs/race --seeds 100 --output c --json --quiet"
    found["plan"] = "plan --rate 0.99 --json"
    found["gate"] = "gate runs/race --min-rate 0.5 --json"
    found["evaluate"] = (
        "evaluate --activation Tanh --loss MSELoss --optimizer Adam --lr 0.1 "
        "--hidden-dim 4 --epochs 300 --seeds 100 --json"
    )
    return found


def main(out: Path) -> None:
    out.mkdir(parents=True)
    how = {"env": {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}, "capture_output": True}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        texts = {"train.py": TRAIN, "program.py": PROGRAM, "results.csv": RESULTS}
        texts |= {f"{n}.yaml": "\n".join([f"name: {n}", *parts]) for n, parts in SPACES.items()}
        for name, text in texts.items():
            (folder / name).write_text(text.replace("PYTHON", sys.executable), encoding="utf-8")
        for name, words in commands().items():
            command = [sys.executable, "-m", "xortune", *words.split()]
            ran = subprocess.run(command, cwd=folder, text=True, check=False, **how)
            shown = f"exit {ran.returncode}\n{ran.stdout}\n-- stderr\n{ran.stderr}"
            (out / f"{name}.txt").write_text(plain(shown, folder), encoding="utf-8")
        for run in sorted(one for one in (folder / "runs").iterdir() if one.is_dir()):
            for file in FILES:
                if (run / file).exists():
                    text = (run / file).read_text(encoding="utf-8")
                    (out / f"{run.name}.{file}").write_text(plain(text, folder), encoding="utf-8")
            lines = lines_of(run / "evaluations.jsonl")
            (out / f"{run.name}.evaluations.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
