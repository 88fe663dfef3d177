"""Programs that are timed, or asked for a number."""

import shlex
import subprocess


def run(*command: str, cwd: str | None = None) -> str:
    """What ``command`` prints.

    Raises:
        RuntimeError: It failed; with the end of what it said.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-15:])
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout
