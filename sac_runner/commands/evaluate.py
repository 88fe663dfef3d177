"""``sac-evaluate``: how good is the policy of a run?"""

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from sac_runner.commands.arguments import Parser, add_episodes, add_run, open_door
from sac_runner.errors import WrongInput, command
from sac_runner.storage.find import find_run
from sac_runner.storage.run_directory import RunDirectory

_EPISODES = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-evaluate`` and ``scripts/evaluate``."""
    open_door(partial(_evaluate, arguments))


def _parser() -> Parser:
    parser = Parser("evaluate", "Evaluate the policy of a run on fresh seeds, or once more exactly as in training.")
    add_run(parser)
    add_episodes(parser, _EPISODES)
    parser.set_defaults(episodes=None)  # not given: --as-trained takes none
    parser.add_argument("--as-trained", action="store_true", help="repeat the in-training evaluation of that step")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    return parser


def _evaluate(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    _refuse_own_protocol(options)
    run = RunDirectory(find_run(options.run, options.outputs).absolute())

    from sac_runner.playback.assess import assess
    from sac_runner.playback.verdict import verdict

    with _prints_on_stderr() if options.json else contextlib.nullcontext():
        assessment = assess(
            run,
            options.checkpoint,
            episodes=options.episodes or _EPISODES,
            seed=options.seed,
            deterministic=not options.sampled,
            as_trained=options.as_trained,
            trusted=options.trust,
            on_episode=_progress,
        )
    print(json.dumps(assessment.plain()) if options.json else verdict(assessment))


@contextlib.contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """What environments print goes to stderr, also where they have a process of their own, or print from C."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(ours, 1)
        os.close(ours)


def _refuse_own_protocol(options: argparse.Namespace) -> None:
    given = {"--episodes": options.episodes, "--seed": options.seed, "--sampled": options.sampled or None}
    set_apart = [option for option, value in given.items() if value is not None]
    if options.as_trained and set_apart:
        text = f"--as-trained repeats the run's own protocol, so it takes no {' or '.join(set_apart)}"
        right = [options.run, "--as-trained"]
        right += ["--checkpoint", options.checkpoint] if options.checkpoint != "best" else []
        right += ["--outputs", options.outputs] if options.outputs is not None else []
        right += [f"--{name}" for name in ("trust", "json") if getattr(options, name)]
        raise WrongInput(text, f"{command('evaluate')} {shlex.join(right)}")


def _progress(finished: int, of: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[Kevaluating {finished}/{of}" if finished < of else "\r\033[K")
        sys.stderr.flush()
