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
        ours = _copied(agent)
    finally:
        agent.load_state_dict(before)
    if agent.precision == "medium":
        share, close = 0.4, 0.1
        compared = {part: [name for name in right if name.startswith(f"{part}.")] for part in _NETWORKS}
    else:
        share, close = 0.25, 0.01
        compared = {name: [name] for name in right}
    wrong = [name for name, x in ours.items() if _is_lost(x, right[name], before[name])]
    for name, of in compared.items():
        if of and _is_off(_joined(ours, of), _joined(right, of), _joined(before, of), share):
            wrong.append(name)
    wrong += [name for name, x in metrics.items() if not torch.isclose(others[name], x, rtol=close, atol=close)]
    return f"compiled, it gives another {wrong[0]}" if wrong else None


_NETWORKS = ("policy", "critic", "critic_target", "alpha")
"""What is compared as a whole where products are coarse.

Two ways to round, each as good as the other, turn which of two critics is the lower one here and there. Single biases
and moments, the mean of what all but cancels, then differ by up to 10 times what an update moves them, the networks by
0.18 times (LunarLander, 20 batches at 159,000 env steps).
"""


def _copied(agent: SAC) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in agent.state_dict().items()}


def _joined(state: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([state[name].double().flatten() for name in names])


def _is_lost(x: Tensor, right: Tensor, before: Tensor) -> bool:
    """It did not move although it should have, or is no number."""
    return bool((x == before).all() and not (right == before).all()) or not bool(x.isfinite().all())


def _is_off(x: Tensor, right: Tensor, before: Tensor, share: float) -> bool:
    """By more than ``share`` of the way that the update went, and more than float32 rounds.

    Rounding alone can turn which of two critics is the lower one, or a unit on: at times a hundredth of the way.
    """
    way, size, off = (y.norm() for y in (right - before, right, x - right))
    return not bool(off <= share * way + 3e-7 * size)
