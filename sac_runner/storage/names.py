"""Names of runs on disk: made of ``[A-Za-z0-9._-]`` only, so that each is a bare Hydra value and a shell word."""

import errno
import os
import re
from pathlib import Path

from sac_runner.config.convert import by_key
from sac_runner.errors import WrongInput, train_command
from sac_runner.storage.files import fault_of

TIME = re.compile(r"\d{8}-\d{6}")
"""When a run or sweep was started, in its name."""
_LONGEST, _SHORT = 100, 40
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
    key, _, value = override.lstrip("+~").partition("=")
    value = value.strip("'\"")
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


def nearest_there(path: Path) -> Path:
    """``path``, or what is there of the folders above it, as far as can be seen."""
    whole = path.absolute()
    return next(p for p in (whole, *whole.parents) if os.path.exists(p))  # Path.exists raises where it may not look


def refuse_where_none_can_be_made(path: Path) -> None:
    """What ``create`` would say of the folder ``path``, as far as that can be known before anything is made.

    Raises:
        WrongInput: What lies above is not a folder, or can't be written.
    """
    above = nearest_there(path.parent)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES if above.is_dir() else errno.ENOTDIR)
        raise WrongInput(f"can't write {path}: {why}", train_command("outputs=PATH"))


def create_exclusively(path: Path) -> Path:
    """Make the folder ``path``, or ``path-2``, ``path-3`` ... if it exists: two starts never share one.

    Raises:
        WrongInput: The folder above can't be written.
        DiskFailed: The disk is full.
    """
    attempt, n = path, 1
    while not create(attempt):
        n += 1
        attempt = path.with_name(f"{path.name}-{n}")
    return attempt


def create(path: Path) -> bool:
    """Make the folder ``path``; False if there is something of this name.

    Raises:
        WrongInput: The folder above can't be written.
        DiskFailed: The disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if not path.parent.is_dir():
            raise WrongInput(f"{path.parent} is not a folder", train_command("outputs=PATH")) from None
        return False
    except OSError as e:
        raise fault_of(e)(f"can't write {path}: {e.strerror}", train_command("outputs=PATH")) from e
    return True


def shown(path: Path) -> Path:
    """``path`` as the user would type it: relative to the working directory where it lies below."""
    absolute, here = path.resolve(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
