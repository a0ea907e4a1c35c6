"""The file of one config: YAML or JSON with the fields of `Config`, checked at the edge."""

from __future__ import annotations

import os

from xortune.config import Config
from xortune.errors import InputError
from xortune.space_yaml import read_text, read_yaml

__all__ = ["load_config"]

EXAMPLE = "activation, loss, optimizer, lr, hidden_dim and epochs, one `name: value` on each line"


def load_config(path: str | os.PathLike[str]) -> Config:
    """The config that a file holds: the fields of `Config` by their names, and nothing else.

    Raises:
        InputError: a file that cannot be read, or anything in it that is not allowed, with file and
            line.
    """
    place = os.fspath(path)
    try:
        document = read_yaml(read_text(path), place)
    except InputError as error:
        if error.problem == "is empty":
            raise InputError("is empty", place=place, allowed=EXAMPLE) from None
        raise
    if "parameters" in document.values:
        raise InputError(
            "is a search space, not one config",
            place=document.at(("parameters",)),
            allowed=EXAMPLE,
            fix="write the values of one config; `xortune search` takes the space",
        )
    try:
        return Config.from_point(document.values)
    except InputError as error:
        raise error.at(document.at((error.field,) if error.field else ())) from None
