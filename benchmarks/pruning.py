"""What `search: {pruner: ...}` saves and costs: searches of simulated trainings.

A seed reports an accuracy 20 times, once a second: a seed that succeeds rises, at the pace of its
configuration, any other one stays low. So it is known what each pruned seed would have come to. In
one task most seeds fail, in the other a race has good configurations to train.

    python benchmarks/pruning.py            3 searches of each kind: three minutes
    python benchmarks/pruning.py --quick    one
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import machine
import numpy as np
from driven import driven

from xortune.core.outcome import Status, wilson
from xortune.core.success import parse_success
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.propose import proposer_for
from xortune.spaces.space import parse_space
from xortune.trainers.call_form import CallForm
from xortune.trainers.function import CustomTrainer
from xortune.trainers.source import given_source

REPORTS = 20

PRUNERS = {
    "none": "null",
    "median": "median",
    "percentile 25": "{name: percentile, percentile: 25}",
    "percentile 75": "{name: percentile, percentile: 75}",
    "hyperband": "hyperband",
    "patient, 5 reports": "{name: patient, patience: 5, min_delta: 0.02}",
    "threshold, 0.3 from report 5 on": "{name: threshold, lower: 0.3, n_warmup_steps: 5}",
}

TASKS = {
    "most seeds fail, rates 0.02 to 0.4": (np.linspace(0.02, 0.4, 12), "ladder: [8, 32, 128]"),
    "a race, rates 0.4 to 0.95": (np.linspace(0.4, 0.95, 12), "race: {max: 128}"),
}

SPACE = """
name: simulated
success: "accuracy >= 0.8"
parameters: {{config: {{choice: {configs}}}}}
search: {{sampler: grid, seed: {seed}, pruner: {pruner}}}
seeds: {{{seeds}}}
"""


@dataclass
class Task:
    """Simulated trainings; counts their seconds.

    Attributes:
        rates: of the configurations.
        draw: of the seeds' curves.
        seconds: trained so far.
    """

    rates: Any
    draw: int
    seconds: int = 0

    def succeeds(self, config: int, seed: int) -> bool:
        """Whether a seed succeeds if it is trained to its end."""
        return bool(self._luck(config, seed).random() < self.rates[config])

    def run(self, config: dict[str, Any], seed: int) -> Iterator[dict[str, float]]:
        """One training."""
        number = config["config"]
        luck, pace = self._luck(number, seed), 1.5 + 2.5 * (number * 5 % 12) / 11
        is_good = luck.random() < self.rates[number]
        for report, noise in enumerate(luck.normal(0, 0.03, REPORTS).tolist(), 1):
            self.seconds += 1
            yield {"accuracy": (1 - math.exp(-report / pace) if is_good else 0.1) + noise}

    def _luck(self, config: int, seed: int) -> np.random.Generator:
        return np.random.default_rng([self.draw, config, seed])


@dataclass(frozen=True)
class Searched:
    """A search: its seconds and seeds, the true rate of its answer, and its pruned seeds.

    `lost` of the `pruned` would have succeeded; `succeeded` of the `trained_on` did.
    """

    seconds: int
    seeds: int
    failed: int
    rate: float
    pruned: int
    lost: int
    trained_on: int
    succeeded: int


def searched(name: str, pruner: str, draw: int) -> Searched:
    """One search of a task."""
    rates, seeds = TASKS[name]
    task = Task(rates, draw)
    configs = list(range(len(rates)))
    text = SPACE.format(configs=configs, seed=draw, pruner=PRUNERS[pruner], seeds=seeds)
    space, rule = parse_space(text), parse_success("accuracy >= 0.8")
    form = CallForm(yields=True)
    trainer = CustomTrainer(given_source(task.run), rule, form, on=space.pruned_by)
    proposer = proposer_for(space, (), trainer.check)
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=8)
    counts = {config: [0, 0] for config in configs}
    failed = pruned = lost = on = succeeded = 0
    for block, outcome in driven(decisions, trainer):
        config = block.point["config"]
        counts[config][0] += outcome.successes
        counts[config][1] += outcome.n
        failed += sum(not task.succeeds(config, seed) for seed in outcome.seeds.tolist())
        for seed in outcome.details.pruned:
            ended = outcome.status[seed - block.first] == Status.PRUNED
            good = task.succeeds(config, seed)
            pruned, lost = pruned + ended, lost + (ended and good)
            on, succeeded = on + (not ended), succeeded + (not ended and good)
    first = max(configs, key=lambda one: float(wilson(*counts[one])[0]))
    total = sum(n for _, n in counts.values())
    return Searched(task.seconds, total, failed, float(rates[first]), pruned, lost, on, succeeded)


def main() -> None:
    """Print one table for each task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    times = 1 if parser.parse_args().quick else 3
    print(machine.processor())
    for name in TASKS:
        print(f"\n{name}; {times} searches of each\n")
        print("| pruner | seconds of a search | times less | seeds | of them fail | true rate of"
              " the answer | pruned | would have succeeded | trained on | succeeded |")  # fmt: skip
        print("| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
        plain = 0.0
        for pruner in PRUNERS:
            runs = [searched(name, pruner, draw) for draw in range(times)]
            seconds = float(np.mean([one.seconds for one in runs]))
            plain = plain or seconds
            seeds, failed, pruned, lost, on, succeeded = np.sum(
                [(r.seeds, r.failed, r.pruned, r.lost, r.trained_on, r.succeeded) for r in runs],
                axis=0,
            ).tolist()
            low, high = wilson(succeeded, on) if on else (0.0, 1.0)
            told = f"{succeeded} of {on}: {low:.3f} to {high:.3f}" if on else ""
            print(f"| {pruner} | {seconds:,.0f} | {plain / seconds:.2f} | {seeds / times:,.0f} |"
                  f" {failed / seeds:.2f} | {np.mean([r.rate for r in runs]):.3f} |"
                  f" {pruned / times:,.0f} | {lost / max(pruned, 1):.3f} | {on / times:,.0f} |"
                  f" {told} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
