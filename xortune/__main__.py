"""`python -m xortune`: the command line where the package is there but its script is not."""

from __future__ import annotations

from xortune.cli import main

main()
