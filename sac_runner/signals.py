"""The signals that ask a run or a sweep to save and stop."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Of Ctrl-C, of a terminal that is closed, of schedulers."""

_ECHO_S = 2.0
_LOOK_S = 0.01  # to look takes 12 us


def stop_signals() -> list[signal.Signals]:
    """``STOP_SIGNALS``, less a SIGHUP that is ignored, as below ``nohup``."""
    return [x for x in STOP_SIGNALS if x != signal.SIGHUP or signal.getsignal(x) is not signal.SIG_IGN]


@contextmanager
def handling(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], Any] | signal.Handlers
) -> Iterator[Sequence[int]]:
    """Have ``handler`` take the signals ``numbers``, which come back; in a thread, which can't take any, none."""
    if threading.current_thread() is not threading.main_thread():
        yield ()
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield tuple(before)
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class StopRequest:
    """Set by the first signal; a second Ctrl-C, or a scheduler's same signal later on, ends the process at once."""

    def __init__(self) -> None:
        """Not requested."""
        self.signal: int | None = None
        self.hears: Sequence[int] = ()
        """The signals that are its own."""
        self._heard_at = self._looked_at = 0.0

    def __call__(self) -> bool:
        """Whether to stop."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            for number in self.hears:
                if signal.getsignal(number) != self.handle:  # an environment took it for itself, as ROS's clients do
                    signal.signal(number, self.handle)
            self._looked_at = time.monotonic()
        return self.signal is not None

    @property
    def cause(self) -> str | None:
        """What was heard, ``Ctrl-C`` or ``SIGTERM``; None as long as nothing was."""
        if self.signal is None:
            return None
        return "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        if self.signal is not None:
            if self._is_an_echo(number):
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)  # the process: while it compiles, this thread takes none
            return
        self.signal, self._heard_at = number, time.monotonic()
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping and saving; once more stops at once, unsaved\n")

    def _is_an_echo(self, number: int) -> bool:
        """What a scheduler says in two ways (SIGUSR2, then SIGTERM), or the kernel for each thread of a launcher."""
        again = number == self.signal and time.monotonic() - self._heard_at > _ECHO_S
        return number != signal.SIGINT and not again


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Ctrl-C and a scheduler's signals ask to stop, save and leave; in a thread, which can't take any, nothing does."""
    stop = StopRequest()
    with handling(stop_signals(), stop.handle) as stop.hears:
        yield stop
