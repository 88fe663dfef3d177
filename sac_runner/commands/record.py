"""``sac-record``: the policy of a run as an mp4, without a screen."""

import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial

from sac_runner.commands.arguments import Parser, add_episodes, add_run, open_door
from sac_runner.errors import WrongInput
from sac_runner.storage.find import find_run, typed_path
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-record`` and ``scripts/record``."""
    open_door(partial(_record, arguments))


def _parser() -> Parser:
    parser = Parser("record", "Write the policy of a run as a video, RUN/videos/*.mp4; needs no screen.")
    add_run(parser)
    add_episodes(parser, 1)
    parser.add_argument("--out", type=typed_path, metavar="FILE", help="an .mp4 file elsewhere")
    return parser


def _record(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    if options.out is not None and options.out.suffix != ".mp4":
        raise WrongInput(f"--out {options.out} must end in .mp4", f"--out {options.out.with_suffix('.mp4')}")
    run = RunDirectory(find_run(options.run, options.outputs).absolute())
    _draw_without_screen()

    from sac_runner.playback.show import Showing, record

    showing = Showing(options.checkpoint, options.episodes, options.seed, options.sampled, options.trust)
    out = None if options.out is None else options.out.absolute()  # an environment may go elsewhere
    print(f"saved       {shown(record(run, showing, out, partial(print, flush=True)))}")


def _draw_without_screen() -> None:
    """Without a display, pygame and MuJoCo draw in memory; what the user set stays."""
    warnings.filterwarnings("ignore", r"\(\d+\) b'")  # GLFW's, beside the error that follows
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        for name, value in {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "MUJOCO_GL": "egl"}.items():
            os.environ.setdefault(name, value)
