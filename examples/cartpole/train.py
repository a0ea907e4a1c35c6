"""CartPole by the simplest methods there are: a linear policy, found without a gradient.

random: draws policies from [-1, 1] until one never falls.
hill: adds noise to the best so far, and takes what is better.
cem: the cross-entropy method: draws 25, and goes on from the mean and the spread of the best five.
"""

import gymnasium as gym
import numpy as np

LONGEST = 500  # steps of an episode of CartPole-v1, each of which pays 1
CANDIDATES, ELITE = 25, 5
TESTS = 100


def run(config, seed):
    """Search until a policy never fell, or the steps are used up; then test it on new episodes."""
    rng = np.random.default_rng(seed)
    trial = Trial(config, seed)
    if config["method"] == "cem":
        policy = cross_entropy(trial, rng)
    else:
        noise = config.get("noise")  # only where the space file has it active
        policy = hill_climbing(trial, rng, noise)
    return {"mean_return": evaluated(policy, seed), "steps_used": trial.used}


class Trial:
    """Episodes to judge policies by, as long as there are steps left."""

    def __init__(self, config, seed):
        self.env = gym.make("CartPole-v1")
        self.env.reset(seed=seed)
        self.episodes, self.limit, self.used = config["episodes"], config["steps"], 0
        self.first_fall_ends = config.get("first_fall_ends", False)

    @property
    def over(self):
        """Whether the steps are used up."""
        return self.used >= self.limit

    def judge(self, policy):
        """Mean return of some episodes; those that are not played after a fall count as 0."""
        begun = self.used
        for _ in range(self.episodes):
            if self.episode(policy) < LONGEST and self.first_fall_ends:
                break
        return (self.used - begun) / self.episodes

    def episode(self, policy):
        """The return of one episode."""
        begun = self.used
        observation, _ = self.env.reset()
        ended = False
        while not ended:
            observation, _, fell, late, _ = self.env.step(int(observation @ policy > 0))
            self.used += 1
            ended = fell or late
        return self.used - begun


def hill_climbing(trial, rng, noise=None):
    """The best policy found; without noise each is drawn anew, which is random search."""
    best, most = None, -1.0
    while most < LONGEST and not trial.over:
        drawn = rng.uniform(-1, 1, 4)
        policy = drawn if best is None or noise is None else best + noise * drawn
        found = trial.judge(policy)
        if found > most:
            best, most = policy, found
    return best


def cross_entropy(trial, rng):
    """The mean of the best fifth, from which the next policies are drawn, with their spread."""
    mean, spread = np.zeros(4), np.ones(4)
    while True:
        policies = mean + spread * rng.standard_normal((CANDIDATES, 4))
        returns = np.zeros(CANDIDATES)
        for place, policy in enumerate(policies):
            returns[place] = trial.judge(policy)
            if trial.over:
                return mean
        elite = np.argsort(-returns, kind="stable")[:ELITE]
        mean, spread = policies[elite].mean(axis=0), policies[elite].std(axis=0)
        if returns[elite].min() == LONGEST:
            return mean


def evaluated(policy, seed):
    """Mean return of a hundred new episodes, all played at once."""
    envs = gym.make_vec("CartPole-v1", TESTS, vectorization_mode="vector_entry_point")
    observations, _ = envs.reset(seed=seed + 1)
    alive, returns = np.ones(TESTS, dtype=bool), np.zeros(TESTS)
    while alive.any():
        observations, _, fell, late, _ = envs.step((observations @ policy > 0).astype(int))
        returns += alive
        alive &= ~(fell | late)
    return returns.mean()
