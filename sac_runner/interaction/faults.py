"""Environments that fail: each is named with its episode, and none is waited for without end."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import re
import reprlib
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import passive_env_checker
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.vector.async_vector_env import AsyncState, _async_worker

from sac_runner.errors import EnvironmentFault, first_line, warn
from sac_runner.signals import STOP_SIGNALS

_CLOSING_S = 2.0
_SLICES = 60
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_WRAPPERS = os.path.dirname(gym.wrappers.__file__)
_warned: set[str] = set()


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Says which environment failed and when, and takes nothing from it that is not what it promised."""

    def __init__(self, env: gym.Env[Any, Any], index: int) -> None:
        """``env`` is the outermost of environment ``index``."""
        super().__init__(env)
        self._index, self._steps = index, 0
        self._seed: int | None = None
        self._shape = env.observation_space.shape

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            EnvironmentFault: It failed.
        """
        self._seed, self._steps = seed, 0
        try:
            answer = self.env.reset(seed=seed, options=options or None)  # a vector environment's mask is taken out
            obs, info = answer if isinstance(answer, (tuple, list)) else ()  # an observation alone may have two numbers
            dict(info)  # anything else fails as it does in a step
            return self._checked(obs), {}
        except EnvironmentFault:
            raise
        except (Exception, SystemExit) as e:  # the latter where the window of a game is closed
            raise self._raised(e) from e

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            EnvironmentFault: It failed.
        """
        self._steps += 1
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            ends = bool(terminated), bool(truncated)
            return self._checked(obs), self._number(reward), *ends, self._of_use(dict(info), any(ends))
        except EnvironmentFault:
            raise
        except (Exception, SystemExit) as e:  # the latter where the window of a game is closed
            raise self._raised(e) from e

    def close(self) -> None:
        """Close it; where it fails, those beside it are still to be closed."""
        close(self.env)

    def _checked(self, obs: Any) -> Any:
        x = np.asarray(obs, self.env.observation_space.dtype)
        if x.shape != self._shape:
            raise EnvironmentFault(f"{self._named()} observed shape {x.shape}, its space has {self._shape}")
        return x

    def _number(self, reward: Any) -> float:
        try:
            if not isinstance(reward, (str, bytes)):  # which float takes, where they have digits
                return float(reward)
        except (TypeError, ValueError):
            pass
        raise EnvironmentFault(f"{self._named()} returned reward {reprlib.repr(reward)}, which is not a number")

    def _of_use(self, info: dict[str, Any], ended: bool) -> dict[str, Any]:
        """What is used of ``info``. A vector environment gathers all: 14 things of Humanoid, a sixth of each step."""
        said = info.get("is_success")
        if said is None or not ended:
            return {}
        if np.size(said) == 1 and np.asarray(said).item() in (0, 1):
            return {"is_success": bool(np.asarray(said).item())}
        raise EnvironmentFault(f"{self._named()} said is_success={reprlib.repr(said)}, which is neither true nor false")

    def _raised(self, error: BaseException) -> EnvironmentFault:
        file = traceback.extract_tb(error.__traceback__)[-1].filename
        if "unpack" in str(error) and (file == __file__ or os.path.dirname(file) == _WRAPPERS):
            return EnvironmentFault(f"{self._named()} {self._returned(str(error))}")
        if file in (__file__, passive_env_checker.__file__):
            return EnvironmentFault(f"{self._named()} returned what can't be used: {first_line(error)}")
        return EnvironmentFault(f"{self._named()} raised {said(error)}")

    def _returned(self, unpacking: str) -> str:
        """What was returned that failed at ``unpacking``: Python says how many values there were, or of what type."""
        if self._steps == 0:
            return "did not return two values; reset must return (obs, info)"
        few, none = re.search(r"got (\d+)", unpacking), re.search(r"non-iterable ([\w.]+?)(Type)? object", unpacking)
        what = f"{few[1]} values" if few else none[1] if none else "more than 5 values"
        return f"returned {what} from step; obs, reward, terminated, truncated, info are 5"

    def _named(self) -> str:
        when = f"in step {self._steps}" if self._steps else "in the reset"
        return f"env {self._index}, {when} of its episode with seed {self._seed},"


def close(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> None:
    """Close ``env``. One that fails at this must not hide how all went before: each way to fail is warned of once."""
    try:
        env.close()
    except Exception as e:
        text = f"an environment failed while it was closed: {type(e).__name__}: {first_line(e)}"
        if text not in _warned:
            _warned.add(text)
            warn(text)


def said(error: BaseException) -> str:
    """``ValueError: its text (my_env.py:14, in step)``: what was raised, and where."""
    if isinstance(error, SyntaxError) and error.filename and os.path.isfile(error.filename):  # it was read, not run
        file = error.filename.removeprefix(os.path.join(os.getcwd(), ""))
        return f"{type(error).__name__}: {error.msg} ({file}:{error.lineno})"
    return f"{type(error).__name__}: {first_line(error)}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """`` (my_env.py:14, in step)``: where ``error`` was raised, if not here, nor by an import."""
    frames = traceback.extract_tb(error.__traceback__)  # none of one that was not raised, but named as a cause
    if not frames or frames[-1].filename == __file__ or frames[-1].filename.startswith("<frozen importlib"):
        return ""
    return f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno}, in {frames[-1].name})"


class WorkerEnvs(AsyncVectorEnv):
    """Environments in processes of their own, none of which is waited for longer than ``timeout_s``."""

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]], timeout_s: float | None) -> None:
        """Start a process for each of ``makers``."""
        self._timeout_s, self._failed = timeout_s, False
        try:
            super().__init__(makers, worker=_worker, autoreset_mode=AutoresetMode.DISABLED)
        except BaseException:
            for process in getattr(self, "processes", []):
                process.kill()
            raise

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all, or those of ``options["reset_mask"]``."""
        with self._answers():
            self.reset_async(seed=seed, options=options)
            return self.reset_wait(self._timeout_s)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all."""
        with self._answers():
            self.step_async(actions)
            return self.step_wait(self._timeout_s)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """What keeps a worker from answering, by name.

        Raises:
            EnvironmentFault: One is dead or hangs.
        """
        try:
            yield
        except multiprocessing.TimeoutError as e:
            self._failed = True
            silent = [i for i, pipe in enumerate(self.parent_pipes) if not pipe.poll(0)]
            names = ", ".join(map(str, silent))
            raise _fault(f"env {names} did not answer within {self._timeout_s:g} s (env.timeout_s)", silent) from e
        except (EOFError, ConnectionError) as e:
            self._failed = True
            ending = multiprocessing.connection.wait([process.sentinel for process in self.processes], 0.5)
            for process in self.processes:
                if process.sentinel in ending:
                    process.join(0.5)  # its files close a moment before its exit code is there
            ends = {i: _ending(i, process.exitcode) for i, process in enumerate(self.processes)}
            ends = {i: how for i, how in ends.items() if how}
            raise _fault(", ".join(ends.values()) or "the process of an env broke off", ends) from e
        except BaseException:
            self._failed = True
            raise

    def _poll_pipe_envs(self, timeout: float | None = None) -> bool:
        """Gymnasium's, but the time in which this process was suspended, and its workers with it, does not count."""
        self._assert_is_running()
        if timeout is None:
            return True
        left, slice_s = timeout, timeout / _SLICES
        for pipe in self.parent_pipes:
            answered = pipe.poll(0)
            while not answered and left > 0:
                begun = time.monotonic()
                answered = pipe.poll(slice_s)
                left -= min(time.monotonic() - begun, slice_s)
            if not answered:
                return False
        return True

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """As Gymnasium's, less the traceback that it prints as a warning: the error says when, why and where."""
        if not all(successes):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                super()._raise_if_errors(successes)

    def _check_spaces(self) -> None:
        """Gymnasium's check of the workers' spaces, whose answers are the first there are."""
        with self._answers():
            self.call_async("render_mode")  # anything: for its own question Gymnasium would wait without end
            self.call_wait(self._timeout_s)
            super()._check_spaces()  # type: ignore[no-untyped-call]

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes: by asking for a while, or at once where one has failed (they take no SIGTERM)."""
        with contextlib.suppress(OSError, EOFError):  # a worker that is gone needs no asking
            if not terminate and not self._failed:
                for pipe in self.parent_pipes:
                    pipe.send(("close", None))
                deadline = time.monotonic() + _CLOSING_S
                for process in self.processes:
                    process.join(max(deadline - time.monotonic(), 0.0))
        for process in self.processes:
            process.kill()
        self._state = AsyncState.DEFAULT
        super().close_extras(timeout, terminate=True)


def _worker(*arguments: Any) -> None:
    """Gymnasium's, but that it ends with the run, even where its environment hangs, and not before it.

    A signal to stop reaches a whole group of processes, and the run needs this one until it has saved.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(EOFError, ConnectionError):  # the run is gone, and with it whoever wants to know
        _async_worker(*arguments)


def _fault(text: str, envs: Iterable[int]) -> EnvironmentFault:
    fault = EnvironmentFault(text)
    fault.envs = tuple(envs)
    return fault


def _ending(index: int, exit_code: int | None) -> str:
    if exit_code is None:
        return ""
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with {exit_code}"
    return f"the process of env {index} {how}"
