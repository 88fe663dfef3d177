"""The policy of a run for the eye: in a window, or as a video."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium.spaces.utils import flatdim

from sac_runner.errors import EnvironmentFailed, WrongInput, command
from sac_runner.interaction.envs import evaluation_env
from sac_runner.playback.assess import fresh_seeds
from sac_runner.playback.play import CPU, make_drawing_env, play_episode, trusted_config
from sac_runner.playback.stored import read_policy
from sac_runner.playback.verdict import episode_line, policy_line
from sac_runner.playback.window import WindowClosed, aborts, has_display, is_closed, is_unseen
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.video import Video


class Showing(NamedTuple):
    """What is to be seen of a run."""

    checkpoint: str
    """``best``, ``latest`` or a number of env steps."""
    episodes: int
    seed: int | None
    """Of the first episode; None takes seeds that chose no checkpoint."""
    sampled: bool
    """Draw actions instead of taking the deterministic ones."""
    trusted: bool
    """The package that the run's ``env.id`` names may be imported."""


def watch(run: RunDirectory, showing: Showing, say: Callable[[str], None]) -> None:
    """Play episodes in a window, each with the policy as it is on disk by then.

    Args:
        run: May go on meanwhile.
        showing: What is to be seen of it.
        say: Takes each line for the terminal.

    Raises:
        WrongInput: No window can be opened, or the run can't be read.
        EnvironmentFailed: It raised.
    """
    elsewhere = f"{_record_command(run, showing)}   # an mp4, which needs no screen"
    no_display = WrongInput("there is no display to open a window on", elsewhere)
    config = trusted_config(run, showing.trusted)
    if not has_display():
        raise no_display
    frames, seen = 0, None

    def on_frame() -> None:
        """Count a frame that was seen; end where the window is gone."""
        nonlocal frames
        if is_unseen():
            raise no_display
        if is_closed(env):
            raise WindowClosed
        frames += 1

    with closing(make_drawing_env(evaluation_env(config), "human")) as env, suppress(WindowClosed):
        if aborts(env):
            raise no_display
        for index, seed in enumerate(fresh_seeds(config, showing.episodes, showing.seed)):
            stored = read_policy(run, config, showing.checkpoint, CPU)
            stored.require_fit(flatdim(env.observation_space), flatdim(env.action_space))
            if stored.checkpoint != seen:
                seen = stored.checkpoint
                say(policy_line(config, seen, run))
            try:
                episode = play_episode(stored.policy, env, seed, showing.sampled, on_frame)
            except EnvironmentFailed as e:
                raise e if frames else WrongInput(f"can't open a window: {e.message}", elsewhere) from e
            say(episode_line(index, seed, episode))


def record(run: RunDirectory, showing: Showing, out: Path | None, say: Callable[[str], None]) -> Path:
    """Write episodes, one after the other, as one mp4.

    Args:
        run: May go on meanwhile; all episodes are of the policy that is there now.
        showing: What is to be seen of it.
        out: The file; None names one in ``videos/`` of the run.
        say: Takes each line for the terminal.

    Raises:
        WrongInput: The file can't be written, the run can't be read, or its environment can't be drawn.
        EnvironmentFailed: It raised, or there is nothing to draw with.
    """
    config = trusted_config(run, showing.trusted)
    stored = read_policy(run, config, showing.checkpoint, CPU)
    seeds = fresh_seeds(config, showing.episodes, showing.seed)
    how = "_sampled" if showing.sampled else ""
    name = f"{stored.checkpoint.kind}-{stored.checkpoint.env_steps}_seed-{seeds[0]}_episodes-{len(seeds)}{how}.mp4"
    path = out or run.path / "videos" / name
    remedy = f"{_record_command(run, showing)} --out ANOTHER_PLACE.mp4"
    with _with_remedy():
        env = make_drawing_env(evaluation_env(config), "rgb_array")
        stored.require_fit(flatdim(env.observation_space), flatdim(env.action_space))
        with closing(env), Video(path, env.metadata.get("render_fps", 30), remedy) as video:
            say(policy_line(config, stored.checkpoint, run))

            def on_frame() -> None:
                """Add what is to be seen."""
                video.add(np.asarray(env.render()))

            for index, seed in enumerate(seeds):
                episode = play_episode(stored.policy, env, seed, showing.sampled, on_frame)
                say(episode_line(index, seed, episode))
    return path


def _record_command(run: RunDirectory, showing: Showing) -> str:
    return f"{command('record')} {shlex.quote(str(shown(run.path)))}{' --trust' * showing.trusted}"


@contextmanager
def _with_remedy() -> Iterator[None]:
    """MuJoCo's failures to draw name a function of OpenGL and no way out."""
    try:
        yield
    except EnvironmentFailed as e:
        if re.search("gl[A-Z]|GL", e.message):
            e.remedy = "apt install libegl1 libgl1-mesa-dri libopengl0, and MUJOCO_GL=egl"
        raise
