"""Stable-Baselines3's side, run by the interpreter of an environment of its own; it imports nothing of ours.

``python sb3.py rate ENV THREADS WARMUP SETTLING STEPS`` prints env steps per second after the warm-up;
``python sb3.py memory ENV CAPACITY`` the bytes of its replay buffer.
"""

import sys
import time

import gymnasium as gym
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback


class Clock(BaseCallback):
    """Notes the time of two steps."""

    def __init__(self, begins: int, ends: int) -> None:
        super().__init__()
        self.begins, self.ends = begins, ends
        self.times: dict[int, float] = {}

    def _on_step(self) -> bool:
        if self.num_timesteps in (self.begins, self.ends):
            self.times[self.num_timesteps] = time.perf_counter()
        return True


def rate(env: str, threads: int, warmup: int, settling: int, steps: int) -> float:
    """Its defaults are one update per step, two critics, 256x256, batches of 256 and a learned temperature."""
    torch.set_num_threads(threads)
    begins, ends = warmup + settling, warmup + settling + steps
    model = SAC("MlpPolicy", gym.make(env), learning_starts=warmup, device="cpu", seed=0)
    clock = Clock(begins, ends)
    model.learn(ends + 1, callback=clock)
    return steps / (clock.times[ends] - clock.times[begins])


def memory(env: str, capacity: int) -> int:
    """Bytes of its arrays."""
    spaces = gym.make(env)
    buffer = ReplayBuffer(capacity, spaces.observation_space, spaces.action_space, device="cpu")
    arrays = (
        buffer.observations,
        buffer.next_observations,
        buffer.actions,
        buffer.rewards,
        buffer.dones,
        buffer.timeouts,
    )
    return sum(x.nbytes for x in arrays)


if __name__ == "__main__":
    what, name, *numbers = sys.argv[1:]
    print((rate if what == "rate" else memory)(name, *map(int, numbers)))
