import multiprocessing
import os
import signal
import sys

import pytest

from sac_runner.training.run import stop_on_signals


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(number):
    def run():
        with stop_on_signals() as stop:
            signal.raise_signal(number)
            if stop() and stop.signal == number:
                signal.raise_signal(number)
            os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == -number
