"""Ranges of numbers, as annotations for the schema.

``Annotated[float, Within(low, high)]`` is a closed range; ``above`` leaves the end itself out. An ``int`` that
counts also accepts ``1e6`` and ``1_000_000`` on the command line.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Within:
    """The range of a number; None is no bound."""

    low: float | None = None
    high: float | None = None
    above: float | None = None

    def __contains__(self, x: float) -> bool:
        return (
            (self.low is None or x >= self.low)
            and (self.high is None or x <= self.high)
            and (self.above is None or x > self.above)
        )

    def __str__(self) -> str:
        words = {"at least": self.low, "above": self.above, "at most": self.high}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None)


Positive = Annotated[float, Within(above=0)]
PositiveInt = Annotated[int, Within(low=1)]
Count = Annotated[int, Within(low=0)]
NonNegative = Annotated[float, Within(low=0)]
Share = Annotated[float, Within(low=0, high=1)]
