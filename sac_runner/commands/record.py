"""``sac-record``: the policy of a run as an mp4, without a screen."""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from sac_runner.commands.arguments import Parser, add_episodes, add_run, open_door
from sac_runner.errors import WrongInput, command
from sac_runner.storage.find import find_run
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.video import Video


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-record`` and ``scripts/record``."""
    open_door(partial(_record, arguments))


def _parser() -> Parser:
    parser = Parser("record", "Write the policy of a run as a video, RUN/videos/*.mp4; needs no screen.")
    add_run(parser)
    add_episodes(parser, 1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="an .mp4 file elsewhere")
    return parser


def _record(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    if options.out is not None and options.out.suffix != ".mp4":
        raise WrongInput(f"--out {options.out} must end in .mp4", f"--out {options.out.with_suffix('.mp4')}")
    run = RunDirectory(find_run(options.run, options.outputs))
    _draw_without_screen()

    from sac_runner.training.assess import FRESH_SEED
    from sac_runner.training.play import make_drawing_env, play_episode, policy_reader
    from sac_runner.training.verdict import episode_line, policy_line

    config, read = policy_reader(run, options.checkpoint, options.trust)
    stored, seed, episodes = read(), FRESH_SEED if options.seed is None else options.seed, options.episodes or 1
    name = f"{stored.checkpoint.kind}-{stored.checkpoint.env_steps}_seed-{seed}_episodes-{episodes}"
    path = options.out or run.path / "videos" / f"{name}{'_sampled' if options.sampled else ''}.mp4"
    remedy = f"{command('record')} {shlex.quote(options.run)} --out ANOTHER_PLACE.mp4"
    env = make_drawing_env(config.env, "rgb_array")
    with closing(env), Video(path, env.metadata.get("render_fps", 30), remedy) as video:
        print(policy_line(config, stored.checkpoint, run))
        for i in range(episodes):
            episode = play_episode(stored.policy, env, seed + i, options.sampled, lambda: video.add(env.render()))
            print(episode_line(i + 1, seed + i, episode), flush=True)
    print(f"saved     {path}")


def _draw_without_screen() -> None:
    """Without a display, pygame and MuJoCo draw in memory; what the user set stays."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        for name, value in {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "MUJOCO_GL": "egl"}.items():
            os.environ.setdefault(name, value)
