"""Whether a window can be opened, and whether the user has closed it: Gymnasium's environments don't say."""

import os
import sys
import warnings
from typing import Any

import gymnasium as gym


class WindowClosed(Exception):
    """The user has closed the window."""


def has_display() -> bool:
    """Whether there is a display that answers, or pygame was told to do without."""
    if sys.platform != "linux" or os.environ.get("SDL_VIDEODRIVER") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(os.environ.get("DISPLAY")) and _glfw_starts()


def aborts(env: gym.Env[Any, Any]) -> bool:
    """Whether the first frame of ``env`` would abort the process, as MuJoCo's does where GLFW finds no display."""
    return hasattr(env.unwrapped, "mujoco_renderer") and not _glfw_starts()


def _glfw_starts() -> bool:
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(glfw.init())


def is_unseen() -> bool:
    """Whether pygame draws where nobody sees it, as it does by itself where the display named does not answer."""
    pygame = sys.modules.get("pygame")
    if pygame is None or not pygame.display.get_init() or os.environ.get("SDL_VIDEODRIVER"):
        return False
    return pygame.display.get_driver() in ("offscreen", "dummy")


def is_closed(env: gym.Env[Any, Any]) -> bool:
    """Whether the user has closed the window of ``env``; asked after every frame.

    Without this pygame's windows don't close, and MuJoCo's take the process with them.
    """
    viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
    if viewer is not None:
        return _viewer_is_closed(viewer)
    pygame = sys.modules.get("pygame")
    return pygame is not None and pygame.display.get_init() and bool(pygame.event.get(pygame.QUIT))


def _viewer_is_closed(viewer: Any) -> bool:
    """Of Gymnasium's MuJoCo viewer, whose own Escape destroys the window inside a callback: a segmentation fault."""
    import glfw

    def on_close(window: Any) -> None:
        viewer._paused = False  # paused, it would go on drawing in there
        glfw.set_window_should_close(window, True)

    def on_key(window: Any, key: int, scancode: int, action: int, mods: int) -> None:
        if key == glfw.KEY_ESCAPE:
            on_close(window)
        else:
            viewer._key_callback(window, key, scancode, action, mods)

    glfw.set_window_close_callback(viewer.window, on_close)
    glfw.set_key_callback(viewer.window, on_key)
    return bool(glfw.window_should_close(viewer.window))
