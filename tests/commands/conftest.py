import shutil
import sys

import pytest

from tests.commands.damaged import World
from tests.runs import SIZE, Answer, train
from tests.storage.written import change_config

# Evaluated at 0, 40, 80 and 120 env steps; kept at 20, 40 ... 120.
PENDULUM = [
    *SIZE,
    *("env=pendulum", "env.max_episode_steps=12", "normalization=obs", "seed=3", "agent.lr=1e-2"),
    *("total_env_steps=120", "schedule.warmup_env_steps=30", "replay.capacity=200", "log.every_env_steps=40"),
    *(
        "eval.every_env_steps=40",
        "eval.episodes=3",
        "eval.num_envs=2",
        "eval.max_episode_steps=20",
        "checkpoint.keep_every_env_steps=20",
    ),
]


def train_pendulum(folder, *overrides):
    answer = train(*PENDULUM, f"run.dir={folder}", *overrides)
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run, only to be read."""
    return train_pendulum(tmp_path_factory.mktemp("outputs") / "runs" / "pendulum" / "tiny_s3")


@pytest.fixture(scope="session")
def sampled_run(tmp_path_factory):
    """One whose evaluations sample actions, in more environments than episodes."""
    folder = tmp_path_factory.mktemp("sampled") / "tiny"
    return train_pendulum(folder, "eval.deterministic=false", "eval.num_envs=4", "eval.seed=7")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A finished run that is copied to be damaged."""
    return World(tmp_path_factory.mktemp("damage") / "outputs")


@pytest.fixture
def own(run, tmp_path):
    """A copy of ``run`` to change."""
    return shutil.copytree(run, tmp_path / "moved" / "copy")


@pytest.fixture
def call(capsys):
    """Call a command's ``main`` in this process."""

    def call(main, *arguments):
        capsys.readouterr()
        code = 0
        try:
            main(list(map(str, arguments)))
        except SystemExit as e:
            code = e.code
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(call):
    """What a command says to wrong input: exit 2, at most three lines on stderr, nothing on stdout."""

    def refused(main, *arguments):
        answer = call(main, *arguments)
        assert (answer.code, answer.out) == (2, ""), answer
        assert answer.err.startswith("error: ") and len(answer.err.splitlines()) <= 3
        return answer.err

    return refused


@pytest.fixture
def trusts(own, refused, monkeypatch, tmp_path):
    """Whether a command imports the package that a run names with --trust, and without it says so and does not."""

    def trusts(main):
        package = f"named_by_a_run_for_{main.__module__.rpartition('.')[2]}"
        (tmp_path / f"{package}.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        change_config(own, "id: Pendulum-v1", f"id: {package}:Missing-v0")
        said = refused(main, own)
        assert f"imports {package}, which is code from outside" in said and "--trust" in said
        assert package not in sys.modules
        return "Missing" in refused(main, own, "--trust") and package in sys.modules

    return trusts
