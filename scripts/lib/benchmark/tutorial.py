"""The tutorial's loop, plainly: lists of transitions, a network each, one Adam each, everything through autograd.

``python tutorial.py ENV FULL`` reads lines of ``HELD STEPS UPDATES``: it fills its buffer up to ``HELD`` transitions,
then takes a round and answers its seconds.
It imports nothing of ours and sets nothing in PyTorch, as the tutorial does.
"""

import random
import sys
import time
from collections import deque
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

GAMMA, TAU, LR, ALPHA, BATCH = 0.99, 0.005, 3e-4, 0.05, 256


class Actor(nn.Module):
    """Its policy network."""

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(obs_dim, 256), nn.Linear(256, 256)
        self.mean, self.log_std = nn.Linear(256, action_dim), nn.Linear(256, action_dim)

    def sample(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Action and log-probability, (B, 1)."""
        x = F.leaky_relu(self.second(F.leaky_relu(self.first(obs))))
        normal = Normal(self.mean(x), self.log_std(x).clamp(-20, 2).exp())
        u = normal.rsample()
        action = torch.tanh(u)
        log_prob = normal.log_prob(u) - torch.log(1 - action.pow(2) + 1e-6)
        return action, log_prob.sum(1, keepdim=True)


class Moments:
    """Its running mean and variance, in NumPy."""

    def __init__(self, size: int) -> None:
        self.mean, self.var, self.count = np.zeros(size), np.ones(size), 1e-4

    def update(self, x: np.ndarray[Any, Any]) -> None:
        """Merge a batch of one."""
        mean, var, n = x.mean(0), x.var(0), len(x)
        delta, total = mean - self.mean, self.count + len(x)
        squares = self.var * self.count + var * n + np.square(delta) * self.count * n / total
        self.mean, self.var, self.count = self.mean + delta * n / total, squares / total, total

    def normalize(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Without a clip."""
        return (x - self.mean) / (np.sqrt(self.var) + 1e-8)


class Tutorial:
    """Its training round; with ``full`` as on Humanoid: learned alpha, normalized observations, scaled actions."""

    def __init__(self, env: str, full: bool) -> None:
        self.env, self.full = gym.make(env, max_episode_steps=1000 if full else 500), full
        (obs_dim,), (action_dim,) = self.env.observation_space.shape, self.env.action_space.shape  # type: ignore[misc]
        self.actor, self.moments = Actor(obs_dim, action_dim), Moments(obs_dim)
        self.critics = [self._critic(obs_dim + action_dim) for _ in range(2)]
        self.targets = deepcopy(self.critics)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), LR)
        self.critic_adams = [torch.optim.Adam(critic.parameters(), LR) for critic in self.critics]
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.alpha_adam = torch.optim.Adam([self.log_alpha], LR)
        self.target_entropy = -float(action_dim)
        self.buffer: deque[tuple[Any, ...]] = deque(maxlen=100_000)
        self.obs = self._reset()

    @staticmethod
    def _critic(inputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, 256), nn.LeakyReLU(), nn.Linear(256, 256), nn.LeakyReLU(), nn.Linear(256, 1)
        )

    def _reset(self) -> Any:
        obs = self.env.reset()[0]
        return self.moments.normalize(obs) if self.full else obs

    def collect(self, steps: int) -> None:
        """Take ``steps`` transitions into its buffer."""
        space: Any = self.env.action_space
        for _ in range(steps):
            with torch.no_grad():
                action = self.actor.sample(torch.tensor(self.obs, dtype=torch.float32).unsqueeze(0))[0]
            action = action.squeeze(0).numpy()
            scaled = space.low + (action + 1.0) * 0.5 * (space.high - space.low) if self.full else action
            obs, reward, terminated, truncated, _ = self.env.step(scaled)
            if self.full:
                self.moments.update(np.array([obs]))
                obs = self.moments.normalize(obs)
            done = terminated or truncated
            self.buffer.append((self.obs, action, reward, obs, done))
            self.obs = self._reset() if done else obs

    def update(self) -> None:
        """One step down for the critics, the actor and the temperature, and one of the targets."""
        columns = zip(*random.sample(self.buffer, BATCH), strict=True)
        obs, action, reward, next_obs, done = (torch.tensor(np.array(x), dtype=torch.float32) for x in columns)
        reward, done = reward.unsqueeze(1), done.unsqueeze(1)
        alpha = self.log_alpha.exp() if self.full else ALPHA
        with torch.no_grad():
            next_action, next_log_prob = self.actor.sample(next_obs)
            following = torch.cat([next_obs, next_action], dim=1)
            worst = torch.min(self.targets[0](following), self.targets[1](following))
            y = reward + GAMMA * (1 - done) * (worst - alpha * next_log_prob)
        taken = torch.cat([obs, action], dim=1)
        losses = [F.mse_loss(critic(taken), y) for critic in self.critics]
        for adam, loss in zip(self.critic_adams, losses, strict=True):
            self._descend(adam, loss)
        new_action, log_prob = self.actor.sample(obs)
        q1, q2 = (critic(torch.cat([obs, new_action], dim=1)) for critic in self.critics)
        self._descend(self.actor_adam, -(torch.min(q1, q2) - alpha * log_prob).mean())
        if self.full:
            self._descend(self.alpha_adam, -(self.log_alpha * (log_prob + self.target_entropy).detach()).mean())
        for target, critic in zip(self.targets, self.critics, strict=True):
            for slow, fast in zip(target.parameters(), critic.parameters(), strict=True):
                slow.data.copy_(slow.data * (1.0 - TAU) + fast.data * TAU)

    @staticmethod
    def _descend(adam: torch.optim.Adam, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()


def main(env: str, full: str) -> None:
    """Rounds on demand."""
    loop = Tutorial(env, full == "True")
    for line in sys.stdin:
        held, steps, updates = map(int, line.split())
        loop.collect(max(held - len(loop.buffer), 0))
        begun = time.perf_counter()
        loop.collect(steps)
        for _ in range(updates):
            loop.update()
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
