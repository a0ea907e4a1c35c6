"""What this package adds to xortune; `pyproject.toml` names each value as an entry point."""
