"""``scripts/look``: TensorBoard on a sweep, in a real browser."""

import argparse
import sys
from pathlib import Path
from subprocess import SubprocessError
from tempfile import TemporaryDirectory

from browser.board import look, serving, wait_for_events
from browser.chromium import TooLate, find_chromium, open_page
from browser.sweep import rows, train_small
from sac_runner.commands.arguments import open_door
from sac_runner.storage.find import find_run_or_sweep
from sac_runner.storage.sweep_directory import SweepDirectory


def main() -> None:
    """Entry point."""
    open_door(_look)


def _look() -> None:
    options = _parser().parse_args()
    with TemporaryDirectory(prefix="look-") as folder:
        try:
            missing = see(_sweep(options.sweep, Path(folder)), options.out)
        except (RuntimeError, SubprocessError, TooLate) as e:
            missing = [str(e)]
    for what in missing:
        print(f"missing: {what}", file=sys.stderr)
    if missing:
        sys.exit(1)
    print(f"all there; pictures: {options.out}/tensorboard-*.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/look",
        description="Opens TensorBoard on a sweep in Chromium, checks that its runs, hyperparameters and charts are "
        "there, and takes a picture of each tab. Exit code 1: something is missing, and named.",
    )
    parser.add_argument(
        "sweep",
        metavar="SWEEP",
        nargs="?",
        help="a path, a part of a name, or last (default: trains a small one)",
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the pictures (default: here)")
    return parser


def _sweep(text: str | None, folder: Path) -> SweepDirectory:
    return train_small(folder) if text is None else SweepDirectory(find_run_or_sweep(text))


def see(sweep: SweepDirectory, pictures: Path) -> list[str]:
    """What is missing of ``sweep`` in TensorBoard.

    Raises:
        WrongInput: It is not a sweep.
        RuntimeError: TensorBoard does not start, there is no Chromium, or nothing to be seen.
        TooLate: TensorBoard or Chromium does not answer.
    """
    wanted, chromium = rows(sweep), find_chromium()
    if not wanted:
        raise RuntimeError(f"a run of {sweep.path} that was evaluated")
    if chromium is None:
        raise RuntimeError("a browser: neither chromium nor google-chrome is on the PATH, snaps aside")
    pictures.mkdir(parents=True, exist_ok=True)
    with serving(sweep.path) as address, open_page(chromium) as page:
        wait_for_events(address, wanted)
        return look(page, address, wanted, pictures)


if __name__ == "__main__":
    main()
