"""What makes runs hard to compare, each in one sentence that names the groups: nothing is mixed in silence."""

from collections.abc import Callable, Sequence
from typing import Any

from sac_runner.analysis.grouping import Group, Grouping
from sac_runner.analysis.load import Run
from sac_runner.config.convert import written
from sac_runner.text import plural

_PROTOCOL = ("eval.episodes", "eval.deterministic", "eval.seed", "eval.num_envs", "eval.max_episode_steps")
_HOW_OFTEN = ("eval.every_env_steps", "eval.every_rounds")
_HOW_FAST = ("compile_after_updates", "env.vectorization")
_UNKNOWN = "unknown"
_NAMED = 3  # groups; of more their number is given
_NEAR = 0.1  # of the env steps: by so much the ends of runs of rounds differ, and their evaluations

Aspect = Callable[[Run], str]


def cautions(grouping: Grouping, metric: str, counted: list[Run]) -> list[str]:
    """Cautions about one environment's groups; ``counted`` are the runs with a score."""
    runs = [run for group in grouping.groups for run in group.runs]
    said = [_mixed(label, keys) for label, keys in grouping.mixed.items()] + [_without_meta(runs)]
    if metric.startswith("eval/"):
        said += [_differs(key, _of_config(key), "not the same evaluation", grouping) for key in _PROTOCOL]
        said += [
            _differs(key, _of_config(key), "best and the way to a return can't be compared", grouping)
            for key in _HOW_OFTEN
        ]
    kwargs = dict.fromkeys(key for run in runs for key in run.config if key.startswith("env.kwargs."))
    for key in (*kwargs, "env.max_episode_steps"):
        said.append(_differs(key, _of_config(key), "not the same environment", grouping))
    for package in ("gymnasium", "mujoco", "Box2D"):
        said.append(_differs(package, _version_of(package), "perhaps not the same environment", grouping))
    said += [
        _differs("code", _code, "not the same program", grouping),
        _uncommitted(grouping),
        _differs("torch", _version_of("torch"), "not the same program", grouping),
        _differs("precision", _of_config("precision"), "not the same arithmetic", grouping),
        _differs("device", _device, "minutes can't be compared", grouping),
        *[_differs(key, _of_config(key), "minutes can't be compared", grouping) for key in _HOW_FAST],
        _none_finished(runs),
        *[_same_seeds(group, counted) for group in grouping.groups],
        *[_shared_sources(group) for group in grouping.groups],
        *[_survivors(group, counted) for group in grouping.groups],
    ]
    return [caution for caution in said if caution]


def _none_finished(runs: list[Run]) -> str:
    if any(run.status.state == "finished" for run in runs):
        return ""
    return "no run has finished: scores are of runs that were cut off or still go on"


def of_the_step(at: float, counted: list[Run], metric: str, chosen: bool) -> list[str]:
    """Cautions about the env step at which scores are taken.

    Args:
        at: The env step.
        counted: Runs that came to it.
        metric: The tag that their curves are of.
        chosen: Whether ``--at`` asked for it.
    """
    said, where = [], f"{at:,.0f} env steps"
    longest = max(run.curve.reach for run in counted)
    if not chosen and at < (1 - _NEAR) * longest:
        ended = _listed([run.name for run in counted if run.curve.reach == at], "run")
        said.append(
            f"compared at {where}, the last that {ended} came to; the longest came to {longest:,.0f} "
            "(--at STEPS takes the runs that came so far)"
        )
    chosen_ends = [
        run.name for run in counted if run.curve.reach == at and run.status.cause == "reached stop.at_return"
    ]
    if chosen_ends and metric == "eval/return_mean":
        whose = f"{_listed(chosen_ends, 'run')} ended there because stop.at_return was reached"
        said.append(f"{whose}: a score that is high by choice (--to-reach LEVEL compares how soon)")
    far = sum(abs(run.curve.env_steps - at).min() > _NEAR * at for run in counted)
    if far:
        said.append(
            f"{metric} was not measured near {where} in {far} of {plural(len(counted), 'run')}, "
            "so there it is worked out from the nearest points"
        )
    return said


def alike(grouping: Grouping) -> list[str]:
    """What all runs share of the code and the versions of torch and gymnasium."""
    runs = [run for group in grouping.groups for run in group.runs if run.is_measured]
    aspects = {"code": _code, **{name: _version_of(name) for name in ("torch", "gymnasium")}}
    values = {name: {aspect(run) for run in runs} for name, aspect in aspects.items()}
    return [name for name, seen in values.items() if len(seen) == 1 and _UNKNOWN not in seen]


def _differs(what: str, aspect: Aspect, consequence: str, grouping: Grouping) -> str:
    """``what`` differs: VALUE in GROUPS; VALUE in GROUPS (consequence); empty if it does not."""
    places: dict[str, list[str]] = {}
    for group in grouping.groups:
        values = [value for run in group.runs if (value := aspect(run)) != _UNKNOWN]
        for value in dict.fromkeys(values):
            some = "" if values.count(value) == len(values) else f" ({values.count(value)} of {len(values)})"
            places.setdefault(value, []).append(group.label + some)
    if len(places) < 2:
        return ""
    parts = [f"{value} in {_listed(labels)}" for value, labels in places.items()]
    return f"{what} differs, so {consequence}: {'; '.join(parts)}"


def _listed(names: Sequence[str], what: str = "group") -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {plural(more, f'other {what}')}" if more > 0 else "")


def _mixed(label: str, keys: list[str]) -> str:
    return f"{label} mixes settings: its runs differ in {', '.join(key.removesuffix('.mode') for key in keys)}"


def _without_meta(runs: list[Run]) -> str:
    names = [run.name for run in runs if not run.meta and run.is_measured]
    return (
        f"meta.json is missing or damaged, so code and versions are unknown: {_listed(names, 'run')}" if names else ""
    )


def _same_seeds(group: Group, counted: list[Run]) -> str:
    seeds = [written(run.seed) for run in group.runs if run in counted]
    twice = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    counts = "more than once: runs of one seed count as one, by their mean"
    return f"{group.label} has seed {', '.join(twice)} {counts}" if twice else ""


def _shared_sources(group: Group) -> str:
    """Each seed may begin from a run of its own; where several share one, that is a setting by itself."""
    sources = {source for run in group.runs if (source := run.config.get("init_from")) is not None}
    shared = 1 < len(sources) < len(group.runs) and group.values.get("init_from") not in sources
    return f"{group.label} mixes runs that began from {len(sources)} others (--group-by init_from)" if shared else ""


def _survivors(group: Group, counted: list[Run]) -> str:
    """A setting whose bad runs fail would look good by those that are left."""
    failed = [run for run in group.runs if run.status.state == "failed" and run not in counted]
    are = "is" if len(failed) == 1 else "are"
    lost = f"{len(failed)} of {plural(len(group.runs), 'run')} of {group.label} failed and {are} not counted"
    others = any(run in counted for run in group.runs)
    return (f"{lost}: its score is that of the others" if others else lost) if failed else ""


def _uncommitted(grouping: Grouping) -> str:
    labels = [group.label for group in grouping.groups if any(_is_dirty(run) for run in group.runs)]
    where = _listed(labels) if len(labels) < len(grouping.groups) else "all groups"
    return f"code had changes that were not committed, which may differ: {where}" if labels else ""


def _of_config(key: str) -> Aspect:
    return lambda run: written(run.config[key]) if key in run.config else "not given"


def _device(run: Run) -> str:
    starts = [f"{start['device']} (threads: {start.get('threads')})" for start in _starts(run) if "device" in start]
    return ", then ".join(dict.fromkeys(starts)) or _UNKNOWN


def _starts(run: Run) -> list[dict[str, Any]]:
    """``meta.json`` of each start: a run may go on under another version."""
    return [*run.meta.get("earlier_starts", []), run.meta]


def _version_of(package: str) -> Aspect:
    def version(run: Run) -> str:
        versions = [str(start.get("versions", {}).get(package, _UNKNOWN)) for start in _starts(run)]
        return ", then ".join(dict.fromkeys(versions))

    return version


def _code(run: Run) -> str:
    """The commits, or where there is no clone the versions."""
    commits = [git["commit"] for start in _starts(run) if (git := start.get("git"))]
    if not commits:
        return _version_of("sac-runner")(run)
    return ", then ".join(dict.fromkeys(str(commit)[:7] for commit in commits))


def _is_dirty(run: Run) -> bool:
    return any((start.get("git") or {}).get("dirty") for start in _starts(run))
