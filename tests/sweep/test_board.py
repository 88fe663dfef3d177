import fcntl
import io
import os
import re
import struct
import termios
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import Ended, SweepDirectory
from sac_runner.sweep import board as board_module
from sac_runner.sweep.board import Board
from tests.storage.written import going_on, write_metrics, write_run, write_sweep


class Terminal(io.StringIO):
    """What a terminal shows, as far as a board steers it."""

    def __init__(self):
        super().__init__()
        self.rows, self.row, self.column, self.written = [[]], 0, 0, ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text
        for piece in re.findall(r"\033\[\d*.|[\r\n]|[^\033\r\n]+", text):
            line = self.rows[self.row]
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [[]] * (self.row == len(self.rows))
            elif piece.startswith("\033"):
                assert piece[-1] in "AKJ", f"{piece!r} is none of what a board needs"
                self.row -= int(piece[2:-1]) if piece[-1] == "A" else 0
                assert self.row >= 0, "up beyond the top"
                if piece[-1] in "KJ":
                    del line[self.column :]
                if piece[-1] == "J":
                    del self.rows[self.row + 1 :]
            else:
                line[self.column : self.column + len(piece)] = piece
                self.column += len(piece)

    @property
    def screen(self):
        return "\n".join("".join(line) for line in self.rows).rstrip("\n").splitlines()


@pytest.fixture
def clock(monkeypatch):
    """The board's clock, set by hand: seconds since the start of its process."""
    clock = SimpleNamespace(now=1000.0)
    begun = time.time() - clock.now
    fake = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: begun + clock.now)
    monkeypatch.setattr(board_module, "time", fake)
    return clock


@pytest.fixture(autouse=True)
def size(monkeypatch):
    """Set the size of the terminal."""

    def size(columns, lines):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))

    size(120, 24)
    return size


@pytest.fixture
def owned():
    """Take the lock of a run or sweep, as its process does."""
    with ExitStack() as locks:
        yield lambda directory: locks.enter_context(RunLock(directory.path))


@pytest.fixture
def sweep(tmp_path):
    """Of two settings and three seeds, nothing of which has begun."""
    return write_sweep(tmp_path / "20261124-160000_alpha", "alpha=auto", "alpha=fixed_0.05", seeds=3)[0]


def begin(sweep, owned, *numbers, **how):
    """Have these jobs run."""
    for job in sweep.jobs():
        if job.number in numbers:
            run = write_run(sweep.run(job).path, "running", env_steps=0, wall_time_s=0.0)
            going_on(run, **how)
            owned(run)


def end(sweep, *numbers, state="finished", cause=None, **how):
    for job in sweep.jobs():
        if job.number in numbers:
            write_run(sweep.run(job).path, state, cause, **how)
            (sweep.run(job).path / ".lock").touch()


def shown(sweep, clock):
    """The screen after one look."""
    terminal = Terminal()
    Board(sweep, terminal).update()
    return terminal.screen


def test_it_shows_how_many_are_done_and_how_far_the_others_are(sweep, owned, clock):
    owned(sweep)
    clock.now += 1880
    end(sweep, 0, 1, wall_time_s=600)
    end(sweep, 2, state="failed", cause="env raised")
    begin(sweep, owned, 3, 4, env_steps=420, seconds=252, speed=168.2, returned=-1870.4, evaluated=203.4)
    assert shown(sweep, clock) == [
        "sweep 20261124-160000_alpha  2/6 done, 2 running, 1 failed, 1 waiting, 31:20 so far, about 16 min left",
        "  alpha=fixed_0.05 s0   42%  420/1,000  168 steps/s  return -1,870  eval 203",
        "  alpha=fixed_0.05 s1   42%  420/1,000  168 steps/s  return -1,870  eval 203",
    ]


def test_what_is_not_known_is_not_shown(sweep, owned, clock):
    begin(sweep, owned, 0)
    (sweep.run(sweep.jobs()[0]).path / "metrics.csv").unlink()
    assert shown(sweep, clock) == [
        "sweep 20261124-160000_alpha  0/6 done, 1 running, 5 waiting",
        "  alpha=auto s0    0%  0/1,000",
    ]


def test_a_job_that_ends_by_rounds_shows_its_steps(tmp_path, owned, clock):
    sweep, _ = write_sweep(tmp_path / "20261124-160000_rounds", "alpha=auto", total=None)
    begin(sweep, owned, 0, env_steps=42_000)
    assert shown(sweep, clock)[1].startswith("  alpha=auto s0  42,000  100 steps/s")


def test_a_job_that_gives_no_sign_of_life_is_pointed_out(sweep, owned, clock):
    begin(sweep, owned, 0, 1)
    os.utime(sweep.run(sweep.jobs()[1]).path / ".lock", (0, time.time() - 600))
    first, second = shown(sweep, clock)[1:]
    assert "silent" not in first and second.endswith("  silent for 10 min")


def test_it_looks_twice_a_second_and_reads_what_is_finished_once(sweep, owned, clock, monkeypatch):
    end(sweep, 0, 1)
    looked = []
    status = SweepDirectory.status
    monkeypatch.setattr(SweepDirectory, "status", lambda self, job: looked.append(job.number) or status(self, job))
    terminal = Terminal()
    board = Board(sweep, terminal)
    for _ in range(21):
        board.update()
        clock.now += 0.1
    assert [looked.count(n) for n in range(6)] == [1, 1, 5, 5, 5, 5]
    assert terminal.written.count("2/6 done") == 5 and len(terminal.screen) == 1


def test_looking_takes_a_small_share_of_the_time_however_slow_the_disk_is(sweep, clock, monkeypatch):
    status, looks = SweepDirectory.status, []

    def slow(self, job):
        clock.now += 0.1
        looks.append(job)
        return status(self, job)

    monkeypatch.setattr(SweepDirectory, "status", slow)
    board, begun = Board(sweep, Terminal()), clock.now
    while clock.now < begun + 100:
        board.update()
        clock.now += 0.01
    assert len(looks) * 0.1 < 0.07 * 100


def test_a_finished_job_whose_files_go_stays_finished(sweep, clock):
    end(sweep, 0)
    terminal = Terminal()
    board = Board(sweep, terminal)
    board.update()
    (sweep.run(sweep.jobs()[0]).path / "summary.json").unlink()
    clock.now += 1
    board.update()
    assert "1/6 done" in terminal.screen[0]


def test_jobs_that_a_sweeper_adds_are_shown_and_a_plan_that_can_not_be_read_changes_nothing(tmp_path, clock):
    terminal = Terminal()
    board = Board(SweepDirectory(tmp_path), terminal)

    def after(change):
        change()
        clock.now += 1
        board.update()
        return terminal.screen

    assert after(lambda: None) == []
    assert "0/1 done" in after(lambda: write_sweep(tmp_path, "alpha=auto"))[0]
    assert "0/3 done" in after(lambda: write_sweep(tmp_path, "alpha=auto", "alpha=fixed", "alpha=x"))[0]
    assert "0/3 done" in after(lambda: (tmp_path / "sweep.json").write_text("{"))[0]
    assert "0/3 done" in after((tmp_path / "sweep.json").unlink)[0]


def test_what_is_said_stays_above_the_board(sweep, clock):
    terminal = Terminal()
    board = Board(sweep, terminal)
    board.say("first")
    board.update()
    board.say("failed   alpha-auto/s0  boom\n  its last line")
    (headline,) = terminal.screen[3:]
    assert terminal.screen[:3] == ["first", "failed   alpha-auto/s0  boom", "  its last line"]
    assert headline.startswith("sweep ")
    clock.now += 1
    board.update()
    assert len(terminal.screen) == 4
    board.close()
    board.close()
    assert terminal.screen == ["first", "failed   alpha-auto/s0  boom", "  its last line"]


def test_a_board_that_gets_shorter_leaves_no_line_behind(sweep, clock):
    terminal = Terminal()
    board = Board(sweep, terminal)
    with ExitStack() as locks:
        begin(sweep, lambda run: locks.enter_context(RunLock(run.path)), 0, 1, 2)
        board.update()
        assert len(terminal.screen) == 4
    clock.now += 1
    board.update()
    assert len(terminal.screen) == 1 and "3 killed" in terminal.screen[0]


@pytest.mark.parametrize(
    ("columns", "headline"), [(98, "sweep alpha  "), (80, "sweep  "), (40, "sweep  1/6 done, about")]
)
def test_a_narrow_terminal_goes_without_what_matters_least(sweep, owned, clock, size, columns, headline):
    owned(sweep)
    end(sweep, 0)
    end(sweep, 1, state="failed")
    begin(sweep, owned, 2, 3)
    size(columns, 24)
    lines = shown(sweep, clock)
    assert lines[0].startswith(headline) and lines[0].endswith(" left") and all(len(line) < columns for line in lines)
    assert lines[1].startswith("  alpha=auto s2         42%") and len(lines) == 3


def test_more_jobs_than_lines_are_counted(sweep, owned, clock, size):
    begin(sweep, owned, *range(6))
    size(120, 8)
    assert len(shown(sweep, clock)) == 7
    size(120, 6)
    lines = shown(sweep, clock)
    assert len(lines) == 5 and lines[-1] == "  and 3 more that run"


def test_a_terminal_that_was_made_narrower_is_drawn_over_from_the_top(sweep, owned, clock, size):
    """It shows each line of before as two."""
    begin(sweep, owned, 0)
    terminal = Terminal()
    board = Board(sweep, terminal)
    board.update()
    terminal.rows[2:] = [[]]
    terminal.rows[:0], terminal.row = [[], []], terminal.row + 2
    size(50, 24)
    clock.now += 1
    board.update()
    assert terminal.screen[0].startswith("sweep ")


@given(
    st.lists(st.sampled_from(["finished", "running", "failed", "waiting"]), min_size=1, max_size=9),
    st.integers(1, 130),
    st.integers(2, 14),
)
@example(["running"], 80, 2)
@settings(max_examples=25)
def test_it_fits_every_terminal(tmp_path_factory, states, columns, lines):
    sweep, jobs = write_sweep(tmp_path_factory.mktemp("any") / "x", *(f"alpha={i}" for i in range(len(states))))
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as locks:
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("LINES", str(lines))
        for job, state in zip(jobs, states, strict=True):
            if state == "running":
                begin(sweep, lambda run: locks.enter_context(RunLock(run.path)), job.number)
            elif state != "waiting":
                end(sweep, job.number, state=state)
        Board(sweep, terminal).update()
    assert len(terminal.rows) <= lines and all(len(line) < max(columns, 2) for line in terminal.rows)


def test_what_a_setting_is_called_steers_no_terminal(tmp_path, owned, clock):
    sweep, _ = write_sweep(tmp_path / "x", "alpha=auto", total=100)
    job = sweep.jobs()[0]._replace(setting={"env.id": "\033[2J\033]0;title\007\n\x9b1A"})
    sweep.write_plan({}, [job], [])
    begin(sweep, owned, 0)
    assert shown(sweep, clock)[1].startswith("  env.id=?[2J?]0;title? ?1A s0  420%")


def test_without_a_terminal_it_is_a_plain_line_now_and_then(sweep, owned, clock):
    stream = io.StringIO()
    board = Board(sweep, stream)
    begin(sweep, owned, 0)
    for _ in range(1300):
        board.update()
        clock.now += 0.1
    line = "sweep 20261124-160000_alpha  0/6 done, 1 running, 5 waiting, about 30 s left\n"
    assert stream.getvalue() == 2 * line
    board.say("failed  x")
    board.close()
    assert stream.getvalue() == 2 * line + "failed  x\n"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError(), ValueError("closed file")])
def test_a_terminal_that_is_gone_ends_nothing(sweep, clock, error):
    class Gone(Terminal):
        def write(self, text):
            raise error

    board = Board(sweep, Gone())
    board.update()
    board.say("x")
    board.close()


def test_a_true_terminal_is_asked_for_its_size_and_may_hang_up(sweep, owned, clock):
    begin(sweep, owned, 0, 1, 2)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 4, 30, 0, 0))
    stream = os.fdopen(theirs, "w")
    board = Board(sweep, stream)
    board.update()
    headline, job, more, rest = os.read(ours, 10_000).decode().split("\033[K\r\n")
    assert headline == "sweep  0/6 done, about 16 s.." and job == "  alpha=auto s0   42%  420/.."
    assert more == "  and 2 more that run" and rest == "\033[J"
    os.close(ours)
    clock.now += 1
    board.update()
    board.close()
    with pytest.raises(OSError):  # it was tried
        stream.close()


def left(sweep, clock):
    """How long the board says that the sweep still takes."""
    found = re.search(r"about (.*) left", shown(sweep, clock)[0])
    return found and found[1]


def test_how_long_it_takes_is_known_from_jobs_that_are_done(sweep, owned, clock):
    """Two at a time: 300 s for the one that runs; meanwhile and after it 4 x 600 s wait for two places."""
    end(sweep, 0, wall_time_s=600)
    job = sweep.jobs()[1]
    run = write_run(sweep.run(job).path, "running", env_steps=500, wall_time_s=2)
    owned(run)
    assert left(sweep, clock) == "25 min"
    sweep.write_plan({"at_a_time": 4}, sweep.jobs(), [])
    assert left(sweep, clock) == "15 min"


def test_how_long_it_takes_is_known_from_jobs_that_learn(sweep, owned, clock):
    begin(sweep, owned, 0, env_steps=400, seconds=4, speed=100)
    assert left(sweep, clock) == "30 s"  # 6 here and 10 there, and then 4 x 10 in these two places
    going_on(sweep.run(sweep.jobs()[0]), env_steps=400, seconds=40, speed=100)  # it evaluates most of the time
    assert left(sweep, clock) == "5 min"


def test_steps_of_a_warm_up_do_not_say_how_long_it_takes(sweep, owned, clock):
    begin(sweep, owned, 0)
    rows = [(100, {"perf/env_steps_per_s": 5000.0, "perf/updates_per_s": 0.0, "perf/wall_time_s": 0.02})]
    write_metrics(sweep.run(sweep.jobs()[0]), *rows)
    assert left(sweep, clock) is None
    rows.append((200, {"perf/env_steps_per_s": 10.0, "perf/updates_per_s": 10.0, "perf/wall_time_s": 10.0}))
    write_metrics(sweep.run(sweep.jobs()[0]), *rows)
    assert left(sweep, clock) == "5 min"  # at 10 steps/s, not at 20


def test_jobs_that_end_by_rounds_take_as_long_as_others_took(tmp_path, owned, clock):
    sweep, _ = write_sweep(tmp_path / "x", "alpha=auto", "alpha=fixed", "alpha=x", total=None, at_a_time=1)
    begin(sweep, owned, 1, seconds=100)
    assert left(sweep, clock) is None
    end(sweep, 0, wall_time_s=600)
    assert left(sweep, clock) == "18 min"


def test_where_nothing_runs_nothing_is_said_of_its_time(sweep, clock):
    end(sweep, 0, wall_time_s=600)
    assert left(sweep, clock) is None and "so far" not in shown(sweep, clock)[0]


def test_a_sweep_that_is_resumed_has_what_failed_before_still_to_go(sweep, owned, clock):
    """Until it starts again it counts as waiting, and its time is that of this start alone."""
    end(sweep, 0, wall_time_s=600)
    for number, state in enumerate(["failed", "stopped", "running"], start=1):
        end(sweep, number, state=state)
    old = time.time() - 1000
    for job in sweep.jobs()[:4]:
        os.utime(sweep.run(job).path / ".lock", (old, old))
    sweep.write_end(sweep.jobs()[4], Ended(1, "no such device"))
    assert "1/6 done, 2 failed, 1 stopped, 1 killed, 1 waiting" in shown(sweep, clock)[0]
    owned(sweep)
    assert "1/6 done, 5 waiting, 0:00 so far" in shown(sweep, clock)[0]
    (sweep.run(sweep.jobs()[1]).path / ".lock").touch()  # it has failed again
    sweep.log_file(sweep.jobs()[4]).write_text("error: no such device")
    assert "1/6 done, 2 failed, 3 waiting" in shown(sweep, clock)[0]
