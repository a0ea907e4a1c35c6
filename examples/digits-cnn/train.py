"""A small convolutional network in PyTorch, on the digits that scikit-learn ships."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.set_num_threads(1)  # xortune trains on all cores already, one seed each

BATCH = 64

IMAGES, DIGITS = load_digits(return_X_y=True)
# The split is the same for all: a seed decides about weights and batches, not about the question.
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = (
    torch.from_numpy(part)
    for part in train_test_split(
        (IMAGES / 16).astype(np.float32).reshape(-1, 1, 8, 8),
        DIGITS,
        test_size=0.25,
        random_state=0,
        stratify=DIGITS,
    )
)


def run(config, seed):
    """The accuracy on 450 digits that were not trained on."""
    torch.manual_seed(seed)
    channels = config["channels"]
    network = nn.Sequential(
        *(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(config["dropout"]), nn.Linear(8 * channels, 10)),
    )
    settings = {"lr": config["lr"]}
    if "momentum" in config:  # only where the space file has it active
        settings["momentum"] = config["momentum"]
    optimizer = getattr(torch.optim, config["optimizer"])(network.parameters(), **settings)
    for _ in range(config["epochs"]):
        for rows in torch.randperm(len(TRAIN_X)).split(BATCH):
            loss = nn.functional.cross_entropy(network(TRAIN_X[rows]), TRAIN_Y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        right = network(TEST_X).argmax(dim=1) == TEST_Y
    return {"accuracy": right.double().mean()}
