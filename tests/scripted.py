"""Environments whose every number is known. ``tests.scripted:Countdown-v0`` makes one anywhere, in a worker too."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from itertools import count

import gymnasium as gym
import numpy as np
from gymnasium import spaces

UNIT = spaces.Box(-1.0, 1.0, (1,), np.float32)


def countdown_length(seed):
    """Steps of the episode that is reset with ``seed``: 1 to 4."""
    return 1 + seed % 4


def countdown_terminates(seed):
    """Whether it ends by termination, and else by truncation."""
    return seed // 4 % 2 == 0


def countdown_success(seed):
    """What it says of its success at its end; some say nothing."""
    return None if seed % 8 == 5 else countdown_terminates(seed)


def countdown_reward(seed, t):
    """Reward of its t-th step, t from 1, for the action 0."""
    return float(seed % 100 + 1000 * t)


class Countdown(gym.Env):
    """Observes (seed mod 1000, t, last action); an unseeded reset shows as seed -1."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = UNIT

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.t = -1 if seed is None else seed, 0
        return self._obs(0.0), {}

    def step(self, action):
        self.t += 1
        reward = countdown_reward(self.seed, self.t) + float(action[0])
        ended = self.t >= countdown_length(self.seed)
        terminated = ended and countdown_terminates(self.seed)
        says = ended and countdown_success(self.seed) is not None
        info = {"is_success": terminated} if says else {}
        return self._obs(action[0]), reward, terminated, ended and not terminated, info

    def _obs(self, action):
        return np.array([self.seed % 1000, self.t, action], np.float32)


class Echo(gym.Env):
    """Observes the action that reached it, flat; never ends."""

    def __init__(self, low, high, shape=None):
        low, high = (np.asarray(x, np.float32) for x in (low, high))
        self.action_space = spaces.Box(low, high, shape, np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (int(np.prod(self.action_space.shape)),), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        assert action.shape == self.action_space.shape
        return np.asarray(action, np.float32).ravel(), 0.0, False, False, {}


_FLOATS = spaces.Box(-10.0, 10.0, (2,), np.float32)
SPACES = {
    "vector": _FLOATS,
    "matrix": spaces.Box(-10.0, 10.0, (2, 3), np.float32),
    "scalar": spaces.Box(-10.0, 10.0, (), np.float32),
    "float64": spaces.Box(-10.0, 10.0, (2,), np.float64),
    "dict": spaces.Dict({"goal": _FLOATS, "state": spaces.Box(-10.0, 10.0, (3,), np.float32)}),
    "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    "discrete": spaces.Discrete(3),
    "unit": UNIT,
    "whole_numbers": spaces.Box(0, 9, (2,), np.int64),
    "half_bounded": spaces.Box(np.array([-1, -1], np.float32), np.array([1, np.inf], np.float32)),
    "many_unbounded": spaces.Box(-np.arange(1, 41, dtype=np.float32), np.full(40, np.inf, np.float32)),
    "number": spaces.Box(-1.0, 1.0, ()),
    "degenerate": spaces.Box(np.array([-1, 0], np.float32), np.array([1, 0], np.float32)),
}


class Spaces(gym.Env):
    """Has the spaces it is told to have; observes samples of them."""

    def __init__(self, observes="vector", acts="unit"):
        self.observation_space, self.action_space = SPACES[observes], SPACES[acts]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.last = self.observation_space.sample()
        return self.last, {}

    def step(self, action):
        self.last = self.observation_space.sample()
        return self.last, 0.0, False, False, {}


class Unseeded(Countdown):
    """Does not keep to its seed: no episode can be played again."""

    seeds = count(1000)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = next(self.seeds)
        return self._obs(0.0), {}


class Shortens(Countdown):
    """Looks the same at every step, and its episodes last as long as ``Shortens.length`` says at their reset."""

    length = 1000

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.t, self.ends = 0, Shortens.length
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(3, np.float32), 0.0, self.t >= self.ends, False, {}


class Fails(Countdown):
    """Raises, or observes a NaN, at its ``at``-th step."""

    def __init__(self, at=10, how="raises"):
        self.at, self.how, self.steps = at, how, 0

    def step(self, action):
        self.steps += 1
        obs, *rest = super().step(action)
        if self.steps >= self.at and self.how == "raises":
            raise ValueError("the rotor came off")
        if self.steps >= self.at and self.how == "observes_nan":
            obs[0] = np.nan
        return obs, *rest


class Waits(Countdown):
    """Takes a step as soon as there is no file named wait."""

    def step(self, action):
        while os.path.exists("wait"):
            time.sleep(0.005)
        return super().step(action)


class Prints(Countdown):
    """Says what it does, where others' words are expected too."""

    def step(self, action):
        print('{"needs": "nothing"}', flush=True)
        return super().step(action)


class Spoils(Countdown):
    """Changes what it is made with."""

    def __init__(self, goal, options):
        goal.append(1)
        options.pop("mode")


class Wanders(Countdown):
    """Has its process work in the folder ``to``, from when it is made or from its resets on."""

    def __init__(self, to, when):
        self.to, self.when = to, when
        if when == "made":
            os.chdir(to)

    def reset(self, *, seed=None, options=None):
        if self.when == "reset":
            os.chdir(self.to)
        return super().reset(seed=seed)


class Hears(Countdown):
    """Keeps the options of its last reset."""

    def reset(self, *, seed=None, options=None):
        self.options = options
        return super().reset(seed=seed)


class Faulty(Countdown):
    """Does ``what`` in its ``at``-th step or reset, unless there is a file named mended; other words are no fault."""

    def __init__(self, what, where="step", at=3):
        self.what, self.where, self.at, self.count = what, where, at, 0
        if where == "start" and multiprocessing.parent_process() is not None:
            self._fault(None)

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        return self._fault(result) if self._due("reset") else result

    def step(self, action):
        result = super().step(action)
        return self._fault(result) if self._due("step") else result

    def close(self):
        if self.where == "close" and multiprocessing.parent_process() is not None:
            self._fault(None)

    def _due(self, where):
        self.count += where == self.where
        return where == self.where and self.count == self.at and not os.path.exists("mended")

    def _fault(self, result):
        match self.what:
            case "raises":
                raise ValueError("the rotor came off")
            case "none":
                return None
            case "nan":
                return (np.full_like(result[0], np.nan), *result[1:])
            case "shape":
                return (result[0][:2], *result[1:])
            case "reward":
                return (result[0], "much", *result[2:])
            case "digits":
                return (result[0], "1", *result[2:])
            case "no_reward":
                return (result[0], None, *result[2:])
            case "rewards":
                return (result[0], np.zeros(2), *result[2:])
            case "alone":
                return result[0]
            case "two_numbers":
                return result[0][:2]
            case "old":
                return (*result[:2], result[2] or result[3], result[4])
            case "unsure":
                return (*result[:-1], {"is_success": np.nan})
            case "one":
                return (*result[:-1], {"is_success": np.array([True])})
            case "nobody":
                return (*result[:-1], {"is_success": None})
            case "success_of_each":
                return (*result[:-1], {"is_success": {"goal": True}})
            case "more":
                return (*result, None)
            case "no_info":
                return (*result[:-1], None)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                ctypes.string_at(0)
            case "hangs":
                time.sleep(600)
            case "leaves":
                sys.exit("the window was closed")
            case _:
                return result


class Unclosable(Countdown):
    """Fails when it is closed, each time."""

    def close(self):
        raise TypeError("no window to close")


def needs_a_package():
    """An entry point whose package is missing."""
    raise gym.error.DependencyNotInstalled("pip install no-such-physics\nor build it")


def breaks():
    """An entry point that fails by itself."""
    raise ZeroDivisionError("in its constructor")


def misuses():
    """Another one."""
    return len(5)


for _name, _entry in {
    "Countdown-v0": Countdown,
    "Echo-v0": Echo,
    "Spaces-v0": Spaces,
    "Unseeded-v0": Unseeded,
    "Shortens-v0": Shortens,
    "Fails-v0": Fails,
    "Waits-v0": Waits,
    "Prints-v0": Prints,
    "Spoils-v0": Spoils,
    "Wanders-v0": Wanders,
    "Hears-v0": Hears,
    "Faulty-v0": Faulty,
    "Unclosable-v0": Unclosable,
    "NeedsAPackage-v0": needs_a_package,
    "Breaks-v0": breaks,
    "Misuses-v0": misuses,
}.items():
    gym.register(_name, _entry)
