"""``sac-watch``: the policy of a run in a window, also while the run goes on."""

import os
import shlex
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial

from sac_runner.commands.arguments import Parser, add_episodes, add_run, open_door
from sac_runner.errors import EnvironmentFailed, WrongInput, command
from sac_runner.storage.find import find_run
from sac_runner.storage.run_directory import RunDirectory


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-watch`` and ``scripts/watch``."""
    open_door(partial(_watch, arguments))


def _parser() -> Parser:
    parser = Parser("watch", "Watch the policy of a run in a window; of a run that goes on, the best one so far.")
    add_run(parser)
    add_episodes(parser, 5)
    return parser


def _watch(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    run = RunDirectory(find_run(options.run, options.outputs))
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

    from sac_runner.training.assess import FRESH_SEED
    from sac_runner.training.play import WindowClosed, make_drawing_env, play_episode, policy_reader
    from sac_runner.training.verdict import episode_line, policy_line
    from sac_runner.training.window import aborts, has_display, is_closed, is_unseen

    elsewhere = f"{command('record')} {shlex.quote(options.run)}   (an mp4, which needs no screen)"
    no_display = WrongInput("there is no display to open a window on", elsewhere)
    if not has_display():
        raise no_display
    config, read = policy_reader(run, options.checkpoint, options.trust)
    seed, shown, drawn = FRESH_SEED if options.seed is None else options.seed, None, False

    def on_frame() -> None:
        nonlocal drawn
        if is_unseen():
            raise no_display
        if is_closed(env):
            raise WindowClosed
        drawn = True

    with closing(make_drawing_env(config.env, "human")) as env, suppress(WindowClosed):
        if aborts(env):
            raise no_display
        for i in range(options.episodes or 5):
            stored = read()
            if stored.checkpoint != shown:
                shown = stored.checkpoint
                print(policy_line(config, shown, run), flush=True)
            try:
                episode = play_episode(stored.policy, env, seed + i, options.sampled, on_frame)
            except EnvironmentFailed as e:
                if drawn:
                    raise
                raise WrongInput(f"can't open a window: {e.message}", elsewhere) from e
            print(episode_line(i + 1, seed + i, episode), flush=True)
