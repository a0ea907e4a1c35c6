"""The command line: the script `xortune`, and `python -m xortune` where it is not installed."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Load the command line and run it."""
    from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)  # Ctrl-C while it is loaded shows no traceback
    from xortune.cli import main as command

    command()


if __name__ == "__main__":
    lies_there = __file__ == os.path.join(sys.path[0], "xortune", "__main__.py")  # noqa: PTH118
    if not (sys.flags.safe_path or lies_there):
        # Python looks into the working folder first, where a file may have the name of one of its
        # own modules.
        sys.path.append(sys.path.pop(0))
    main()
