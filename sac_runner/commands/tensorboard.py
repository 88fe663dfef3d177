"""``sac-tensorboard``: TensorBoard on runs, for this host only."""

import os
import socket
from collections.abc import Sequence
from functools import partial
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory

from sac_runner.commands.arguments import Parser, add_outputs, open_door, port_number
from sac_runner.errors import WrongInput, command
from sac_runner.storage.find import find_run, list_runs, outputs_folder, run_label

HOST = "127.0.0.1"
_PORTS = range(6006, 6106)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``sac-tensorboard`` and ``scripts/tensorboard``."""
    open_door(partial(_tensorboard, arguments))


def _parser() -> Parser:
    parser = Parser("tensorboard", "Show runs in TensorBoard, all of them by default; on this host only.")
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="a path (a sweep's too), a unique part of a name, or last"
    )
    parser.add_argument("--port", type=port_number, metavar="N", help="default: the first free one from 6006")
    add_outputs(parser)
    return parser


def _tensorboard(arguments: Sequence[str] | None) -> None:
    options = _parser().read(arguments)
    outputs = outputs_folder(options.outputs)
    folders = [_folder(text, outputs) for text in options.runs]
    if not folders and not list_runs(outputs):
        find_run("last", outputs)  # says that there are none
    port = free_port(options.port)
    print(f"http://{HOST}:{port}/   (Ctrl-C ends it)", flush=True)
    if "SSH_CONNECTION" in os.environ:
        print(f"from your own machine: {tunnel(os.environ['SSH_CONNECTION'], port)}", flush=True)
    with TemporaryDirectory(prefix="sac-tensorboard-") as links:
        logdir = link(folders, Path(links)) if folders else outputs
        serve(command_line(logdir, port))


def _folder(text: str, outputs: Path) -> Path:
    """A run, or a folder of runs such as a sweep."""
    path = Path(text).expanduser()
    holds_runs = any(next(path.glob("*/" * depth + "config.yaml"), None) for depth in range(5))
    return path if path.is_dir() and holds_runs else find_run(text, outputs)


def link(folders: list[Path], links: Path) -> Path:
    """One link for each folder, whose name is what TensorBoard shows; its own --logdir_spec adds ``/.`` to each."""
    for folder in dict.fromkeys(map(Path.resolve, folders)):
        label = run_label(folder) if (folder / "config.yaml").exists() else folder.name
        place = links / label.strip("/")
        if os.path.lexists(place):  # a copy of another one
            place = links / str(folder).strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder, target_is_directory=True)
    return links


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
    from tensorboard.default import get_plugins
    from tensorboard.program import TensorBoard

    tensorboard = TensorBoard(plugins=get_plugins())
    tensorboard.configure(argv=["tensorboard", *arguments])
    tensorboard.main()
