"""What the training function imports from beside it."""


def score(config, draw):
    return min(1.0, draw + 0.05 * config["n_layers"] + config["k"] / 100)
