"""A sampler: Optuna's TPE with other settings, of each parameter by itself."""

import xortune as xt


def make(seed):
    """Optuna's sampler for one proposal."""
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=5, multivariate=False, seed=seed)


UNIVARIATE = xt.Sampler(
    "univariate",
    "tree-structured Parzen estimators of one parameter at a time",
    exact_resume=True,
    make=make,
)
