"""The signals that ask a run or a sweep to save and stop."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Of Ctrl-C, of a terminal that is closed, of schedulers."""


def stop_signals() -> list[signal.Signals]:
    """``STOP_SIGNALS``, less a SIGHUP that is ignored, as below ``nohup``."""
    return [x for x in STOP_SIGNALS if x != signal.SIGHUP or signal.getsignal(x) is not signal.SIG_IGN]


@contextmanager
def handling(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], Any] | signal.Handlers
) -> Iterator[None]:
    """Have ``handler`` take the signals ``numbers``; in a thread, which can't take any, nothing does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
