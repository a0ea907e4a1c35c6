"""`hydra/sweeper: xortune`; Hydra finds what is in this package."""
