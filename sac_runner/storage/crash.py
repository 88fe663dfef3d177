"""What is left of a process that died below Python: the trace of a segmentation fault in an environment, say."""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sac_runner.storage.run_directory import RunDirectory

_NAME = "crash.log"
_REPORTED = "crash_reported.log"


@contextmanager
def crash_traces(folder: Path) -> Iterator[None]:
    """Have a fatal signal leave every thread's trace in ``crash.log``; no such file stays after another end."""
    path = folder / _NAME
    try:
        file = path.open("w")
    except OSError:  # what can't be written is named by the first checkpoint
        yield
        return
    before = faulthandler.is_enabled()
    faulthandler.enable(file)
    try:
        yield
    finally:
        faulthandler.disable()
        if before and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)
        with contextlib.suppress(OSError):
            file.close()
            path.unlink()


def how_it_died(run: RunDirectory) -> str | None:
    """What ended the start before this one, if it ended without a word; its trace gets another name."""
    if run.read_summary().get("status") != "running":
        return None
    words = last_words(run)
    if words is None:
        return "killed, or the machine went down"
    with contextlib.suppress(OSError):
        os.replace(run.path / _NAME, run.path / _REPORTED)
    return f"{words} ({_REPORTED} has its trace)"


def last_words(run: RunDirectory) -> str | None:
    """The fatal error that Python named before ``run`` died, if it could."""
    try:
        trace = (run.path / _NAME).read_text(errors="replace")
    except OSError:
        return None
    fatal = [line for line in trace.splitlines() if line.startswith("Fatal Python error: ")]
    return fatal[-1] if fatal else None
