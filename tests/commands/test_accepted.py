"""Every reader accepts a run that is moved, copied, read-only, still running, or killed at any instant."""

import copy
import hashlib
import io
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from sac_runner.config.compose import to_yaml
from sac_runner.errors import Damaged
from sac_runner.interaction.spaces import spaces_of
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.recovery import newest_whole
from sac_runner.training.trainer import Trainer
from tests.commands.damaged import READERS, ask, command, curve
from tests.fault_layer import CHANGES, Layer
from tests.runs import knowledge
from tests.support import CPU, PER_STEP, as_nobody, config

LIVE = config(
    env={"max_episode_steps": 8},
    agent={"hidden_sizes": [4, 4], "actor_lr": 1e-1, "critic_lr": 1e-1},
    schedule=PER_STEP | {"warmup_env_steps": 2},
    replay={"capacity": 20, "batch_size": 4},
    eval={"every_env_steps": 4, "episodes": 1, "max_episode_steps": 4},
    checkpoint={"every_env_steps": 4, "keep_every_env_steps": 1000},
    log={"every_env_steps": 4},
    total_env_steps=1_000_000,
)
READ = [name for name in READERS if name != "resume"]


def digest(policy):
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in policy.state_dict().values())).hexdigest()


def train_watched(folder, each_step, stops):
    """Train ``LIVE`` in ``folder``, from the start or on from its checkpoint; ``each_step`` is given the trainer."""
    run = RunDirectory(folder)
    with Trainer(LIVE, CPU, Console(LIVE, io.StringIO())) as trainer:
        record = Record(LIVE, run, {})
        if run.is_run:
            record.restore(newest_whole(run), trainer.state)
        else:
            folder.mkdir()
            run.write_start(to_yaml(LIVE), {"spaces": spaces_of(LIVE.env).to_plain()})
        record.open()
        each_step(trainer)
        trainer.run(record, lambda: each_step(trainer) or stops(trainer))
        record.close(True)


def contents(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def without_place(value):
    """Less the path of the run, where an answer names it."""
    return {key: x for key, x in value.items() if key != "run"} if isinstance(value, dict) else value


@pytest.mark.parametrize("how", ["moved", "copied", "linked"])
def test_a_run_may_lie_anywhere(world, tmp_path, how):
    place = tmp_path / "a place of its own"
    {"moved": shutil.move, "copied": shutil.copytree, "linked": lambda run, link: link.symlink_to(run)}[how](
        world.copy(), place
    )
    for name in (*READ, "resume"):
        if name not in ("find", "finished"):  # whose answers are places
            answer = ask(READERS[name], place)
            assert without_place(answer.value) == without_place(world.expected[name].value) and not answer.said
    assert how != "moved" or command(place) == world.at_66


def test_a_run_that_is_read_only_is_read_and_left_as_it_is(world):
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        run = Path(open_to_all) / "20260103-000000_s0"
        shutil.copytree(world.whole, run)
        for path in [*run.rglob("*"), run]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = contents(run)
        ask(curve, run)  # imports what it needs
        with as_nobody():
            with pytest.raises(PermissionError):
                (run / "anything").touch()
            for name in READ:
                if name not in ("find", "finished"):
                    answer = ask(READERS[name], run)
                    assert without_place(answer.value) == without_place(world.expected[name].value) and not answer.said
            assert ask(curve, run).value == b"\x89PNG"
            assert command(run) is None
        assert contents(run) == before
        for path in [run, *run.rglob("*")]:
            path.chmod(0o755)


def test_a_run_that_goes_on_is_read_at_any_time(tmp_path):
    known, done, read = {}, threading.Event(), []

    def each_step(trainer):
        known[trainer.counters.env_steps] = digest(trainer.agent.policy)
        time.sleep(0.001)  # lets the reader in

    stops = (tmp_path / "run", each_step, lambda trainer: done.is_set())
    training = threading.Thread(target=train_watched, args=stops)
    training.start()
    try:
        end = time.monotonic() + 100
        while time.monotonic() < end and (len(read) < 40 or len({steps for steps, *_ in read}) < 6):
            for name in ("load best", "load latest"):
                answer = ask(READERS[name], tmp_path / "run")
                assert not answer.said or (
                    not read and any(x in answer.said[0] for x in ("no checkpoint", "is not a run", "does not exist"))
                )
                read += [answer.value] if answer.value else []
            if read:
                for name in ("summary", "meta", "metrics", "config", *["evaluate"][: len(read) % 10 == 0]):
                    assert not ask(READERS[name], tmp_path / "run").said
    finally:
        done.set()
        training.join()
    assert len(read) >= 40 and all(known[steps] == weights for steps, weights, _ in read)
    assert ask(READERS["resume"], tmp_path / "run").code == 0


class Instants:
    """Copies of a run before each change of the disk, and in the middle of each write."""

    def __init__(self, folder, copies):
        self.folder, self.copies, self.taken, self._halved = folder, copies, [], None

    def __call__(self, number, operation):
        if operation.name not in CHANGES:
            return None
        place = self.copies / str(len(self.taken))
        if self.folder.exists():
            self.taken.append(shutil.copytree(self.folder, place))
        halves = operation.name == "write" and self._halved != operation.path
        self._halved = operation.path if halves else None
        return "half" if halves else None


def without_record(value):
    return {name: x for name, x in value.items() if name not in ("scores", "latest")}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a descriptor is")
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_any_instant_is_read(tmp_path, every, nothing_goes_on):
    known = {}
    instants = Instants(tmp_path / "run", tmp_path)

    def each_step(trainer):
        known[trainer.counters.env_steps] = digest(trainer.agent.policy), copy.deepcopy(knowledge(trainer))

    with Layer(tmp_path / "run", instants):
        for _ in range(2):
            train_watched(tmp_path / "run", each_step, lambda trainer: trainer.counters.env_steps >= 5)
    newest = {"load best": -1, "load latest": -1}
    for number, folder in list(enumerate(instants.taken))[::every]:
        for name in newest:
            answer = ask(READERS[name], folder)
            if newest[name] < 0 and answer.code:
                assert answer.code == 2 and ("has no checkpoint" in answer.said[0] or "is not a run" in answer.said[0])
                continue
            steps, weights, _ = answer.value
            assert not answer.said and steps >= newest[name] and weights == known[steps][0], (number, answer)
            newest[name] = steps
        for name in ("summary", "meta", "metrics"):
            assert ask(READERS[name], folder).said == [], (number, name)
        if number % (4 * every) == 0 and newest["load latest"] >= 0:
            answer = ask(READERS["resume"], folder)
            assert not answer.said and without_record(answer.value) == known[newest["load latest"]][1], number
    assert newest["load latest"] == 6 and len(instants.taken) > 100


OURS = (
    "config.yaml",
    "meta.json",
    "summary.json",
    "metrics.csv",
    "train.log",
    "crash.log",
    ".lock",
    "checkpoints",
    "replay",
)


@pytest.mark.parametrize("name", OURS)
def test_what_leads_out_of_a_run_is_refused(world, tmp_path, name, nothing_goes_on):
    inside, outside = world.copy() / name, tmp_path / "outside"
    if inside.exists():
        shutil.move(inside, outside)
    else:
        outside.write_text("mine")
    inside.symlink_to(outside)
    before = contents(tmp_path)
    for reader in ("load best", "evaluate", "resume"):
        answer = ask(READERS[reader], world.folder)
        assert answer.code == 2 and f"{inside} is refused: it leads out of the run" in answer.said[0]
    assert name != ".lock" or command(world.folder) is None
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["", "manifest.json", "train.safetensors", "state.json"])
def test_a_checkpoint_that_leads_out_of_a_run_is_not_taken(world, tmp_path, name, nothing_goes_on):
    inside, outside = RunDirectory(world.copy()).checkpoint("latest").path / name, tmp_path / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    before = contents(tmp_path)
    assert ask(READERS["load latest"], world.folder).code == 2 or "." in name
    answer = ask(READERS["resume"], world.folder)
    assert answer.value == world.older and "set aside" in answer.said[0]
    assert contents(tmp_path) == before


def test_links_within_a_run_are_of_no_concern(world):
    (world.copy() / "curve.png.link").symlink_to("curve.png")
    (world.folder / "broken").symlink_to("nowhere")
    (world.folder / "loop").symlink_to("loop")
    assert ask(READERS["load best"], world.folder) == world.expected["load best"]
    with pytest.raises(Damaged):
        RunDirectory(world.folder).checkpoint("latest").arrays("../../curve.png.link")
