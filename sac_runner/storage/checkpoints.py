"""Checkpoints: folders of safetensors and JSON that load without running code.

``checkpoints/<kind>-<12 digits of env steps>/`` holds ``policy.safetensors`` (the actor with its observation
statistics), ``manifest.json`` (sizes and SHA-256 of the others, and what the score was) and, for ``latest``, what is
needed to continue. Each folder appears by one rename.
"""

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage.files import (
    fsync_folder,
    json_bytes,
    matching,
    new_folder_atomically,
    read_inside,
    write_durably,
)
from sac_runner.storage.signed import digest, parse_signed, signed

Kind = Literal["best", "latest", "kept"]
Arrays = dict[str, NDArray[Any]]
FORMAT = 1
_NAME = re.compile(r"(best|latest|kept)-(\d{12})")
_REPLACED = re.compile(rf"\.({_NAME.pattern})\.old")
"""Where a kill found it while another took its name."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path
    kind: str
    env_steps: int

    def arrays(self, name: str) -> Arrays:
        """The tensors of ``name``.safetensors, checked against the manifest.

        Raises:
            Damaged: Missing, or not what was written.
            WrongInput: Of a newer format.
        """
        return safetensors.numpy.load(self._verified(f"{name}.safetensors"))

    def plain(self, name: str) -> dict[str, Any]:
        """The content of ``name``.json, checked against the manifest.

        Raises:
            Damaged: Missing, or not what was written.
            WrongInput: Of a newer format.
        """
        value: dict[str, Any] = json.loads(self._verified(f"{name}.json"))
        return value

    def manifest(self) -> dict[str, Any]:
        """What the checkpoint says of itself.

        Raises:
            Damaged: Missing, or not what was written.
            WrongInput: Of a newer format.
        """
        try:
            manifest = parse_signed(read_inside(self.path, "manifest.json"), self.path / "manifest.json")
        except Damaged as e:
            raise Damaged(f"{self.path} is not a checkpoint: its manifest.json is missing or damaged") from e
        if manifest["format"] > FORMAT:
            raise WrongInput(f"{self.path} has format {manifest['format']}; this version reads up to {FORMAT}")
        if (manifest.get("kind"), manifest.get("env_steps")) != (self.kind, self.env_steps):
            raise Damaged(f"{self.path} is another checkpoint: {manifest.get('kind')} at {manifest.get('env_steps')}")
        return manifest

    def verify(self) -> dict[str, Any]:
        """Check every file against the manifest, which is returned.

        Raises:
            Damaged: One is missing or not what was written.
            WrongInput: Of a newer format.
        """
        manifest = self.manifest()
        for file in manifest["files"]:
            self._verified(file, manifest)
        return manifest

    def holds(self, manifest: dict[str, Any]) -> bool:
        """Whether exactly this is on the disk already, undamaged."""
        try:
            return json_bytes(self.verify()) == json_bytes(manifest)
        except (Damaged, WrongInput):
            return False

    def _verified(self, file: str, manifest: dict[str, Any] | None = None) -> bytes:
        try:
            expected = (manifest or self.manifest())["files"][file]["sha256"]
        except (KeyError, TypeError):
            expected = None
        path = self.path / file
        data = read_inside(self.path, file)
        if digest(data) != expected:
            raise Damaged(f"{path} is damaged: it does not match its manifest")
        return data

    def drop(self) -> None:
        """Give it a name under which it is no longer found, whole or half; ``clean_up`` deletes it.

        Raises:
            DiskFailed: It stays as it was.
        """
        try:
            os.rename(self.path, self.path.with_name(f".{self.path.name}.tmp"))
        except OSError as e:
            raise DiskFailed(f"can't drop {self.path}: {e.strerror}") from e

    def set_aside(self, why: str) -> Path:
        """Give a damaged checkpoint a name under which it is no longer found, with the reason in it."""
        taken = len(matching(self.path.parent, f"damaged-*{self.path.name}"))
        aside = self.path.with_name(f"damaged-{taken + 1}-{self.path.name}")
        try:
            os.rename(self.path, aside)
            fsync_folder(aside.parent)
        except OSError as e:
            raise DiskFailed(f"can't set {self.path} aside: {e.strerror}") from e
        if not aside.is_symlink():
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
) -> Checkpoint:
    """Write a checkpoint.

    Args:
        folder: The run's ``checkpoints``.
        kind: ``best``, ``latest`` or ``kept``.
        env_steps: When it was taken.
        arrays: File name without suffix -> tensors.
        plain: File name without suffix -> JSON data.
        note: Goes into the manifest.

    Raises:
        DiskFailed: Nothing was changed.
    """
    files = {f"{name}.safetensors": safetensors.numpy.save(_contiguous(tensors)) for name, tensors in arrays.items()}
    files |= {f"{name}.json": json_bytes(value) for name, value in plain.items()}
    listed = {name: {"size": len(data), "sha256": digest(data)} for name, data in files.items()}
    manifest = {"format": FORMAT, "kind": kind, "env_steps": env_steps, **note, "files": listed}
    checkpoint = Checkpoint(folder / f"{kind}-{env_steps:012d}", kind, env_steps)
    if not checkpoint.holds(manifest):  # a run that continues may come to save the same again
        with new_folder_atomically(checkpoint.path) as aside:
            for name, data in files.items():
                write_durably(aside / name, data)
            write_durably(aside / "manifest.json", signed(manifest))
    return checkpoint


def find(folder: Path, kind: Kind | None = None) -> list[Checkpoint]:
    """Checkpoints of one kind, or of all, oldest first.

    Raises:
        DiskFailed: The folder can't be read.
    """
    paths = {path.name: path for path in matching(folder, "*-*")}
    for name in [*paths]:
        replaced = _REPLACED.fullmatch(name)
        if replaced:
            paths.setdefault(replaced[1], paths[name])
    matches = [(path, _NAME.fullmatch(name)) for name, path in paths.items()]
    found = [Checkpoint(path, m[1], int(m[2])) for path, m in matches if m and kind in (None, m[1])]
    return sorted(found, key=lambda checkpoint: (checkpoint.env_steps, checkpoint.kind))


def _contiguous(tensors: Arrays) -> Arrays:
    return {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
