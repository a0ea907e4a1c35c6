"""`python -m xortune`: the command line, also where its script is not installed."""

from __future__ import annotations

from xortune.cli import main

main()
