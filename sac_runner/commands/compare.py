"""``sac-compare``: learning curves and scores of groups of runs, and what their seeds tell."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from sac_runner.commands.arguments import Parser, add_outputs, number, open_door, whole
from sac_runner.errors import WrongInput, command
from sac_runner.storage.files import write_atomically
from sac_runner.storage.find import outputs_folder, typed_path
from sac_runner.storage.names import safe_name
from sac_runner.storage.new_folder import create, create_exclusively
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import SweepDirectory

if TYPE_CHECKING:
    from sac_runner.analysis.comparison import Comparison

_EXAMPLES = """
examples:
  {0} last                                   the newest sweep, a line for each setting
  {0} SWEEP1 SWEEP2 --to-reach 200           several at once; env steps and minutes to 200
  {0} 'outputs/runs/lunarlander/*' --group-by agent.lr,alpha --baseline alpha=auto
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-compare`` and ``scripts/compare``."""
    open_door(partial(_compare, arguments))


def _parser() -> Parser:
    parser = Parser("compare", "Hold runs against each other: curves, scores and intervals over their seeds.")
    parser.epilog, parser.formatter_class = _EXAMPLES.format(parser.prog), argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="a run or a sweep as elsewhere, a folder of some, or a 'pattern*'"
    )
    parser.add_argument("--group-by", metavar="KEYS", help="such as agent.lr,alpha (default: all that differ)")
    parser.add_argument("--metric", metavar="TAG", default="eval/return_mean", help="default: eval/return_mean")
    parser.add_argument("--baseline", metavar="GROUP", help="what the others are held against (default: the first)")
    parser.add_argument("--to-reach", type=_number, metavar="LEVEL", help="env steps and minutes to this level")
    where = "where scores are taken (default: the last step that all finished runs came to)"
    parser.add_argument("--at", type=whole("a number of env steps"), metavar="STEPS", help=where)
    parser.add_argument("--out", metavar="DIR", help="default: outputs/compare/<time>_<name>")
    parser.add_argument("--to-tensorboard", action="store_true", help="write each group's IQM and band for it too")
    add_outputs(parser)
    return parser


def _number(text: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} must be a number")
    return value


def _compare(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    if not options.runs:
        raise WrongInput("which runs? RUN is missing", f"{command('compare')} last   # --help has more")
    outputs = outputs_folder(options.outputs)
    if options.out == "":
        raise WrongInput("--out names no folder", "--out DIR")
    if options.out is not None:
        _require_apart(typed_path(options.out))

    from sac_runner.analysis.comparison import compare
    from sac_runner.analysis.load import load
    from sac_runner.analysis.words import lines

    by = None if options.group_by is None else [key.strip() for key in options.group_by.split(",") if key.strip()]
    loaded = load(options.runs, outputs, options.metric)
    comparison = compare(loaded, options.metric, by, options.baseline, options.to_reach, options.at)
    print(*lines(comparison), sep="\n", flush=True)
    folder = _folder(options.out, outputs, comparison)
    given = list(sys.argv[1:] if arguments is None else arguments)
    _write(comparison, folder, " ".join([command("compare"), *map(quote, given)]))
    print(f"report.html curves.png scores.csv curves.csv -> {folder}")
    if options.to_tensorboard:
        from sac_runner.analysis.to_tensorboard import write_groups

        print(f"{command('tensorboard')} {quote(str(write_groups(comparison, folder)))}")


def _require_apart(out: Path) -> None:
    """Nothing is written into a run or a sweep, whose files are its own."""
    for folder in (out.absolute(), *out.absolute().parents):
        if RunDirectory(folder).is_run or SweepDirectory(folder).is_sweep:
            raise WrongInput(f"--out {out} lies in {folder}, which is a run or a sweep", "--out DIR, elsewhere")


def _folder(out: str | None, outputs: Path, comparison: "Comparison") -> Path:
    """Made, where it is not there yet."""
    elsewhere = "--out DIR, where you may write"
    try:
        if out is None:
            return create_exclusively(outputs / "compare" / _name(comparison))
        folder = typed_path(out)
        made = create(folder)
    except WrongInput as e:
        raise WrongInput(e.message, elsewhere) from e
    if not made and not folder.is_dir():
        raise WrongInput(f"--out {folder} exists and is not a folder", elsewhere)
    if not os.access(folder, os.W_OK):
        raise WrongInput(f"can't write into {folder}", elsewhere)
    return folder


def _name(comparison: "Comparison") -> str:
    keys = list(dict.fromkeys(key for panel in comparison.panels for key in panel.grouping.differing))
    what = [key.removesuffix(".mode").rpartition(".")[2] for key in keys[:3]] or [comparison.panels[0].env_id]
    return f"{time.strftime('%Y%m%d-%H%M%S')}_{safe_name('_'.join(what))}"


def _write(comparison: "Comparison", folder: Path, typed: str) -> None:
    from sac_runner.analysis.figures import draw
    from sac_runner.analysis.report import report
    from sac_runner.analysis.tables import curves_csv, scores_csv

    pictures = draw(comparison)
    texts = {
        "scores.csv": scores_csv(comparison),
        "curves.csv": curves_csv(comparison),
        "report.html": report(comparison, pictures.svg, typed),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode(errors="replace"))  # a path may be no text
    write_atomically(folder / "curves.png", pictures.png)
