"""``scripts/benchmark``: what is timed, in which order, and the table."""

import argparse
import json
import platform
from pathlib import Path

import torch

from benchmark import buffer, collection, end_to_end, rounds, startup, sweeps, update, where
from benchmark.timing import Row, Spread
from sac_runner.commands.arguments import open_door
from sac_runner.machine import available_cores
from sac_runner.text import number
from sac_runner.training.device import own_threads
from sac_runner.training.provenance import git_state, version_of

PARTS = {
    "end_to_end": end_to_end.measure,
    "precision": end_to_end.measure_precision,
    "update": update.measure,
    "collection": collection.measure,
    "round": rounds.measure,
    "replay": buffer.measure,
    "startup": startup.measure,
    "sweep": sweeps.measure,
} | ({"gpu": end_to_end.measure_gpu} if torch.cuda.is_available() else {})
VERSIONS = ("torch", "numpy", "gymnasium", "mujoco", "box2d")
HEADER = "| | here | against | ratio (least to greatest) | goal |\n|---|---|---|---|---|"


def main() -> None:
    """Entry point."""
    open_door(_benchmark)


def _benchmark() -> None:
    parser = options()
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds} must be at least 1")
    print(machine())
    if arguments.where:
        print(where.report(arguments.where))
        return
    figures = {"machine": machine(), "threads": own_threads(), "git": git_state(), "rounds": arguments.rounds}
    rows: list[Row] = []
    print(f"\n{HEADER}", flush=True)
    for part in arguments.parts or PARTS:
        measured = PARTS[part](arguments.rounds)
        print(markdown(measured), flush=True)  # a later part may fail
        rows += measured
        if arguments.json:
            plain = figures | {"rows": [_plain(row) for row in rows]}
            arguments.json.write_text(json.dumps(plain, indent=2) + "\n")


def options() -> argparse.ArgumentParser:
    """What may be typed."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description="Times this project; nothing else should run."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="in which candidates take turns (default: 5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--where", metavar="ENV", help="say where a training step's time goes instead")
    return parser


def machine() -> str:
    """Processor, cores, threads, commit and versions."""
    names = [f"{name} {version_of(name)}" for name in VERSIONS]
    git = git_state()
    commit = f"commit {git['commit'][:7]}{' with changes' if git['dirty'] else ''}" if git else "no commit"
    computes = f"{_processor()}, {available_cores()} cores, {own_threads()} threads{_gpu()}"
    return f"{computes}; {commit}; Python {platform.python_version()}, {', '.join(names)}"


def _gpu() -> str:
    return f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    model = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "a processor"
    )
    amx = " with AMX" if "amx_bf16" in info else ""
    return f"{model}{amx} ({torch.backends.cpu.get_cpu_capability()})"


def markdown(rows: list[Row]) -> str:
    """Lines of the table: medians, and the least and greatest ratio of a round."""
    lines = []
    for row in rows:
        against = "" if row.other is None else f"{number(row.other.median)} {row.unit}: {row.against}"
        ratio = "" if row.ratio is None else f"{row.ratio.median:.2f} ({row.ratio.low:.2f} to {row.ratio.high:.2f})"
        lines.append(
            f"| {row.part}: {row.case} | {number(row.ours.median)} {row.unit} | {against} | {ratio} | {row.goal} |"
        )
    return "\n".join(lines)


def _plain(row: Row) -> dict[str, object]:
    return {name: x._asdict() if isinstance(x, Spread) else x for name, x in row._asdict().items()}


if __name__ == "__main__":
    main()
