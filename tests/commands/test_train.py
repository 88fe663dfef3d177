"""The train command, through its own door: what it takes, what it leaves, how it ends."""

import json
import multiprocessing
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from sac_runner.commands import evaluate
from sac_runner.commands import train as command
from sac_runner.config.compose import CONF, compose_config
from sac_runner.errors import RunInUse, WrongInput
from sac_runner.interaction.spaces import spaces_of
from sac_runner.storage import new_folder
from sac_runner.storage.checkpoints import find
from sac_runner.storage.lock import RunLock
from sac_runner.storage.names import shown
from sac_runner.storage.prune import prune_replay
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import Ended, find_job
from sac_runner.training.preflight import _time
from sac_runner.training.recovery import drop_older
from sac_runner.training.resume import stored_config
from tests.runs import BUDGET, SIZE, TINY, measured, metrics_rows, policy, the_run, train, trained
from tests.storage.written import write_sweep
from tests.support import config

COUNTDOWN = "env.id=tests.scripted:Countdown-v0"
FAILS = ["env=custom", "env.id=tests.scripted:Fails-v0", *SIZE, "total_env_steps=60", "schedule.warmup_env_steps=20"]
GROUPS = ("env", "agent", "alpha", "normalization", "schedule")
CHOICES = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in GROUPS}
EVERY_20 = ["checkpoint.keep_every_env_steps=20", "eval.every_env_steps=20", "log.every_env_steps=20"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test has a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    """A finished run with everything asked for, only to be read."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("finished")
    os.chdir(folder)
    try:
        trained(*TINY, *EVERY_20, draws=True)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def finished(finished_once, elsewhere):
    """A copy of it, under outputs/ in the working directory."""
    shutil.copytree(finished_once / "outputs", elsewhere / "outputs")
    return the_run()


def refused(*arguments, code=2):
    answer = train(*arguments)
    assert (answer.code, answer.out) == (code, ""), answer
    assert len(answer.err.splitlines()) <= 3 and answer.err.startswith("error: ")
    return answer.err


def rounds(schedule):
    """What makes a run short under ``schedule``."""
    if schedule == "per_step":
        return BUDGET
    return [*SIZE, "schedule.rounds=2", "schedule.episodes_per_round=2", "schedule.updates_per_round=3"]


def combinations():
    """Each env, each with the next choice of every other group, so that every file has its turn."""
    others = zip(*(cycle(CHOICES[group]) for group in GROUPS[1:]), strict=False)
    return [(env, *other) for env, other in zip(CHOICES["env"], others, strict=False)]


@pytest.mark.parametrize("case", combinations(), ids=lambda case: "-".join(case))
def test_every_environment_and_every_choice_trains(case):
    env, agent, alpha, normalization, schedule = case
    custom = [COUNTDOWN] if env == "custom" else []
    run = trained(
        *(f"env={env}", *custom, f"agent={agent}", f"alpha={alpha}", f"normalization={normalization}"),
        *(f"schedule={schedule}", *rounds(schedule), "env.max_episode_steps=15", "env.num_envs=1"),
    )
    summary, curves = run.read_summary(), measured(run.path)
    assert summary["status"] == "finished" and summary["updates"] >= 6
    assert curves["train/critic_loss"] and len(curves["eval/return_mean"]) >= 2
    config = stored_config(run)
    assert (config.alpha.mode, config.schedule.mode) == (alpha.split("_")[0], schedule)
    asked = config.normalization
    assert (asked.obs, asked.reward) == ("obs" in normalization, "reward" in normalization)


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_recipe_trains(experiment):
    schedule = compose_config([f"experiment={experiment}"]).schedule.mode
    budget = [*rounds(schedule), "env.max_episode_steps=15", "eval.every_rounds=null"]
    answer = train(f"experiment={experiment}", *budget)
    assert answer.code == 0, answer.err
    assert f"  experiment {experiment}" in answer.err.splitlines()[0]
    assert the_run().read_summary()["status"] == "finished"


def test_worker_processes_train_the_same_run_as_one_process():
    policies = [
        policy(RunDirectory(Path("outputs/runs") / kind))
        for kind in ("sync", "async")
        if train(*TINY, "env.num_envs=2", f"env.vectorization={kind}", f"run.dir=outputs/runs/{kind}").code == 0
    ]
    assert len(policies) == 2 and policies[0] == policies[1]


def test_the_bare_command_runs_the_default(monkeypatch):
    jobs = []
    monkeypatch.setattr(command, "_train", lambda session, job: jobs.append(job) or 0.0)
    assert train().code == 0
    (job,) = jobs
    assert job.config == compose_config([]) and job.overrides == []
    assert job.config.env.id == "LunarLanderContinuous-v3"


MY_ENV = """
import gymnasium as gym
import numpy as np

class MyEnv(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, gain=0.0, name=""):
        self.gain, self.name, self.t = gain, name, 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(2, np.float32), self.gain, self.t == 5, False, {}

gym.register("MyEnv-v0", MyEnv)
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_environment_of_ones_own_is_found_in_the_working_directory(elsewhere, monkeypatch, kind):
    package = f"my_pkg_{kind}"
    (elsewhere / package).mkdir()
    (elsewhere / package / "__init__.py").write_text(MY_ENV)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(elsewhere))])
    monkeypatch.setattr("gymnasium.envs.registration.registry", {})
    mine = ["env=custom", f"env.id={package}:MyEnv-v0", "env.kwargs.gain=3", "env.kwargs.name=a b"]
    run = trained(*mine, *BUDGET, f"env.vectorization={kind}")
    assert run.read_summary()["scores"]["final"]["return_mean"] == 15.0
    assert run.path.parent.name == f"{package}-MyEnv-v0"
    assert yaml.safe_load(run.config_text())["env"]["kwargs"] == {"gain": 3, "name": "a b"}


def test_a_run_directory_holds_what_the_readme_says_and_nothing_else_is_made(finished_once):
    (run,) = (finished_once / "outputs" / "runs" / "pendulum").iterdir()
    assert [path.name for path in finished_once.iterdir()] == ["outputs"]
    assert [path.name for path in (finished_once / "outputs").rglob("*") if path in run.parents] == ["runs", "pendulum"]
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    (events,) = {file for file in files if file.startswith("events.out.tfevents.")}
    (best,) = find(run / "checkpoints", "best")
    both = ("latest-000000000000", "latest-000000000060")
    policies = [best.path.name, *(f"kept-{n:012}" for n in (20, 40, 60)), *both]
    checkpoints = {f"{name}/{file}" for name in policies for file in ("manifest.json", "policy.safetensors")}
    checkpoints |= {f"{name}/{file}" for name in both for file in ("state.json", "train.safetensors")}
    plain = {"config.yaml", "meta.json", "metrics.csv", "summary.json", "curve.png", "train.log", ".lock"}
    (replay,) = (file for file in files if file.startswith("replay/rows-000000000000-000000000060-"))
    assert files == {events, replay, *plain, *(f"checkpoints/{file}" for file in checkpoints)}
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_its_config_is_resolved_and_composes_to_the_same_run(finished):
    plain = yaml.safe_load(finished.config_text())
    assert "${" not in finished.config_text() and "hydra" not in plain
    assert plain["agent"]["actor_lr"] == plain["agent"]["lr"] == 1e-3  # tuned for pendulum
    assert plain["seed"] == 0 and plain["agent"]["hidden_sizes"] == [8, 8]
    assert stored_config(finished) == compose_config([*TINY, *EVERY_20])


def test_its_meta_says_what_was_run_with_what_and_where(finished):
    meta = finished.read_meta()
    assert meta["command"][:2] == ["sac-train", "env=pendulum"] and "hydra" not in str(meta["command"])
    assert meta["overrides"][0] == "env=pendulum" and meta["seed"] == 0
    assert (meta["device"], meta["threads"], meta["precision"]) == ("cpu", 1, "highest")
    versions = {"python", "torch", "gymnasium", "mujoco", "Box2D", "numpy", "hydra-core", "safetensors", "sac-runner"}
    assert versions <= meta["versions"].keys() and all(meta["versions"].values())
    assert meta["git"] is None or (len(meta["git"]["commit"]) == 40 and isinstance(meta["git"]["dirty"], bool))
    assert time.strptime(meta["started"], "%Y-%m-%dT%H:%M:%S%z")


def test_its_summary_has_the_scores_with_their_protocol(finished):
    summary, rows = finished.read_summary(), metrics_rows(finished.path)
    assert (summary["status"], summary["cause"]) == ("finished", "finished")
    assert (summary["env_steps"], summary["episodes"], summary["updates"], summary["rounds"]) == (60, 4, 40, 0)
    evaluated = {int(row["env_steps"]): float(row["eval/return_mean"]) for row in rows if row["eval/return_mean"]}
    assert list(evaluated) == [0, 20, 40, 60]
    final, best = summary["scores"]["final"], summary["scores"]["best"]
    assert (final["env_steps"], final["return_mean"]) == (60, evaluated[60])
    assert best["return_mean"] == max(evaluated.values()) == evaluated[best["env_steps"]]
    assert {"episodes": 1, "deterministic": True, "seed": 1000, "num_envs": 1}.items() <= final.items()
    assert finished.checkpoint("best").env_steps == best["env_steps"]
    assert finished.checkpoint("best").manifest()["score"] == best
    assert finished.checkpoint("latest").manifest()["score"] == final
    assert [c.manifest()["score"]["return_mean"] for c in find(finished.checkpoints, "kept")] == [
        evaluated[n] for n in (20, 40, 60)
    ]


def test_rows_fall_due_by_env_steps(finished):
    means = [int(row["env_steps"]) for row in metrics_rows(finished.path) if row["rollout/episode_return"]]
    assert means == [20, 40, 60]


def test_its_events_show_curves_and_hyperparameters_under_the_run_itself(finished):
    events = EventAccumulator(str(finished.path), size_guidance={"scalars": 0})
    events.Reload()
    for tag, curve in measured(finished.path).items():
        shown = [(event.step, pytest.approx(event.value, rel=1e-6)) for event in events.Scalars(tag)]
        assert shown == curve
    content = events.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    keys = metadata.parse_session_start_info_plugin_data(content).hparams
    assert keys["agent.lr"].number_value == 1e-3 and keys["alpha.mode"].string_value == "auto"
    assert keys["agent.hidden_sizes"].string_value == "[8, 8]" and keys["normalization.obs"].bool_value is False
    assert {path.name for path in finished.path.iterdir() if path.is_dir()} == {"checkpoints", "replay"}


def test_the_words_around_a_run(elsewhere):
    answer = train(*TINY, "agent.lr=1e-2", "normalization=obs", "seed=4")
    first, second, third, *middle, done, score, saved, following = answer.err.splitlines()
    assert answer.out == "" and first == "Pendulum-v1  seed 4  60 env steps  tuned for pendulum"
    assert second.startswith("alpha auto (target entropy -1), normalization obs, 1 env, 1 update per env step; changed")
    path = the_run().path
    assert third.startswith("cpu, 1 thread, 0.0 MB replay in memory and on disk; actions [-2, 2], first observations -")
    assert third.endswith(f" -> {path}") and saved.startswith(f"saved    {path}   ")
    assert done.startswith("done     60 env steps in ") and done.endswith(", seed 4")
    assert "final" in score and "best" in score
    reading = "next     sac-watch last | sac-evaluate last | sac-tensorboard last"
    assert following == f"{reading} | sac-train resume=last total_env_steps=120"
    assert (path / "train.log").read_text().splitlines()[-4:] == [done, score, saved, following]
    assert (path / "train.log").read_text().splitlines()[:3] == [first, second, third]


@pytest.mark.parametrize(
    ("overrides", "more"),
    [
        (["agent.lr_schedule=linear"], []),
        (["checkpoint.keep_replay=until_finished"], []),
        (["stop.at_return=-1e9", "eval.every_env_steps=30"], ["resume=last stop.at_return=null"]),
        (["stop.max_minutes=1e-6", "agent.lr_schedule=linear"], ["resume=last"]),
        ([*rounds("per_round"), "schedule=per_round", "total_env_steps=null"], ["resume=last schedule.rounds=4"]),
    ],
)
def test_the_last_line_offers_what_really_goes_on(elsewhere, overrides, more):
    budget = [] if "schedule=per_round" in overrides else BUDGET
    following = train("env=pendulum", "env.max_episode_steps=15", *budget, *overrides).err.splitlines()[-1]
    assert following.split(" | ")[3:] == [f"sac-train {goes_on}" for goes_on in more]
    for goes_on in more:
        assert train(*goes_on.split()).code == 0


def test_the_last_line_trusts_the_package_that_the_run_was_started_with(elsewhere):
    answer = train("env=custom", "env.id=tests.scripted:Countdown-v0", *BUDGET)
    assert answer.code == 0
    *_, following = answer.err.splitlines()
    assert following.startswith("next     sac-watch last --trust | sac-evaluate last --trust | sac-tensorboard last | ")


def test_the_last_line_names_a_run_elsewhere_by_its_path(elsewhere):
    *_, saved, following = train(*TINY, "outputs=there").err.splitlines()
    path = saved.split()[1]
    assert path.startswith("there/runs/pendulum/") and following.startswith(f"next     sac-watch {path} | ")
    assert following.endswith(f"sac-train resume={path} total_env_steps=120")


def test_the_header_says_how_long_the_updates_take_at_least(elsewhere):
    fails = ["env=custom", "env.id=tests.scripted:Fails-v0", "env.kwargs.at=1", "threads=1"]
    started = partial(train, *fails, "schedule.warmup_env_steps=1")
    minutes = re.search(r"1,000,000 env steps, at least ([\d,]+) min", started("total_env_steps=1e6").err)
    assert 10 < int(minutes[1].replace(",", "")) < 10_000
    assert "at least" not in started("total_env_steps=2000").err
    for stop in ("stop.at_return=5", "stop.max_minutes=1"):
        assert "at least" not in started("total_env_steps=1e6", stop).err
    rounds = partial(train, *fails, "schedule=per_round")
    assert re.search(
        r"\d rounds, as many env steps as it takes, at least [\d,]+ min", rounds("total_env_steps=null").err
    )
    assert re.search(r"\d rounds, at most 100,000 env steps\n", rounds("total_env_steps=1e5").err)


def test_the_name_of_a_run_says_what_was_overridden():
    run = trained("env=pendulum", *BUDGET[:-1], "seed=12", "device=cpu", "run.name=my try")
    assert run.path.parent.name == "pendulum" and run.path.name.endswith("_my-try_s12")


def test_two_starts_in_the_same_second_get_two_directories(monkeypatch):
    monkeypatch.setattr(new_folder, "time", SimpleNamespace(strftime=lambda _: "20260101-120000"))
    for _ in range(2):
        assert train(*TINY, "run.name=a").code == 0
    names = sorted(path.name for path in Path("outputs/runs/pendulum").iterdir())
    assert names == ["20260101-120000_a_s0", "20260101-120000_a_s0-2"]


def test_a_drawn_seed_is_recorded_and_repeats_the_run():
    first = trained(*TINY, "seed=null")
    seed = yaml.safe_load(first.config_text())["seed"]
    assert isinstance(seed, int) and first.read_meta()["seed"] == seed and first.path.name.endswith(f"_s{seed}")
    assert train(*TINY, f"seed={seed}", "run.dir=again").code == 0
    again = RunDirectory(Path("again"))
    assert policy(again) == policy(first)
    assert metrics_rows(again.path) == metrics_rows(first.path)
    assert train(*TINY, "seed=null", "run.dir=other").code == 0
    assert policy(RunDirectory(Path("other"))) != policy(first)


def test_a_run_with_the_same_config_is_the_same_run(finished):
    assert train(*TINY, *EVERY_20, "run.dir=again").code == 0
    assert policy(RunDirectory(Path("again"))) == policy(finished)


@pytest.mark.parametrize(
    ("stop", "cause"),
    [("stop.at_return=-1e9", "reached stop.at_return"), ("stop.max_minutes=1e-9", "reached stop.max_minutes")],
)
def test_a_run_may_end_early(stop, cause):
    run = trained(*TINY, *EVERY_20, stop)
    summary = run.read_summary()
    assert (summary["status"], summary["cause"]) == ("finished", cause) and summary["env_steps"] < 60
    assert run.checkpoint("latest").env_steps == summary["env_steps"] == summary["scores"]["final"]["env_steps"]
    again = train("resume=last")
    assert again.code == 0 and ("is finished" in again.err) == (cause == "reached stop.at_return")


def test_a_return_out_of_reach_stops_nothing():
    assert trained(*TINY, "stop.at_return=1e9", "stop.max_minutes=100").read_summary()["env_steps"] == 60


@pytest.mark.parametrize("outputs", ["outputs", 300 * "y"])  # the second can't even be looked for
def test_a_dry_run_says_what_it_would_need_and_writes_nothing(outputs, elsewhere, hurried):
    answer = train(*TINY, "dry_run=true", f"outputs={outputs}")
    assert answer.code == 0 and list(elsewhere.iterdir()) == []
    words = [line.split()[0] for line in answer.out.splitlines()]
    assert words == ["Pendulum-v1", "alpha", "cpu,", "memory", "disk", "time", "updates", "scale"]
    assert "updates  40, 0.667 per env step" in answer.out
    rounds = train(
        "env=pendulum", "schedule=per_round", "schedule.rounds=7", "schedule.updates_per_round=3", "dry_run=true"
    )
    assert "updates  at most 21\n" in rounds.out


def test_a_pipe_that_closes_early_ends_a_dry_run_quietly():
    dry_run = shlex.join([sys.executable, "-m", "sac_runner.commands.train", *TINY, "dry_run=true"])
    done = subprocess.run(f"{dry_run} | head -1", shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Pendulum-v1") and done.stderr == ""


@pytest.mark.parametrize("normalization", ["none", "obs"])
def test_init_from_starts_from_the_weights_and_statistics_of_another_run(normalization):
    assert train(*TINY, f"normalization={normalization}", "run.dir=first").code == 0
    at_once = [
        "total_env_steps=1",
        "schedule.warmup_env_steps=0",
        "schedule.updates_per_env_step=0.5",
    ]  # without an update
    assert train(*TINY, f"normalization={normalization}", "init_from=./first", "run.dir=second", *at_once).code == 0
    first, second = (RunDirectory(Path(name)).checkpoint("latest").arrays("train") for name in ("first", "second"))
    networks = [name for name in first if name.startswith(("agent.policy.actor", "agent.critic"))]
    assert len(networks) >= 10 and all((first[name] == second[name]).all() for name in networks)
    assert first["agent.adam.actor.0.step"] > 0 and second["agent.adam.actor.0.step"] == 0
    if normalization == "obs":
        count = "agent.policy.obs_normalizer.moments.count"
        assert second[count] == first[count] + 2  # what it began at, and a step
    assert RunDirectory(Path("second")).read_summary()["env_steps"] == 1


def test_what_an_environment_is_made_with_stays_as_it_was_typed(elsewhere):
    kwargs = ["env.kwargs.goal=[0]", "env.kwargs.options={mode: fast}"]
    run = trained("env=custom", "env.id=tests.scripted:Spoils-v0", *kwargs, *BUDGET)
    assert yaml.safe_load(run.config_text())["env"]["kwargs"] == {"goal": [0], "options": {"mode": "fast"}}


@pytest.mark.parametrize("when", ["made", "reset"])
def test_an_environment_that_works_in_another_folder_takes_no_file_of_the_run_there(elsewhere, when, capsys):
    assets = elsewhere / "assets"
    assets.mkdir()
    kwargs = [f"env.kwargs.when={when}", f"env.kwargs.to={assets}"]
    wanders = ["env=custom", "env.id=tests.scripted:Wanders-v0", *kwargs, *BUDGET]
    for arguments in (
        [*wanders, "run.name=first"],
        ["resume=first", "total_env_steps=90"],
        [*wanders, "init_from=first", "run.dir=mine", "dry_run=true"],
        [*wanders, "init_from=first", "run.dir=mine"],
        ["resume=mine", "total_env_steps=90", "dry_run=true"],
    ):
        answer = train(*arguments)
        assert answer.code == 0, answer.err
        os.chdir(elsewhere)
        if "dry_run=true" not in arguments:
            assert re.search(r"^saved    (outputs/runs/|mine )", answer.err, re.M), answer.err
    evaluate.main(["mine", "--trust", "--episodes", "1"])
    assert "best of 2 evaluations of 1 episode each" in capsys.readouterr().out
    os.chdir(elsewhere)
    assert not [*assets.iterdir()] and RunDirectory(Path("mine")).read_summary()["env_steps"] == 60
    assert the_run().read_summary()["env_steps"] == 90


def test_a_run_that_began_from_another_goes_on_without_it(finished):
    source = finished.path.resolve()
    assert train(*TINY, "init_from=last", "run.dir=second").code == 0
    assert f"init_from: {source}" in RunDirectory(Path("second")).config_text()
    shutil.rmtree(source)
    assert train("resume=./second", "total_env_steps=70").code == 0
    assert RunDirectory(Path("second")).read_summary()["env_steps"] == 70


def test_what_is_offered_in_place_of_a_change_begins_anew_from_the_weights(finished):
    for change in ("env.kwargs.g=9", "alpha.lr=1e-2"):
        text = refused(*TINY, "init_from=last", change, "agent.hidden_sizes=[4]", "normalization=obs", "run.dir=new")
        assert f"{change} " in f"{text.splitlines()[1]} " and "'agent.hidden_sizes=[8,8]'" in text
        assert "normalization" not in text.splitlines()[1]
    for wrong in ("env=lunarlander", "agent={hidden_sizes: [4]}"):
        offered = refused(*TINY, "init_from=last", wrong, "run.dir=new").splitlines()[1]
        assert train(*shlex.split(offered.removeprefix("  try: sac-train ")), "dry_run=true").code == 0
    assert "hydra.launcher.at_a_time=2: " in refused("resume=last", "hydra.launcher.at_a_time=2")
    text = refused("resume=last", "seed=3", "log.every_env_steps=10")
    offered = shlex.split(text.splitlines()[1].removeprefix("  try: sac-train "))
    assert offered[0] == f"init_from={shown(finished.path)}" and {*TINY, "seed=3"} - {"outputs=outputs"} <= {*offered}
    assert train(*offered, "run.dir=new").code == 0
    assert f"init_from: {finished.path.resolve()}\n" in RunDirectory(Path("new")).config_text()


def test_what_is_offered_after_another_choice_has_no_key_of_the_earlier_one(elsewhere):
    assert train(*TINY, "alpha=auto", "alpha.target_entropy=-2", "run.dir=job").code == 0
    text = refused("resume=job", "alpha=fixed", "total_env_steps=90")
    offered = shlex.split(text.splitlines()[1].removeprefix("  try: sac-train "))
    assert "alpha=fixed" in offered and "total_env_steps=90" in offered and "target_entropy" not in text.splitlines()[1]
    assert train(*offered, "run.dir=new").code == 0
    assert "try:" not in refused("resume=job", "agent.hidden_sizes=[9]")


def test_a_run_without_its_replay_buffer_offers_its_weights_and_the_budget_that_is_asked_for(finished):
    prune_replay(finished, Path("outputs"))
    offered = refused("resume=last", "total_env_steps=70").splitlines()[1]
    assert "init_from=" in offered and "total_env_steps=70" in offered and "total_env_steps=60" not in offered


def test_a_run_whose_replay_buffer_is_damaged_offers_its_weights(finished):
    drop_older(finished, 1)
    for segment in finished.replay.iterdir():
        segment.write_bytes(b"?")
    text = refused("resume=last", "total_env_steps=70")
    assert "is damaged: it does not match its checkpoint" in text and "total_env_steps=70" in text
    offered = shlex.split(text.splitlines()[1].removeprefix("  try: sac-train "))
    assert train(*offered, "run.dir=new").code == 0
    for checkpoint in finished.checkpoints.glob("latest-*"):
        (checkpoint / "train.safetensors").write_bytes(b"?")
    assert "try:" not in refused("resume=last", "total_env_steps=70")


def test_what_is_offered_knows_a_config_folder(elsewhere):
    (elsewhere / "my conf" / "agent").mkdir(parents=True)
    (elsewhere / "my conf" / "agent" / "mine.yaml").write_text((CONF / "agent" / "sac.yaml").read_text())
    assert train("--config-dir", "my conf", *TINY, "agent=mine", "run.dir=job").code == 0
    offered = refused("resume=job", "agent.tau=0.5").splitlines()[1]
    assert offered.startswith("  try: sac-train --config-dir 'my conf' init_from=job ") and "agent=mine" in offered


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "ValueError"])
def test_ctrl_c_while_a_command_is_imported_leaves_no_traceback(raised):
    done = subprocess.run(
        [sys.executable, "-c", f"import sac_runner.commands; raise {raised}"], capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr) == ((-signal.SIGINT, False), (1, True))[raised == "ValueError"]


def test_init_from_refuses_other_shapes_before_anything_is_made(finished, elsewhere):
    before = sorted(elsewhere.rglob("*"))
    other = [x for x in TINY if "hidden" not in x]
    said = refused(*other, "agent.hidden_sizes=[9]", "init_from=last")
    assert f"init_from={the_run().path} have other shapes" in said and "weight is (8, 3), here (9, 3)" in said
    assert "have other shapes or normalization" in refused(*TINY, "normalization=obs", "init_from=last")
    assert sorted(elsewhere.rglob("*")) == before


def test_init_from_names_what_is_other_and_not_what_is_not_taken(finished):
    said = refused(*TINY, "alpha=fixed", "normalization=reward", "init_from=last")
    assert "reward_normalizer.moments.mean is not there" in said
    assert train(*TINY, "normalization=reward", "run.dir=normalized").code == 0
    said = refused(*TINY, "alpha=fixed", "init_from=./normalized")
    assert "(the critics' values are those of normalized rewards)" in said
    assert train(*TINY, "alpha=fixed", "init_from=last", "run.dir=third").code == 0


def test_a_run_goes_on_in_no_environment_with_other_spaces(finished, monkeypatch):
    now = spaces_of(config(env={"id": "MountainCarContinuous-v0"}).env)
    monkeypatch.setattr("sac_runner.training.run.spaces_of", lambda env: now)
    said = refused("resume=last", "total_env_steps=70")
    assert "of other spaces than env.id has now (obs was [{" in said
    now = replace(now, obs=spaces_of(config().env).obs, obs_dim=3)
    assert "(action was {" in refused("resume=last", "total_env_steps=70")
    assert "(action was {" in train("resume=last", "total_env_steps=70", "dry_run=true").err


def test_an_environment_without_a_time_limit_is_warned_of(elsewhere):
    endless = ["env=custom", "env.id=tests.scripted:Countdown-v0", *SIZE, "schedule.warmup_env_steps=20"]
    for more in ("dry_run=true", "run.dir=run"):
        said = train(*endless, "total_env_steps=30", more).err
        assert "Countdown-v0 has no time limit: " in said and "; env.max_episode_steps=1000 sets one\n" in said
    assert "has no time limit" not in train(*endless, "total_env_steps=30", "env.max_episode_steps=9").err


@pytest.fixture
def hurried(monkeypatch):
    """Dry runs measure for no longer than they must."""
    monkeypatch.setattr("sac_runner.training.preflight._PROBE_S", 0.01)


def stopped_at(env_steps, *arguments):
    """``train``, with a signal after ``env_steps``."""
    progress = command_progress()

    def with_signal(self, counters, record):
        progress(self, counters, record)
        if counters.env_steps == env_steps:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sac_runner.training.console.Console.progress", with_signal)
        return train(*arguments)


def command_progress():
    from sac_runner.training.console import Console

    return Console.progress


def test_run_dir_begins_continues_finishes_and_then_says_so(elsewhere):
    requeued = [*TINY, "run.dir=job/17"]
    stopped = stopped_at(33, *requeued)
    assert stopped.code == 143
    assert stopped.err.splitlines()[-1] == "stopped at 33 env steps, saved. Continue: sac-train resume=job/17"
    run = RunDirectory(Path("job/17"))
    assert {"status": "stopped", "cause": "SIGTERM", "env_steps": 33}.items() <= run.read_summary().items()

    continued = train(*requeued)
    assert continued.code == 0 and "continuing at 33 env steps" in continued.err
    assert run.read_summary()["status"] == "finished"

    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    again = train(*requeued)
    assert again.code == 0
    assert again.err.splitlines()[0].startswith("job/17 is finished: return ")
    assert again.err.splitlines()[1] == "  more: sac-train resume=job/17 total_env_steps=120"
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before

    assert train(*TINY, "run.dir=at_once").code == 0
    assert policy(run) == policy(RunDirectory(Path("at_once")))
    assert metrics_rows(run.path) == metrics_rows("at_once")


def test_run_dir_of_another_run_is_refused_with_the_difference():
    assert train(*TINY, "run.dir=job").code == 0
    text = refused(*TINY, "run.dir=job", "agent.tau=0.5", "alpha=fixed")
    assert "agent.tau: 0.005, here 0.5" in text and "alpha.value: None, here 0.2" in text
    assert "job holds another run" in text and "run.dir=NEW" in text


def test_run_dir_of_a_shorter_run_is_refused_with_what_goes_on_with_it():
    assert train(*TINY, "run.dir=job").code == 0
    text = refused(*TINY, "run.dir=job", "total_env_steps=123")
    assert "job holds another run (total_env_steps: " in text and "lr_decay" not in text
    assert text.endswith("try: sac-train resume=job total_env_steps=123\n")
    assert "lr_decay" in refused(*TINY, "run.dir=job", "total_env_steps=123", "agent.lr_schedule=linear")


def test_run_dir_that_began_from_another_run_is_refused():
    for name in ("a", "b"):
        assert train(*TINY, f"run.dir={name}").code == 0
    begun = [*TINY, "alpha=fixed", "run.dir=job"]
    assert train(*begun, "init_from=./a").code == 0
    assert f"init_from: {Path('a').resolve()}, here b" in refused(*begun, "init_from=./b")
    for same in ("init_from=./a", "init_from=last", "init_from=gone"):  # last and gone: who knows
        assert " is finished: return " in train(*begun, same).err
    for folder in ("x", "y"):
        assert train(*TINY, f"run.dir={folder}/s0").code == 0
    begun = [*TINY, "alpha=fixed", "run.dir=of_x"]
    assert train(*begun, "init_from=x/s0").code == 0
    assert "here y/s0" in refused(*begun, "init_from=y/s0")
    Path("x").rename("moved")
    assert " is finished: return " in train(*begun, "init_from=moved/s0").err
    assert train(*TINY, "run.dir=plain").code == 0
    assert "init_from: None, here a" in refused(*TINY, "run.dir=plain", "init_from=./a")


def test_run_dir_that_began_from_a_job_is_told_from_one_of_another_sweep(finished):
    for name in ("a", "b"):
        sweep, (job,) = write_sweep(Path("outputs/sweeps", name), "alpha=auto")
        shutil.copytree(finished.path, sweep.run(job).path, dirs_exist_ok=True)
    begun, theirs = [*TINY, "run.dir=job"], f"sweeps/b/{job.path}"
    assert train(*begun, f"init_from=sweeps/a/{job.path}").code == 0
    Path("elsewhere").mkdir()
    Path("outputs/sweeps/a").rename("elsewhere/a")
    assert f"here outputs/{theirs}" in refused(*begun, f"init_from={theirs}")
    assert " is finished: return " in train(*begun, f"init_from=elsewhere/a/{job.path}").err


def test_run_dir_with_a_drawn_seed_continues_too():
    assert stopped_at(33, *TINY, "seed=null", "run.dir=job").code == 143
    assert train(*TINY, "seed=null", "run.dir=job").code == 0
    assert RunDirectory(Path("job")).read_summary()["env_steps"] == 60


def test_run_dir_may_be_there_and_empty(elsewhere):
    (elsewhere / "job").mkdir()
    assert train(*TINY, "run.dir=job").code == 0
    assert [path.name for path in elsewhere.iterdir()] == ["job"] and RunDirectory(Path("job")).is_run


def test_resume_extends_a_finished_run(finished):
    extended = train("resume=last", "total_env_steps=100")
    assert extended.code == 0 and "continuing at 60 env steps" in extended.err
    summary = finished.read_summary()
    assert (summary["env_steps"], summary["updates"], summary["status"]) == (100, 80, "finished")
    assert train(*TINY, *EVERY_20, "total_env_steps=100", "run.dir=at_once").code == 0
    assert policy(finished) == policy(RunDirectory(Path("at_once")))
    assert metrics_rows(finished.path) == metrics_rows("at_once")
    assert yaml.safe_load(finished.config_text())["total_env_steps"] == 100
    assert [c.env_steps for c in find(finished.checkpoints, "kept")] == [20, 40, 60, 80, 100]


def test_resume_of_a_finished_run_says_so(finished):
    answer = train(f"resume={finished.path.name}")
    assert answer.code == 0 and "is finished" in answer.err


def test_a_finished_run_ends_well_without_a_terminal_to_say_so(finished, monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    monkeypatch.setattr(sys.stderr, "write", gone)
    assert train(f"resume={finished.path.name}").code == 0


def test_rows_that_were_lost_are_said_when_a_run_goes_on(finished):
    assert "warning" not in train("resume=last", "total_env_steps=80").err
    table = finished.path / "metrics.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([header, *rows[2:]]))
    assert "damaged, missing or unknown" in train("resume=last", "total_env_steps=100").err
    assert "warning" not in train("resume=last", "total_env_steps=120").err


def test_a_key_of_alpha_is_one_of_the_run_that_goes_on():
    assert train(*TINY, "alpha=fixed").code == 0
    said = refused("resume=last", "alpha.value=0.3")
    assert "error: alpha.value can't change in " in said and "(alpha.value: 0.2, here 0.3)\n" in said
    assert train("resume=last", "alpha.value=0.2", "total_env_steps=70").code == 0


def test_resume_takes_what_changes_nothing_that_was_learned(finished):
    same = ["agent.lr=1e-3", "replay.batch_size=8", "seed=0", "env.timeout_s=600"]
    answer = train(
        "resume=last", "total_env_steps=70", *same, "threads=1", "log.every_env_steps=5", "eval.every_env_steps=7"
    )
    assert answer.code == 0, answer.err
    assert [step for step, _ in measured(finished.path)["eval/return_mean"]][-2:] == [63, 70]


def test_a_buffer_that_can_not_even_be_made_is_refused(elsewhere):
    text = refused(*TINY, "replay.capacity=1e16")
    assert "replay.capacity=10,000,000,000,000,000 does not fit into memory" in text
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("agent.lr=1e-2", "agent.lr: 0.001, here 0.01"),
        ("env=hopper", "env.id: Pendulum-v1, here Hopper-v5"),
        ("alpha=fixed", "alpha.mode: auto, here fixed"),
        ("seed=3", "seed: 0, here 3"),
        ("replay.batch_size=9", "replay.batch_size: 8, here 9"),
        ("env.kwargs.g=3", "env.kwargs.g: None, here 3"),
        ("precision=medium", "precision: highest, here medium"),
        ("schedule.updates_per_env_step=2", "schedule.updates_per_env_step: 1.0, here 2.0"),
        ("experiment=lunarlander_100k", " more)"),
    ],
)
def test_resume_refuses_what_would_change_what_was_learned(finished, override, difference):
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    text = refused("resume=last", "total_env_steps=90", override)
    key = override.partition("=")[0]
    assert f"{key} can't change in {finished.path.name}, which goes on as it began (" in text and "init_from=" in text
    assert difference in text
    assert {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()} == before


def test_a_run_does_not_become_shorter_than_it_is(finished):
    text = refused(f"resume={finished.path.name}", "total_env_steps=50")
    assert "total_env_steps=50 is less than the " in text and f"that {finished.path.name} has done" in text
    assert finished.read_summary()["status"] == "finished"


def test_a_run_of_rounds_does_not_become_shorter_than_it_is():
    rounds = ["schedule=per_round", "schedule.episodes_per_round=1", "schedule.updates_per_round=1"]
    short = ["env=pendulum", "env.max_episode_steps=15", "eval.max_episode_steps=15"]
    assert train(*SIZE, *short, *rounds, "schedule.rounds=3").code == 0
    assert "schedule.rounds=1 is less than the 3 that " in refused("resume=last", "schedule.rounds=1")
    assert train("resume=last", "schedule.rounds=4").code == 0


def test_a_run_that_has_lost_its_checkpoints_does_not_begin_anew(finished):
    shutil.rmtree(finished.checkpoints)
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    for dry in ([], ["dry_run=true"]):
        assert "has lost its checkpoints" in refused("resume=last", "total_env_steps=80", *dry)
    assert {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()} == before
    (finished.path / "summary.json").unlink()  # as of one that was killed before its first checkpoint
    answer = train("resume=last", "total_env_steps=80")
    assert answer.code == 0 and "has no checkpoint yet: it begins anew\n" in answer.err


def test_resume_refuses_a_budget_that_contradicts_the_stored_config(finished):
    text = refused("resume=last", "total_env_steps=10")
    assert "schedule.warmup_env_steps=20 must be below total_env_steps=10" in text


def test_a_dry_run_of_a_run_that_goes_on_says_what_is_left(finished, hurried):
    lines = train("resume=last", "total_env_steps=120", "dry_run=true").out.splitlines()
    assert "continuing at 60 env steps" in lines
    assert re.search(r"time +about [\d:]+ more, evaluation aside", "\n".join(lines))
    whole = stored_config(finished)
    assert _time(whole, 100.0, 0.0, 0) == "about 1:40:00, evaluation aside"
    assert _time(whole, 100.0, 0.0, 45) == "about 25:00 more, evaluation aside"
    short = replace(whole, stop=replace(whole.stop, max_minutes=10.0))
    assert _time(short, 100.0, 0.0, 45) == "about 10:00 more, evaluation aside"


def test_a_run_directory_that_may_not_be_read_is_refused(monkeypatch):
    Path("closed").mkdir()
    monkeypatch.setattr(
        RunDirectory, "why_closed", property(lambda run: "no leave" if run.path.name == "closed" else None)
    )
    for more in ([], ["dry_run=true"]):
        assert "can't read run.dir=closed: no leave" in refused(*TINY, "run.dir=closed", *more)


def test_resume_takes_keys_one_by_one(finished):
    for override, right in {
        "stop={max_minutes: 1}": "stop.max_minutes=...",
        "checkpoint={ every_env_steps: 5}": "checkpoint.every_env_steps=...",
        "eval={every_env_steps: 5}": "eval.every_env_steps=...",
        "env={timeout_s: 5}": "env.timeout_s=...",
    }.items():
        text = refused("resume=last", override)
        assert "takes its keys one by one" in text and f"resume={finished.path} {right}" in text


def test_resume_extends_a_run_by_rounds_too():
    run = trained("env=pendulum", "schedule=per_round", *rounds("per_round"), "env.max_episode_steps=15")
    assert train("resume=last", "schedule.rounds=3").code == 0
    assert run.read_summary()["rounds"] == 3
    assert train("resume=last", "schedule=per_round", "schedule.rounds=4", "eval.every_rounds=1").code == 0
    assert run.read_summary()["rounds"] == 4
    assert "schedule can't change in" in refused("resume=last", "schedule=per_step")
    assert "schedule.warmup_env_steps can't change in" in refused("resume=last", "schedule.warmup_env_steps=3")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume=last", "total_env_steps=90"], "a dry run: nothing is written"),
        (["resume=last"], " is finished: return "),
        ([*TINY, *EVERY_20, "run.dir=RUN"], " is finished: return "),
    ],
)
def test_a_dry_run_of_a_run_that_is_there_changes_nothing_in_it(finished, arguments, said, hurried):
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")}
    answer = train(*(x.replace("RUN", str(finished.path)) for x in arguments), "dry_run=true")
    assert answer.code == 0 and said in answer.out + answer.err
    assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")} == before


@pytest.mark.parametrize("file", ["train.safetensors", "state.json", "manifest.json", "replay"])
@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_run_is_refused_without_a_traceback_and_left_as_it_is(finished, file, damage):
    older, latest = find(finished.checkpoints, "latest")
    shutil.rmtree(older.path)  # with it, the run would go on from there
    path = next((finished.path / "replay").iterdir()) if file == "replay" else latest.path / file
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[10] ^= 255
        path.write_bytes(data)
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    text = refused("resume=last", "total_env_steps=90")
    assert path.name in text and ("damaged" in text or "missing" in text)
    assert {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("again", [["resume=./job"], [*TINY, "run.dir=job"]])
def test_a_second_start_is_answered_before_what_takes_seconds(monkeypatch, again):
    assert stopped_at(33, *TINY, "run.dir=job").code == 143
    with RunLock(Path("job")):
        monkeypatch.setattr("sac_runner.training.run.Trainer", None)
        monkeypatch.setattr("sac_runner.training.resume.stored_config", None)
        assert "is in use by process" in refused(*again, code=73)


@pytest.mark.parametrize("ended", ["total_env_steps=60", "stop.max_minutes=1e-9"])
def test_a_run_that_goes_on_from_an_end_is_locked_before_its_environments_are_made(monkeypatch, ended):
    run, made = trained(*TINY, ended), []

    def refuse(*_):
        with pytest.raises(RunInUse):
            RunLock(run.path)
        made.append(True)
        raise WrongInput("enough is known")

    monkeypatch.setattr("sac_runner.training.run.Trainer", refuse)
    assert "enough is known" in refused("resume=last", "stop.max_minutes=null", "total_env_steps=90") and made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init_from=nowhere"], "nowhere"),
        (["init_from=last", "agent.hidden_sizes=[4]"], "other shapes"),
        (["run.dir=taken"], "exists and is not a run"),
        (["outputs=taken/thesis.tex"], "Not a directory"),
        (["outputs=taken/full"], "Not a directory"),
        (["run.dir=taken/thesis.tex/run"], "Not a directory"),
    ],
)
def test_a_dry_run_refuses_what_a_start_would(finished, arguments, said, hurried):
    Path("taken").mkdir()
    Path("taken/thesis.tex").write_text("years of work")
    Path("taken/full/runs").mkdir(parents=True)
    Path("taken/full/runs/pendulum").write_text("no folder")
    for dry in ([], ["dry_run=true"]):
        assert said in refused(*TINY, *arguments, *dry)


def test_how_a_job_ended_is_no_news_once_it_is_continued_by_hand(elsewhere):
    sweep, jobs = write_sweep(elsewhere / "outputs/sweeps/a", "alpha=auto", "alpha=fixed")
    for job in jobs:
        sweep.write_end(job, Ended(70, "the rotor came off"))
    its_sweep, job = find_job(Path("outputs/sweeps/a/alpha-fixed/s0"))
    assert job.setting == {"alpha": "fixed"} and sweep.status(jobs[1]).state == "failed"
    its_sweep.forget_end(job)
    assert [sweep.status(job).state for job in jobs] == ["failed", "waiting"]
    for other in ("outputs/sweeps/a/alpha-fixed/s1", "outputs/runs/pendulum/a_s0"):
        assert find_job(Path(other)) is None


def test_a_run_in_use_is_left_alone(finished):
    with RunLock(finished.path):
        text = refused("resume=last", "total_env_steps=90", code=73)
    assert f"is in use by process {os.getpid()} on " in text
    assert train("resume=last", "total_env_steps=90").code == 0


def test_an_environment_that_raises_ends_the_run_with_its_cause():
    text = train(*FAILS, "env.kwargs.at=31", "checkpoint.every_env_steps=10")
    assert text.code == 70
    assert (
        "of its episode with seed" in text.err
        and "raised ValueError: the rotor came off" in text.err
        and "Traceback" not in text.err
    )
    run = the_run()
    summary = run.read_summary()
    assert summary["status"] == "failed" and "the rotor came off" in summary["cause"]
    assert run.checkpoint("latest").env_steps == 30


def test_a_number_that_is_not_finite_ends_the_run():
    run = [*FAILS, "env.kwargs={at: 31, how: observes_nan}", "checkpoint.every_env_steps=20", "run.dir=job"]
    answer = train(*run)
    assert answer.code == 76 and "NaN" in answer.err
    where = ", by 30 env steps and 10 updates; the checkpoint at 20 leads there again"
    assert answer.err.splitlines()[-1].endswith(where)
    assert RunDirectory(Path("job")).read_summary()["cause"].endswith(where)


def test_weights_that_are_not_finite_end_the_run():
    answer = train(*TINY, "agent.lr=1e30")
    *_, error, remedy = answer.err.splitlines()
    assert answer.code == 76 and "diverged" in error and "a smaller agent.lr" in remedy
    answer = train(
        *TINY, "agent.lr=1e30", "schedule.updates_per_env_step=4", "log.every_env_steps=21", "run.dir=critic"
    )
    *_, error, remedy = answer.err.splitlines()
    assert answer.code == 76 and "train/critic_loss is " in error and "a smaller agent.lr" in remedy
    assert RunDirectory(Path("critic")).read_summary()["status"] == "failed"


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint_whole():
    assert stopped_at(33, *TINY, "run.dir=job").code == 143
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = RunDirectory(Path("job"))
    whole = run.checkpoint("latest").arrays("train")
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))  # stands for a disk that takes no more
    try:
        answer = train(*TINY, "run.dir=job")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.code == 74 and "can't write" in answer.err and "Traceback" not in answer.err
    assert run.checkpoint("latest").env_steps == 33
    assert run.checkpoint("latest").arrays("train").keys() == whole.keys()
    assert train(*TINY, "run.dir=job").code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_stops_saves_and_leaves_with_its_exit_code(elsewhere, number, monkeypatch):
    monkeypatch.setattr("sac_runner.analysis.figures.learning_curve", lambda run: None)

    def run():
        sys.argv = ["sac-train", *TINY, "total_env_steps=1e9", "checkpoint.every_env_steps=1e9", "run.dir=job"]
        with Path("stderr").open("w") as sys.stderr:
            command.main()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    metrics = Path("job/metrics.csv")
    while not (metrics.exists() and metrics.read_text().count("\n") > 1):  # it trains
        assert process.is_alive(), Path("stderr").read_text()
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == (130 if number == signal.SIGINT else 143)
    text = Path("stderr").read_text()
    assert "env steps, saved. Continue: sac-train resume=job" in text and "Traceback" not in text
    run = RunDirectory(Path("job"))
    steps = run.read_summary()["env_steps"]
    assert run.read_summary()["status"] == "stopped" and run.checkpoint("latest").env_steps == steps
    total = max(steps, 20) + 5
    assert train("resume=./job", f"total_env_steps={total}").code == 0
    assert run.read_summary()["env_steps"] == total


def test_files_of_ones_own_are_choices_too(elsewhere):
    for file, text in {
        "alpha/mine.yaml": "mode: fixed\nvalue: 0.7\n",
        "experiment/thesis.yaml": "# @package _global_\ndefaults: [override /alpha: mine]\nagent: {tau: 0.5}\n",
    }.items():
        (elsewhere / "my_conf" / file).parent.mkdir(parents=True)
        (elsewhere / "my_conf" / file).write_text(text)
    answer = train(*TINY, "experiment=thesis", "--config-dir", "my_conf")
    assert answer.code == 0 and "  experiment thesis" in answer.err.splitlines()[0]
    config = stored_config(the_run())
    assert (config.alpha.value, config.agent.tau) == (0.7, 0.5)


def test_hydras_own_answers_write_nothing(elsewhere):
    assert "hydra_bash_completion" in train("-sc", "install=bash").out
    job = yaml.safe_load(train("env=pendulum", "--cfg", "job", "--resolve").out)
    assert job["env"]["id"] == "Pendulum-v1" and "hydra" not in job
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("again", [[], ["total_env_steps=90"]])
def test_the_picture_is_drawn_by_the_owner(monkeypatch, again):
    held = []

    def drawn(path):
        with pytest.raises(RunInUse):
            RunLock(path)
        held.append(path)

    assert not again or train(*TINY).code == 0
    monkeypatch.setattr("sac_runner.analysis.figures.learning_curve", drawn)
    assert train(*(["resume=last", *again] if again else TINY), draws=True).code == 0 and len(held) == 1
    RunLock(held[0]).__exit__(None, None, None)


def test_a_picture_that_fails_ends_no_training(monkeypatch):
    def fails(path):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("sac_runner.analysis.figures.learning_curve", fails)
    answer = train(*TINY, draws=True)
    assert answer.code == 0 and "warning: no curve.png: no fonts" in answer.err
    assert the_run().read_summary()["status"] == "finished"


def test_a_read_run_is_plain_data(finished):
    for path in finished.path.rglob("*.json"):
        json.loads(path.read_text())
    assert not [path for path in finished.path.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".npy", ".zip")]
