"""Names of runs on disk: made of ``[A-Za-z0-9._-]`` only, so that each is a bare Hydra value and a shell word."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sac_runner.config.convert import by_key, key_of

TIME = re.compile(r"\d{8}-\d{6}")
"""When a run or sweep was started, in its name."""
_LONGEST, _SHORT = 100, 40
_typed_in: list[Path] = []
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

# Overrides that say how or where a run goes, not what it is.
_UNNAMED = ("seed", "env", "outputs", "device", "threads", "compile_after_updates", "resume", "dry_run")
_UNNAMED_GROUPS = ("run.", "log.", "stop.", "checkpoint.", "hydra")


def safe_name(text: str) -> str:
    """``text`` with other characters made dashes, at most 100 long."""
    return _UNSAFE.sub("-", text).strip("-.")[:_LONGEST].rstrip("-.")


def setting_name(overrides: list[str]) -> str:
    """``alpha-fixed_0.05_lr-1e-3`` for ``alpha=fixed_0.05 agent.lr=1e-3 seed=1``; empty if nothing was overridden."""
    named = [x for key, x in by_key(overrides).items() if key not in _UNNAMED and not key.startswith(_UNNAMED_GROUPS)]
    return joined([override_name(override) for override in named])


def joined(parts: list[str]) -> str:
    """``parts`` as one name, less those at its end that would make it too long."""
    while len("_".join(parts)) > _LONGEST:
        parts = parts[:-1]
    return safe_name("_".join(parts))


def override_name(override: str) -> str:
    """``lr-1e-3`` for ``agent.lr=1e-3``; of a run to begin from the last parts, as far as they are short."""
    key, value = key_of(override), override.partition("=")[2].strip("'\"")
    if key == "init_from":
        parts = Path(value).parts[-2:]
        source = "-".join(parts if parts and re.fullmatch(r"s\d+", parts[-1]) else parts[-1:])
        began = TIME.match(source)
        value = source if len(source) <= _SHORT else f"{began[0]}-{source[-20:]}" if began else source[-_SHORT:]
    return safe_name(f"{key.rsplit('.', 1)[-1]}-{value}")


def run_path(outputs: str, env: str, time: str, overrides: list[str], name: str | None, seed: int) -> Path:
    """``outputs/runs/<env>/<time>_<what was overridden>_s<seed>``."""
    middle = safe_name(name) if name else setting_name(overrides)
    return Path(outputs) / "runs" / safe_name(env) / "_".join(filter(None, [time, middle, f"s{seed}"]))


@contextmanager
def typed_in(here: Path) -> Iterator[None]:
    """A command that was typed in the folder ``here``, wherever its environments have the process go."""
    _typed_in.append(here)
    try:
        yield
    finally:
        _typed_in.pop()


def shown(path: Path) -> Path:
    """``path`` as the user would type it: relative to where the command was typed if it lies below."""
    absolute, here = path.resolve(), _typed_in[-1] if _typed_in else Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
