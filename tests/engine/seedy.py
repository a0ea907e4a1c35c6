"""A training function from outside: names of its own, exceptions and NaN for some seeds."""

import random

from seedy_parts import score


def luck(config, seed):
    """Accuracy and steps; raises for some seeds, and returns NaN for others."""
    draw = random.Random(seed * 1000 + config["n_layers"]).random()
    if draw < 0.1:
        raise RuntimeError(f"bad luck with {config['n_layers']} layers")
    accuracy = float("nan") if draw < 0.2 else score(config, draw)
    return {"accuracy": accuracy, "steps": seed + 1}


def many(config, seeds):
    """All seeds at once; raises if one of them does."""
    found = [luck(config, int(seed)) for seed in seeds]
    return {name: [one[name] for one in found] for name in ("accuracy", "steps")}


def broken(config, seed):
    raise KeyError("lr")
