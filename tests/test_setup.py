"""The packaging and the shell scripts. No network: a stand-in for python records what set-up asks of it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.contracts.test_constraints import pins

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = sorted(name.removeprefix("sac-") for name in PROJECT["scripts"])
FILES = [path for path in SCRIPTS.rglob("*") if path.is_file() and not path.suffix.startswith(".py")]
FILES += [ROOT / ".ci" / "run"]

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def start(*command: str | Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def call(*command: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_script_is_valid_bash_and_executable(path):
    done = call("bash", "-n", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(path, os.X_OK) or path.parent.name == "lib"


def test_every_command_has_a_door_and_every_door_a_command():
    doors = {path.name for path in SCRIPTS.iterdir() if path.is_file()} - {"benchmark", "look", "setup", "test"}
    assert sorted(doors) == COMMANDS
    for name, target in PROJECT["scripts"].items():
        assert target == f"sac_runner.commands.{name.removeprefix('sac-')}:main"


def test_setup_help():
    done = call(SCRIPTS / "setup", "--help")
    assert done.returncode == 0
    assert all(flag in done.stdout for flag in ("--cpu", "--cuda", "--here", "--dev"))


@pytest.mark.parametrize("flags", [["--gpu"], ["extra"], ["--cpu", "--cuda"]])
def test_setup_rejects(flags):
    done = call(SCRIPTS / "setup", *flags)
    assert done.returncode == 2
    assert flags[-1] in done.stderr


STAND_IN = r"""#!/usr/bin/env bash
set -eu
case "$*" in
  "-m venv"*)
    rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  "-m pip install"*)
    echo "$*" >>{calls}
    echo "${PIP_SAYS:-}"
    for _ in {1..1000}; do [[ -n ${PIP_WAITS_FOR:-} && ! -e $PIP_WAITS_FOR ]] || break; sleep 0.02; done
    [[ -z ${PIP_FAILS:-} || $* != *"$PIP_FAILS"* ]] || { echo "pip's complaint"; exit 1; }
    printf '#!/usr/bin/env bash\nprintf "%%s|" "$PWD" "$SAC_SCRIPTS" "$@"\n' >"$(dirname "$0")/sac-train"
    chmod +x "$(dirname "$0")/sac-train" ;;
  "-P -c import sac_runner"*) echo "keeps bytecode: ${PYTHONDONTWRITEBYTECODE:-yes}"
    [[ -z ${IMPORT_FAILS:-} ]] || { echo "ImportError: torch"; exit 1; } ;;
  "-m pip --version" | "-c import ensurepip"*) ;;
  *) exec {python} "$@" ;;
esac
"""


class Copy:
    """A copy of the scripts, in a folder with a space, where python3.11 is a stand-in."""

    def __init__(self, folder: Path):
        self.root = folder / "a copy"
        self.calls = folder / "pip calls"
        shutil.copytree(SCRIPTS, self.root / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        python = folder / "bin" / "python3.11"
        python.parent.mkdir()
        python.write_text(
            STAND_IN.replace("{calls}", shlex.quote(str(self.calls))).replace("{python}", shlex.quote(sys.executable))
        )
        python.chmod(0o755)
        self.environ = os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}"}

    def start(self, name: str, *arguments: str, **environ: str) -> subprocess.Popen:
        return start(self.root / "scripts" / name, *arguments, env=self.environ | environ, start_new_session=True)

    def call(self, name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
        return call(self.root / "scripts" / name, *arguments, env=self.environ | environ)

    def installs(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def killed(self, name: str, *arguments: str, **environ: str) -> None:
        """Starts a set-up and kills it while pip is at work."""
        self.calls.unlink(missing_ok=True)
        process = self.start(name, *arguments, PIP_WAITS_FOR="what never comes", **environ)
        self.wait_for_pip()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        self.calls.unlink()

    def left(self) -> Path:
        """A file that only an environment which is kept still has."""
        leftover = self.root / ".venv" / "leftover"
        leftover.touch()
        return leftover

    def change_pins(self) -> None:
        with (self.root / "constraints.txt").open("a") as pins:
            pins.write("# changed\n")

    def wait_for_pip(self) -> None:
        deadline = time.monotonic() + 20
        while not self.installs():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_door_sets_up_once_and_keeps_folder_and_arguments(copy, tmp_path):
    link = tmp_path / "link to train"
    link.symlink_to(copy.root / "scripts" / "train")
    first = call(link, "env=ant", "a b", env=copy.environ, cwd=tmp_path)
    assert first.stdout == f"{tmp_path}|{copy.root}/scripts|env=ant|a b|"
    assert "setting up .venv" in first.stderr
    assert len(copy.installs()) == 1
    assert "-c constraints.txt -e ." in copy.installs()[0]
    # The second start says nothing and needs no python.
    (copy.root / ".venv/bin/python").write_text("#!/bin/false\n")
    second = call(link, env=copy.environ, cwd=tmp_path)
    assert (second.stdout, second.stderr) == (f"{tmp_path}|{copy.root}/scripts|", "")
    assert len(copy.installs()) == 1
    from_within = call("./train", env=copy.environ, cwd=copy.root / "scripts")
    assert from_within.stdout == f"{copy.root}/scripts|.|"


def test_changed_pins_and_dev_set_up_again(copy):
    copy.call("setup")
    copy.change_pins()
    assert "updating .venv" in copy.call("train").stderr
    assert "already set up" in copy.call("setup").stderr
    assert copy.call("setup", "--dev").returncode == 0
    assert [re.sub(r".* -e ", "", line) for line in copy.installs()] == [".", ".", ".[dev]"]
    # The extra is kept from then on.
    copy.change_pins()
    copy.call("train")
    assert copy.installs()[-1].endswith(".[dev]")


def test_only_what_decides_on_packages_sets_up_again(copy):
    copy.call("setup")
    project = copy.root / "pyproject.toml"
    text = project.read_text()
    tools = text[text.index("[tool.ruff]") :]
    assert set(tomllib.loads(tools)["tool"]) == {"ruff", "mypy", "pytest"}
    project.write_text(text.replace("line-length = 120", "line-length = 100"))
    assert copy.call("train").stderr == ""
    project.write_text(text.replace('"numpy>=2.0"', '"numpy>=2.1"'))
    assert "updating .venv" in copy.call("train").stderr


def test_two_at_once_install_once(copy, tmp_path):
    may_go_on = tmp_path / "may go on"
    first = copy.start("train", PIP_WAITS_FOR=str(may_go_on))
    copy.wait_for_pip()
    second = copy.start("train")
    assert any("waiting" in line for line in second.stderr)
    may_go_on.touch()
    for process in (first, second):
        process.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(copy.installs()) == 1


def test_set_up_goes_on_where_files_cannot_be_locked(copy, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, fcntl, os\n"
        "def flock(*_): raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))\n"
        "fcntl.flock = flock\n"
    )
    done = copy.call("train", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and len(copy.installs()) == 1
    assert "note: no file locks here (No locks available)" in done.stderr
    assert "Traceback" not in done.stderr and "waiting" not in done.stderr


def test_a_folder_that_cannot_be_written_to_is_said(copy):
    (copy.root / ".setup.lock").mkdir()
    done = copy.call("train")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "set-up cannot write" in done.stderr


def test_killed_set_up_is_repaired_with_the_same_choice(copy):
    copy.killed("setup", "--cpu", "--dev")
    leftover = copy.left()
    again = copy.call("train")
    assert again.returncode == 0
    assert "did not finish" in again.stderr
    assert not leftover.exists()
    assert sys.platform != "linux" or copy.installs()[0].endswith("+cpu")
    assert copy.installs()[-1].endswith(".[dev]")


@pytest.mark.parametrize("says", ["Downloading torch", "Installing collected packages: torch"])
def test_a_killed_update_costs_the_environment_only_if_packages_were_being_changed(copy, says):
    copy.call("setup")
    leftover = copy.left()
    copy.change_pins()
    copy.killed("train", PIP_SAYS=says)
    halfway = says.startswith("Installing")
    for _ in range(2):
        offline = copy.call("train", PIP_FAILS="-e .")
        assert offline.returncode == 1 and leftover.exists() == (not halfway)
        assert ("the last set-up did not finish" in offline.stderr) == halfway
        assert ("to go on without the update: .venv/bin/sac-train" in offline.stderr) == (not halfway)
    assert copy.call("train").returncode == 0
    assert leftover.exists() == (not halfway)


def test_failing_pip_is_shown_and_tried_again(copy):
    failed = copy.call("train", PIP_FAILS="-e .")
    assert failed.returncode == 1
    assert "pip's complaint" in failed.stderr
    assert failed.stdout == ""
    assert copy.call("train").returncode == 0
    # An environment that pip did not get to change is kept.
    leftover = copy.left()
    copy.change_pins()
    assert copy.call("train", PIP_FAILS="-e .").returncode == 1
    assert copy.call("train").returncode == 0
    assert leftover.exists()


def test_what_cannot_be_imported_is_said(copy):
    done = copy.call("train", IMPORT_FAILS="1")
    assert done.returncode == 0 and "note: what a run imports could not be imported" in done.stderr
    assert "ImportError: torch" in (copy.root / ".setup.log").read_text()


def test_bytecode_is_kept_where_python_is_told_to_keep_none(copy):
    assert copy.call("train", PYTHONDONTWRITEBYTECODE="1").returncode == 0
    assert "keeps bytecode: yes" in (copy.root / ".setup.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one build")
def test_cpu_build_that_cannot_be_had_falls_back(copy):
    done = copy.call("setup", "--cpu", PIP_FAILS="+cpu")
    assert done.returncode == 0
    assert sum("note:" in line for line in done.stderr.splitlines()) == 1
    assert len(copy.installs()) == 2


@pytest.mark.parametrize("cuda", ["12.8", None])
def test_a_build_with_cuda_is_asked_for_and_held_to(copy, cuda, tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "torch.py").write_text(f"class version: cuda = {cuda!r}\n")
    python = copy.root.parent / "bin" / "python3.11"
    python.write_text(python.read_text().replace("exec ", f"PYTHONPATH={shlex.quote(str(tmp_path / 'fake'))} exec "))
    done = copy.call("setup", "--cuda", "--dev")
    version = pins()["torch"]
    assert f"--no-deps torch=={version},!={version}+cpu" in copy.installs()[0]
    assert copy.installs()[1].endswith("-c constraints.txt -e .[dev]")
    assert done.returncode == (cuda is None)
    assert ("this torch has no CUDA" in done.stderr) == (cuda is None)
    if cuda is not None:
        copy.change_pins()
        assert copy.call("train").returncode == 0  # the choice is kept
        assert "+cpu" in copy.installs()[2] and "!=" in copy.installs()[2]


def test_moved_folder_is_set_up_anew(copy, tmp_path):
    copy.call("setup")
    copy.root = copy.root.rename(tmp_path / "moved")
    assert "moved" in copy.call("train").stderr


@pytest.mark.parametrize(("door", "wanted"), [("benchmark", "."), ("look", ".[dev]"), ("train", ".")])
def test_no_door_goes_on_without_an_environment(copy, door, wanted):
    done = copy.call(door, PIP_FAILS="-e .")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.rstrip().endswith("pip's complaint")
    assert copy.installs()[-1].endswith(f"-e {wanted}")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one build")
def test_first_start_without_a_gpu_names_the_small_download(copy):
    seen = any(Path("/dev").glob("nvidia*")) or Path("/dev/dxg").exists()
    assert ("scripts/setup --cpu" in copy.call("train").stderr) == (not seen)
    shutil.rmtree(copy.root / ".venv")
    assert "scripts/setup --cpu" not in copy.call("setup", "--cpu").stderr


@pytest.mark.parametrize(("version", "fits"), [("3.10", False), ("3.13", True), ("3.14", False)])
def test_only_a_python_that_the_packages_have_wheels_for_is_taken(copy, version, fits):
    python = copy.root.parent / "bin" / "python3.11"
    asked = f"import ensurepip, sys; sys.version_info = ({version.replace('.', ', ')}, 1);"
    check = f'"-c import ensurepip"*) exec {shlex.quote(sys.executable)} -c "${{2/import ensurepip, sys;/{asked}}}" ;;'
    for name in ("python3.12", "python3.13", "python3"):
        (python.parent / name).symlink_to(python)
    text = python.read_text().replace(' | "-c import ensurepip"*) ;;', ") ;;")
    python.write_text(text.replace("  *) exec", f"  {check}\n  *) exec"))
    done = copy.call("train")
    assert (done.returncode == 0) == fits
    assert ("Python 3.11, 3.12 or 3.13" in done.stderr) == (not fits)


def test_no_python_is_said_plainly(copy, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "readlink", "cat", "cksum"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = call(copy.root / "scripts" / "train", env={"PATH": str(tools)})
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.slow
def test_a_wheel_gives_the_commands_with_their_config_where_there_is_no_clone(tmp_path):
    """What the wheel needs is taken from this interpreter; only hatchling is fetched."""
    site, elsewhere = tmp_path / "site", tmp_path / "else where"
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    assert call(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT).returncode == 0
    (wheel,) = tmp_path.glob("*.whl")
    assert call(*pip, "install", "--no-deps", "--target", site, wheel).returncode == 0
    environ = {name: x for name, x in os.environ.items() if name != "SAC_SCRIPTS"} | {"PYTHONPATH": str(site)}

    def installed(name: str, *arguments: str) -> subprocess.CompletedProcess:
        return call(site / "bin" / f"sac-{name}", *arguments, env=environ, cwd=elsewhere)

    where = call(sys.executable, "-c", "import sac_runner; print(sac_runner.__file__)", env=environ, cwd=elsewhere)
    assert where.stdout.startswith(str(site))
    for name in COMMANDS:
        helped = installed(name, "--help")
        assert helped.returncode == 0 and f"sac-{name}" in helped.stdout
    budget = ["total_env_steps=60", "schedule.warmup_env_steps=20", "env.max_episode_steps=15", "replay.batch_size=8"]
    trained = installed("train", "experiment=pendulum_quick", *budget)
    assert trained.returncode == 0 and "sac-evaluate last" in trained.stderr
    assert installed("evaluate", "last", "--episodes", "2", "--json").returncode == 0
    assert installed("train", "agent.lrr=1").stderr.splitlines()[1] == "  try: sac-train agent.lr=1"
    assert [path.name for path in elsewhere.iterdir()] == ["outputs"]
