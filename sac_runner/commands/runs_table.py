"""The table of ``sac-runs``: a line for each run and sweep, cut to the width of the terminal."""

import shutil
import sys

from sac_runner.storage.overview import RunSeen, SweepSeen, newest_first
from sac_runner.storage.status import Status, counted
from sac_runner.text import columns, cut, number, plural, rough, short

_HEAD = ("run", "state", "env steps", "final", "best", "started", "size", "")
_NAME, _CAUSE = 0, 7
_RIGHT = ("env steps", "final", "best")
_GIVEN_UP = ("size", "best", "started", "env steps", "final", "")
"""What a narrow terminal goes without, in this order."""
_LEAST_NAME, _LEAST_CAUSE, _MOST_CAUSE = 22, 18, 100

Row = tuple[str, ...]


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    singles: list[RunSeen],
    sweeps: list[SweepSeen],
    jobs: bool,
    now: float,
    width: int | None,
) -> list[str]:
    """Lines of the table, newest first.

    Args:
        singles: Runs that are no job of a sweep.
        sweeps: Sweeps, with the jobs that are asked for.
        jobs: Whether each sweep is followed by its jobs.
        now: In seconds since 1970.
        width: Columns of the terminal; None for any.
    """
    rows: list[Row] = [_HEAD]
    every: list[RunSeen | SweepSeen] = [*singles, *sweeps]
    for seen in newest_first(every):
        if isinstance(seen, RunSeen):
            rows.append(_row(seen, seen.label, now))
        else:
            rows.append(_sweep_row(seen, now))
            rows += [_row(job, "  " + "/".join(job.path.parts[-2:]), now) for job in seen.jobs if jobs]
    return _fitted(rows, width)


def _row(run: RunSeen, name: str, now: float) -> Row:
    state, cause, env_steps, _, scores = run.status
    means = [scores.get(which, {}).get("return_mean") for which in ("final", "best")]
    final, best = (number(mean) if isinstance(mean, int | float) else "" for mean in means)
    total = run.total_env_steps
    steps = f"{env_steps:,}" if total is None or total == env_steps else f"{env_steps:,}/{short(total)}"
    why = cut(short_cause(run.status), _MOST_CAUSE)
    size = sizes(run.n_bytes, run.replay_bytes) if run.n_bytes else ""
    return name, state, steps, final, best, _ago(run.started, now), size, why


def short_cause(now: Status) -> str:
    """Why a run is not finished, as far as its state does not say so itself."""
    ended_early = now.state in ("failed", "killed", "stopped")
    return now.cause if ended_early and now.cause not in (None, now.state) else ""


def _sweep_row(sweep: SweepSeen, now: float) -> Row:
    states = [job.status.state for job in sweep.jobs]
    counts = f"{states.count('finished')}/" if len(states) == sweep.n_jobs else f"{len(states)} of "
    runs = counts + plural(sweep.n_jobs, "run")
    size = sizes(bytes_of(sweep), sum(job.replay_bytes for job in sweep.jobs))
    damage = (sweep.damage or "").replace(f"{sweep.path}/", "")
    note = cut(damage, _MOST_CAUSE) or counted(states)
    return sweep.path.name, sweep.state, runs, "", "", _ago(sweep.started, now), size, note


def bytes_of(sweep: SweepSeen) -> int:
    """Of the whole sweep, as far as its jobs are asked for."""
    return sweep.own_bytes + sum(job.n_bytes for job in sweep.jobs)


def _ago(started: float, now: float) -> str:
    return f"{rough(now - started)} ago" if started else ""


def sizes(n_bytes: int, replay_bytes: int) -> str:
    """``38 MB, 12 replay``, both in the same unit."""
    scale, unit = next((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if n_bytes >= s or u == "kB")
    whole, part = (f"{n / scale:,.{int(n < 10 * scale)}f}" for n in (n_bytes, replay_bytes))
    return f"{whole} {unit}" + (f", {part} replay" if replay_bytes else "")


def totals(singles: list[RunSeen], sweeps: list[SweepSeen]) -> str:
    """The last line."""
    jobs = [job for sweep in sweeps for job in sweep.jobs]
    every = [*singles, *jobs]
    within = f" ({len(jobs)} in {plural(len(sweeps), 'sweep')})" if sweeps else ""
    n_bytes = sum(run.n_bytes for run in singles) + sum(map(bytes_of, sweeps))
    size = sizes(n_bytes, sum(run.replay_bytes for run in every))
    return f"{plural(len(every), 'run')}{within}: {counted(run.status.state for run in every)}; {size}"


def _fitted(rows: list[Row], width: int | None) -> list[str]:
    """The lines of ``rows``: less columns, shorter causes and the ends of names where they are too wide."""
    kept = [i for i in range(len(_HEAD)) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    if width is not None:
        least = [min(widths[_NAME], _LEAST_NAME), *widths[1:_CAUSE], min(widths[_CAUSE], _LEAST_CAUSE)]
        for i in map(_HEAD.index, _GIVEN_UP):
            if i in kept and _taken(least, kept) > width:
                kept.remove(i)
        spare = width - _taken(least, kept)
        cause = min(widths[_CAUSE], least[_CAUSE] + max(spare // 2, 0)) if _CAUSE in kept else least[_CAUSE]
        name = max(min(widths[_NAME], least[_NAME] + spare - (cause - least[_CAUSE])), 1)
        cause += max(spare - (name - least[_NAME]) - (cause - least[_CAUSE]), 0)
        rows = [(_end_of(row[_NAME], name), *row[1:_CAUSE], cut(row[_CAUSE], cause)) for row in rows]
    chosen = [[row[i] for i in kept] for row in rows]
    return columns(chosen, [place for place, i in enumerate(kept) if _HEAD[i] in _RIGHT])


def _taken(widths: list[int], kept: list[int]) -> int:
    return sum(widths[i] + 3 for i in kept) - 3


def _end_of(name: str, width: int) -> str:
    """The end of a name tells more than its beginning."""
    return name if len(name) <= width else ".."[:width] + name[len(name) - max(width - 2, 0) :]
