"""Whether a window can be opened, and whether the user has closed it: Gymnasium's environments don't say."""

import os
import sys
import warnings
from typing import Any

import gymnasium as gym


def has_display() -> bool:
    """Whether a window can be asked for; a display that is named and does not answer shows when one is opened."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return sys.platform != "linux" or any(os.environ.get(name) for name in named)


def is_closed(env: gym.Env[Any, Any]) -> bool:
    """Whether the user has closed the window of ``env`` since its last frame.

    Without this a closed window stays (pygame's), or its next frame crashes the process (MuJoCo's).
    """
    viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
    if viewer is not None and hasattr(viewer, "window"):
        return _glfw_is_closed(viewer.window)
    pygame = sys.modules.get("pygame")
    return pygame is not None and pygame.display.get_init() and bool(pygame.event.get(pygame.QUIT))


def _glfw_is_closed(window: Any) -> bool:
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # glfw warns where GLFW reports an error: after Escape, which ends GLFW
        try:
            return window is None or bool(glfw.window_should_close(window))
        except Exception:
            return True
