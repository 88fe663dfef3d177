"""The run directory: config, versions and summary of a run, written and read."""

import os
import time
from pathlib import Path
from typing import Any

from sac_runner.errors import Damaged, DiskFailed, WrongInput, warn
from sac_runner.storage import checkpoints
from sac_runner.storage.files import matching, read_whole, write_atomically
from sac_runner.storage.signed import digest, read_signed, signed

_HEAD = "# sha256 of what follows: "
"""Begins the first line of ``config.yaml``."""


class RunDirectory:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        """``path`` need not be there; whether it holds a run, ``is_run`` says."""
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.replay = path / "replay"
        self._warned_of: set[str] = set()

    @property
    def is_run(self) -> bool:
        """Whether a config was written here."""
        return os.path.isfile(self.path / "config.yaml")  # Path.is_file raises where it may not look

    @property
    def why_closed(self) -> str | None:
        """Why it can't be looked into just now, which leaves open what it holds."""
        try:
            os.stat(self.path / "config.yaml")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:  # no permission, or a disk that does not answer
            return e.strerror or repr(e)
        return None

    def write_start(self, config_yaml: str, meta: dict[str, Any]) -> None:
        """The resolved config, and ``meta.json``: versions, git commit, command line, device, threads, precision.

        What it said of earlier starts of the run is kept in it.
        """
        before = {key: value for key, value in self.read_meta().items() if key != "spaces"}
        earlier = before.pop("earlier_starts", [])
        if before:
            meta = meta | {"earlier_starts": [*earlier, before]}
        write_atomically(self.path / "meta.json", signed(meta))
        config = config_yaml.encode()
        write_atomically(self.path / "config.yaml", f"{_HEAD}{digest(config)}\n".encode() + config)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """``summary.json``: status, cause and scores with their protocol."""
        write_atomically(self.path / "summary.json", signed({**summary, "written": time.strftime("%FT%T%z")}))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Any other single file, such as ``curve.png``."""
        target = self.path / name
        write_atomically(target, data)
        return target

    def read_summary(self) -> dict[str, Any]:
        """``summary.json``, or an empty dict where there is none yet, or a damaged one, of which it warns."""
        return self._read_json("summary.json")

    def read_meta(self) -> dict[str, Any]:
        """``meta.json``, or an empty dict where there is none, or a damaged one, of which it warns."""
        return self._read_json("meta.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        value = self.intact(name)
        if value is None:
            self._warn(name, "is damaged or can't be read, and counts as missing")
        return value or {}

    def intact(self, name: str) -> dict[str, Any] | None:
        """``meta.json`` or ``summary.json``, empty where there is none; None where it is not what was written."""
        path = self.path / name
        try:
            return read_signed(path)
        except Damaged:
            return None if os.path.lexists(path) else {}
        except DiskFailed:
            return None

    def _warn(self, name: str, text: str) -> None:
        if name not in self._warned_of:
            self._warned_of.add(name)
            warn(f"{self.path / name} {text}")

    def config_text(self) -> str:
        """``config.yaml``, less its first line.

        Raises:
            WrongInput: This is not a run, or not all of it lies in its directory.
            Damaged: It is not what was written.
            DiskFailed: It can't be read.
        """
        self._require_inside()
        path = self.path / "config.yaml"
        try:
            data = read_whole(path)
        except Damaged as e:
            raise WrongInput(f"{self.path} is not a run: it has no config.yaml") from e
        head, _, config = data.partition(b"\n")
        if head != f"{_HEAD}{digest(config)}".encode():
            raise Damaged(f"{path} is damaged, or was changed: it does not match its first line")
        return config.decode()

    def _require_inside(self) -> None:
        """Nothing that is read, written or deleted here may be another run's, or anything else of the user's."""
        here = os.path.realpath(self.path)
        for path in matching(self.path, "*"):
            if path.is_symlink() and not os.path.realpath(path).startswith(here + os.sep):
                raise WrongInput(f"{path} is refused: it leads out of the run")

    def checkpoint(self, which: str) -> checkpoints.Checkpoint:
        """The checkpoint ``best``, ``latest`` or at a number of env steps.

        Raises:
            WrongInput: There is none such.
        """
        found = checkpoints.find(self.checkpoints)
        if which in ("best", "latest"):
            chosen = [c for c in found if c.kind == which]
        else:
            chosen = [c for c in found if str(c.env_steps) == which.replace("_", "")]
        if not chosen:
            there = ", ".join(f"{c.kind} at {c.env_steps:,}" for c in found) or "none yet"
            raise WrongInput(f"{self.path} has no checkpoint {which}; there is {there}")
        return chosen[-1]
