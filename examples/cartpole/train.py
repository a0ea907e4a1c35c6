"""REINFORCE on CartPole-v1, as tutorials have it: one small network, Adam, and no critic."""

import gymnasium as gym
import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)  # xortune trains on all cores already, one seed each

SOLVED = 475.0  # gymnasium's own threshold for CartPole-v1, of at most 500


def run(config, seed):
    """Train until the running mean of the returns is above 475 or the steps are used up; test."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    width = config["hidden"]
    policy = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=config["lr"])
    env = gym.make("CartPole-v1")
    env.reset(seed=seed)

    running, steps = 10.0, 0
    while steps < config["steps"] and running <= SOLVED:
        batch = [play(env, policy, rng) for _ in range(config["batch"])]
        for _, actions in batch:
            steps += len(actions)
            running = 0.95 * running + 0.05 * len(actions)
        learn(policy, optimizer, batch, config["gamma"])
    return {"mean_return": evaluated(policy, seed), "steps_used": steps}


def play(env, policy, rng):
    """One episode: the observations, and the actions drawn from the policy."""
    w1, b1, w2, b2 = (p.detach().numpy() for p in policy.parameters())  # four times torch's speed
    noise = rng.logistic(size=500)  # added to the difference of the scores, it draws from softmax
    observations, actions, over = [], [], False
    observation, _ = env.reset()
    while not over:
        left, right = w2 @ np.maximum(w1 @ observation + b1, 0) + b2
        action = int(right - left + noise[len(actions)] > 0)
        observations.append(observation)
        actions.append(action)
        observation, _, fell, timed_out, _ = env.step(action)
        over = fell or timed_out
    return observations, actions


def learn(policy, optimizer, batch, gamma):
    """One step along the policy gradient, with returns to go that are normalised over the batch."""
    observations = torch.from_numpy(np.concatenate([played for played, _ in batch]))
    actions = torch.tensor([action for _, actions in batch for action in actions])
    # Each step pays 1: with k steps to go the return is 1 + gamma + ... + gamma^(k - 1).
    to_go = [np.cumsum(gamma ** np.arange(len(actions)))[::-1] for _, actions in batch]
    returns = torch.from_numpy(np.concatenate(to_go)).float()
    returns = (returns - returns.mean()) / (returns.std() + 1e-8)
    loss = nn.functional.cross_entropy(policy(observations), actions, reduction="none")
    optimizer.zero_grad()
    (loss * returns).sum().backward()
    optimizer.step()


def evaluated(policy, seed, episodes=100):
    """Mean return of new episodes, all played at once; actions are drawn as in training."""
    envs = gym.make_vec("CartPole-v1", episodes, vectorization_mode="vector_entry_point")
    rng = np.random.default_rng([seed, 1])
    observation, _ = envs.reset(seed=seed + 1)
    alive, returns = np.ones(episodes, dtype=bool), np.zeros(episodes)
    while alive.any():
        with torch.no_grad():
            left, right = policy(torch.from_numpy(observation)).numpy().T
        actions = (right - left + rng.logistic(size=episodes) > 0).astype(int)
        observation, _, fell, timed_out, _ = envs.step(actions)
        returns += alive
        alive &= ~(fell | timed_out)
    return returns.mean()
