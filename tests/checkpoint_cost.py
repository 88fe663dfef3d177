"""What saving costs: ``python -m tests.checkpoint_cost env=halfcheetah`` trains and prints its share of the time."""

import sys
import time
from functools import wraps

from sac_runner.commands import train
from sac_runner.training.record import Record


def main():
    """Train by the command line's overrides, with a clock around all that saves."""
    spent = []

    def timed(save):
        @wraps(save)
        def clocked(*arguments, **options):
            begun = time.perf_counter()
            try:
                return save(*arguments, **options)
            finally:
                spent.append(time.perf_counter() - begun)

        return clocked

    Record.checkpoint, whole = timed(Record.checkpoint), time.perf_counter()
    train.main()
    whole = time.perf_counter() - whole
    share = f"{sum(spent):.2f} of {whole:.1f} s, {sum(spent) / whole:.2%}"
    print(f"{len(spent)} checkpoints: {share}; the longest {max(spent):.3f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
