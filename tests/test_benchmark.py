"""What ``scripts/benchmark`` times runs, and its table says what was measured."""

from functools import partial

import pytest
import torch
from benchmark import __main__ as command
from benchmark import collection, rounds, timing, update, where
from benchmark.tutorial import Tutorial

from sac_runner.training import compilation
from sac_runner.training.tryout import as_written


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(collection, "SECONDS", 0.02)
    monkeypatch.setattr(collection, "CASES", [("sync", 2), ("async", 2)])
    monkeypatch.setattr(rounds, "UPDATES", 2)
    monkeypatch.setattr(rounds, "CASES", {"lunarlander": ("LunarLanderContinuous-v3", 60, 2.0)})
    monkeypatch.setattr(rounds, "FULL", 400)
    monkeypatch.setattr(where, "TURNS", 3)
    monkeypatch.setattr(where, "WARMUP", 20)
    monkeypatch.setattr(where, "PROFILED", 2)
    monkeypatch.setattr(where, "ALIKE", [*where.ALIKE, "schedule.warmup_env_steps=20", "agent.hidden_sizes=[8]"])
    for module in (compilation, update):  # whatever is timed
        monkeypatch.setattr(module, "compiled", lambda agent, batch, noise: partial(as_written, agent))
    milliseconds = update.milliseconds
    monkeypatch.setattr(update, "milliseconds", lambda body: milliseconds(body, 0.01))
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(("part", "count"), [(update.measure, 4), (collection.measure, 2), (rounds.measure, 2)])
def test_a_part_holds_two_candidates_against_each_other(part, count):
    rows = part(2)
    assert len(rows) == count
    for row in rows:
        assert row.ours.low > 0 and row.other.low > 0 and row.ratio.low <= row.ratio.median <= row.ratio.high
        assert row.case in command.markdown(rows)


def test_an_update_has_42_products():
    both = update.products(8, 2)
    assert len(both) == 42
    assert sum(n * k * m for n, k, m in both) == 256 * (
        2 * (10 * 256 + 256**2 + 256) * 4  # the critics: target, Q, its weights, the actor's Q
        + 2 * (256**2 + 256)  # what goes back from Q to its hidden layers
        + 2 * (10 * 256 + 256**2 + 256)  # and from the actor's Q to the action
        + 2 * (8 * 256 + 256**2 + 4 * 256)  # the actor on obs and next_obs
        + (8 * 256 + 256**2 + 4 * 256)  # its weights
        + (256**2 + 4 * 256)
    )


def test_candidates_take_turns_and_swap_their_order():
    order = []
    measured = timing.in_turn(3, lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0)
    assert "".join(order) == "abbaab" and measured == [[1.0] * 3, [2.0] * 3]


def test_a_ratio_is_of_the_same_round_and_of_how_many_times_better():
    rate = timing.compared("part", "case", [4.0, 9.0], [2.0, 3.0], "steps/s", "other")
    assert rate.ratio == (2.5, 2.0, 3.0)
    seconds = timing.compared("part", "case", [2.0, 3.0], [4.0, 9.0], "s", "other", more_is_better=False)
    assert seconds.ratio == (2.5, 2.0, 3.0)
    assert "| part: case | 6.5 steps/s | 2.5 steps/s: other | 2.50 (2.00 to 3.00) |" in command.markdown([rate])


def test_where_the_time_goes_adds_up():
    lines = where.report("lunarlander").splitlines()
    whole = float(lines[0].split(":")[1].split()[0])
    parts = {name: float(took) for took, _, _, name in (line.split(maxsplit=3) for line in lines[1:9])}
    assert sum(parts.values()) == pytest.approx(whole, abs=0.01)
    assert [name for name, took in parts.items() if not took] == ["observing"]  # nothing is normalized


@pytest.mark.parametrize("full", [False, True])
def test_the_tutorials_loop_learns_something(full):
    loop = Tutorial("Pendulum-v1", full)
    loop.collect(300)
    before = [x.clone() for x in loop.actor.parameters()]
    loop.update()
    assert all((x != y).any() for x, y in zip(before, loop.actor.parameters(), strict=True))
    assert (loop.log_alpha.item() != 0.0) == full


def test_a_part_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "speed"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2 and "unknown part speed; there are end_to_end, " in capsys.readouterr().err
