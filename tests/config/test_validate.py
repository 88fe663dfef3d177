import pytest

from sac_runner.config.validate import validate
from sac_runner.errors import WrongInput
from tests.support import ANNEALED, PER_ROUND, PER_STEP, config

BY_ROUND = {"schedule": PER_ROUND, "env": {"episode_seed": "per_round"}}


def faults(**overrides):
    try:
        validate(config(**overrides))
    except WrongInput as e:
        return e.message.split("; ")
    return []


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ({}, []),
        ({"agent": {"log_std_min": 2.0}}, ["agent.log_std_min=2 must be below agent.log_std_max=2"]),
        (
            {"agent": {"lr_schedule": "linear", "lr_decay_env_steps": None}},
            ["agent.lr_schedule=linear needs agent.lr_decay_env_steps"],
        ),
        ({"alpha": ANNEALED | {"over_env_steps": None}}, ["alpha=annealed needs alpha.over_env_steps"]),
        ({"replay": {"capacity": 31}}, ["replay.capacity=31 must hold replay.batch_size=32"]),
        ({"replay": {"capacity": 32}}, []),
        ({"replay": {"batch_size": 1, "capacity": 4}, "env": {"num_envs": 5}}, ["replay.capacity=4 must hold"]),
        ({"total_env_steps": None}, ["total_env_steps=null needs schedule=per_round"]),
        ({"total_env_steps": None, "schedule": PER_ROUND}, []),
        ({"total_env_steps": 10}, ["schedule.warmup_env_steps=10 must be below total_env_steps=10"]),
        ({"total_env_steps": 11}, []),
        ({"env": {"episode_seed": "per_round"}}, ["env.episode_seed=per_round needs schedule=per_round"]),
        (BY_ROUND, []),
        ({"eval": {"every_rounds": 2}}, ["eval.every_rounds needs schedule=per_round"]),
        ({"eval": {"every_rounds": 2}, "schedule": PER_ROUND}, []),
        (BY_ROUND | {"seed": 2**32 - 3}, ["seed=4294967293 plus schedule.rounds=3 must be below 2^32"]),
        (BY_ROUND | {"seed": 2**32 - 4}, []),
        (BY_ROUND | {"seed": None}, []),
        ({"schedule": PER_ROUND, "seed": 2**32 - 3}, []),  # seeds of episodes are hashes then
        ({"device": "tpu"}, ["device=tpu must be auto, cpu, cuda or cuda:N"]),
        ({"device": "cuda:x"}, ["device=cuda:x must be"]),
        ({"device": "cuda:1"}, []),
        ({"resume": "a", "init_from": "b"}, ["give one of them"]),
        ({"resume": "a", "run": {"dir": "b"}}, ["leave run.dir out"]),
        ({"stop": {"at_return": 5.0}, "eval": {"every_env_steps": None}}, ["stop.at_return=5 ends nothing"]),
        ({"stop": {"at_return": 5.0}, "eval": {"every_env_steps": 9}}, []),
        ({"env": {"id": None}}, ["env=custom needs env.id"]),
    ],
)
def test_contradictions_are_named(overrides, fragments):
    found = "; ".join(faults(**overrides))
    assert bool(found) == bool(fragments) and all(fragment in found for fragment in fragments)


def test_all_contradictions_are_named_at_once():
    found = faults(agent={"log_std_min": 3.0}, schedule=PER_STEP, total_env_steps=5, device="tpu", env={"id": None})
    starts = ["agent.log_std_min=", "schedule.warmup_env_steps=", "device=", "env=custom"]
    assert len(found) == 4 and all(fault.startswith(start) for fault, start in zip(found, starts, strict=True))
