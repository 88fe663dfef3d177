"""The policy of a run for the eye: in a window, or as a video."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from gymnasium.spaces.utils import flatdim

from sac_runner.errors import EnvironmentFailed, WrongInput, command
from sac_runner.interaction.envs import evaluation_env
from sac_runner.playback.assess import fresh_seeds
from sac_runner.playback.play import make_drawing_env, play_episode, policy_reader
from sac_runner.playback.verdict import episode_line, policy_line
from sac_runner.playback.window import WindowClosed, aborts, has_display, is_closed, is_unseen
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.video import Video


def watch(
    run: RunDirectory,
    which: str,
    episodes: int,
    seed: int | None,
    sampled: bool,
    trusted: bool,
    say: Callable[[str], None],
) -> None:
    """Play ``episodes`` in a window, each with the policy as it is on disk by then.

    Args:
        run: May go on meanwhile.
        which: ``best``, ``latest`` or a number of env steps.
        episodes: How many.
        seed: Of the first; None takes seeds that chose no checkpoint.
        sampled: Draw actions instead of taking the deterministic ones.
        trusted: The package that the run's ``env.id`` names may be imported.
        say: Takes each line for the terminal.

    Raises:
        WrongInput: No window can be opened, or the run can't be read.
        EnvironmentFailed: It raised.
    """
    elsewhere = f"{command('record')} {shlex.quote(str(run.path))}   (an mp4, which needs no screen)"
    no_display = WrongInput("there is no display to open a window on", elsewhere)
    if not has_display():
        raise no_display
    config, read = policy_reader(run, which, trusted)
    frames, shown = 0, None

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
        for index, reset_seed in enumerate(fresh_seeds(config, episodes, seed)):
            stored = read()
            stored.require_fit(flatdim(env.observation_space), flatdim(env.action_space))
            if stored.checkpoint != shown:
                shown = stored.checkpoint
                say(policy_line(config, shown, run))
            try:
                episode = play_episode(stored.policy, env, reset_seed, sampled, on_frame)
            except EnvironmentFailed as e:
                raise e if frames else WrongInput(f"can't open a window: {e.message}", elsewhere) from e
            say(episode_line(index, reset_seed, episode))


def record(
    run: RunDirectory,
    which: str,
    episodes: int,
    seed: int | None,
    sampled: bool,
    trusted: bool,
    out: Path | None,
    say: Callable[[str], None],
) -> Path:
    """Write ``episodes``, one after the other, as one mp4.

    Args:
        run: May go on meanwhile; all episodes are of the policy that is there now.
        which: ``best``, ``latest`` or a number of env steps.
        episodes: How many.
        seed: Of the first; None takes seeds that chose no checkpoint.
        sampled: Draw actions instead of taking the deterministic ones.
        trusted: The package that the run's ``env.id`` names may be imported.
        out: The file; None names one in ``videos/`` of the run.
        say: Takes each line for the terminal.

    Raises:
        WrongInput: The file can't be written, the run can't be read, or its environment can't be drawn.
        EnvironmentFailed: It raised, or there is nothing to draw with.
    """
    config, read = policy_reader(run, which, trusted)
    stored = read()
    seeds = fresh_seeds(config, episodes, seed)
    how = "_sampled" if sampled else ""
    name = f"{stored.checkpoint.kind}-{stored.checkpoint.env_steps}_seed-{seeds[0]}_episodes-{len(seeds)}{how}.mp4"
    path = out or run.path / "videos" / name
    remedy = f"{command('record')} {shlex.quote(str(run.path))} --out ANOTHER_PLACE.mp4"
    with _with_remedy():
        env = make_drawing_env(evaluation_env(config), "rgb_array")
        stored.require_fit(flatdim(env.observation_space), flatdim(env.action_space))
        with closing(env), Video(path, env.metadata.get("render_fps", 30), remedy) as video:
            say(policy_line(config, stored.checkpoint, run))
            for index, reset_seed in enumerate(seeds):
                episode = play_episode(
                    stored.policy, env, reset_seed, sampled, lambda: video.add(np.asarray(env.render()))
                )
                say(episode_line(index, reset_seed, episode))
    return path


@contextmanager
def _with_remedy() -> Iterator[None]:
    """MuJoCo's failures to draw name a function of OpenGL and no way out."""
    try:
        yield
    except EnvironmentFailed as e:
        if re.search("gl[A-Z]|GL", e.message):
            e.remedy = "apt install libegl1 libgl1-mesa-dri libopengl0, and MUJOCO_GL=egl"
        raise
