import pytest

from sac_runner.config.compose import compose_config
from sac_runner.config.rewrite import as_settings, rewrite
from sac_runner.errors import WrongInput


@pytest.mark.parametrize(
    ("arguments", "rewritten"),
    [
        (["env=pendulum", "agent.lr=1"], ["env=pendulum", "agent.lr=1"]),
        (["env.kwargs.g=5"], ["++env.kwargs.g=5"]),
        (["env.kwargs.a.b=5"], ["++env.kwargs.a.b=5"]),
        (["env.kwargs={g: 5}"], ["++env.kwargs={g: 5}"]),
        (["+env.kwargs.g=5"], ["+env.kwargs.g=5"]),
        (["seeds=1"], ["--multirun", "hydra.launcher.seeds=1"]),
        (["seeds=3", "alpha=auto"], ["--multirun", "hydra.launcher.seeds=3", "alpha=auto"]),
        (["-m", "seeds=2"], ["-m", "hydra.launcher.seeds=2"]),
        (["seeds=2", "--multirun"], ["--multirun", "hydra.launcher.seeds=2"]),
        (["sweep=alpha", "seed=3"], ["--multirun", "sweep=alpha", "seed=3"]),
        (["seeds=2", "hydra/launcher=slurm"], ["--multirun", "hydra.launcher.seeds=2", "hydra/launcher=slurm"]),
        (["run.name=a b(1)"], ["run.name='a b(1)'"]),
        (["resume=/tmp/ü/it's"], ['resume="/tmp/ü/it\'s"']),
        (["outputs=there/r=1"], ["outputs='there/r=1'"]),
        (
            ["outputs='as it is'", "resume=${oc.env:RUN}", "init_from=a,b"],
            ["outputs='as it is'", "resume=${oc.env:RUN}", "init_from=a,b"],
        ),
        (["alpha=auto,fixed", "-m", "env=pendulum"], ["-m", "alpha=auto,fixed", "env=pendulum"]),
        (["env=pendulum", "--cfg", "job", "-cd", "conf"], ["--cfg", "job", "-cd", "conf", "env=pendulum"]),
        (["resume=last", "schedule.rounds=9"], ["schedule=per_round", "resume=last", "schedule.rounds=9"]),
        (["schedule.rounds=9"], ["schedule.rounds=9"]),
        (["resume=20261122", "run.name=20261122_1"], ["resume='20261122'", "run.name='20261122_1'"]),
        (["outputs=1e5", "seed=20261122", "run.name=a1"], ["outputs='1e5'", "seed=20261122", "run.name=a1"]),
        (["--help"], ["--help"]),
    ],
)
def test_small_liberties(arguments, rewritten):
    assert rewrite(arguments) == rewritten


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "1e1"])
def test_seeds_must_be_a_count(value):
    with pytest.raises(WrongInput, match="at least 1"):
        rewrite([f"seeds={value}"])


def test_named_seeds_get_a_hint():
    with pytest.raises(WrongInput) as caught:
        rewrite(["seeds=0,1,2"])
    assert "seeds is how many" in caught.value.message and caught.value.remedy == "sac-train -m seed=0,1,2"


def test_kwargs_reach_the_config_without_a_plus():
    config = compose_config(["env=pendulum", "env.kwargs.g=5", "env.kwargs.render.size=[1,2]"])
    assert config.env.kwargs == {"g": 5, "render": {"size": [1, 2]}}
    assert compose_config(["env=pendulum", "env.kwargs={g: 5, h: a}"]).env.kwargs == {"g": 5, "h": "a"}


HYDRAS = ["--multirun", "--cfg", "job", "--resolve", "-m", "-sc", "install=bash", "--help"]


@pytest.mark.parametrize(
    ("arguments", "meant", "unknown"),
    [
        (["--seed", "3"], ["seed=3"], ["--seed"]),
        (["-m", "--seed", "1,2", "alpha=auto"], ["-m", "seed=1,2", "alpha=auto"], ["--seed"]),
        (["env=pendulum", "--agent.lr=1e-3"], ["env=pendulum", "agent.lr=1e-3"], ["--agent.lr=1e-3"]),
        (["-seed=3", "--gamma", ".9"], ["seed=3", "gamma=.9"], ["-seed=3", "--gamma"]),
        (["--target-entropy", "-2.5"], ["target_entropy=-2.5"], ["--target-entropy"]),
        (["--dry-run"], ["dry_run=true"], ["--dry-run"]),
        (["--dry-run", "seed=3"], ["dry_run=true", "seed=3"], ["--dry-run"]),
        (["--dry-run", "--seed"], ["dry_run=true", "seed=true"], ["--dry-run", "--seed"]),
        (HYDRAS, HYDRAS, []),
        (["--config-dir", "my_conf", "--config-dir=my_conf"], ["--config-dir", "my_conf", "--config-dir=my_conf"], []),
    ],
)
def test_options_that_hydra_does_not_have_are_settings(arguments, meant, unknown):
    assert as_settings(arguments) == (meant, unknown)
