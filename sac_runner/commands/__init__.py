"""The commands, a thin door each."""

import sys
from types import TracebackType

_trace = sys.excepthook


def _trace_but_ctrl_c(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a command is being imported, which takes a second and more, is no fault."""
    if not issubclass(kind, KeyboardInterrupt):
        _trace(kind, error, trace)


sys.excepthook = _trace_but_ctrl_c
