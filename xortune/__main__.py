"""`python -m xortune`: the command line, also where its script is not installed."""

from __future__ import annotations

import os
import sys

_lies_there = __file__ == os.path.join(sys.path[0], "xortune", "__main__.py")  # noqa: PTH118
if not (sys.flags.safe_path or _lies_there):
    # Python looks into the working folder first, where a file may have the name of one of its own
    # modules.
    sys.path.append(sys.path.pop(0))

from xortune.cli import main  # noqa: E402

main()
