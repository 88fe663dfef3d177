"""Every file operation of a checkpoint, of dropping what is old and of a resume, failed and killed one by one."""

import contextlib
import errno
import io
import re
import shutil
import sys
from dataclasses import replace
from functools import cached_property
from itertools import product

import pytest

from sac_runner.errors import DiskFailed, RunnerError
from sac_runner.storage.checkpoints import find
from sac_runner.storage.lock import RunLock
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training import run as training_run
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.recovery import newest_whole
from sac_runner.training.trainer import Trainer
from tests.fault_layer import CHANGES, Layer, Operation, can_fail, fail, kill, killed, write_short
from tests.runs import advance, knowledge, metrics_rows
from tests.support import CPU, PER_STEP, config
from tests.training.left import left

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc which file a descriptor is")
RUN = config(
    env={"id": "Pendulum-v1", "max_episode_steps": 8},
    agent={"hidden_sizes": [4, 4], "actor_lr": 1e-1, "critic_lr": 1e-1},
    schedule=PER_STEP | {"updates_per_env_step": 0.5},
    replay={"capacity": 40, "batch_size": 4},
    eval={"every_env_steps": 5, "episodes": 1, "max_episode_steps": 4},
    checkpoint={"every_env_steps": 5, "keep_every_env_steps": 55},
    log={"every_env_steps": 5},
    total_env_steps=58,
    seed=2,
)
"""Killed at 52 and gone on with: a checkpoint at 55, with a best and a kept policy, and one with a best at its end."""
LONG = replace(RUN, total_env_steps=70)
"""So long that three checkpoints in a row can fail."""


def density(some):
    """How many trials there are for one that is made: all of them are slow."""
    return pytest.mark.parametrize(
        "every", [pytest.param(some, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
    )


class Unfinished:
    """A run whose last process was killed, what it knew at its checkpoints, and what it does when it goes on."""

    trials = 0

    def __init__(self, config, folder, base, known, steps):
        self.config, self._folder, self.base, self._known, self._steps = config, folder, base, known, steps

    @classmethod
    def at_52(cls, config, folder):
        """Killed between two checkpoints; what other kills leave lies about, and the newest checkpoint is set aside."""
        base, parts, end = folder / "base", folder / "parts", config.total_env_steps
        advance(config, base, 52, killed=True)
        torn = base / "checkpoints" / ".latest-000000000055.tmp"
        torn.mkdir()
        (torn / "train.safetensors").write_bytes(b"half")
        (base / "replay" / ".rows-000000000050-000000000055-00000000.safetensors.tmp").write_bytes(b"half")
        latest = RunDirectory(base).checkpoint("latest").path
        latest.rename(latest.with_name(f".{latest.name}.old"))
        known = {steps: advance(config, parts, steps) for steps in (50, 55, 60, 65) if steps < end}
        return cls(config, folder, base, known | {end: advance(config, parts)}, 50)

    def at_its_end(self):
        """The same, killed when all was saved and only the summary did not say so yet."""
        last = max(n for n, o in enumerate(self.operations) if o.name == "replace" and "summary" in o.path)
        base, end = self.copy(), self.config.total_env_steps
        assert killed(lambda: self.go_on(base), base, kill(last))
        run = Unfinished(self.config, self._folder, base, self._known, end)
        run.at_once = self.at_once
        return run

    @cached_property
    def operations(self):
        """Of a start that goes on to the end, less those of its last words."""
        folder = self.copy()
        with Layer(folder) as layer:
            self.go_on(folder)
        assert self.left_in(folder) == self.at_once
        return layer.operations[: layer.operations.index(Operation("unlink", "crash.log"))]

    @cached_property
    def begun(self):
        """The number of the first operation that is not of the start itself: its first row."""
        return self.operations.index(Operation("write", "metrics.csv"))

    @cached_property
    def saved(self):
        """The number of the first operation after which the last state is on the disk."""
        return 1 + max(n for n, o in enumerate(self.operations) if _committed(o))

    @cached_property
    def at_once(self):
        """What is left of the same run that nothing happens to."""
        advance(self.config, self._folder / "at once")
        return self.left_in(self._folder / "at once")

    def left_in(self, folder):
        (folder / "crash_reported.log").unlink(missing_ok=True)  # a process that was killed left its crash.log
        if self.config.checkpoint.keep_replay == "always":
            there = left(folder)
            del there["summary"]["status"], there["summary"]["cause"]
            return there
        return sorted(path.name for path in (folder / "checkpoints").iterdir()), metrics_rows(folder)

    def copy(self):
        Unfinished.trials += 1
        return shutil.copytree(self.base, self.base.with_name(f"{self.base.name}-{Unfinished.trials}"))

    def go_on(self, folder):
        """As ``sac-train`` does."""
        training_run.train(self.config, [], None, lambda: RunLock(folder), continued=True)

    def fails(self, strike):
        """Go on with faults: the folder, the error that ended it, failed saves survived before its end and in it."""
        folder, error = self.copy(), None
        with contextlib.redirect_stderr(io.StringIO()) as said, Layer(folder, strike):
            try:
                self.go_on(folder)
            except RunnerError as e:
                error = e
        survived = tuple(said.getvalue().count(f"trying again {when}") for when in ("at the next one", "in "))
        return folder, error, survived

    def kills(self):
        """Before every operation that changes the disk, and in the middle of every write."""
        changes = [(n, o) for n, o in enumerate(self.operations) if o.name in CHANGES]
        return [(n, half) for n, o in changes for half in ([False, True] if o.name == "write" else [False])]

    def faults(self, every, **how):
        """A strike for every operation and all that a disk may answer to it."""
        for number, operation in list(enumerate(self.operations))[::every]:
            for error, half in product([errno.EIO, errno.ENOSPC], [False, True]):
                if can_fail(operation, error) and (not half or operation.name == "write"):
                    yield number, fail(number, error, half=half, **how)

    @contextlib.contextmanager
    def named(self, number):
        try:
            yield
        except Exception as e:
            e.add_note(f"operation {number} of {self.base}: {' '.join(self.operations[number])}")
            raise

    def steps_after(self, number):
        """The env steps of the newest checkpoint, once so many operations are done."""
        return max([self._steps, *(int(_committed(o)[1]) for o in self.operations[:number] if _committed(o))])

    def _knows(self, trainer):
        """Whether it has come to where the whole run was; at an end it may do without the replay buffer."""
        there, known = knowledge(trainer), self._known[trainer.counters.env_steps]
        return there == (known if trainer.replay.added else known | {k: x for k, x in there.items() if "replay." in k})

    def check(self, folder, number, to_the_end=True):
        """``folder`` holds the state that it had after ``number`` operations and its best policy, and can go on."""
        run = RunDirectory(folder)
        assert find(run.checkpoints, "latest")  # so the command goes on
        with Trainer(self.config, CPU, Console(self.config, io.StringIO())) as trainer:
            record = Record(self.config, run, {})
            assert record.restore(newest_whole(run), trainer.state) == []
            steps = trainer.counters.env_steps
            assert steps == self.steps_after(number) and self._knows(trainer)
            run.write_start(training_run.to_yaml(self.config), {})
            record.open()
            try:
                run.checkpoint("best").verify()
                assert run.checkpoint("best").manifest()["score"] == record.scores["best"]
                if to_the_end:
                    trainer.run(record, lambda: False)
                    assert self._knows(trainer)
            finally:
                record.close(True)
        if to_the_end:
            assert self.left_in(folder) == self.at_once
        shutil.rmtree(folder)


def _committed(operation):
    return operation.name == "rename" and re.search(r"-> checkpoints/latest-(\d{12})$", operation.path)


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Without what takes most of the time of a start, or of an end, and touches no file of the run."""
    with pytest.MonkeyPatch.context() as patch:
        text = training_run.to_yaml(RUN)
        patch.setattr(training_run, "to_yaml", lambda config: text)
        patch.setattr(training_run, "provenance", lambda *_: {})
        patch.setattr(training_run, "set_up_torch", lambda config: (CPU, 1))
        patch.setattr("sac_runner.training.trainer._RETRY_S", 0)
        yield


@pytest.fixture(autouse=True)
def tell(request, capsys):
    before = Unfinished.trials
    yield
    if request.node.get_closest_marker("slow"):
        with capsys.disabled():
            print(f"\n{Unfinished.trials - before} trials of {request.node.name}")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return Unfinished.at_52(RUN, tmp_path_factory.mktemp("short"))


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return Unfinished.at_52(LONG, tmp_path_factory.mktemp("long"))


def test_the_operations_are_those_of_a_resume_a_checkpoint_and_a_retention(short):
    names = [f"{name} {path}" for name, path in short.operations]
    for expected in [
        r"rename checkpoints/\.latest-0*50\.old -> checkpoints/latest-0*50",
        r"rmdir checkpoints/\.latest-0*55\.tmp",
        r"unlink replay/\.rows-.*\.tmp",
        r"read replay/rows-.*",
        r"replace \.metrics\.csv\.tmp -> metrics\.csv",
        *(rf"rename checkpoints/\.({kind}-0*55)\.tmp -> checkpoints/\1" for kind in ("best", "kept", "latest")),
        *(rf"rename checkpoints/({name}) -> checkpoints/\.\1\.tmp" for name in ("best-0*50", "latest-0*45")),
        r"unlink replay/rows-.*",
    ]:
        assert any(re.fullmatch(expected, name) for name in names), expected
    commits = [n for n, o in enumerate(short.operations) if _committed(o) and n > short.begun]
    assert len(commits) == 2
    for before, commit in zip([short.begun, *commits], commits, strict=False):
        synced = [name.split(".")[0] for name in names[before:commit] if name.startswith("fsync ")]
        assert {"fsync metrics", "fsync events"} <= set(synced)  # a power cut may follow


@density(4)
def test_killed_at_any_operation_it_has_the_state_before_or_after(short, every):
    kills = [(n, half) for n, half in short.kills() if short.operations[n].name != "write" or n % every == 0]
    for trial, (number, half) in enumerate(kills):
        folder = short.copy()
        with short.named(number):
            assert killed(lambda folder=folder: short.go_on(folder), folder, kill(number, half))
            short.check(folder, number, to_the_end=trial % every == 0)


@density(7)
@pytest.mark.parametrize("keep", ["always", "until_finished"])
def test_killed_where_it_has_only_to_say_that_it_is_finished_it_still_says_so(short, tmp_path, keep, every):
    forgetful = replace(RUN, checkpoint=replace(RUN.checkpoint, keep_replay=keep))
    run = (short if keep == "always" else Unfinished.at_52(forgetful, tmp_path)).at_its_end()
    for number, half in run.kills()[::every]:
        folder = run.copy()
        with run.named(number):
            assert killed(lambda folder=folder: run.go_on(folder), folder, kill(number, half))
            run.check(folder, number)


@density(37)
def test_a_fault_that_passes_ends_no_training(short, every):
    for number, strike in short.faults(every):
        with short.named(number):
            folder, error, _ = short.fails(strike)
            assert error is None or not short.begun <= number < short.saved
            if error is None and number < short.saved:
                assert short.left_in(folder) == short.at_once
            short.check(folder, number if error else len(short.operations))


@density(83)
def test_a_fault_that_stays_ends_it_at_the_third_checkpoint_and_the_last_good_one_goes_on(long, every):
    for number, strike in long.faults(every, for_good=True):
        with long.named(number):
            folder, error, survived = long.fails(strike)
            if number < long.saved:
                assert error is not None
            if long.begun <= number < long.saved:
                assert isinstance(error, DiskFailed) and error.exit_code == 74
                assert survived == (2, 0) or (survived[1] == 2 and survived[0] <= 2)  # the end has tries of its own
            long.check(folder, number)


@density(9)
def test_short_writes_change_nothing(short, every):
    writes = [n for n, o in enumerate(short.operations) if o.name == "write"]
    for strike in [write_short(0, for_good=True), *(write_short(n) for n in writes[::every])]:
        folder, error, survived = short.fails(strike)
        assert (error, survived) == (None, (0, 0)) and short.left_in(folder) == short.at_once
