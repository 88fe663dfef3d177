"""Who owns a run directory where the file system has no locks: files that name a process and show that it lives."""

import contextlib
import json
import os
import re
import threading
import time
from pathlib import Path

NAMING_S = 0.05
"""How long an owner that has begun just now may take to write its name."""
_BEAT_S = 10.0
_DEAD_AFTER_S = 60.0


class Claim:
    """A file ``.owner-N`` in a run. The highest N owns it, as long as its process lives.

    To take over from a dead owner is to make N + 1, which only one can. The highest one is never deleted, so no number
    comes free again for a process that is late. Other machines go by the file's time, refreshed as a sign of life.
    """

    def __init__(self, run: Path, clock: int) -> None:
        """Claim ``run``, or say in ``other`` who has.

        Args:
            run: The directory.
            clock: A file in it, open, which tells the time of its file system, maybe of another machine.
        """
        self._released = threading.Event()
        while True:
            number, newest = max(_claims(run), default=(0, None))
            self.other = None if newest is None else _living_owner(newest, clock)
            if self.other is not None:
                return
            self._path = run.absolute() / f".owner-{number + 1}"  # environments may have the process go elsewhere
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:  # another start was faster
                continue
            me = {"process": os.getpid(), "began": _began(os.getpid()), "host": os.uname().nodename}
            with contextlib.suppress(OSError), os.fdopen(descriptor, "w") as file:  # without it, its time will do
                json.dump(me, file)
            *earlier, last = (path for _, path in sorted(_claims(run)))
            if last == self._path:
                break
            self._path.unlink()  # this number was over long ago
        for path in earlier:
            path.unlink(missing_ok=True)
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        while not self._released.wait(_BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def release(self) -> None:
        """Leave the claim of nobody."""
        self._released.set()
        with contextlib.suppress(OSError):
            self._path.write_text("null")


def _claims(run: Path) -> list[tuple[int, Path]]:
    matches = [(re.fullmatch(r"\.owner-(\d+)", path.name), path) for path in run.glob(".owner-*")]
    return [(int(match[1]), path) for match, path in matches if match]


def is_claimed(run: Path) -> bool:
    """Whether the newest claim on ``run`` is a living process's, by this machine's own clock.

    One that can't be read counts as nobody's, which is safe: it only tells, and who wants to own the run is refused.
    """
    with contextlib.suppress(OSError):
        _, newest = max(_claims(run), default=(0, None))
        return newest is not None and _living_owner(newest, None) is not None
    return False


def _living_owner(claim: Path, clock: int | None) -> str | None:
    """Who owns a run by ``claim``; None if nobody does who lives."""
    try:
        young = _now(clock) - claim.stat().st_mtime < _DEAD_AFTER_S
        if not claim.read_text():
            time.sleep(NAMING_S)
        owner = json.loads(claim.read_text())
        if owner is None:
            return None
        here = owner["host"] == os.uname().nodename
        lives = (owner["began"] == _began(owner["process"])) if here else young
        return f"process {owner['process']} on {owner['host']}" if lives else None
    except FileNotFoundError:  # another start has taken over
        return None
    except (ValueError, KeyError, TypeError):  # not written yet, or never was
        return "another process" if young else None


def _now(clock: int | None) -> float:
    if clock is None:
        return time.time()
    before = os.fstat(clock)
    os.utime(clock)
    now = os.fstat(clock).st_mtime
    os.utime(clock, ns=(before.st_atime_ns, before.st_mtime_ns))  # it shows an owner's signs of life too
    return now


def _began(process: int) -> str | None:
    """When ``process`` of this machine began, as its kernel counts; None if it lives no more."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except OSError:  # dead, or a system without /proc
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
