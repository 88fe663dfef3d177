"""The update, compiled into one function in runs that are long enough for it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sac_runner.algorithm.agent import SAC
from sac_runner.errors import first_line
from sac_runner.interaction.faults import STOP_SIGNALS
from sac_runner.types import Batch, Metrics, UpdateNoise

Update = Callable[[Batch, UpdateNoise], Metrics]


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
        self._say("compiling the update, to go on faster: half a minute the first time, a few seconds later on")
        begun = time.monotonic()
        try:
            with _signals_blocked():
                update = compiled(self._agent)
                wrong = _differs(self._agent, update, batch, noise)
        except Exception as e:  # whatever a compiler may raise
            wrong = f"{type(e).__name__}: {first_line(e)}"
        if wrong:
            were = (
                "; compiled ones before it rounded otherwise, so numbers differ in their last bits"
                if self.compiles
                else ""
            )
            self._say(f"warning: this run goes on with updates that are not compiled, which are slower ({wrong}){were}")
        else:
            self._compiled = update
            self._say(f"compiled in {time.monotonic() - begun:.0f} s")
        self.compiles = not wrong


def compiled(agent: SAC) -> Update:
    """``agent.update`` as one function, compiled when it is called first: in one graph, or not at all.

    The same update gives the same code each time.

    Raises:
        OSError: PyTorch lies where its compiler does not find it.
    """
    if " " in torch.__file__:  # which would end, after half a minute, at a linker whose options are not quoted
        raise OSError(f"PyTorch's compiler takes no space in the path of its folder, {torch.__file__}")
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
            # What guards would watch never changes in a run: sizes and types of a batch, config, modules, precision.
            "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,
        },
    )
    return update


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A signal to stop reaches all processes of a group. A C++ compiler would die of it, and the run go on without.

    Blocked, not handled as where workers begin (``envs``): a program that is started keeps the one alone.
    """
    if not hasattr(signal, "pthread_sigmask"):  # elsewhere than on Linux and macOS
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # which its children have too
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _differs(agent: SAC, update: Update, batch: Batch, noise: UpdateNoise) -> str | None:
    """Where ``update`` does something else than ``agent.update``, rounding aside; None if nowhere.

    No compiler is beyond doubt: one release of PyTorch's lost what was written to a float64 parameter of shape ().
    """
    before = _copied(agent)
    try:
        metrics = agent.update(batch, noise)
        right = _copied(agent)
        agent.load_state_dict(before)
        others = update(batch, noise)
        wrong = [name for name, x in _copied(agent).items() if _is_off(x, right[name], before[name])]
        wrong += [name for name, x in metrics.items() if not torch.isclose(others[name], x, rtol=1e-2, atol=1e-2)]
        return f"compiled, it gives another {wrong[0]}" if wrong else None
    finally:
        agent.load_state_dict(before)


def _copied(agent: SAC) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in agent.state_dict().items()}


def _is_off(x: Tensor, right: Tensor, before: Tensor) -> bool:
    """By more than a quarter of the way that the update went, and more than float32 rounds; or no number.

    Rounding alone can turn which of two critics is the lower one, or a unit on: at times a hundredth of the way.
    """
    way, size, off = (y.double().norm() for y in (right - before, right, x - right))
    return not bool(off <= 0.25 * way + 1e-6 * size)
