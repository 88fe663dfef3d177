"""The signals that ask a run or a sweep to save and stop."""

import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Of Ctrl-C, of a terminal that is closed, of schedulers."""


def stop_signals() -> list[signal.Signals]:
    """``STOP_SIGNALS``, less a SIGHUP that is ignored, as below ``nohup``."""
    return [x for x in STOP_SIGNALS if x != signal.SIGHUP or signal.getsignal(x) is not signal.SIG_IGN]
