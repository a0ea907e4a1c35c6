"""A form of `xortune export`: variables of a shell, in a file such as best.env."""

import shlex

from xortune.integrations.export import Export, exported


def lines(run, key, seeds):
    """A line for each parameter of the configuration."""
    settings = exported(run, key).point.as_dict()
    return "".join(
        f"{name.upper()}={shlex.quote(str(value))}\n" for name, value in settings.items()
    )


ENV = Export("env", "the config as variables of a shell", (".env",), lines)
