"""What jobs need, asked of another process."""

import json
import subprocess

import pytest

from sac_runner.errors import WrongInput
from sac_runner.sweep import probe
from sac_runner.sweep.resources import Needs
from tests.support import config


@pytest.fixture
def answers(monkeypatch):
    """Answers to the next question, and what was asked."""
    lines, asked = [], []

    def ask(request):
        asked.append(json.loads(request))
        return "".join(line + "\n" for line in lines)

    monkeypatch.setattr(probe, "ask", ask)
    return lines, asked


def configs(*sizes, env="Pendulum-v1"):
    return [config(agent={"hidden_sizes": [size]}, env={"id": env}) for size in sizes]


def test_what_is_the_same_is_measured_once(answers):
    lines, asked = answers
    lines += ['{"needs": [1.0, 2, 3, 0]}', '{"needs": [4.0, 5, 6, 0]}']
    seeds = [config(agent={"hidden_sizes": [8]}, seed=seed) for seed in range(3)]
    assert probe.measure([*seeds, *configs(16)]) == [Needs(1.0, 2, 3, 0)] * 3 + [Needs(4.0, 5, 6, 0)]
    assert len(asked[0]["to_try"]) == 1 and len(asked[0]["to_measure"]) == 2


def test_updates_of_each_precision_are_measured(answers):
    lines, asked = answers
    lines += ['{"needs": [1.0, 2, 3, 0]}', '{"needs": [0.5, 2, 3, 0]}']
    found = probe.measure([config(precision="highest"), config(precision="medium")])
    assert [needs.seconds for needs in found] == [1.0, 0.5] and len(asked[0]["to_measure"]) == 2


def test_of_many_sizes_some_are_measured_and_every_world_is_tried(answers):
    lines, asked = answers
    lines += ['{"needs": [1.0, 2, 3, 0]}'] * 4
    many = [*configs(*range(1, 9)), *configs(1, env="Other-v0")]
    assert probe.measure(many) == [Needs(1.0, 2, 3, 0)] * 9
    assert len(asked[0]["to_try"]) == 2 and len(asked[0]["to_measure"]) == 4


def test_what_costs_nothing_takes_no_place_of_those_that_are_measured(answers):
    lines, asked = answers
    lines += ['{"needs": [1.0, 2, 9, 0]}', '{"needs": [1.0, 2, 3, 0]}']
    rates = [{"lr": lr, "actor_lr": lr, "critic_lr": lr, "tau": tau} for lr in (1e-4, 1e-3) for tau in (0.1, 0.2, 0.3)]
    some = [config(replay={"capacity": size}, agent=rate) for size in (100, 1000) for rate in rates]
    assert [needs.memory for needs in probe.measure(some)] == [3] * 6 + [9] * 6
    assert [c["replay"]["capacity"] for c in asked[0]["to_measure"]] == [1000, 100]


def test_the_largest_are_measured_and_the_others_are_taken_to_need_no_less(answers):
    lines, asked = answers
    lines += [f'{{"needs": [1.0, 2, {memory}, 0]}}' for memory in (7, 9, 8, 6)]
    capacities = (100, 600, 500, 400, 5000, 300)
    found = probe.measure([config(replay={"capacity": capacity}, total_env_steps=550) for capacity in capacities])
    assert [c["replay"]["capacity"] for c in asked[0]["to_measure"]] == [600, 5000, 500, 400]
    assert [needs.memory for needs in found] == [9, 7, 8, 6, 9, 9]


def test_what_dies_while_it_is_measured_is_left_to_its_job(answers):
    lines, _ = answers
    assert probe.measure(configs(8, 16)) == [Needs(0.0, 0, 0, 0)] * 2
    lines.append('{"needs": [1.0, 2, 3, 0]}')
    assert probe.measure(configs(8, 16)) == [Needs(1.0, 2, 3, 0)] * 2


def test_what_is_refused_there_is_refused_here(answers):
    answers[0].append('{"refused": ["no such env", "another"]}')
    with pytest.raises(WrongInput, match="no such env") as caught:
        probe.measure(configs(8))
    assert caught.value.remedy == "another"


def test_the_other_side_tries_all_before_it_measures_any():
    order = []

    def needs(config):
        order.append(("needs", config.env.id))
        return 1.0, 2, 3, 0

    def try_out(config):
        order.append(("try", config.env.id))
        if config.env.id == "Bad-v0":
            raise WrongInput("no Bad-v0", "Good-v0")

    def asked(*ids):
        plain = [json.loads(json.dumps(probe.to_plain(config(env={"id": name})))) for name in ids]
        return json.dumps({"to_try": plain, "to_measure": plain})

    assert [*probe.answer(asked("A-v0", "B-v0"), try_out, needs)] == ['{"needs": [1.0, 2, 3, 0]}'] * 2
    assert order == [("try", "A-v0"), ("try", "B-v0"), ("needs", "A-v0"), ("needs", "B-v0")]
    assert [*probe.answer(asked("A-v0", "Bad-v0"), try_out, needs)] == ['{"refused": ["no Bad-v0", "Good-v0"]}']


def test_an_environment_that_hangs_is_not_waited_for_without_end(monkeypatch):
    def run(command, timeout, **_):
        assert command[1:] == ["-P", "-m", "sac_runner.commands.train", "--probe"] and timeout <= 60
        raise subprocess.TimeoutExpired(command, timeout, output=b'{"needs": [1.0, 2, 3, 0]}\n{"nee')

    monkeypatch.setattr(probe.subprocess, "run", run)
    assert probe.measure(configs(8, 16)) == [Needs(1.0, 2, 3, 0)] * 2


def test_a_real_process_answers_and_what_an_environment_prints_is_no_answer():
    small = {"hidden_sizes": [8]}
    echo = config(agent=small, env={"id": "tests.scripted:Prints-v0", "max_episode_steps": 9}, replay={"batch_size": 8})
    (needs,) = probe.measure([echo])
    assert 0 < needs.seconds < 60 and 5e5 < needs.disk < 1e9 and 5e7 < needs.memory < 3e9 and needs.gpus == 0
