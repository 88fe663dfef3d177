"""``sac-runs``: which runs and sweeps there are, how they stand, and the way to be rid of them."""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sac_runner.commands.arguments import Parser, add_outputs, open_door
from sac_runner.commands.removal import remove
from sac_runner.commands.runs_table import short_cause, table, terminal_width, totals
from sac_runner.errors import WrongInput, command, say, train_command
from sac_runner.storage.find import (
    find_run_or_sweep,
    fitting,
    is_whole_name,
    list_sweeps,
    outputs_folder,
    started,
    typed_path,
)
from sac_runner.storage.overview import RunSeen, SweepSeen, see, see_run
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import STATES, State, is_owned
from sac_runner.storage.sweep_directory import SweepDirectory
from sac_runner.sweep.board import Board
from sac_runner.sweep.slurm import is_queued

_LOOK_S = 0.2
_SHARE = 0.05  # of the time at most goes into looking
_ASK_S = 10.0  # a cluster


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-runs`` and ``scripts/runs``."""
    open_door(partial(_runs, arguments))


def _parser() -> Parser:
    parser = Parser("runs", "List runs and sweeps, newest first; follow a sweep; remove what is not needed any more.")
    parser.add_argument("text", metavar="TEXT", nargs="*", help="only these: a part of the name, a path, or last")
    parser.add_argument("--env", metavar="NAME", help="only those of this environment")
    parser.add_argument("--state", type=_states, metavar="STATE[,STATE]", help=f"only these: {', '.join(STATES)}")
    parser.add_argument("--sweeps", action="store_true", help="only sweeps")
    parser.add_argument("--all", action="store_true", help="the runs of each sweep too")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    what.add_argument("--follow", nargs="?", const=True, metavar="SWEEP", help="watch a sweep (default: last)")
    what.add_argument("--prune", choices=("replay", "runs"), help="remove these, or only their replay; asks first")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    add_outputs(parser)
    return parser


def _states(text: str) -> tuple[State, ...]:
    asked = ["finished" if state == "done" else state for state in text.split(",")]
    found = tuple(state for state in STATES if state in asked)
    if unknown := [state for state in asked if state not in STATES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no state; there are {', '.join(STATES)}")
    return found


def _runs(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    outputs = outputs_folder(options.outputs)
    if options.yes and not options.prune:
        raise WrongInput("--yes answers what --prune asks", f"{command('runs')} --prune replay --yes")
    if options.follow is not None:
        _follow(_find_sweep(_followed(options), outputs))
        return
    if options.outputs is not None and not outputs.is_dir():
        raise WrongInput(f"--outputs {outputs} is not a folder", "the folder that holds runs/ and sweeps/")
    singles, sweeps = _select(options, outputs, *see(outputs))
    if options.prune:
        remove(options.prune, singles, sweeps, outputs, options.yes)
    elif options.json:
        found = {"runs": [_plain(run) for run in singles], "sweeps": [_plain_sweep(sweep) for sweep in sweeps]}
        print(json.dumps(found), flush=True)
    elif not singles and not sweeps:
        yet = f"no runs in {outputs}/ yet; make one: {train_command('env=pendulum')}"
        say(f"no such runs in {outputs}/" if _has_filter(options) else yet)
    else:
        jobs = bool(options.all or options.text) and not options.sweeps
        print(
            *table(singles, sweeps, jobs, time.time(), terminal_width()), totals(singles, sweeps), sep="\n", flush=True
        )


def _has_filter(options: argparse.Namespace) -> bool:
    return bool(options.text or options.env or options.state or options.sweeps)


def _select(
    options: argparse.Namespace, outputs: Path, singles: list[RunSeen], sweeps: list[SweepSeen]
) -> tuple[list[RunSeen], list[SweepSeen]]:
    """What the options ask for; a sweep keeps those of its jobs that match."""
    if not options.prune:  # which takes nothing that lies elsewhere
        known = [*singles, *(job for sweep in sweeps for job in sweep.jobs)]
        singles = [*singles, *_elsewhere(options.text, known)]
    every = [*singles, *(job for sweep in sweeps for job in sweep.jobs)]
    named = {text: _named(text, outputs, every) for text in options.text}
    if options.env is not None and not any(_is_of(options.env, run) for run in every):
        there = sorted({run.envs[0] for run in every if run.envs})
        raise WrongInput(f"no run has --env {options.env}", f"one of {', '.join(there)}" if there else None)

    def matches(run: RunSeen) -> bool:
        return (
            (not named or any(run.path in paths for paths in named.values()))
            and (options.env is None or _is_of(options.env, run))
            and (options.state is None or run.status.state in options.state)
        )

    kept = [sweep._replace(jobs=[job for job in sweep.jobs if matches(job)]) for sweep in sweeps]
    bare = not _has_filter(options)
    return (
        [] if options.sweeps else [run for run in singles if matches(run)],
        [sweep for sweep in kept if sweep.jobs or bare],
    )


def _elsewhere(texts: list[str], known: list[RunSeen]) -> list[RunSeen]:
    """Runs that are named by a path and are not ``known``, as ``run.dir`` makes them; each once."""
    paths = {path.resolve(): path for path in map(typed_path, texts) if RunDirectory(path).is_run}
    there = {run.path.resolve() for run in known}
    return [see_run(path) for place, path in paths.items() if place not in there]


def _is_of(env: str, run: RunSeen) -> bool:
    return env.lower() in (name.lower() for name in run.envs)


def _named(text: str, outputs: Path, every: list[RunSeen]) -> set[Path]:
    """The runs that ``text`` means.

    Raises:
        WrongInput: There is none.
    """
    path = typed_path(text)
    is_path = os.path.exists(path)
    if is_whole_name(text):  # and no other that begins with it
        found = {*fitting(text, [run.path for run in every])}
    else:
        found = {run.path for run in every if text and text in run.label and text != "last"}
    if text == "last" or (is_path and (os.sep in text or not found)):
        folder = Path(os.path.realpath(find_run_or_sweep(text, outputs) if text == "last" else path))
        real = {run.path: Path(os.path.realpath(run.path)) for run in every}
        found = {path for path, place in real.items() if folder in (place, *place.parents)}
    if not found:
        find_run_or_sweep(text, outputs)  # says what there is
        raise WrongInput(f"{text} holds no run that is in {outputs}", f"{command('runs')} --outputs DIR")
    return found


def _plain(run: RunSeen) -> dict[str, Any]:
    state, cause, env_steps, wall_time_s, scores = run.status
    means = {which: scores.get(which, {}).get("return_mean") for which in ("final", "best")}
    return {
        "name": run.label,
        "path": str(run.path),
        "state": state,
        "cause": cause,
        "env": run.envs[0] if run.envs else None,
        "env_steps": env_steps,
        "total_env_steps": run.total_env_steps,
        "wall_time_s": wall_time_s,
        **means,
        "started": run.started or None,
        "bytes": run.n_bytes,
        "replay_bytes": run.replay_bytes,
    }


def _plain_sweep(sweep: SweepSeen) -> dict[str, Any]:
    head = {"name": sweep.path.name, "path": str(sweep.path), "state": sweep.state, "started": sweep.started or None}
    return head | {"damage": sweep.damage, "runs": [_plain(job) for job in sweep.jobs]}


def _followed(options: argparse.Namespace) -> str:
    """The sweep that is to be followed, which may be named before ``--follow`` too.

    Raises:
        WrongInput: There is more beside it than where it is.
    """
    named = [*options.text, *([] if options.follow is True else [options.follow])] or ["last"]
    if len(named) > 1 or options.env or options.state or options.sweeps or options.all:
        right = ["--follow", named[-1], *(["--outputs", options.outputs] if options.outputs else [])]
        raise WrongInput("--follow takes one sweep, and no filter", f"{command('runs')} {shlex.join(right)}")
    return str(named[0])


def _find_sweep(text: str, outputs: Path) -> SweepDirectory:
    sweeps = list_sweeps(outputs)
    path = max(sweeps, key=started) if sweeps and text == "last" else find_run_or_sweep(text, outputs)
    sweep = SweepDirectory(path)
    if not sweep.is_sweep:
        raise WrongInput(f"{path} is a run, and --follow takes a sweep", f"{command('runs')} --sweeps")
    return sweep


def _until_next_look(sweep: SweepDirectory) -> float | None:
    """Seconds; none where nobody runs it, and no cluster has jobs of it."""
    if is_owned(sweep.path):
        return _LOOK_S
    begun = time.monotonic()
    if any(sweep.status(job).state == "running" for job in sweep.jobs()):
        return max(_LOOK_S, (time.monotonic() - begun) / _SHARE)
    return _ASK_S if is_queued(sweep) else None


def _follow(sweep: SweepDirectory) -> None:
    """Show the board until nobody runs the sweep any more; exit 1 unless all of its runs are finished."""
    board, code = Board(sweep), 1
    sweep.jobs()  # a plan that can't be read is no empty one
    try:
        if not board.live and _until_next_look(sweep) is not None:
            board.say(board.headline())
        while (pause := _until_next_look(sweep)) is not None:
            board.update()
            time.sleep(pause)
    except KeyboardInterrupt:
        code = 130
    finally:
        board.close()
    print(board.headline(), flush=True)
    now = [(job.path, sweep.status(job)) for job in sweep.jobs()]
    for path, status in now:
        if status.state in ("failed", "killed", "stopped"):
            print(f"  {status.state:<7}  {path}  {short_cause(status)}".rstrip())
    if all(status.state == "finished" for _, status in now):
        return
    if code != 130:
        print(f"nobody runs it. Go on: {train_command(f'resume={shlex.quote(str(sweep.path))}')}")
    sys.exit(code)
