import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from sac_runner.signals import stop_on_signals
from sac_runner.training.compilation import _signals_blocked


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize(
    ("first", "second", "later", "ends"),
    [
        (signal.SIGINT, signal.SIGINT, 0.0, True),
        (signal.SIGTERM, signal.SIGINT, 0.0, True),
        (signal.SIGTERM, signal.SIGTERM, 0.0, False),  # one for each thread of a launcher that was killed
        (signal.SIGTERM, signal.SIGTERM, 3.0, True),
        (signal.SIGUSR2, signal.SIGTERM, 30.0, False),  # as SLURM says it
        (signal.SIGTERM, signal.SIGUSR1, 0.0, False),
        (signal.SIGHUP, signal.SIGINT, 0.0, True),
    ],
)
def test_a_second_signal_ends_the_process_at_once_unless_it_is_an_echo(monkeypatch, first, second, later, ends):
    def run():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also below nohup
        with stop_on_signals() as stop:
            signal.raise_signal(first)
            assert stop() and stop.signal == first
            now = time.monotonic() + later
            monkeypatch.setattr("sac_runner.signals.time.monotonic", lambda: now)
            signal.raise_signal(second)
            os._exit(0 if stop.signal == first else 1)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == (-second if ends else 0)


def test_a_terminal_that_is_closed_stops_no_run_below_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_so_it_does_while_updates_are_compiled():
    def run():
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # there is one, of PyTorch or TensorBoard
        with stop_on_signals() as stop, _signals_blocked():
            os.kill(os.getpid(), signal.SIGINT)
            while not stop():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
            os._exit(1)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGINT


def test_a_signal_that_an_environment_took_for_itself_is_heard_again_from_the_next_question_on():
    before = signal.getsignal(signal.SIGUSR1)
    with stop_on_signals() as stop:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert not stop()
        signal.raise_signal(signal.SIGUSR1)
        assert stop() and stop.signal == signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


def test_in_a_thread_no_signal_is_taken():
    asked = []

    def run():
        with stop_on_signals() as stop:
            asked.append((stop(), stop.hears))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert asked == [(False, ())]
