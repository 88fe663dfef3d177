"""A headless Chromium of one's own, driven over its DevTools protocol."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from websockets.sync.client import ClientConnection, connect

T = TypeVar("T")

HOST = "127.0.0.1"
WIDTH, HEIGHT = 1400, 900
"""Of what is seen of a page, in pixels."""
_PROGRAMS = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
)
_DEEP = """
window.deep = (selector, root = document) => [
  ...root.querySelectorAll(selector),
  ...[...root.querySelectorAll('*')].filter(e => e.shadowRoot).flatMap(e => deep(selector, e.shadowRoot)),
];
"""


class TooLate(Exception):
    """What was waited for did not come."""


def find_chromium() -> str | None:
    """Its program, where there is one."""
    found = filter(None, map(shutil.which, _PROGRAMS))
    return next((program for program in found if not _is_snap(Path(program))), None)


def _is_snap(program: Path) -> bool:
    """Whether it has a /tmp of its own, without our profile; Ubuntu's are such, or scripts that start one."""
    with program.open("rb") as file:
        return program.resolve().name == "snap" or b"/snap/bin/" in file.read(4096)


def until(what: str, condition: Callable[[], T | None], seconds: float) -> T:
    """The first true answer of ``condition``, which is asked again and again.

    Raises:
        TooLate: There was none; ``what`` names it.
    """
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() >= end:
            raise TooLate(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return answer


class Page:
    """A page of a browser, whose scripts have ``deep(selector)`` to search it through shadow roots."""

    def __init__(self, connection: ClientConnection) -> None:
        """``connection`` is to the page itself, not to its browser."""
        self._connection, self._numbers = connection, count(1)
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=_DEEP)
        self.resize()

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._connection.recv(60))).get("id") != number:
            pass  # an event, which nobody waits for
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def resize(self, height: int = HEIGHT) -> None:
        """How much of a page is in sight, in pixels."""
        size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def go(self, url: str) -> None:
        """Load ``url``; what it holds is to be waited for."""
        self._call("Page.navigate", url=url)

    def ask(self, script: str) -> Any:
        """The value of an expression, as JSON has it; None while the page does not hold what it asks for."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write what is in sight as a PNG, once it stands still.

        Raises:
            TooLate: It does not.
        """
        pictures = [b""] * 3

        def still() -> bool:
            pictures.append(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))
            return len(set(pictures[-3:])) == 1

        until("a page that stands still", still, 20)
        file.write_bytes(pictures[-1])


@contextmanager
def open_page(chromium: str) -> Iterator[Page]:
    """The page of a new browser, which ends with it.

    Raises:
        TooLate: The browser does not start.
    """
    with TemporaryDirectory(prefix="look-", ignore_cleanup_errors=True) as profile:
        command = [chromium, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        homes = {
            "XDG_CONFIG_HOME": profile,
            "XDG_CACHE_HOME": profile,
        }  # of its crash reports, which ignore the profile
        browser = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=os.environ | homes, start_new_session=True
        )
        try:
            port = until("a start of Chromium", lambda: _port(Path(profile)), 30)
            url = until("a page of Chromium", lambda: _page(port), 10)
            with connect(url, sock=socket.create_connection((HOST, port)), max_size=None) as connection:
                yield Page(connection)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)  # it has children, and nothing to save
            browser.wait()


def _port(profile: Path) -> int | None:
    try:
        return int((profile / "DevToolsActivePort").read_text().split("\n")[0])
    except (OSError, ValueError):
        return None


def _page(port: int) -> str | None:
    targets = get_json(f"{HOST}:{port}", "/json/list") or []
    return next((target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"), None)


def get_json(host: str, path: str) -> Any:
    """What a server of this machine answers; None where it does not."""
    connection = HTTPConnection(host, timeout=10)  # unlike urllib it asks no proxy
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError):
        return None
    finally:
        connection.close()
