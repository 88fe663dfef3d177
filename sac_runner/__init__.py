"""Config-driven Soft Actor-Critic: train from the command line, load what was learned from Python.

``sac_runner.load_policy(RUN)(obs)`` gives an action. Importing this package imports neither torch nor gymnasium.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sac_runner.playback.load import load_policy as load_policy

__version__: str
__all__ = ["__version__", "load_policy"]


def __getattr__(name: str) -> object:
    """Import on demand what needs torch."""
    if name == "load_policy":
        from sac_runner.playback.load import load_policy

        return load_policy
    if name == "__version__":
        from importlib.metadata import version

        return version("sac-runner")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
