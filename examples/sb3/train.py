"""PPO of stable-baselines3 on CartPole, with few steps: it does not always learn in time."""

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

torch.set_num_threads(1)  # xortune trains on all cores already, one seed each


def run(config, seed):
    """The mean and the worst return of 20 episodes after the training."""
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        learning_rate=config["lr"],
        n_steps=config["n_steps"],
        batch_size=256,
        n_epochs=config["n_epochs"],
        gamma=config["gamma"],
        seed=seed,
        device="cpu",
    )
    model.learn(config["steps"])
    # The environments that were trained in: the seed has determined their next episodes too.
    returns, _ = evaluate_policy(
        model, model.get_env(), n_eval_episodes=20, return_episode_rewards=True
    )
    return {"mean_return": sum(returns) / len(returns), "worst_return": min(returns)}
