"""Bugs that were made here, or might have been: each of them must turn a test of the default run red."""

from typing import NamedTuple

from tests.contracts.planted import algorithm, around, gpu, interaction, results, safety, speed, sweeps, training


class Bug(NamedTuple):
    """A mistake, as one replacement of text."""

    name: str
    """What the code does wrong with it."""
    file: str
    there: str
    """A text that ``file`` has exactly once."""
    instead: str
    test: str
    """A test that turns red, or a file of them."""


BUGS = [
    Bug(*row)
    for table in (
        *(algorithm.EQUATIONS, algorithm.UPDATE, algorithm.STATISTICS),
        *(interaction.BUFFER, interaction.EPISODES),
        *(training.LOOP, training.CHANCE, training.ENDINGS, results.EVALUATIONS, results.REPORTS),
        *(around.STORAGE, around.COMMANDS, around.PLAYBACK, sweeps.SWEEPS, sweeps.SCORES, speed.SPEED),
        *(safety.SAFETY, gpu.GPU),
    )
    for row in table
]
