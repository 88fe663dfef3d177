"""Runs that are no seed of their own: a copy of another run, the same run done twice, or its first part."""

from dataclasses import replace
from typing import Any

from sac_runner.analysis.grouping import Group, Grouping
from sac_runner.analysis.load import LeftOut, Run
from sac_runner.analysis.settings import value_of
from sac_runner.config.convert import written


def without_copies(grouping: Grouping) -> tuple[Grouping, list[LeftOut]]:
    """The groups without runs that are no seed of their own, and those runs."""
    copies: list[LeftOut] = []
    groups: list[Group] = []
    for group in grouping.groups:
        kept: dict[tuple[Any, ...], list[Run]] = {}
        mixed = grouping.mixed.get(group.label, [])
        for run in sorted(
            group.runs,
            key=lambda run: (
                run.status.state not in ("finished", "running"),
                -run.curve.reach,
                -len(run.curve.env_steps),
            ),
        ):
            own = kept.setdefault((written(run.seed), *(value_of(run.config, key) for key in mixed)), [])
            first = next((other for other in own if _is_one_run(other, run)), None)
            if first is None:
                own.append(run)
            else:
                copies.append(LeftOut(run.name, _how_alike(run, first)))
        ids = {id(run) for own in kept.values() for run in own}
        groups.append(replace(group, runs=[run for run in group.runs if id(run) in ids]))
    return replace(grouping, groups=groups), copies


def _how_alike(run: Run, first: Run) -> str:
    if run.curve.reach > first.curve.reach:
        return f"goes on, to the bit, from the end of {first.name}"
    if run.curve.reach < first.curve.reach:
        what = "beginning"
    else:
        what = "curve" if len(run.curve.env_steps) == len(first.curve.env_steps) else "values"
    return f"has the seed and, to the bit, the {what} of {first.name}"


def _is_one_run(one: Run, other: Run) -> bool:
    """Whether they have the same return wherever both were evaluated, a policy that had learned among them.

    A run that is continued has no evaluation of its own at the end that it had before.
    """
    here, there = one.evaluations, other.evaluations
    common = here.keys() & there.keys()
    warm_up = max(run.config.get("schedule.warmup_env_steps") or 0 for run in (one, other))
    learned = any(step > warm_up for step in common)
    whole = 0 < len(common) == len(here) == len(there)
    return (learned or whole) and all(here[step] == there[step] for step in common)
