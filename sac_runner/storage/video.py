"""An mp4 file, written frame by frame beside its place and put there when it is whole."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sac_runner.errors import DiskFailed, WrongInput


class Video:
    """A context manager: the file appears when the block ends, and nothing is left when it raises."""

    def __init__(self, path: Path, frames_per_second: float, remedy: str) -> None:
        """``path`` ends in ``.mp4``; ``remedy`` is said where it can't be written."""
        self.path, self.remedy = path, remedy
        self.frames_per_second = frames_per_second
        self._aside = path.with_name(f".{path.stem}.tmp.mp4")
        self._writer: Any = None
        self._made_folder = False

    def __enter__(self) -> "Video":
        """Find out whether the file can be written, before anything is played.

        Raises:
            WrongInput: It can't.
        """
        if os.path.isdir(self.path):  # Path.is_dir may raise
            raise WrongInput(f"can't write {self.path}: it is a folder", self.remedy)
        try:
            self._made_folder = not self.path.parent.exists()
            if self._made_folder:
                self.path.parent.mkdir()
            self._aside.touch()
        except OSError as e:
            self._clear()
            raise WrongInput(f"can't write {self.path}: {e.strerror}", self.remedy) from e
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append ``frame`` (height, width, 3), all of one size.

        Raises:
            DiskFailed: The disk is full or refuses to write.
        """
        height, width = (size - size % 2 for size in frame.shape[:2])  # players want even sizes
        try:
            if self._writer is None:
                self._writer = self._open(width, height)
            self._writer.write_frame(np.ascontiguousarray(frame[:height, :width]))
        except OSError as e:
            raise DiskFailed(f"can't write {self.path}: {str(e).splitlines()[0]}", self.remedy) from e

    def _open(self, width: int, height: int) -> Any:
        from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

        for_browsers = ["-movflags", "+faststart"]
        return FFMPEG_VideoWriter(str(self._aside), (width, height), self.frames_per_second, ffmpeg_params=for_browsers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = self._writer is not None and self._end_writer()
        if kind is None and whole:
            os.replace(self._aside, self.path)
            return
        self._clear()
        if kind is None:
            raise DiskFailed(f"can't write {self.path}: ffmpeg failed; is the disk full?", self.remedy)

    def _end_writer(self) -> bool:
        """Let ffmpeg finish; whether it did, which moviepy doesn't say."""
        process = self._writer.proc
        try:
            self._writer.close()
        except BrokenPipeError:
            process.wait()
        return bool(process.returncode == 0)

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            self._aside.unlink()
        if self._made_folder:
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
