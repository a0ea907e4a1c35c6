"""A Lightning module that tells two spirals apart: a task that networks get stuck on."""

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)  # xortune trains on all cores already, one seed each

# Lightning has something to say of each training, and there are hundreds.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


def spirals(points, turns=1.0):
    """Two arms, one of each class: places (2 * points, 2) and classes (2 * points, 1)."""
    along = torch.linspace(0.1, 1, points)
    angle = 2 * torch.pi * turns * along
    arm = torch.stack([along * torch.cos(angle), along * torch.sin(angle)], dim=1)
    classes = torch.cat([torch.zeros(points, 1), torch.ones(points, 1)])
    return TensorDataset(torch.cat([arm, -arm]), classes)


class Spirals(L.LightningModule):
    """A network with two hidden layers."""

    def __init__(self, lr, width, activation):
        super().__init__()
        unit = getattr(nn, activation)
        self.lr = lr
        self.network = nn.Sequential(
            *(nn.Linear(2, width), unit(), nn.Linear(width, width), unit(), nn.Linear(width, 1))
        )

    def training_step(self, batch):
        """The loss of a batch."""
        places, classes = batch
        return nn.functional.binary_cross_entropy_with_logits(self.network(places), classes)

    def test_step(self, batch):
        """The loss, and the share of the points that are on the right side."""
        right = (self.network(batch[0]) > 0) == batch[1].bool()
        self.log_dict({"loss": self.training_step(batch), "accuracy": right.float().mean()})

    def configure_optimizers(self):
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def run(config, seed):
    """The loss and the accuracy on points that lie between those trained on."""
    L.seed_everything(seed, verbose=False)
    module = Spirals(config["lr"], config["width"], config["activation"])
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=config["epochs"],
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(spirals(97), batch_size=config["batch"], shuffle=True))
    [found] = trainer.test(module, DataLoader(spirals(200), batch_size=400), verbose=False)
    return found
