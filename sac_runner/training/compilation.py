"""The update, compiled once a run has made so many that compiling it pays."""

import time
from collections.abc import Callable


from sac_runner.algorithm.agent import SAC
from sac_runner.errors import first_line
from sac_runner.types import Batch, Metrics, UpdateNoise


class Updater:
    """``agent.update`` up to ``compile_after_updates``, and from there on the same as one compiled function.

    Compiled, it rounds differently in the last bits. So what decides is the number of updates alone, never the clock
    or how long the run is to be: a run that is continued or extended makes the same numbers.
    """

    def __init__(self, agent: SAC, after: int | None, say: Callable[[str], None]) -> None:
        """Nothing is compiled yet.

        Args:
            agent: Whose updates.
            after: How many are made as written; None makes all of them so.
            say: Takes a line for the user.
        """
        self.compiles: bool | None = None
        """Whether it could be compiled; None where that was not tried yet. Part of a checkpoint."""
        self._agent, self._after, self._say = agent, after, say
        self._compiled: Callable[[Batch, UpdateNoise], Metrics] | None = None

    def __call__(self, batch: Batch, noise: UpdateNoise, made: int) -> Metrics:
        """One update, after ``made`` of them."""
        if self._compiled is not None:
            return self._compiled(batch, noise)
        if self._after is None or made < self._after or self.compiles is False:
            return self._agent.update(batch, noise)
        return self._compile(batch, noise)

    def is_due(self, made: int) -> bool:
        """Whether the next call compiles, which takes its time."""
        due = self._after is not None and made >= self._after
        return due and self._compiled is None and self.compiles is not False

    def _compile(self, batch: Batch, noise: UpdateNoise) -> Metrics:
        """The first update that is compiled."""
        self._say("compiling the update: 15 s or so, and a few where the compiler knows it from an earlier run")
        begun = time.monotonic()
        compiled = _compiled(self._agent)
        try:
            metrics = compiled(batch, noise)
        except Exception as e:  # of the compiler; what is wrong with the update itself comes again below
            were = ", as they were so far: numbers will differ in their last bits" if self.compiles else ""
            self._say(f"updates can't be compiled here{were} ({type(e).__name__}: {first_line(e)}); they go on without")
            self.compiles = False
            return self._agent.update(batch, noise)
        self._compiled, self.compiles = compiled, True
        self._say(f"compiled in {time.monotonic() - begun:.0f} s")
        return metrics


def _compiled(agent: SAC) -> Callable[[Batch, UpdateNoise], Metrics]:
    """In one graph, or not at all. Nothing is chosen by timing: the same update gives the same code everywhere."""
    import torch._dynamo.config  # a second and more, which a short run does without

    torch._dynamo.config.trace_autograd_ops = True
    update: Callable[[Batch, UpdateNoise], Metrics] = torch.compile(agent.update, fullgraph=True, dynamic=False)
    return update
