"""What is shown while a run trains, on a terminal and where there is none."""

import errno
import io
from types import SimpleNamespace

import pytest

from sac_runner.storage.files import Appended
from sac_runner.training import console as module
from sac_runner.training.console import Console
from sac_runner.training.schedule import Counters
from tests.support import PER_ROUND, PER_STEP, config

RUN = config(total_env_steps=100_000, schedule=PER_STEP | {"warmup_env_steps": 10_000}, eval={"episodes": 7})


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def line(self):
        """The live line as it stands."""
        return self.getvalue().rpartition("\033[K")[2]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def record():
    """All of it that is shown."""
    return SimpleNamespace(latest={}, scores={})


def test_the_live_line_says_how_far_how_fast_how_long_and_how_good(clock, record):
    console = Console(RUN, Terminal())

    def shown(seconds, env_steps):
        clock.now += seconds
        console.progress(Counters(env_steps=env_steps), record)
        return console.stream.line

    assert shown(0, 1000) == "  1%  1,000/100,000, warm-up to 10,000 | 0 steps/s"
    assert shown(2, 3000) == "  3%  3,000/100,000, warm-up to 10,000 | 1,000 steps/s"
    shown(3, 10_000)  # from here on it learns, which takes longer
    record.latest = {"rollout/episode_return": -1234.5, "train/alpha": 0.12345}
    record.scores = {
        "final": {"env_steps": 40_000, "return_mean": -203.4},
        "best": {"env_steps": 20_000, "return_mean": -187.0},
    }
    assert shown(300, 40_000) == (
        " 40%  40,000/100,000 | 100 steps/s | 10:00 left | return -1,234 | eval -203 @40k, best -187 | alpha 0.123"
    )
    assert shown(0.1, 40_010).startswith(" 40%  40,000/")  # no more often than it can be read
    assert shown(0.2, 40_020).startswith(" 40%  40,020/")


def test_a_narrow_terminal_shows_as_much_as_it_has_room_for(clock, record, monkeypatch):
    record.latest = {"train/alpha": 0.5}
    monkeypatch.setenv("COLUMNS", "60")
    console = Console(RUN, Terminal())
    console.progress(Counters(env_steps=50_000), record)
    assert console.stream.line == " 50%  50,000/100,000 | 0 steps/s | alpha 0.5"
    for columns, line in (("40", " 50%  50,000/100,000 | 0 steps/s"), ("20", " 50%  50,000/100,00")):
        clock.now += 1.0
        monkeypatch.setenv("COLUMNS", columns)
        console.progress(Counters(env_steps=50_000), record)
        assert console.stream.line == line


def test_a_run_of_rounds_counts_them(clock, record):
    console = Console(config(schedule=PER_ROUND, total_env_steps=None), Terminal())
    console.progress(Counters(env_steps=100), record)
    clock.now += 60.0
    console.progress(Counters(env_steps=700, rounds=1), record)
    assert console.stream.line == " 33%  round 1/3 | 10 steps/s | 2:00 left"


def test_of_two_budgets_the_one_that_ends_first_is_shown(clock, record):
    console = Console(config(schedule=PER_ROUND, total_env_steps=100_000), Terminal())
    console.progress(Counters(env_steps=100), record)
    for counters, line in (
        (Counters(env_steps=700, rounds=1), " 33%  round 1/3 | 10 steps/s | 2:00 left"),
        (Counters(env_steps=90_100, rounds=1), " 90%  90,100/100,000 | 750 steps/s | 0:13 left"),
    ):
        clock.now += 60.0
        console.progress(counters, record)
        assert console.stream.line == line


def test_an_evaluation_is_counted_on_the_live_line_which_goes_before_a_word_is_said():
    console = Console(RUN, Terminal())
    console.evaluating(3)
    assert console.stream.line == "evaluating 3/7"
    console.say("done")
    assert console.stream.getvalue() == "\r\033[Kevaluating 3/7\r\033[Kdone\n"


def test_where_there_is_no_terminal_a_line_comes_every_half_minute(clock, record, tmp_path):
    console = Console(RUN, io.StringIO())
    console.keep_in(log := Appended(tmp_path / "train.log", "ab"))
    for env_steps in range(20_000, 90_000, 1000):  # one each second
        console.progress(Counters(env_steps=env_steps), record)
        console.evaluating(1)
        clock.now += 1.0
    log.close()
    lines = console.stream.getvalue().splitlines()
    assert lines == [
        " 50%  50,000/100,000 | 1,000 steps/s | 0:50 left",
        " 80%  80,000/100,000 | 1,000 steps/s | 0:20 left",
    ]
    assert (tmp_path / "train.log").read_text().splitlines() == lines


def test_a_terminal_that_is_gone_ends_no_run(clock, record):
    class Gone(Terminal):
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

    console = Console(RUN, Gone())
    console.progress(Counters(env_steps=20_000), record)
    console.say("on")
