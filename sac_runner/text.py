"""How numbers are written for people: durations, steps, returns, tables."""

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """``5:45`` or ``1:14:10``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def short(steps: int) -> str:
    """``40k`` for 40,000."""
    return f"{steps / 1e6:g}M" if steps >= 1_000_000 else f"{steps / 1e3:g}k" if steps >= 1000 else str(steps)


def number(x: float) -> str:
    """At least three digits, and whole ones all."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def spread(mean: float, std: float) -> str:
    """``268 +- 18``."""
    return f"{number(mean)} +- {number(std)}"


def size(n_bytes: float) -> str:
    """``38.0 MB`` or ``1.5 GB``."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"


def plural(n: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n} {noun}{'s'[: n != 1]}"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """A line for each of ``rows``, its cells padded to the width of their column.

    Args:
        rows: Cells; all rows have as many, the header included.
        right: Columns that are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def rough(seconds: float) -> str:
    """``40 s``, ``28 min``, ``3 h`` or ``12 days``."""
    if seconds < 90:
        return f"{max(seconds, 0.0):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def cut(text: str, width: int) -> str:
    """``text`` on one line of ``width`` columns at most; what steers a terminal becomes ``?``."""
    line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    return line if len(line) <= width else line[: max(width - 2, 0)] + ".."[: max(width, 0)]
