"""The update, compiled once a run has made so many that compiling it pays."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from sac_runner.algorithm.agent import SAC
from sac_runner.errors import first_line
from sac_runner.types import Batch, Metrics, UpdateNoise

Update = Callable[[Batch, UpdateNoise], Metrics]
_State = dict[str, Tensor]


class Updater:
    """``agent.update`` for the first ``compile_after_updates``, and from there on the same as one compiled function.

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
        self._compiled: Update | None = None

    def is_due(self, made: int) -> bool:
        """Whether the next call, after ``made`` updates, compiles, which takes its time."""
        due = self._after is not None and made >= self._after
        return due and self._compiled is None and self.compiles is not False

    def __call__(self, batch: Batch, noise: UpdateNoise, made: int) -> Metrics:
        """One update, after ``made`` of them."""
        if self.is_due(made):
            self._compile(batch, noise)
        return (self._compiled or self._agent.update)(batch, noise)

    def _compile(self, batch: Batch, noise: UpdateNoise) -> None:
        """Compile and try out; the agent stays as it is."""
        self._say("compiling the update: half a minute at first, a few seconds where the compiler knows it already")
        begun = time.monotonic()
        try:
            update = compiled(self._agent)
            wrong = _differs(self._agent, update, batch, noise)
        except Exception as e:  # whatever a compiler may raise
            wrong = f"{type(e).__name__}: {first_line(e)}"
        if wrong:
            were = " as before; numbers will differ in their last bits" if self.compiles else ""
            self._say(f"warning: updates can't be compiled here{were}; they go on as written ({wrong})")
        else:
            self._compiled = update
            self._say(f"compiled in {time.monotonic() - begun:.0f} s")
        self.compiles = not wrong


def compiled(agent: SAC) -> Update:
    """``agent.update`` as one function, compiled when it is called first: in one graph, or not at all.

    The same update gives the same code each time.
    """
    from torch._dynamo import config as compiler  # a second and more, which a short run does without

    compiler.trace_autograd_ops = True
    update: Update = torch.compile(  # type: ignore[call-overload]  # which knows no isolate_recompiles yet
        agent.update,
        fullgraph=True,
        dynamic=False,
        isolate_recompiles=True,  # another agent's update is another function
        options={
            "cpp_wrapper": True,
            "deterministic": True,  # chooses nothing by timing where that moves bits (on GPUs it would)
            "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,  # nothing that it was compiled for ever changes
        },
    )
    return update


def _differs(agent: SAC, update: Update, batch: Batch, noise: UpdateNoise) -> str | None:
    """Where ``update`` does something else than ``agent.update``, rounding aside; None if nowhere.

    No compiler is beyond doubt: one release of PyTorch's lost what was written to a float64 parameter of shape ().
    """
    before = _copied(agent)
    try:
        agent.update(batch, noise)
        right = _copied(agent)
        agent.load_state_dict(before)
        update(batch, noise)
        return next(
            (f"it gives another {name}" for name, x in _copied(agent).items() if _is_off(x, right, before, name)), None
        )
    finally:
        agent.load_state_dict(before)


def _copied(agent: SAC) -> _State:
    return {name: x.clone() for name, x in agent.state_dict().items()}


def _is_off(x: Tensor, right: _State, before: _State, name: str) -> bool:
    """By more than a hundredth of the way that the update went, and more than float32 rounds."""
    way = (right[name] - before[name]).double().norm()
    return bool((x - right[name]).double().norm() > 1e-2 * way + 1e-6 * right[name].double().norm())
