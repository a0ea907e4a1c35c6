"""A trainer: an address that is asked for each seed, `trainer: http://host/train` in a space file.

It gets {"config": {...}, "seed": 3} by POST and answers with a number, true, false or an object of
numbers, as a training function returns them; `success` of the space judges it.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from xortune.core.trainer import Trainer, Traits, Void
from xortune.driver.trainer import Kind
from xortune.trainers.verdicts import SeedResults, crashed, judged

SECONDS = 60.0
"""How long an answer may take."""


@dataclass(frozen=True)
class Asks(Trainer):
    """Trains by asking an address."""

    address: str
    rule: Any = None

    @property
    def traits(self):
        """Whoever asks waits for the network: a seed may take long, or never end."""
        return Traits(users_code=True, rule=self.rule, seconds=0.1)

    def describe(self):
        """What decides the results; the manifest has it."""
        return {"trainer": self.address}

    def train(self, blocks):
        """The outcome of each block."""
        return [self.block(block) for block in blocks]

    def block(self, block):
        """Ask for seed after seed; where nobody answers, the seed says nothing of its config."""
        results = SeedResults(block)
        for seed in block.seeds:
            try:
                returned = ask(self.address, {"config": block.point.as_dict(), "seed": seed})
                results.add(judged(returned, self.rule))
            except (HTTPError, ValueError) as error:  # it has answered: this seed failed
                results.add(crashed(f"{type(error).__name__}: {error}"))
            except OSError as error:
                return Void(f"{type(error).__name__}: {error}", results.so_far())
        return results.outcome()


def ask(address, question):
    """What an address answers to a question, both as JSON."""
    body = json.dumps(question).encode()
    request = Request(address, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


HTTP = Kind(
    "http",
    "asks an address for each seed",
    matches=lambda wanted: str(wanted.space.trainer).startswith(("http://", "https://")),
    make=lambda wanted: Asks(wanted.space.trainer, wanted.space.rule),
)
