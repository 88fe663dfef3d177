"""The update, compiled into one function in runs that are long enough for it."""

import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sac_runner.algorithm.agent import SAC
from sac_runner.algorithm.cuda_graph import recorded
from sac_runner.errors import first_line
from sac_runner.signals import STOP_SIGNALS
from sac_runner.training.tryout import Update, as_written, copied, difference
from sac_runner.types import Batch, Scalars, UpdateNoise


class Updater:
    """``agent.update`` for the first ``compile_after_updates``, and from there on the same as one compiled function.

    Compiled, it rounds differently in the last bits. So what decides is the number of updates alone, never the clock
    or how long the run is to be: a run that is continued or extended makes the same numbers.
    """

    def __init__(
        self, agent: SAC, after: int | None, say: Callable[[str], None], gather: Callable[[], None] = lambda: None
    ) -> None:
        """Nothing is compiled yet.

        Args:
            agent: Whose updates.
            after: How many are made as written; None makes all of them so.
            say: Takes a line for the user.
            gather: Completes the batch; every update begins with it.
        """
        self.compiles: bool | None = None
        """Whether it could be compiled; None where that was not tried yet. Part of a checkpoint."""
        self._agent, self._after, self._say, self._gather = agent, after, say, gather
        self._update: Update = partial(as_written, agent)
        self._is_compiled = False
        self._recorded: _Recorded | None = None

    def is_due(self, made: int) -> bool:
        """Whether the next call, after ``made`` updates, compiles, which takes its time."""
        due = self._after is not None and made >= self._after
        return due and not self._is_compiled and self.compiles is not False

    def __call__(self, batch: Batch, noise: UpdateNoise, made: int) -> Scalars:
        """One update, after ``made`` of them; on a GPU its scalars are valid until the next one."""
        if self.is_due(made):
            self._gather()
            self._compile(batch, noise)
        if batch.obs.is_cuda:
            return self._replayed(batch, noise)
        self._gather()
        return self._update(batch, noise)

    def _replayed(self, batch: Batch, noise: UpdateNoise) -> Scalars:
        """The same as one call of the GPU: recorded at first, and anew where a batch lies elsewhere."""
        if self._recorded is None or self._recorded.batch is not batch or self._recorded.noise is not noise:
            self._recorded = self._record(self._update, batch, noise)
        return self._recorded.replay()

    def _record(self, update: Update, batch: Batch, noise: UpdateNoise) -> "_Recorded":
        before = copied(self._agent)

        def body() -> Scalars:
            self._gather()
            return update(batch, noise)

        try:
            return _Recorded(batch, noise, recorded(body, batch.obs.device))
        finally:
            self._agent.load_state_dict(before)

    def _compile(self, batch: Batch, noise: UpdateNoise) -> None:
        """Compile and try out; the agent stays as it is."""
        self._say("compiling the update, to go on faster: 20 to 30 s the first time, some 5 s later on")
        begun = time.monotonic()
        try:
            with _signals_blocked(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "TensorFloat32")  # it advises less precision than was asked for
                update = compiled(self._agent, batch, noise)
                wrong = difference(self._agent, update, batch, noise)
            if not wrong and batch.obs.is_cuda:
                self._recorded = self._record(update, batch, noise)
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
            self._update, self._is_compiled = update, True
            self._say(f"compiled in {time.monotonic() - begun:.0f} s")
        self.compiles = not wrong


class _Recorded(NamedTuple):
    """An update as a CUDA graph, and the memory that it reads and writes."""

    batch: Batch
    noise: UpdateNoise
    replay: Callable[[], Scalars]


def compiled(agent: SAC, batch: Batch, noise: UpdateNoise) -> Update:
    """``agent.update`` as one function for batches and noise like these: in one graph, or not at all.

    The same update gives the same code each time.

    Raises:
        OSError: PyTorch lies where its compiler does not find it.
        Exception: Whatever else its compiler raises.
    """
    if " " in torch.__file__:  # which would end, after half a minute, at a linker whose options are not quoted
        raise OSError(f"PyTorch's compiler takes no space in the path of its folder, {torch.__file__}")
    from torch._dynamo import config as compiler  # a second and more, which a short run does without
    from torch._dynamo.exc import TensorifyScalarRestartAnalysis

    compiler.trace_autograd_ops = True
    compiler.recompile_limit = 64  # of agents of other sizes in one process, where it is not ahead of time
    options: dict[str, Any] = {
        "cpp_wrapper": True,
        # Else it tries each instruction set of the processor, 9 s, of known code 2 s. (On others a g++ may lack one.)
        "cpp.vec_isa_ok": platform.machine() in ("x86_64", "AMD64") or None,
        "cpp_cache_precompile_headers": False,  # 5 s and 150 MB on disk, to save 1 s of the next
        "unsafe_marked_cacheable_functions": dict.fromkeys(_CACHEABLE, "1"),
        "deterministic": True,  # chooses nothing by timing where that moves bits (on GPUs it would)
    }
    # Ahead of time: its calls need not ask first what was compiled for whom, which takes 0.1 ms. What they would ask
    # for never changes in a run: sizes and types of a batch, config, modules, precision. On a GPU there is one call,
    # which is recorded; before PyTorch 2.12 there is no other way.
    ahead_of_time = compiler.enable_aot_compile and not batch.obs.is_cuda
    if batch.obs.is_cuda:
        from torch._inductor import config as inductor

        options["cpp_wrapper"] = False  # its Python is gone once it is recorded
        # Passes: the first fails at this update (2.11), the second, new in 2.13, at others (pytorch#197077).
        passes = ("loop_ordering_after_fusion", "loop_reindexing_after_fusion")
        options |= {name: False for name in passes if hasattr(inductor, name)}
    if ahead_of_time:
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    update = torch.compile(as_written, fullgraph=True, dynamic=False, backend=_inductor, options=options)
    if not ahead_of_time:
        return partial(update, agent)
    ahead: Any = update.aot_compile  # type: ignore[attr-defined]  # of what mypy takes for its argument
    try:
        function = ahead(((agent, batch, noise), {}))
    except TensorifyScalarRestartAnalysis:  # a float64 number (the reward normalizer's) surprised it; now it is known
        function = ahead(((agent, batch, noise), {}))
    function.disable_guard_check()
    return partial(function, agent)


_CACHEABLE = [f"torch.amp.autocast_mode._{way}_autocast" for way in ("enter", "exit")]
"""What PyTorch's cache of compiled code has to be told of: a graph with calls of them can be known again."""


def _inductor(graph: torch.fx.GraphModule, inputs: list[Tensor], *, options: dict[str, Any]) -> Any:
    """PyTorch's compiler, so that it knows again what another process compiled: 3 to 9 s less.

    Its cache asks for the graph, all settings and ``_backend_id``. ``aot_compile`` makes that up anew each time (2.13),
    so that nothing is found again. What it does not ask for is the processor, nor what PyTorch is told to use of it.
    """
    from torch._inductor.compile_fx import compile_fx

    processor = torch.backends.cpu.get_cpu_capability(), sorted(torch.cpu.get_capabilities().items())
    graph._backend_id = f"update on {processor}"  # type: ignore[assignment]
    return compile_fx(graph, inputs, config_patches=options)


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
