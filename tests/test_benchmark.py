"""What ``scripts/benchmark`` times runs, and its table says what was measured."""

import json
import sys
from functools import partial

import pytest
import torch
from benchmark import __main__ as command
from benchmark import buffer, children, collection, end_to_end, ours, rounds, timing, update, where
from benchmark.tutorial import Tutorial

from sac_runner.config.compose import compose_config
from sac_runner.config.convert import flat
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


@pytest.mark.parametrize("env", ["lunarlander", "humanoid"])
def test_this_side_trains_with_what_stable_baselines3_has_by_default(env):
    config = flat(compose_config([f"env={env}", *ours.ALIKE]))
    theirs = {
        "env.num_envs": 1,
        "schedule.mode": "per_step",
        "schedule.updates_per_env_step": 1.0,
        "replay.batch_size": 256,
        "replay.capacity": 1_000_000,
        "agent.hidden_sizes": [256, 256],
        "agent.activation": "relu",
        "agent.n_critics": 2,
        "agent.critic_layer_norm": False,
        "agent.actor_lr": 3e-4,
        "agent.critic_lr": 3e-4,
        "agent.max_grad_norm": None,
        "alpha.mode": "auto",
        "normalization.obs": False,
        "normalization.reward": False,
        "precision": "highest",
        "device": "cpu",
    }
    assert {key: config[key] for key in theirs} == theirs


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


def test_drawing_is_timed_between_updates(monkeypatch):
    monkeypatch.setattr(buffer, "CAPACITY", 100)
    monkeypatch.setattr(buffer, "ALIKE", [*buffer.ALIKE, "agent.hidden_sizes=[8]", "replay.capacity=300"])
    monkeypatch.setattr(buffer, "peer_python", lambda: sys.executable)
    monkeypatch.setattr(buffer, "printed", lambda *command: 3e9)
    turns = []
    alternating = buffer._alternating

    def briefly(draw, update):
        return alternating(lambda: turns.append("d") or draw(), lambda batch: turns.append("u") or update(batch), 0.05)

    monkeypatch.setattr(buffer, "_alternating", briefly)
    monkeypatch.setattr(buffer, "milliseconds", partial(buffer.milliseconds, seconds=0.05))
    memory, alone, drawing = buffer.measure(2)
    assert memory.ours.median < memory.other.median == 3
    assert alone.ours.low > 0 and drawing.ours.low > 0 and drawing.ratio.high < 1
    assert len(turns) >= 4 and "".join(turns) == "du" * (len(turns) // 2)


def test_the_peer_also_has_as_many_threads_as_ours_and_the_fastest_counts(monkeypatch):
    monkeypatch.setattr(end_to_end, "ENVS", {"lunarlander": end_to_end.ENVS["lunarlander"]})
    monkeypatch.setattr(end_to_end, "own_threads", lambda: 4)
    monkeypatch.setattr(end_to_end, "peer_python", lambda: "python")
    monkeypatch.setattr(end_to_end, "ours", lambda steps, *overrides: 12.0)
    monkeypatch.setattr(end_to_end, "theirs", lambda python, env, steps, count: float(count))
    (row,) = end_to_end.measure(2)
    assert row.ratio.median == 3 and row.against.endswith(" 2.9.2, 4 threads")


def test_the_peer_is_made_anew_for_another_torch(monkeypatch, tmp_path):
    made, installed = [], []
    monkeypatch.setattr(end_to_end, "PEER", tmp_path)
    monkeypatch.setattr(end_to_end.venv, "create", lambda folder, **options: made.append(options["clear"]))
    monkeypatch.setattr(end_to_end.subprocess, "run", lambda command, check: installed.append(command))
    for version in ("2.13.0", "2.13.0", "2.13.0+cpu"):
        monkeypatch.setattr(end_to_end, "version", lambda name, version=version: version)
        assert end_to_end.peer_python() == str(tmp_path / "bin" / "python")
    assert made == [True, True] and ["torch==2.13.0" in command for command in installed] == [True] * 2 + [False] * 2
    assert ["https://download.pytorch.org/whl/cpu" in command for command in installed] == [False] * 2 + [True, False]


def test_a_program_that_fails_says_why():
    assert children.run(sys.executable, "-c", "print(1)") == "1\n"
    with pytest.raises(RuntimeError, match="ended with 3:\n(.*\n)*the reason"):
        children.run(sys.executable, "-c", "import sys; print('the reason', file=sys.stderr); sys.exit(3)")


def test_where_the_time_goes_adds_up():
    lines = where.report("lunarlander").splitlines()
    whole = float(lines[0].split(":")[1].split()[0])
    parts = {name: float(took) for took, _, _, name in (line.split(maxsplit=3) for line in lines[1:])}
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


def test_a_part_that_fails_loses_nothing_of_those_before(monkeypatch, tmp_path, capsys):
    row = timing.compared("part", "case", [4.0], [2.0], "steps/s", "other")
    monkeypatch.setattr(command, "PARTS", {"one": lambda rounds: [row], "two": lambda rounds: 1 / 0})
    monkeypatch.setattr("sys.argv", ["benchmark", "--json", str(tmp_path / "figures")])
    with pytest.raises(SystemExit):
        command.main()
    said = capsys.readouterr()
    assert said.out.endswith(f"{command.HEADER}\n{command.markdown([row])}\n") and "ZeroDivisionError" in said.err
    figures = json.loads((tmp_path / "figures").read_text())
    assert [row["case"] for row in figures["rows"]] == ["case"]
    assert f"{figures['threads']} threads" in figures["machine"] and {"git", "rounds"} < figures.keys()


def test_an_environment_that_is_not_there_is_answered_briefly(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "--where", "nope"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2 and "env=nope does not exist" in capsys.readouterr().err
