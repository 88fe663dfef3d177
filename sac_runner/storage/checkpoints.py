"""Checkpoints: folders of safetensors and JSON that load without running code.

``checkpoints/<kind>-<12 digits of env steps>/`` holds ``policy.safetensors`` (the actor with its observation
statistics), ``manifest.json`` (sizes and SHA-256 of the others, and what the score was) and, for ``latest``, what is
needed to continue. Each folder appears by one rename.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage.files import fsync_folder, json_bytes, new_folder_atomically, read_whole, write_durably

Kind = Literal["best", "latest", "kept"]
Arrays = dict[str, NDArray[Any]]
FORMAT = 1
_NAME = re.compile(r"(best|latest|kept)-(\d{12})")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path
    kind: str
    env_steps: int

    def arrays(self, name: str) -> Arrays:
        """The tensors of ``name``.safetensors, checked against the manifest.

        Raises:
            WrongInput: Missing, damaged, or of a newer format.
        """
        return safetensors.numpy.load(self._verified(f"{name}.safetensors"))

    def plain(self, name: str) -> dict[str, Any]:
        """The content of ``name``.json, checked against the manifest.

        Raises:
            WrongInput: Missing, damaged, or of a newer format.
        """
        value: dict[str, Any] = json.loads(self._verified(f"{name}.json"))
        return value

    def manifest(self) -> dict[str, Any]:
        """What the checkpoint says of itself.

        Raises:
            WrongInput: Missing, damaged, or of a newer format.
        """
        try:
            manifest: dict[str, Any] = json.loads(read_whole(self.path / "manifest.json"))
            intact = manifest.pop("sha256") == _digest(json_bytes(manifest))
        except (Damaged, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise Damaged(f"{self.path} is no checkpoint: its manifest.json is missing or damaged") from e
        if not intact:
            raise Damaged(f"{self.path / 'manifest.json'} is damaged: it is not what was written")
        if manifest["format"] > FORMAT:
            raise WrongInput(f"{self.path} has format {manifest['format']}; this version reads up to {FORMAT}")
        return manifest

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            Damaged: One is missing or not what was written.
            WrongInput: Of a newer format.
        """
        for file in self.manifest()["files"]:
            self._verified(file)

    def holds(self, manifest: dict[str, Any]) -> bool:
        """Whether exactly this is on the disk already, undamaged."""
        try:
            self.verify()
            return json_bytes(self.manifest()) == json_bytes(manifest)
        except (Damaged, WrongInput):
            return False

    def _verified(self, file: str) -> bytes:
        try:
            expected = self.manifest()["files"][file]["sha256"]
        except (KeyError, TypeError):
            expected = None
        path = self.path / file
        if path.name != file or path.is_symlink():
            raise Damaged(f"{path} is refused: it leads out of the checkpoint")
        data = read_whole(path)
        if _digest(data) != expected:
            raise Damaged(f"{path} is damaged: it does not match its manifest")
        return data

    def set_aside(self, why: str) -> Path:
        """Give a damaged checkpoint a name under which it is no longer found, with the reason in it."""
        taken = sum(1 for _ in self.path.parent.glob(f"damaged-*{self.path.name}"))
        aside = self.path.with_name(f"damaged-{taken + 1}-{self.path.name}")
        try:
            os.rename(self.path, aside)
            fsync_folder(aside.parent)
        except OSError as e:
            raise DiskFailed(f"can't set {self.path} aside: {e.strerror}") from e
        with contextlib.suppress(OSError):
            (aside / "reason.txt").write_text(f"{why}\n")
        return aside


def save(
    folder: Path,
    kind: Kind,
    env_steps: int,
    arrays: dict[str, Arrays],
    plain: dict[str, dict[str, Any]],
    note: dict[str, Any],
    keep: int = 1,
) -> Checkpoint:
    """Write a checkpoint, then drop others of the same kind (``kept`` ones stay).

    Args:
        folder: The run's ``checkpoints``.
        kind: ``best``, ``latest`` or ``kept``.
        env_steps: When it was taken.
        arrays: File name without suffix -> tensors.
        plain: File name without suffix -> JSON data.
        note: Goes into the manifest.
        keep: How many of the kind stay: this one and older ones.

    Raises:
        DiskFailed: Nothing was changed.
    """
    files = {f"{name}.safetensors": safetensors.numpy.save(_contiguous(tensors)) for name, tensors in arrays.items()}
    files |= {f"{name}.json": json_bytes(value) for name, value in plain.items()}
    listed = {name: {"size": len(data), "sha256": _digest(data)} for name, data in files.items()}
    manifest = {"format": FORMAT, "kind": kind, "env_steps": env_steps, **note, "files": listed}
    checkpoint = Checkpoint(folder / f"{kind}-{env_steps:012d}", kind, env_steps)
    if not checkpoint.holds(manifest):  # a run that continues may come to save the same again
        with new_folder_atomically(checkpoint.path) as aside:
            for name, data in files.items():
                write_durably(aside / name, data)
            write_durably(aside / "manifest.json", signed(manifest))
    if kind != "kept":
        found = find(folder, kind)
        staying = [c for c in found if c.env_steps <= env_steps][-keep:]
        for other in found:
            if other not in staying:
                shutil.rmtree(other.path, ignore_errors=True)
    return checkpoint


def find(folder: Path, kind: Kind | None = None) -> list[Checkpoint]:
    """Checkpoints of one kind, or of all, oldest first."""
    matches = [(path, _NAME.fullmatch(path.name)) for path in folder.glob("*-*")]
    found = [Checkpoint(path, m[1], int(m[2])) for path, m in matches if m and kind in (None, m[1])]
    return sorted(found, key=lambda checkpoint: (checkpoint.env_steps, checkpoint.kind))


def signed(manifest: dict[str, Any]) -> bytes:
    """``manifest.json``, with a digest of what it says."""
    return json_bytes({**manifest, "sha256": _digest(json_bytes(manifest))})


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _contiguous(tensors: Arrays) -> Arrays:
    return {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
