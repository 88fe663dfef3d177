"""The server of ``tests.processes``: forks ``sac-train``, watches what it is at, and sends it signals.

A process of its own, as forks of one with threads, such as a whole test session, may hang.
"""

import contextlib
import ctypes
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from types import SimpleNamespace


class _Marks:
    """What a process is at, in memory that outlives it."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 100)
        self.phase, self.env_steps, self.marks = "starting", 0, 0
        self._write()

    def _write(self):
        self._memory[:] = json.dumps([self.phase, self.env_steps, self.marks]).encode().ljust(100)

    def read(self):
        with contextlib.suppress(ValueError):  # just being written
            self.phase, self.env_steps, self.marks = json.loads(self._memory[:])
        return self.phase, self.env_steps, self.marks

    def enter(self, phase):
        before, self.phase = self.phase, "ending" if self.phase == "ending" else phase
        self.marks += 1
        self._write()
        return before

    def step(self, counters):
        self.env_steps = counters.env_steps
        self._write()


_marks = None


def _mark(owner, name, phase, then=None):
    """Have ``owner.name`` say that it is at work; after it comes ``then``, or what was before."""
    inner = getattr(owner, name)

    def marked(*arguments, **named):
        before = _marks.enter(phase)
        try:
            return inner(*arguments, **named)
        finally:
            _marks.enter(then or before)

    setattr(owner, name, marked)


def _mark_phases():
    from sac_runner.analysis import figures
    from sac_runner.signals import StopRequest
    from sac_runner.training import state
    from sac_runner.training.console import Console
    from sac_runner.training.record import Record
    from sac_runner.training.trainer import Trainer

    _mark(Trainer, "__init__", "building", then="beginning")
    _mark(Record, "restore", "restoring")
    _mark(Trainer, "run", "stepping", then="ending")
    _mark(StopRequest, "handle", "asked", then="asked")
    _mark(Trainer, "_evaluate", "evaluating")
    _mark(Record, "checkpoint", "saving")
    _mark(Record, "save_policies", "saving")
    _mark(state, "drop_segments", "dropping")
    _mark(shutil, "rmtree", "dropping")
    _mark(Trainer, "__exit__", "ending")
    progress = Console.progress

    def progresses(console, counters, record):
        _marks.step(counters)
        progress(console, counters, record)

    Console.progress = progresses
    figures.learning_curve = lambda run: None  # takes half the time of a run


def _fork(command, number, marks):
    global _marks
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)  # its workers are found by it
        return pid
    _marks, code = marks, 130
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as one below nohup does
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive the server
        said = os.open(f"said-{number}", os.O_WRONLY | os.O_APPEND)
        for descriptor, file in enumerate([os.open(os.devnull, os.O_RDONLY), said, said]):
            os.dup2(file, descriptor)
        code = _run(command)
    finally:
        os._exit(code)


def _run(command):
    from sac_runner.commands.train import main

    sys.argv = ["sac-train", *command]
    try:
        main()
    except SystemExit as e:
        return e.code or 0
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class _Job:
    """A job of a sweep, as ``subprocess.Popen`` would start it, but forked: without the seconds of its imports."""

    def __init__(self, command, *, stdin, stdout, stderr, env, start_new_session):
        assert command[1:5] == ["-P", "-m", "sac_runner.commands.train", "--job"] and start_new_session
        self.returncode = None
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                code = self._become(command[4:], stdout, env)
            finally:
                os._exit(code)

    def _become(self, arguments, log, env):
        global _marks
        os.setsid()
        _marks = _Marks()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, file in enumerate([os.open(os.devnull, os.O_RDONLY), log.fileno(), log.fileno()]):
            os.dup2(file, descriptor)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(env)
        code = _run(arguments)
        sys.stdout.flush()
        return code

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _ask_fork(request):
    """``probe.ask`` without the seconds of its imports."""
    from sac_runner.sweep import probe
    from sac_runner.training.preflight import needs, try_out

    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            for line in probe.answer(request, try_out, needs):
                os.write(writes, f"{line}\n".encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as answers:
        said = answers.read()
    os.waitpid(pid, 0)
    return said


class _Signals:
    """What is to be sent to a process."""

    def __init__(self, process, marks, signals):
        self._process, self._marks, self.waiting = process, marks, list(signals)
        self._since = {0: time.monotonic()}
        self.phase = None

    def send(self):
        phase, _, made = self._marks.read()
        now = time.monotonic()
        for due in list(self.waiting):
            mark, seconds, number = due
            there = phase in mark if isinstance(mark, str) else made >= mark
            if (there or mark in self._since) and now - self._since.setdefault(mark, now) >= seconds:
                self.waiting.remove(due)
                self.phase = self.phase or phase
                (os.killpg if number == signal.SIGINT else os.kill)(self._process, number)


def _watch(pids, marks, signals):
    """Send ``signals`` to the first of ``pids``, and wait for all."""
    begun, endings = time.monotonic(), {}
    signals = _Signals(pids[0], marks[0], signals)
    descriptors = {os.pidfd_open(pid): pid for pid in pids}
    while descriptors:
        ready, _, _ = select.select([*descriptors], [], [], 0.0002 if signals.waiting else None)
        for descriptor in ready:
            pid = descriptors.pop(descriptor)
            os.close(descriptor)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            phase, *rest = marks[pids.index(pid)].read()
            if pid == pids[0]:
                signals.waiting = []
                phase = phase if code == -signal.SIGKILL else signals.phase or phase
            endings[pid] = [pid, code, time.monotonic() - begun, phase, *rest]
        signals.send()
    return [endings[pid] for pid in pids]


def _serve():
    import sac_runner.training.preflight
    import sac_runner.training.run  # noqa: F401
    from sac_runner.sweep import job_process, pool, probe
    from tests import climber
    from tests.runs import TINY

    pool.subprocess = job_process.subprocess = SimpleNamespace(
        Popen=_Job, DEVNULL=None, TimeoutExpired=subprocess.TimeoutExpired
    )
    pool._POLL_S = 0.01
    probe.ask = _ask_fork
    climber.register()
    sac_runner.training.preflight._PROBE_S = 0.01

    os.fsync = lambda descriptor: None  # as in tests.conftest
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    global _marks
    _marks = _Marks()
    _mark_phases()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as said, contextlib.redirect_stderr(said):
        assert _run([*TINY, f"run.dir={folder}/run"]) == 0  # imports what is only imported then
    for line in sys.stdin:
        request = json.loads(line)
        marks = [_Marks() for _ in request["commands"]]
        pids = [_fork(command, i, marks[i]) for i, command in enumerate(request["commands"])]
        print(json.dumps(_watch(pids, marks, request["signals"])), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
