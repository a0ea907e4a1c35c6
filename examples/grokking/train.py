"""A small transformer that learns addition modulo 31 from half of all sums."""

import torch
from torch import nn
from torch.nn import functional as F

import xortune as xt

torch.set_num_threads(1)

MODULUS = 31
PAIRS = torch.cartesian_prod(torch.arange(MODULUS), torch.arange(MODULUS))
SUMS = PAIRS.sum(1) % MODULUS
# The split is the same for all: a seed decides about the weights, not about the question.
ORDER = torch.randperm(len(PAIRS), generator=torch.Generator().manual_seed(0))
TRAIN, TEST = ORDER[: len(ORDER) // 2], ORDER[len(ORDER) // 2 :]


class Adder(nn.Module):
    """One encoder layer over two tokens; the mean of both says the sum."""

    def __init__(self, width):
        super().__init__()
        self.token = nn.Embedding(MODULUS, width)
        self.place = nn.Parameter(0.02 * torch.randn(2, width))
        self.layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True
        )
        self.out = nn.Linear(width, MODULUS)

    def forward(self, pairs):
        return self.out(self.layer(self.token(pairs) + self.place).mean(1))


class Grokking(xt.TorchTraining):
    def __init__(self, config):
        super().__init__(config)
        self.epochs = config["epochs"]  # of five batches
        self.report_every = 20

    def model(self):
        return Adder(self.config["width"])

    def optimizer(self, parameters):
        return torch.optim.AdamW(
            parameters,
            lr=self.config["lr"],
            betas=(0.9, 0.98),
            weight_decay=self.config["weight_decay"],
        )

    def batches(self):
        for rows in TRAIN[torch.randperm(len(TRAIN))].split(96):
            yield PAIRS[rows], SUMS[rows]

    def loss(self, model, pairs, sums):
        return F.cross_entropy(model(pairs), sums)

    def score(self, model):
        return {
            "accuracy": (model(PAIRS[TEST]).argmax(1) == SUMS[TEST]).float().mean(),
            "train_accuracy": (model(PAIRS[TRAIN]).argmax(1) == SUMS[TRAIN]).float().mean(),
        }
