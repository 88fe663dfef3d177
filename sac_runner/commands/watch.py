"""``sac-watch``: the policy of a run in a window, also while the run goes on."""

import os
from collections.abc import Sequence
from functools import partial

from sac_runner.commands.arguments import Parser, add_episodes, add_run, open_door
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
    run = RunDirectory(find_run(options.run, options.outputs).absolute())
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

    from sac_runner.playback.show import Showing, watch

    showing = Showing(options.checkpoint, options.episodes, options.seed, options.sampled, options.trust)
    watch(run, showing, partial(print, flush=True))
