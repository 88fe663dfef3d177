from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from sac_runner.algorithm import cuda_graph
from sac_runner.algorithm.cuda_graph import recorded
from tests.support import CPU


@pytest.fixture
def current(monkeypatch):
    """The name of the stream that is current on a GPU where nothing is done."""
    current = ["first"]

    @contextmanager
    def stream(it):
        before = current[0]
        current[0] = it.name
        try:
            yield
        finally:
            current[0] = before

    first, other = (SimpleNamespace(name=name, wait_stream=lambda _: None) for name in ("first", "other"))
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: first)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: other)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    return current


def graphs(monkeypatch, current, fails):
    """Replays of CUDA graphs; one whose recording ``fails`` leaves its stream current, as PyTorch's do."""
    replays = []

    @contextmanager
    def graph(_, stream):
        current[0] = stream.name
        try:
            yield
        finally:
            if fails:
                raise RuntimeError("capture was invalidated")
            current[0] = "first"

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: replays.append(1)))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return replays


def test_what_is_recorded_is_replayed_and_answers_in_the_same_memory(monkeypatch, current):
    replays, made, ended = graphs(monkeypatch, current, fails=False), [], []
    monkeypatch.setattr(cuda_graph.gc, "collect", lambda: ended.append(len(made)))
    replay = recorded(lambda: made.append(torch.ones(1)) or made[-1], CPU)
    assert len(made) == 4 and current == ["first"] and ended == [3]  # other graphs, before this one
    assert replay() is made[-1] and replay() is made[-1] and len(replays) == 2 and len(made) == 4


def test_what_cannot_be_recorded_is_told_anew_each_time(monkeypatch, current, capsys):
    replays, made = graphs(monkeypatch, current, fails=True), []

    def body():
        made.append(len(made))
        if len(made) == 4:
            raise ValueError("not permitted\nat all")
        return made[-1]

    replay = recorded(body, CPU)
    assert replay() == 4 and replay() == 5 and not replays
    said = capsys.readouterr().err
    assert current == ["first"]
    assert said.startswith("warning: no CUDA graph could be recorded") and said.endswith("(not permitted)\n")


def test_memory_that_runs_out_while_recording_is_said_to_have_run_out(monkeypatch, current):
    graphs(monkeypatch, current, fails=True)
    made = []

    def body():
        made.append(1)
        if len(made) == 4:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            except torch.OutOfMemoryError:
                raise RuntimeError("capture was invalidated by that") from None

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        recorded(body, CPU)
