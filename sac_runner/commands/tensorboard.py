"""``sac-tensorboard``: TensorBoard on runs and sweeps, for this host only."""

import logging
import os
import socket
from collections.abc import Sequence
from functools import partial
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sac_runner.commands.arguments import Parser, add_outputs, open_door, whole
from sac_runner.errors import WrongInput, command
from sac_runner.storage.find import find_run_or_sweep, list_runs, outputs_folder, run_label, typed_path
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import SweepDirectory

HOST = "127.0.0.1"
_PORTS = range(6006, 6106)
_BY_SETTING = "?runColorGroup=regex:%28.%2A%29/s"  # the seeds of a setting, (.*)/s0 and so on, in one colour


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-tensorboard`` and ``scripts/tensorboard``."""
    open_door(partial(_tensorboard, arguments))


def _parser() -> Parser:
    parser = Parser("tensorboard", "Show runs and sweeps in TensorBoard, all of them by default; on this host only.")
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="a run or sweep: a path, a unique part of a name, or last"
    )
    parser.add_argument(
        "--port", type=whole("a port, 1 to 65535", 1, 65536), metavar="N", help="default: the first free one from 6006"
    )
    add_outputs(parser)
    return parser


def _tensorboard(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    outputs = outputs_folder(options.outputs)
    folders = [_folder(text, outputs) for text in options.runs]
    if not folders and not list_runs(outputs):
        find_run_or_sweep("last", outputs)  # says that there are none
    port = free_port(options.port)
    colours = _BY_SETTING if folders and all(SweepDirectory(folder).is_sweep for folder in folders) else ""
    print(f"http://{HOST}:{port}/{colours}   (Ctrl-C ends it)", flush=True)
    if connection := os.environ.get("SSH_CONNECTION"):
        print(f"from your own machine: {tunnel(connection, port)}", flush=True)
    with TemporaryDirectory(prefix="sac-tensorboard-") as links:
        serve(command_line(log_folder(folders, Path(links)) if folders else outputs, port))


def _folder(text: str, outputs: Path) -> Path:
    """A run, a sweep, or any other folder of runs or of event files, such as what ``compare`` writes."""
    path = typed_path(text)
    files = (next(path.glob("*/" * depth + name), None) for depth in range(5) for name in ("config.yaml", "*tfevents*"))
    return path if os.path.isdir(path) and any(files) else find_run_or_sweep(text, outputs)


def log_folder(folders: list[Path], links: Path) -> Path:
    """The folder below which TensorBoard finds ``folders`` under names that tell runs apart.

    One folder of runs is that folder itself. Otherwise there is a link to each in ``links``: TensorBoard's own
    ``--logdir_spec`` adds ``/.`` to every name.
    """
    chosen = list(dict.fromkeys(map(Path.resolve, folders)))
    chosen = [folder for folder in chosen if not set(folder.parents) & set(chosen)]
    if len(chosen) == 1 and not RunDirectory(chosen[0]).is_run:
        return chosen[0]
    for folder in chosen:
        place = links / _label(folder)
        above = (links / part for part in place.relative_to(links).parents)
        if os.path.lexists(place) or any(part.is_symlink() for part in above):  # a copy of another one
            place = links / str(folder).strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder, target_is_directory=True)
    return links


def _label(folder: Path) -> str:
    if RunDirectory(folder).is_run:
        return run_label(folder).strip("/")
    return f"compare/{folder.parent.name}" if folder.name == "tensorboard" else folder.name


def command_line(logdir: Path, port: int) -> list[str]:
    """TensorBoard's arguments. Its fast loader prints three lines of advice, and these event files are small."""
    return ["--logdir", str(logdir), "--host", HOST, "--port", str(port), "--load_fast", "false"]


def free_port(wanted: int | None) -> int:
    """``wanted``, or the first free one from 6006.

    Raises:
        WrongInput: It is taken, or all are.
    """
    for port in _PORTS if wanted is None else [wanted]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return port
            except OSError as e:
                reason = e.strerror
    ports = f"port {wanted}" if wanted is not None else f"any port from {_PORTS[0]} to {_PORTS[-1]}"
    raise WrongInput(f"can't listen on {ports}: {reason}", f"{command('tensorboard')} --port 16006")


def tunnel(connection: str, port: int) -> str:
    """The ``ssh -L`` line for the user's own machine; ``connection`` is ``SSH_CONNECTION``."""
    address, ssh_port = connection.split()[2:4]
    other_port = "" if ssh_port == "22" else f" -p {ssh_port}"
    return f"ssh -N -L {port}:{HOST}:{port}{other_port} {getuser()}@{address}"


def serve(arguments: list[str]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    from tensorboard.program import TensorBoard, WerkzeugServer
    from tensorboard.util.tb_logging import get_logger

    class Server(WerkzeugServer):  # type: ignore[misc]
        def print_serving_message(self) -> None:
            """The address has been printed."""

    get_logger().addFilter(_is_news)
    tensorboard = TensorBoard(plugins=plugins(), server_class=Server)
    tensorboard.configure(argv=["tensorboard", *arguments])
    tensorboard.main()


def _is_news(record: logging.LogRecord) -> bool:
    """A run that goes on writes its newest row anew, of which TensorBoard warns as of lost data."""
    return "out of order event.step" not in record.getMessage()


def plugins() -> list[Any]:
    """TensorBoard's, with the hyperparameters of all runs in one table.

    As it is (2.21), one run says for all which columns there are, whichever comes first. Where no run says so, the
    plugin joins what each was started with, but takes every tag for a metric.
    """
    from tensorboard.default import get_plugins
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG

    from sac_runner.storage.events import compared

    class Joined(Context):  # type: ignore[misc]
        def hparams_metadata(self, *arguments: Any, **options: Any) -> dict[str, dict[str, bytes]]:
            runs = super().hparams_metadata(*arguments, **options)
            return {run: {tag: x for tag, x in tags.items() if tag != EXPERIMENT_TAG} for run, tags in runs.items()}

        def experiment_from_metadata(self, ctx: Any, experiment_id: str, include_metrics: bool, *more: Any) -> Any:
            experiment = super().experiment_from_metadata(ctx, experiment_id, False, *more)
            experiment.metric_infos.extend(compared() if include_metrics else [])
            return experiment

    class Plugin(HParamsPlugin):  # type: ignore[misc]
        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self._context = Joined(context)

    return [Plugin if plugin is HParamsPlugin else plugin for plugin in get_plugins()]
