"""Blocks in, outcomes out: the built-in network, a user's function, a user's command."""
