"""Wrong input: exit code 2, at most three lines, the right key, a remedy that works, and no file."""

import json
import shlex
import shutil
import sys
from collections import defaultdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sac_runner.config.command_line import CommandLine
from sac_runner.config.compose import CONF, compose_config, from_command_line
from sac_runner.config.diagnose import find_faults
from sac_runner.config.explain import in_the_command, mended
from sac_runner.config.keys import schema_keys
from sac_runner.config.origin import find_groups
from sac_runner.config.rewrite import rewrite
from sac_runner.config.synonyms import SYNONYMS
from sac_runner.errors import WrongInput
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.sweep import probe
from sac_runner.training.preflight import needs, try_out
from tests.runs import TINY, compose_all, train

SPACES = "env=custom env.id=tests.scripted:Spaces-v0"
GROUPS = find_groups([CONF])
DEFAULTS = {"alpha": "auto", "schedule": "per_step", "agent": "sac", "env": "lunarlander"}
DEFAULTS |= {"alpha.mode": "auto", "schedule.mode": "per_step"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything_in(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def remedy_of(text):
    """The command line that an error offers, without the prose after it; None where it offers none."""
    offered = [line.removeprefix("  try: ") for line in text.splitlines() if line.startswith("  try: ")]
    if not offered or not offered[0].startswith(("sac-train ", "scripts/train ")):
        return None
    return shlex.split(offered[0].split("   ")[0].split(", or ")[0])[1:]


def refused(arguments, *fragments, code=2):
    answer = train(*shlex.split(arguments))
    assert answer.code == code, answer.err
    lines = answer.err.splitlines()
    assert lines[0].startswith("error: ") and all(line.startswith("  try: ") for line in lines[1:]) and not answer.out
    assert len(lines) <= 2
    assert all(fragment in answer.err for fragment in fragments), answer.err
    return answer.err


UNKNOWN = [
    ("agent.lrr=1e-3", "unknown key agent.lrr", "try: sac-train agent.lr=1e-3"),
    ("agent.hiden_sizes=[8]", "unknown key agent.hiden_sizes", "agent.hidden_sizes=[8]"),
    ("AGENT.LR=1e-3 SEED=5", "here it is agent.lr", "; unknown key SEED\n", "try: sac-train agent.lr=1e-3 seed=5\n"),
    ("env=PENDULUM seed=1", "env=PENDULUM does not exist", "try: sac-train env=pendulum seed=1\n"),
    ("warmup=1000", "unknown key warmup", "--cfg job"),
    ("schedule.warmup=0", "unknown key schedule.warmup", "try: sac-train schedule.warmup_env_steps=0\n"),
    ("eval.every=50", "unknown key eval.every; there is eval.every_env_steps and eval.every_rounds", "--cfg job"),
    ("learning_starts=9", "here it is schedule.warmup_env_steps (now 5000)\n", "schedule.warmup_env_steps=9\n"),
    ("tau=2 seed=3", "agent.tau (now 0.1); agent.tau=2 must be above 0", "try: sac-train agent.tau=0.1 seed=3\n"),
    ("lr=-1", "agent.lr (now 0.001); agent.lr=-1 must be above 0\n", "try: sac-train agent.lr=0.001\n"),
    ("buffer_size=10", "replay.capacity=10 must hold replay.batch_size=256", "try: sac-train replay.capacity=15000\n"),
    ("--gamma 7", "here it is agent.gamma; agent.gamma=7 must be", "try: sac-train agent.gamma=0.99\n"),
    ("evaluation.episodes=3", "unknown key evaluation.episodes", "eval.episodes=3"),
    ("enviroment=humanoid", "unknown key enviroment", "try: sac-train env=humanoid"),
    ("norm=obs", "unknown key norm", "try: sac-train normalization=obs"),
    (
        "agent.lrr=3 env=pendulu",
        "unknown key agent.lrr; env=pendulu does not exist",
        "try: sac-train agent.lr=3 env=pendulum",
    ),
    (
        "agent.lrr=3 warmup=1 agent.tau=7",
        "agent.lrr; unknown key warmup; agent.tau=7 must be",
        "try: sac-train agent.lr=3",
    ),
    (
        "agent.lrr=3 alpha.value=.1",
        "agent.lrr; alpha.value is a key",
        "try: sac-train agent.lr=3 alpha=fixed alpha.value=.1",
    ),
    ("-m agent.lrr=1,2 agent.gama=.9", "lrr; unknown key agent.gama", "try: sac-train -m agent.lr=1,2 agent.gamma=.9"),
    (
        "env=pendulum agent.lrr=3 agent.hidden_sizes=[8,8]",
        "unknown key agent.lrr",
        "try: sac-train env=pendulum agent.lr=3 'agent.hidden_sizes=[8,8]'",
    ),
    ("seed=1 pendulum env.kwargs.g=5", "is not a setting", "try: sac-train seed=1 env=pendulum env.kwargs.g=5\n"),
    (
        "alpha.value=.3 alpha=auto agent.lrr=3 agent.tau=7",
        "is a key of alpha=fixed",
        "try: sac-train alpha=auto agent.lr=3 agent.tau=0.1\n",
    ),
    (
        "alpha=auto ent_coef=0.2 seed=1",
        "here it is alpha.value; alpha.value is a key of alpha=fixed; this run has alpha=auto\n",
        "try: sac-train alpha=auto seed=1\n",
    ),
    ("-m alpha=auto alpha.valu=0.2,0.3 seed=0,1", "a key of alpha=fixed", "try: sac-train -m alpha=auto seed=0,1\n"),
    ("alpha=fixed autotune=true seed=1", "here it is alpha\n", "try: sac-train alpha=fixed seed=1\n"),
    ("alpha=auto ent_coef=auto_0.1", "here it is alpha.initial (now 1)\n", "alpha=auto alpha.initial=0.1\n"),
    ("agent.lrr=3 agent.lrr=4", "error: unknown key agent.lrr\n", "try: sac-train agent.lr=3 agent.lr=4\n"),
    ("--sedd 3 --sedd 4", "no option --sedd; every setting is a key=value; unknown key sedd\n", "seed=3 seed=4"),
    (
        "alpha=annealed alpha.final=0.5 alpha.final_value=0.2",
        "key alpha.final; here it is alpha.end (now 0.01); unknown key alpha.final_value; here it is alpha.end (now",
        "try: sac-train alpha=annealed alpha.end=0.5 alpha.end=0.2\n",
    ),
    ("agent.lr_decay=linear", "here it is agent.lr_schedule", "try: sac-train agent.lr_schedule=linear\n"),
    (
        "env.id=Nope-v0 env=custom seed=1",
        "is unknown to Gymnasium",
        "try: sac-train env.id=my_package:Nope-v0 env=custom seed=1   # if it is of a package of your own\n",
    ),
    ("env=pendulum,hopper -m agent.lrr=1", "agent.lrr", "try: sac-train -m env=pendulum,hopper agent.lr=1\n"),
    ("--multirun env=pendulum,hopper agent.lrr=1", "try: sac-train --multirun env=pendulum,hopper agent.lr=1\n"),
    ("agent.lrr=1 seeds=3", "agent.lrr", "try: sac-train agent.lr=1 seeds=3\n"),
    ("alpha.value=.1 alpha.lr=3", "try: sac-train alpha=fixed alpha.value=.1\n"),
    ("net_arch=[64,64] agent.hidden_sizes=[8,8]", "try: sac-train 'agent.hidden_sizes=[64,64]'\n"),
    ("'output=my folder' seed=1", "try: sac-train 'outputs=my folder' seed=1\n"),
    ("agent.lr.x=3", "unknown key agent.lr.x", "agent.lr=3"),
    ("+agent.momentum=3", "unknown key agent.momentum", "try: sac-train --cfg job   # every key\n"),
    ("agent.eps=1e-8", "unknown key agent.eps\n", "try: sac-train --cfg job "),
    ("agent.beta=0.9", "unknown key agent.beta\n", "try: sac-train --cfg job "),
    ("agent.foo=3", "unknown key agent.foo\n", "try: sac-train --cfg job "),
    ("sed=3", "unknown key sed\n", "try: sac-train seed=3\n"),
    ("evaluation.num_env=3", "unknown key evaluation.num_env\n", "try: sac-train eval.num_envs=3\n"),
    ("every_env_steps=3", "there is eval.every_env_steps and checkpoint.every_env_steps and log.every_env_steps\n"),
    ("+lr=3", "here it is agent.lr (now 0.001)\n", "try: sac-train agent.lr=3\n"),
    ("+run.name=x env=custom env.id=Nope-v0", "env.id=Nope-v0 is unknown to Gymnasium"),
    ("+stop.at_return=5 agent.lr=-1", "agent.lr=-1 must be above 0\n", "agent.lr=0.001\n"),
    ("+stop.at_return=5 agent.lrr=1", "unknown key agent.lrr\n", "try: sac-train +stop.at_return=5 agent.lr=1\n"),
    ("+agent.lr=1e-3", "agent.lr exists already, so it needs no plus\n", "try: sac-train agent.lr=1e-3\n"),
    ("+alpha=fixed seed=1", "alpha exists already, so it needs no plus\n", "try: sac-train alpha=fixed seed=1\n"),
    ("agent.lr 1e-3 seed=1", "agent.lr is not a setting", "try: sac-train agent.lr=1e-3 seed=1\n"),
    ("env hopper", "env is not a setting", "try: sac-train env=hopper\n"),
    ("lr=1e-3,3e-4 seed=1", "here it is agent.lr (now 0.001)\n", "try: sac-train -m agent.lr=1e-3,3e-4 seed=1\n"),
    ("agent.lrr=1e-3,3e-4", "unknown key agent.lrr\n", "try: sac-train -m agent.lr=1e-3,3e-4\n"),
    (
        "net_arch=64,64",
        "here it is agent.hidden_sizes (now [128,128])\n",
        "try: sac-train 'agent.hidden_sizes=[64,64]'\n",
    ),
    ("ent_coef=auto_0.1", "here it is alpha.initial (now 1)\n", "try: sac-train alpha=auto alpha.initial=0.1\n"),
    ("env_kwargs.g=9 env=pendulum", "here it is env.kwargs.g\n", "try: sac-train env.kwargs.g=9 env=pendulum\n"),
    ("torch_deterministic=true seed=1", "key torch_deterministic; runs are deterministic", "try: sac-train seed=1\n"),
    ("--track --wandb-entity me --seed 1", "key track; each", "key wandb_entity; each", "try: sac-train seed=1\n"),
    ("capture_video=true", "unknown key capture_video; sac-record makes videos of a run\n", "try: sac-train\n"),
    ("policy=MlpPolicy verbose=1", "a squashed Gaussian; its networks are", "a run shows how far it is by itself\n"),
    ("train_freq=4 seed=1", "schedule.updates_per_env_step is the ratio", "try: sac-train seed=1\n"),
    (
        "hydra/launcher=slrm seed=1",
        "hydra/launcher can be local, slurm\n",
        "try: sac-train hydra/launcher=slurm seed=1\n",
    ),
    ("--env-id Pendulum-v1", "here it is env\n", "try: sac-train env=pendulum\n"),
    ("-m env_id=Pendulum-v1,Hopper-v5", "here it is env\n", "try: sac-train -m env=pendulum,hopper\n"),
    ("env=BipedalWalkerHardcore-v3", "does not exist", "try: sac-train env=bipedalwalker_hardcore\n"),
    ("/tmp=3", "unknown key /tmp"),
    ("env/../agent=sac", "unknown key env/../agent"),
    ("=3", "=3 names no key"),
    ("seed = 3", "= names no key; a setting is key=value, without spaces"),
    ("-m aplha=auto,fixed", "unknown key aplha", "try: sac-train -m alpha=auto,fixed\n"),
    ("env=pendulu", "env=pendulu does not exist; env can be ant, ", "sac-train env=pendulum"),
    ("env=nothing_like_it", "env=nothing_like_it does not exist"),
    ("env=LunarLanderContinuous-v3 seed=1", "does not exist", "try: sac-train env=lunarlander seed=1\n"),
    ("env=HumanoidStandup-v5", "does not exist", "try: sac-train env=custom env.id=HumanoidStandup-v5\n"),
    ("-m env=pendulum,InvertedPendulum-v5", "does not exist"),
    ("env=a:Hopper-v1", "does not exist", "try: sac-train env=custom env.id=a:Hopper-v1\n"),
    ("env=a:Mine-v0", "does not exist", "try: sac-train env=custom env.id=a:Mine-v0\n"),
    ("env=pendulum env-id=Hopper-v4", "here it is env.id", "try: sac-train env=custom env.id=Hopper-v4\n"),
    ("agent.alpha=0.2", "here it is alpha.value", "try: sac-train alpha=fixed alpha.value=0.2\n"),
    ("agent=3", "agent=3 does not exist; agent can be sac, sac_tutorial"),
    ("alpha=0.1", "alpha=0.1 does not exist", "alpha=fixed alpha.value=0.1"),
    ("alpha=1e-2", "alpha=1e-2 does not exist", "try: sac-train alpha=fixed alpha.value=1e-2\n"),
    ("-m alpha=auto,0.2", "alpha=0.2 does not exist; alpha can be annealed, auto, fixed, fixed_0.05\n"),
    (
        "-m alpha=auto,fixed alpha.value=0.2",
        "alpha.value is a key of alpha=fixed, which not every job of this sweep has",
    ),
    ("normalization=True", "normalization=True does not exist"),
    ("experiment=tutorial", "experiment=tutorial does not exist", "sac-train experiment="),
    ("-m alpha=auto,fixd", "alpha=fixd does not exist", "sac-train -m alpha=auto,fixed\n"),
    ("-m agent.lrr=1,2", "unknown key agent.lrr", "sac-train -m agent.lr=1,2"),
    ("pendulum", "pendulum is not a setting", "sac-train env=pendulum"),
    ("--seed 3", "there is no option --seed", "sac-train seed=3"),
    ("--resume last", "there is no option --resume", "sac-train resume=last"),
    ("env=pendulum --seed 3 alpha=fixed", "no option --seed", "try: sac-train env=pendulum seed=3 alpha=fixed"),
    ("--seed 3 --gamma .9 agent.lrr=1", "--seed, --gamma", "try: sac-train seed=3 agent.gamma=.9 agent.lr=1\n"),
    ("--target-entropy -2", "try: sac-train alpha.target_entropy=-2\n"),
    ("--agent.tau 7 env=pendulum", "agent.tau=7 must be above 0", "try: sac-train agent.tau=0.005 env=pendulum\n"),
    ("-m --seed 1,2 env=pendulum", "no option --seed", "try: sac-train -m seed=1,2 env=pendulum"),
    ("--ent-coef=0.3", "there is no option --ent-coef=0.3", "sac-train alpha=fixed alpha.value=0.3"),
    ("--no-seed", "there is no option --no-seed", "sac-train seed=null"),
    ("env=pendulum -x", "there is no option -x"),
    ("--frobnicate", "there is no option --frobnicate"),
    ("--config-dir nowhere", "nowhere"),
]
VALUES = [
    ("agent.lr=abc", "error: agent.lr=abc must be a number\n  try: sac-train agent.lr=0.001\n"),
    ("agent.lr=", "agent.lr= must be a number", "try: sac-train agent.lr=0.001\n"),
    ("env=pendulum total_env_steps=1.5", "error: total_env_steps=1.5 must", "env=pendulum total_env_steps=20000\n"),
    ("agent.activation=gelu", "must be relu or leaky_relu", "try: sac-train agent.activation=elu\n"),
    ("agent.activation=leaky", "try: sac-train agent.activation=leaky_relu\n"),
    ("precision=medum device=gpu", "must be highest or medium", "try: sac-train precision=medium device=cuda\n"),
    (
        "agent.hidden_sizes=[0,-1] seed=3",
        "=0 must be",
        "=-1 must",
        "try: sac-train 'agent.hidden_sizes=[128,128]' seed=3\n",
    ),
    ("agent.hidden_sizes=64", "must be a list", "try: sac-train 'agent.hidden_sizes=[64]'\n"),
    ("agent.gamma=95%", "agent.gamma=95% must be a number", "try: sac-train agent.gamma=0.95\n"),
    ("stop.max_minutes=2h", "=2h must be a number", "try: sac-train stop.max_minutes=120\n"),
    ("stop.at_return=-1k", "=-1k must be a number", "try: sac-train stop.at_return=-1000\n"),
    ("stop.max_minutes=2Hours", "must be a number", "try: sac-train stop.max_minutes=120\n"),
    ("env.timeout_s=1.5min", "=1.5min must be a number", "try: sac-train env.timeout_s=90\n"),
    ("checkpoint.every_minutes=30s", "=30s must be a number", "try: sac-train checkpoint.every_minutes=0.5\n"),
    ("seed=9%", "seed=9% must be a whole number or null", "try: sac-train seed=0\n"),
    ("total_env_steps=10k env=pendulum", "=10k must be", "try: sac-train total_env_steps=10000 env=pendulum\n"),
    ("normalization.obs=yes seed=3", "must be true or false", "try: sac-train normalization.obs=true seed=3\n"),
    ("normalization.obs=off", "must be true or false", "try: sac-train normalization.obs=false\n"),
    ("--no-autotune --no-cuda", "no option --no-autotune, --no-cuda", "try: sac-train alpha=fixed device=cpu\n"),
    ("--no-track", "no option --no-track", "its TensorBoard events"),
    ("--no-dry-run seed=3", "no option --no-dry-run", "try: sac-train dry_run=false seed=3\n"),
    ("env=null", "env=null: a group has a choice", "env can be ant, "),
    ("threads=1e9", "threads=1e+09 must be", "try: sac-train threads=auto\n"),
    ("replay.capacity=1.5M", "=1.5M must be a whole number\n", "try: sac-train replay.capacity=1500000\n"),
    ("device=GPU:1", "device=GPU:1 must be auto", "try: sac-train device=cuda:1\n"),
    (
        "stop.at_return=200 eval.every_env_steps=null",
        "stop.at_return=200 ends nothing",
        "try: sac-train eval.every_env_steps=10000 stop.at_return=200\n",
    ),
    (
        "experiment=lunarlander_tutorial eval.every_rounds=null stop.at_return=-5",
        "try: sac-train experiment=lunarlander_tutorial eval.every_rounds=100 stop.at_return=-5\n",
    ),
    ("-m agent.lr=[3e-4,1e-3]", "values of a sweep need no brackets\n", "try: sac-train -m agent.lr=3e-4,1e-3\n"),
    (
        "experiment=lunarlander_tutorial schedule=per_step",
        "experiment=lunarlander_tutorial schedule=per_round total_env_steps=null env.episode_seed=per_round eval.",
    ),
    ("seed=a", "seed=a must be a whole number or null", "try: sac-train seed=0\n"),
    ("agent.max_grad_norm=-1", "must be above 0", "try: sac-train agent.max_grad_norm=null\n"),
    ("env.kwargs=3", "env.kwargs=3 must be a mapping", "try: sac-train 'env.kwargs={}'\n"),
    ("agent.tau=7 agent.gamma=1.5 seed=-1", "agent.tau=7", "agent.gamma=1.5", "seed=-1 must be at least 0"),
    ("agent.log_std_min=3", "must be below agent.log_std_max=2", "try: sac-train agent.log_std_min=-20\n"),
    ("agent.log_std_max=-30", "agent.log_std_min=-20 must be below", "try: sac-train agent.log_std_max=2\n"),
    (
        "seed=1 total_env_steps=900",
        "learned",
        "try: sac-train seed=1 total_env_steps=900 schedule.warmup_env_steps=90\n",
    ),
    ("replay.batch_size=1e6", "must hold replay.batch_size", "try: sac-train replay.batch_size=256\n"),
    (
        "agent.tau=7 agent.lr=x device=tpu schedule.warmup_env_steps=1e9",
        "agent.lr=x must be a number",
        "agent.tau=7 must be",
        "device=tpu must be",
        "must be below total_env_steps",
    ),
    ("eval.every_rounds=3", "needs schedule=per_round", "try: sac-train schedule=per_round eval.every_rounds=3\n"),
    ("env.episode_seed=per_round", "try: sac-train schedule=per_round env.episode_seed=per_round\n"),
    ("total_env_steps=null", "null needs", "schedule=per_round total_env_steps=null agent.lr_schedule=constant\n"),
    ("-m agent.tau=7,8", "job agent.tau=7: agent.tau=7 must be above 0", "try: sac-train -m agent.tau=0.1\n"),
    ("-m agent.tau=7,8,1e-1,0.2 seed=0,1", "try: sac-train -m agent.tau=1e-1,0.2 seed=0,1\n"),
    ("-m agent.tau=.2,7 seed=0", "job agent.tau=7 seed=0: agent.tau=7", "try: sac-train -m agent.tau=.2 seed=0\n"),
    ("-m agent.tau=7,0.1 agent.tau=7,0.2", "agent.tau=7,0.1: agent.tau is named once more"),
    ("-m agent.gamma=0.9,foo agent.tau=0.01,7", "tau=7 must", "try: sac-train -m agent.gamma=0.9 agent.tau=0.01\n"),
    ("-m alpha.mode=fixed,auto", "error: job alpha.mode=fixed: alpha.mode comes with alpha=fixed,auto\n"),
    ("-m env=pendulum,pendulun", "pendulun does not exist", "try: sac-train -m env=pendulum\n"),
    ("-m 'agent.tau=choice(0.1,7,0.2)'", "agent.tau=7 must be above 0 and at most 1\n"),
    ("-m agent.lr=1e-3,abc seed=0,1", "agent.lr=abc must be a number\n", "try: sac-train -m agent.lr=1e-3 seed=0,1\n"),
    ("-m seed=0,1 agent.lr=abc", "job seed=0 agent.lr=abc: ", "try: sac-train -m seed=0,1 agent.lr=0.001\n"),
    (
        "sweep=alpha seeds=2 agent.tau=9",
        "job alpha=auto sweep=alpha",
        "try: sac-train sweep=alpha seeds=2 agent.tau=0.1\n",
    ),
    ("-m seed=0,1 total_env_steps=900", "learned\n", "total_env_steps=900 schedule.warmup_env_steps=90\n"),
    ("-m total_env_steps=900,1e6 seed=0", "learned\n", "=900,1e6 seed=0 schedule.warmup_env_steps=90\n"),
    ("-m precision=medum,highest", "medum must be highest or medium\n", "try: sac-train -m precision=medium,highest\n"),
    ("-m agent.hidden_sizes=[0],[8,64]", "=0 must be at least 1\n"),
    ("schedule.warmup_env_steps=1e9", "schedule.warmup_env_steps=1000000000 must be below total_env_steps"),
    ("resume=x init_from=y", "give one of them", "try: sac-train resume=x init_from=null\n"),
    ("device=tpu", "device=tpu must be auto, cpu, cuda or cuda:N"),
    ("agent.lr=${nothing.here}", "agent.lr: ", "nothing.here"),
    ("~agent.lr", "agent.lr"),
    ("~agent", "agent"),
    ("agent.lr=1e-3=4", "agent.lr=1e-3=4 can't be read"),
    ("agent.hidden_sizes=[8,8", "agent.hidden_sizes=[8,8 can't be read"),
    ("env=custom", "env=custom needs env.id"),
    (
        "env.id=Pendulum-v1 seed=1",
        "env=lunarlander is tuned for LunarLanderContinuous-v3, not for env.id=Pendulum-v1\n",
        "try: sac-train env=pendulum seed=1\n",
    ),
    ("env=hopper env.id=a:Mine-v3", "for Hopper-v5, not", "try: sac-train env=custom env.id=a:Mine-v3\n"),
    ("env.id=Pendulum-v1 agent.tau=7", "env.id=Pendulum-v1", "tau=7 must", "try: sac-train env=pendulum agent.tau=0.1"),
    ("env.id=Pendulum-v1 seeds=2", "not for env.id=Pendulum-v1\n", "try: sac-train env=pendulum seeds=2\n"),
    ("-m env.id=Pendulum-v1,Hopper-v5 seed=0,1", "try: sac-train -m env=pendulum,hopper seed=0,1\n"),
    (
        "-m env.id=Pendulum-v1,Hopper-v4 alpha=auto,fixed",
        "try: sac-train -m env=custom env.id=Pendulum-v1,Hopper-v4 alpha=auto,fixed\n",
    ),
]
CHOICES = [
    ("alpha.value=0.1", "alpha.value is a key of alpha=fixed; this run has alpha=auto", "alpha=fixed alpha.value=0.1"),
    ("alpha.value=0.1 alpha.value=0.2", "error: alpha.value is a key of alpha=fixed; this run has alpha=auto\n"),
    (
        "alpha=fixed_0.05 alpha.lr=1e-3",
        "alpha.lr is a key of alpha=auto; this run has alpha=fixed_0.05\n",
        "try: sac-train alpha=fixed_0.05\n",
    ),
    (
        "schedule=per_round schedule.rounds=3 schedule.warmup_env_steps=9 total_env_steps=null",
        "a key of schedule=per_step",
        "try: sac-train schedule=per_round schedule.rounds=3 total_env_steps=null",
    ),
    ("alpha.mode=fixed alpha=auto", "alpha.mode comes with alpha=fixed\n", "try: sac-train alpha=auto\n"),
    ("experiment=lunarlander_tutorial alpha.lr=1", "alpha.lr is a key of alpha=auto", "alpha=auto alpha.lr=1"),
    ("alpha=auto,fixed", "names two settings; one run takes one", "sac-train -m alpha=auto,fixed"),
    ("agent.lr=1e-3,3e-4,1e-4", "names 3 settings", "sac-train -m agent.lr=1e-3,3e-4,1e-4"),
    ("seed=0,1", "names two settings", "sac-train -m seed=0,1"),
    ("seeds=0,1,2", "seeds is how many", "sac-train -m seed=0,1,2"),
    ("seeds=0", "at least 1", "seeds=5"),
    ("env=pendulum seeds=0 -m", "at least 1", "try: sac-train env=pendulum -m seeds=5\n"),
    ("env=pendulum seeds=0,1", "seeds is how many", "try: sac-train -m env=pendulum seed=0,1\n"),
    ("seed=100,200", "names two settings", "try: sac-train -m seed=100,200\n"),
    ("env=pendulum.yaml", "env=pendulum.yaml: a choice is named without .yaml\n", "try: sac-train env=pendulum\n"),
    ("env=pendulum tuned=nope", "tuned=nope does not exist; tuned can be ant, "),
    ("env=pendulum tuned/agent=nope", "tuned/agent=nope does not exist; tuned/agent can be "),
    ("env=pendulum seeds=3 seed=5,6", "both name the seeds\n", "try: sac-train -m env=pendulum seed=5,6\n"),
    ("-m env=pendulum seed=0,1 hydra/launcher=basic", "hydra/launcher=basic would neither plan nor watch the jobs"),
    ("env=pendulum seeds=2 hydra/launcher=basic", "hydra/launcher=basic does not exist; hydra/launcher can be local"),
    ("env=pendulum hydra.run.dir=there", "here it is run.dir\n", "try: sac-train env=pendulum run.dir=there\n"),
    ("-m env=pendulum seed=0,1 hydra.sweep.dir=there", "try: sac-train -m env=pendulum seed=0,1 outputs=there\n"),
    (
        "env=pendulum ~alpha",
        "~alpha: a group has a choice; alpha can be annealed, auto",
        "try: sac-train env=pendulum\n",
    ),
    ("env=pendulum --package", "error: --package/-p: expected one argument\n"),
    ("env=pendulum --cfg", "error: --cfg/-c: expected one argument\n"),
    ("run.dir=x alpha=auto alpha.value=0.1", "this run has alpha=auto\n", "try: sac-train run.dir=x alpha=auto\n"),
    ("--experimental-rerun config.pickle", "would run code from a file\n", "try: sac-train resume=RUN\n"),
    ("env=pendulum env.kwargs.g=1,2", "names two", "try: sac-train -m env=pendulum env.kwargs.g=1,2\n"),
    ("resume=last agent.lr=1e-3,1e-4", "error: agent.lr=1e-3,1e-4 names two settings; one run takes one\n"),
    ("run.dir=x agent.lr=1e-3,1e-4", "error: agent.lr=1e-3,1e-4 names two settings; one run takes one\n"),
    ("--cfg", "error: --cfg/-c: expected one argument\n  try: sac-train --help\n"),
    ("--multirun=3", "error: --multirun/-m: ignored explicit argument '3'\n  try: sac-train --help\n"),
    ("env=pendulum --info nope", "error: --info/-i: invalid choice: 'nope'"),
    ("agent.hidden_sizes=64,64 seed=1", "must be a list", "try: sac-train 'agent.hidden_sizes=[64,64]' seed=1\n"),
    ("'agent.hidden_sizes=(64,64)'", "must be a list", "try: sac-train 'agent.hidden_sizes=[64,64]'\n"),
    ("'net_arch=dict(pi=[64,64],qf=[64,64])'", "here it is", "try: sac-train 'agent.hidden_sizes=[64,64]'\n"),
    ("agent.lr=0,001 seed=1", "a number is written with a point\n", "try: sac-train agent.lr=0.001 seed=1\n"),
    ("++learning_starts=9", "here it is schedule.warmup_env_steps", "try: sac-train schedule.warmup_env_steps=9\n"),
    ("env=pendulum env.kwargs.g=9 env.kwargs=3", "env.kwargs=3 must be a mapping"),
    ("'eval={episodes:0}'", "eval.episodes=0 must be at least 1"),
    ("agent.log_std_min=2 agent.log_std_max=-20", "must be below agent.log_std_max=-20"),
    ("env=custom agent.tau=7", "agent.tau=7 must be", "env=custom needs env.id"),
    ("total_env_steps=10,000", "written without commas", "try: sac-train total_env_steps=10000\n"),
    ("stop.at_return=3,000", "written without commas", "try: sac-train stop.at_return=3000\n"),
    ("stop.at_return=-1,050", "written without commas", "try: sac-train stop.at_return=-1050\n"),
    ("eval.episodes=1,000", "written without commas", "try: sac-train eval.episodes=1000\n"),
    ("compile_after_updates=1,205,000 seed=1", "written without commas", "compile_after_updates=1205000 seed=1\n"),
    ("alpha=fixed alpha.value=2,05", "with a point", "try: sac-train alpha=fixed alpha.value=2.05\n"),
    ("sweep=alpha,learning_rate env=hopper", "a ready sweep is one by itself", "sac-train sweep=alpha env=hopper\n"),
    ("alpha.mode=nope seed=1", "alpha.mode comes with alpha, and alpha=nope does not exist; alpha can be annealed"),
    ("alpha.mode=fixed seed=1", "alpha.mode comes with alpha=fixed", "try: sac-train alpha=fixed seed=1\n"),
    ("schedule.mode=per_round", "schedule.mode comes with", "try: sac-train schedule=per_round\n"),
    ("alpha.mode=adaptive", "alpha=adaptive does not exist; alpha can be annealed"),
    (
        "experiment=lunarlander_tutorial alpha=annealed",
        "alpha=annealed needs alpha.over_env_steps, as there is no total_env_steps\n",
        "try: sac-train experiment=lunarlander_tutorial alpha=annealed alpha.over_env_steps=1000000\n",
    ),
    (
        "-m env=pendulum alpha=auto,auto",
        "job env=pendulum alpha=auto comes twice: name each value once",
    ),
    (
        "-m env=pendulum alpha=fixed alpha.value=0.1,0.2 alpha.value=0.3",
        "alpha.value=0.1,0.2: alpha.value is named once more",
    ),
]
RUNS = [
    ("env=custom env.id=Nope-v0", "env.id=Nope-v0 is unknown to Gymnasium"),
    ("env=custom env.id=no_such_package:Foo-v0", "can't be imported", "no_such_package"),
    ("env=custom env.id=tests.scripted:NeedsAPackage-v0", "needs a package", "pip install no-such-physics"),
    ("env=custom env.id=CartPole-v1", "takes actions of Discrete(2); SAC needs a Box"),
    (f"{SPACES} env.kwargs.acts=discrete", "takes actions of Discrete(3)"),
    (f"{SPACES} env.kwargs.acts=whole_numbers", "SAC needs a Box of continuous actions"),
    (f"{SPACES} env.kwargs.acts=half_bounded", "unbounded actions"),
    (f"{SPACES} env.kwargs.acts=many_unbounded", "unbounded actions"),
    (f"{SPACES} env.kwargs.acts=degenerate", "empty action range"),
    (f"{SPACES} env.kwargs.acts=number", "a single number, not a vector"),
    (
        f"{SPACES} env.kwargs.observes=dict",
        "observes a Dict",
        "try: sac-train env=custom env.id=tests.scripted:Spaces-v0 env.kwargs.observes=dict env.flatten_dict=true\n",
    ),
    (f"{SPACES} env.kwargs.observes=image", "observes images"),
    (f"{SPACES} env.kwargs.observes=discrete", "observes Discrete(3); SAC here takes a Box"),
    ("env=pendulum env.kwargs.bogus=1", "does not take env.kwargs={'bogus': 1}"),
    ("device=cuda:98 seed=1 device=cuda:99", "device=cuda:99 is", "try: sac-train seed=1 device=auto\n"),
    ("device=cuda:99 'replay={capacity:10000,batch_size:64}'", "device=cuda:99 is not available", "device=auto"),
    (
        "env=pendulum alpha.target_entropy=0.7",
        "uniform actions have 0.693 nats",
        "try: sac-train env=pendulum alpha.target_entropy=-1",
    ),
    (
        "alpha.target_entropy_per_action_dim=0.7",
        "alpha.target_entropy_per_action_dim=0.7 can't be reached: uniform actions have 0.693 nats, all others less",
        "try: sac-train alpha.target_entropy_per_action_dim=-1\n",
    ),
    ("env=pendulum replay.capacity=1e18", "does not fit into memory", "try: sac-train env=pendulum replay.capacity="),
    ("env=pendulum agent.n_critics=1000000000", "does not fit", "try: sac-train env=pendulum agent.n_critics=2\n"),
    (
        "seed=1 device=cuda:99",
        "=cuda:99 is not available; allowed here: auto, cpu",
        "try: sac-train seed=1 device=auto\n",
    ),
    ("-m seed=0,1 device=cuda:99", "is not available", "try: sac-train -m seed=0,1 device=auto\n"),
    ("-m hydra.launcher.at_a_time=0 seed=0,1", "try: sac-train -m hydra.launcher.at_a_time=2 seed=0,1\n"),
    ("env=pendulum outputs=a_file", "can't write a_file/runs/pendulum", "try: sac-train env=pendulum outputs=PATH\n"),
    ("env=pendulum agent.hidden_sizes=[9000000,9000000]", "9000000] with agent.n_critics=2 does not fit into memory"),
    ("env=pendulum run.dir=a_file/below", "a_file/below: Not a directory", "try: sac-train env=pendulum run.dir=NEW\n"),
    ("env=pendulum outputs=a_file/below", "can't write a_file/below", "outputs=PATH"),
    ("-m env=pendulum seed=0,1 outputs=a_file", "can't write a_file/sweeps", "outputs=PATH"),
    ("env=pendulum run.dir=a_file", "run.dir=a_file exists and is not a run"),
    ("env=pendulum run.dir=a_folder", "run.dir=a_folder exists and is not a run"),
    ("resume=last", "there are no runs in outputs/"),
    ("resume=20261122", "there are no runs in outputs/"),
    ("resume=a_folder", "is not a run"),
    ("resume=./a_folder", "is not a run: it has no config.yaml"),
    ("init_from=nothing", "there are no runs in outputs/"),
    ("init_from=./a_folder env=pendulum", "is not a run: it has no config.yaml"),
]


@pytest.fixture
def probed_here(monkeypatch):
    """What the jobs of a sweep need is not asked of a process of its own."""
    asked = lambda request: "".join(f"{line}\n" for line in probe.answer(request, try_out, needs))  # noqa: E731
    monkeypatch.setattr(probe, "ask", asked)


@pytest.mark.filterwarnings("ignore:.*maximum and minimum values are equal")
@pytest.mark.parametrize("row", UNKNOWN + VALUES + CHOICES + RUNS, ids=lambda row: row[0])
def test_wrong_input_is_explained_and_leaves_nothing_behind(row, elsewhere, probed_here):
    (elsewhere / "a_file").write_text("mine")
    (elsewhere / "a_folder").mkdir()
    (elsewhere / "a_folder" / "thesis.txt").write_text("mine too")
    before = everything_in(elsewhere)
    text = refused(*row)
    assert everything_in(elsewhere) == before
    remedy = remedy_of(text)
    if remedy is not None and not remedy[0].startswith("--"):
        assert compose_all(remedy)


@pytest.mark.parametrize(
    ("env", "physics", "modules"),
    [("hopper", "mujoco", "gymnasium.envs.mujoco"), ("lunarlander", "Box2D", "gymnasium.envs.box2d")],
)
def test_missing_physics_is_said_with_what_to_install(env, physics, modules, elsewhere, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(modules)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, physics, None)
    refused(f"env={env}", "needs a package", "pip install", physics.lower())
    assert everything_in(elsewhere) == {}


def test_an_environment_that_fails_by_itself_is_not_the_users_fault():
    refused("env=custom env.id=tests.scripted:Breaks-v0", "can't be made: ZeroDivisionError", code=70)


# A value of theirs for each name of theirs, and what to type here.
THEIRS = [
    ("learning_starts=100", "schedule.warmup_env_steps=100"),
    ("start_steps=100", "schedule.warmup_env_steps=100"),
    ("ent_coef=auto", "alpha=auto"),
    ("ent_coef=auto_0.1", "alpha=auto alpha.initial=0.1"),
    ("ent_coef=0.1", "alpha=fixed alpha.value=0.1"),
    ("entropy_weight=0.05", "alpha=fixed alpha.value=0.05"),
    ("autotune=True", "alpha=auto"),
    ("autotune=false", "alpha=fixed"),
    ("policy_lr=3e-4", "agent.actor_lr=3e-4"),
    ("pi_lr=3e-4", "agent.actor_lr=3e-4"),
    ("q_lr=1e-3", "agent.critic_lr=1e-3"),
    ("qf_learning_rate=1e-3", "agent.critic_lr=1e-3"),
    ("learning_rate=1e-3", "agent.lr=1e-3"),
    ("lr=1e-3", "agent.lr=1e-3"),
    ("alpha_lr=1e-3", "alpha.lr=1e-3"),
    ("alpha.learning_rate=1e-3", "alpha.lr=1e-3"),
    ("alpha.final=0.1", "alpha=annealed alpha.end=0.1"),
    ("alpha.final_value=0.1", "alpha=annealed alpha.end=0.1"),
    ("lr_decay=linear", "agent.lr_schedule=linear"),
    ("lr_decay=constant", "agent.lr_schedule=constant"),
    ("lr_decay=9000", "agent.lr_decay_env_steps=9000"),
    ("target_entropy=-2", "alpha.target_entropy=-2"),
    ("target_entropy=auto", "alpha.target_entropy_per_action_dim=-1"),
    ("gamma=0.98", "agent.gamma=0.98"),
    ("tau=0.01", "agent.tau=0.01"),
    ("polyak=0.995", "agent.tau=0.005"),
    ("net_arch=[400,300]", "agent.hidden_sizes=[400,300]"),
    ("hidden_sizes=[64]", "agent.hidden_sizes=[64]"),
    ("buffer_size=1_000_000", "replay.capacity=1_000_000"),
    ("replay_buffer_size=100000", "replay.capacity=100000"),
    ("replay_size=1e6", "replay.capacity=1e6"),
    ("batch_size=64", "replay.batch_size=64"),
    ("gradient_steps=2", "schedule.updates_per_env_step=2"),
    ("gradient_steps=-1", "schedule.updates_per_env_step=1"),
    ("utd_ratio=4", "schedule.updates_per_env_step=4"),
    ("replay_ratio=0.5", "schedule.updates_per_env_step=0.5"),
    ("epochs=2000", "schedule=per_round schedule.rounds=2000"),
    ("steps_per_epoch=256", "schedule=per_round schedule.updates_per_round=256"),
    ("num_trajectories=10", "schedule=per_round schedule.episodes_per_round=10"),
    ("test_epochs_freq=100", "schedule=per_round eval.every_rounds=100"),
    ("num_test_episodes=10", "eval.episodes=10"),
    ("test_seed=55", "eval.seed=55"),
    ("train_seed=42", "seed=42"),
    ("no_seed=true", "seed=null"),
    ("eval_freq=5000", "eval.every_env_steps=5000"),
    ("n_eval_episodes=5", "eval.episodes=5"),
    ("total_timesteps=1e6", "total_env_steps=1e6"),
    ("n_timesteps=1e6", "total_env_steps=1e6"),
    ("total_steps=1e6", "total_env_steps=1e6"),
    ("env_id=Hopper-v4", "env=custom env.id=Hopper-v4"),
    ("env_id=LunarLanderContinuous-v3", "env=lunarlander"),
    ("env_name=BipedalWalkerHardcore-v3", "env=bipedalwalker_hardcore"),
    ("num_envs=4", "env.num_envs=4"),
    ("n_envs=4", "env.num_envs=4"),
    ("eval.n_envs=4", "eval.num_envs=4"),
    ("max_episode_steps=500", "env.max_episode_steps=500"),
    ("cuda=True", "device=auto"),
    ("cuda=false", "device=cpu"),
    ("cuda=0", "device=cpu"),
    ("autotune=0", "alpha=fixed"),
    ("exp_name=mine", "run.name=mine"),
    ("env_kwargs={g: 5}", "'env.kwargs={g: 5}'"),
    ("save_freq=5000", "checkpoint.every_env_steps=5000"),
    ("tensorboard_log=there", "outputs=there"),
]


@pytest.mark.parametrize(("theirs", "ours"), THEIRS)
def test_names_that_others_use_are_answered_with_ours(theirs, ours):
    answer = find_faults(GROUPS, [theirs], DEFAULTS)[theirs]
    assert [*answer.instead] == (shlex.split(ours) if "{" not in ours else [ours.strip("'")])
    assert answer.text == f"unknown key {theirs.partition('=')[0]}; here it is {answer.meant}"


def test_each_of_several_values_is_written_as_here():
    answer = find_faults(GROUPS, ["polyak=0.99,0.995"], DEFAULTS)["polyak=0.99,0.995"]
    assert answer.instead == ("-m", "agent.tau=0.01,0.005")


@pytest.mark.parametrize("arguments", ["lr=1e-3 hydra/launcher=slrum", "ent_coef=0.2 target_entropy=auto"])
def test_an_answer_that_does_not_compose_brings_no_faults_of_its_own(arguments):
    answer = train(*arguments.split())
    assert answer.code == 2 and "here it is" in answer.err and "missing" not in answer.err


def test_values_of_a_function_are_not_counted():
    answer = find_faults(GROUPS, ["seed=range(0,5)"], DEFAULTS)["seed=range(0,5)"]
    assert "names several settings" in answer.text and answer.instead == ("-m", "seed=range(0,5)")


def test_the_answers_to_names_that_others_use_compose():
    by_choice = defaultdict(dict)
    for _, ours in THEIRS:
        first, *more = shlex.split(ours)
        choice = first if first.partition("=")[0] in GROUPS else ""
        by_choice[choice] |= dict(setting.split("=", 1) for setting in (more if choice else [first]))
    for choice, settings_ in by_choice.items():
        compose_config([*filter(None, [choice]), *(f"{key}={value}" for key, value in settings_.items())])


def test_every_name_that_others_use_has_a_row_above():
    assert {row[0].partition("=")[0] for row in THEIRS} | {"alpha"} == set(SYNONYMS)  # of agent.alpha; alpha is a group
    assert set(SYNONYMS.values()) <= {*schema_keys(), *GROUPS}


def test_a_name_of_others_is_known_within_a_group_too():
    answers = find_faults(GROUPS, ["agent.learning_starts=5", "alpha.ent_coef=0.5"], DEFAULTS)
    assert [answer.instead for answer in answers.values()] == [
        ("schedule.warmup_env_steps=5",),
        ("alpha=fixed", "alpha.value=0.5"),
    ]


@pytest.mark.parametrize(
    ("scripts", "name"), [("scripts", "scripts/train"), ("/a b/scripts", "'/a b/scripts'/train"), (None, "sac-train")]
)
def test_hints_print_the_form_of_the_command_that_was_typed(scripts, name, monkeypatch):
    if scripts:
        monkeypatch.setenv("SAC_SCRIPTS", scripts)
    else:
        monkeypatch.delenv("SAC_SCRIPTS", raising=False)
    assert f"try: {name} agent.lr=3" in refused("agent.lrr=3")
    assert f"try: {name} -m seed=1,2" in refused("seeds=1,2")
    assert f"try: {name} seed=3" in refused("--seed=3")


@pytest.mark.parametrize(
    ("remedy", "whole"),
    [
        ("sac-train device=auto", "sac-train seed=1 device=auto -m"),
        ("sac-train device=auto   # if it is so", "sac-train seed=1 device=auto -m   # if it is so"),
        ("sac-train env.flatten_dict=true", "sac-train seed=1 device=b -m env.flatten_dict=true"),
        ("sac-train replay.capacity=9 ...", "sac-train seed=1 device=b -m replay.capacity=9"),
        ("sac-train init_from=run ...", "sac-train init_from=run ..."),
        ("sac-train resume=SWEEP", "sac-train resume=SWEEP"),
        ("sac-train env=pendulum, or name a run by its path", "sac-train env=pendulum, or name a run by its path"),
        ("another network", "another network"),
        (None, None),
    ],
)
def test_a_remedy_that_is_settings_keeps_what_was_typed(remedy, whole):
    assert in_the_command(remedy, ["device=a", "seed=1", "device=b", "-m"]) == whole


def test_a_remedy_that_is_of_one_of_several_values_stays_by_itself():
    remedy = "sac-train device=auto ..."  # in place of which of them is not known
    assert in_the_command(remedy, ["device=a,b", "-m"]) == remedy


def test_lists_of_a_sweep_stay_as_they_are_typed():
    refused(
        "-m agent.hidden_sizes=[8],[64] agent.tau=7", "try: sac-train -m 'agent.hidden_sizes=[8],[64]' agent.tau=0.1\n"
    )


def test_a_sweep_whose_seeds_are_named_twice_is_told_of_one_way():
    refused("-m seed=0,1 seeds=3", "both name", "try: sac-train -m seed=0,1\n")


def test_resume_of_a_damaged_run_is_wrong_input(elsewhere):
    run = RunDirectory(elsewhere / "outputs" / "runs" / "pendulum" / "20260101-000000_s0")
    run.path.mkdir(parents=True)
    run.write_start("env: [", {})
    refused("resume=last", "config.yaml can't be read as a config: ")
    run.write_start("env: {name: x}", {})
    refused("resume=last", "agent is missing", "env.id is missing")


def test_choices_of_ones_own_are_known(elsewhere):
    (elsewhere / "my_conf" / "alpha").mkdir(parents=True)
    (elsewhere / "my_conf" / "alpha" / "mine.yaml").write_text("mode: fixed\nvalue: 0.7\n")
    for folder in ("--config-dir my_conf", "--config-dir=my_conf", "-cd my_conf"):
        text = refused(f"{folder} alpha=min")
        assert "alpha can be annealed, auto, fixed, fixed_0.05, mine" in text and "alpha=mine" in text
    refused("alpha=mine agent.lrr=3 --config-dir my_conf", "unknown key agent.lrr")
    (elsewhere / "my_conf" / "experiment" / "sub").mkdir(parents=True)
    (elsewhere / "my_conf" / "experiment" / "sub" / "deep.yaml").write_text("# @package _global_\nseed: 3\n")
    said = refused("--config-dir my_conf experiment=sub/deep agent.lrr=3")
    assert said.endswith("try: sac-train --config-dir my_conf experiment=sub/deep agent.lr=3\n")
    (elsewhere / "my_conf" / "alpha" / "mine.yaml").write_text("mode: [1\nvalue: 0.7\n")
    refused("alpha=mine --config-dir my_conf", "my_conf/alpha/mine.yaml, line 2, is no YAML: expected")


@pytest.fixture
def files(elsewhere):
    """Writes files of a config folder of one's own, of which each is named with its text."""

    def write(**texts):
        for name, text in texts.items():
            file = elsewhere / "my_conf" / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".yaml").write_text(text)

    return write


def test_the_mode_of_a_choice_of_ones_own_is_known(files):
    files(alpha__gentle="defaults: [fixed]\n")
    own = "--config-dir my_conf alpha"
    refused(
        f"{own}=gentle alpha.value=0.1 agent.lrr=3", "unknown key agent.lrr\n", "alpha=gentle alpha.value=0.1 agent."
    )
    refused(f"{own}=gentl alpha.value=0.1", "can be annealed", f"try: sac-train {own}=gentle alpha.value=0.1\n")
    refused(f"{own}=gentle alpha.lr=1", "this run has alpha=gentle\n", f"try: sac-train {own}=gentle\n")


def test_an_environment_that_a_file_puts_under_the_tuned_values_of_another_is_refused(files):
    files(
        experiment__known="# @package _global_\nenv: {id: Pendulum-v1}\n",
        experiment__own="# @package _global_\nenv: {id: 'a:Mine-v0'}\n",
        experiment__right="# @package _global_\ndefaults: [override /env: custom]\nenv: {id: Pendulum-v1}\n",
        env__mine="defaults: [pendulum, _self_]\nid: a:Other-v0\n",
        env__global="# @package _global_\nenv: {id: Pendulum-v1}\n",
        env__notes="- no\n- mapping\n",
    )
    for name, remedy in ("known", "env=pendulum"), ("own", "env=custom env.id=a:Mine-v0"):
        said = refused(
            f"--config-dir my_conf experiment={name}", "not for env.id=", f"in my_conf/experiment/{name}.yaml"
        )
        assert said.endswith(f"try: sac-train --config-dir my_conf experiment={name} {remedy}\n")
    refused("--config-dir my_conf env=pendulum env.id=Ant-v5", "my_conf env=ant\n")
    refused("resume=x env.id=Pendulum-v1", "there are no runs in outputs/")
    with pytest.raises(WrongInput, match="not for env.id=Pendulum-v1"):
        compose_config(["env.id=Pendulum-v1"])
    custom = "env=custom env.id=Pendulum-v1 env.name=hopper"
    right = ["env.id=LunarLanderContinuous-v3", custom, "experiment=right", "experiment=known env=custom", "env=global"]
    right += ["env=hopper env.id=Hopper-v4", "env=pendulum env.id=my.own:Pendulum-v1"]  # the same world
    right += ["env=mine env.id=Pendulum-v1"]  # nothing is tuned for it
    for line in right:
        jobs = []
        from_command_line(["-cd", "my_conf", *line.split()], lambda job: jobs.append(job) or 0.0, lambda: None)  # noqa: B023
        assert len(jobs) == 1
    refused(
        "-m env=pendulum,hopper env.id=Pendulum-v1", "env=hopper is tuned for Hopper-v5, not for env.id=Pendulum-v1"
    )
    refused("--config-dir my_conf experiment=known seeds=2", "not for env.id=Pendulum-v1")


def test_what_is_wrong_with_a_file_of_ones_own_is_said_in_its_words(files):
    files(
        experiment__no_package="defaults: [override /env: pendulum]\n",
        experiment__no_package2="agent: {lr: 1}\n",
        experiment__no_override="# @package _global_\ndefaults: [env: custom]\n",
        experiment__group="# @package _global_\nagnet: {lr: 1}\n",
    )
    own = "--config-dir my_conf experiment"
    refused(f"{own}=no_package", "experiment/no_package.yaml needs this as its first line: # @package _global_")
    refused(
        f"{own}=no_package2", "(in my_conf/experiment/no_package2.yaml; its first line must be # @package _global_)"
    )
    refused(f"{own}=no_override", "has env: custom in its defaults: write override /env: custom")
    refused(f"{own}=group", "unknown key agnet (in my_conf/experiment/group.yaml; the nearest is agent)")
    refused("--config-dir nope experiment=group", "error: --config-dir ", "/nope is not a folder\n")


def test_what_is_wrong_with_the_sweep_of_a_file_is_said_with_the_files_name(files):
    def params(**values):
        return f"# @package _global_\nhydra: {{sweeper: {{params: {json.dumps(values)}}}}}\n"

    files(
        sweep__key=params(**{"agent.lrr": "1e-3,3e-3"}),
        sweep__choice=params(alpha="autoo,fixed"),
        sweep__other=params(**{"agent.lr": "1e-3,3e-3", "alpha.value": "0.1,0.2"}),
        sweep__value=params(**{"agent.lr": "1e-3,x"}),
        experiment__grid=params(**{"agent.lrr": "1e-3,3e-3"}),
    )
    own = "--config-dir my_conf env=pendulum"
    refused(f"{own} sweep=key", "unknown key agent.lrr (in my_conf/sweep/key.yaml; the nearest is agent.lr)\n")
    refused(
        f"{own} sweep=choice", "alpha=autoo does not exist; alpha can be annealed, ", "(in my_conf/sweep/choice.yaml)\n"
    )
    refused(
        f"{own} sweep=other",
        "alpha.value is a key of alpha=fixed; this run has alpha=auto (in my_conf/sweep/other.yaml)",
    )
    refused(
        f"{own} -m experiment=grid",
        "unknown key agent.lrr (in my_conf/experiment/grid.yaml; the nearest is agent.lr)\n",
    )
    assert "try:" not in refused(f"{own} sweep=value", "agent.lr=x must be a number\n")
    refused(f"{own} sweep=key seedd=3", "unknown key seedd", "try: sac-train ")


@pytest.mark.parametrize("group", ["eval", "replay", "agent", "run", "stop", "schedule", "env", "alpha"])
def test_a_group_that_is_taken_away_is_missing(group):
    said = refused(f"~{group} env=pendulum" if group != "env" else "~env")
    assert f"error: {group} is missing\n" == said or f"error: ~{group}: a group has a choice; " in said


def test_a_value_of_a_file_is_named_with_it(elsewhere):
    def says(command, *words):
        text = refused(f"{command} --config-dir my_conf", *words)
        assert text.count(" must be ") + text.count("unknown key") + text.count(" is missing") == len(words)
        return text

    for file, lines in {
        "env/mine": "id: Pendulum-v1\nnum_env: 4\n",
        "experiment/key": "# @package _global_\nagent: {lrr: 3e-4, tau: 0.5}\nnew: {group: {x: 1}}\n",
        "experiment/value": "# @package _global_\nagent: {lr: abc}\n",
        "experiment/built": "# @package _global_\ndefaults: [base, _self_]\nagent: {tau: 0.5}\n",
        "experiment/base": "# @package _global_\nagent: {lr: abc, tau: x}\neval: {episodes: many}\n",
        "alpha/none": "mode: fixed\n",
        "alpha/low": "# @package alpha\nmode: fixed\nvalue: -1\n",
        "alpha/low2": "mode: fixed\nvalue: ${agent.tau}x\n",
        "sweep/mine": "# @package _global_\nagent: {lr: xyz}\n",
    }.items():
        (elsewhere / "my_conf" / file).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / "my_conf" / f"{file}.yaml").write_text(lines)
    says("env=mine env.name=x", "unknown key env.num_env (in my_conf/env/mine.yaml; the nearest is env.num_envs)")
    says("alpha=none", "alpha.value is missing (in my_conf/alpha/none.yaml)")
    says(
        "experiment=key agent.gamma=2",
        "unknown key new (in my_conf/experiment/key.yaml)",
        "unknown key agent.lrr (in my_conf/experiment/key.yaml; the nearest is agent.lr)",
        "agent.gamma=2 must be at least 0 and at most 1",
    )
    says("experiment=value", "error: agent.lr=abc must be a number (in my_conf/experiment/value.yaml)\n")
    base = "(in my_conf/experiment/base.yaml)"
    says(
        "experiment=built", f"agent.lr=abc must be a number {base}", f"eval.episodes=many must be a whole number {base}"
    )
    says("experiment=value agent.lr=1e-3 alpha=low", "alpha.value=-1 must be at least 0 (in my_conf/alpha/low.yaml)")
    says("experiment=value agent.lr=no", "error: agent.lr=no must be a number\n")
    says("experiment=value agent.lr=1e-3 'env={num_envs: abc}'", "error: env.num_envs=abc must be a whole number")
    says("experiment=value sweep=mine -m", "agent.lr=xyz must be a number (in my_conf/sweep/mine.yaml)")
    says("alpha=low2", "alpha.value=0.1x must be a number (in ")
    (elsewhere / "my_conf").rename(elsewhere.parent / "it's mine")
    away = elsewhere.parent / "it's mine"
    named = f"error: agent.lr=abc must be a number (in {away}/experiment/value.yaml)\n"
    assert refused(f"experiment=value --config-dir {shlex.quote(str(away))}") == named


def test_a_key_of_a_file_that_another_choice_has_is_said_to_be_of_that(files):
    files(experiment__quick="# @package _global_\nschedule: {warmup_env_steps: 200}\n")
    said = refused("--config-dir my_conf experiment=quick schedule=per_round dry_run=true")
    assert said == (
        "error: schedule.warmup_env_steps is a key of schedule=per_step; this run has schedule=per_round "
        "(in my_conf/experiment/quick.yaml)\n"
    )


def test_a_value_of_the_main_file_is_named_with_it(elsewhere, tmp_path, monkeypatch):
    conf = shutil.copytree(CONF, elsewhere / "conf")
    monkeypatch.setattr("sac_runner.config.compose.CONF", conf)
    main = conf / "config.yaml"
    text = main.read_text()
    main.write_text(text.replace("batch_size: 256", "batch_size: x") + "fooo: 1\n")
    (conf / "experiment" / "mine.yaml").write_text("# @package _global_\nbaar: 1\n")
    said = refused("env=pendulum experiment=mine")
    assert "replay.batch_size=x must be a whole number (in conf/config.yaml)" in said
    assert "unknown key fooo (in conf/config.yaml" in said and "unknown key baar (in conf/experiment/mine.yaml" in said


def test_an_explanation_is_of_the_files_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("sac_runner.config.compose.CONF", shutil.copytree(CONF, tmp_path / "conf"))
    for gamma in (7, 8):
        (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"# @package _global_\nagent: {{gamma: {gamma}}}\n")
        with pytest.raises(WrongInput, match=f"agent.gamma={gamma} must be"):
            compose_config(["experiment=mine", "agent.tau=7"])


def test_a_fault_in_one_job_stops_a_sweep_before_anything_is_made(elsewhere):
    refused(" ".join(["-m", *TINY, "agent.tau=0.01,7"]), "agent.tau=7", "agent.tau=7 must be above 0 and at most 1")
    refused(
        " ".join(["-m", *TINY, "agent.tauu=0.01,7"]), "unknown key agent.tauu", "-m env=pendulum ", " agent.tau=0.01,7"
    )
    assert everything_in(elsewhere) == {}


WORD = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)
KEY = st.sampled_from([*schema_keys(), *SYNONYMS, *GROUPS]) | WORD


@given(KEY, WORD, st.booleans(), st.booleans())
@example("", "", True, False)
@example("schedule.warmup_env_steps", "9", True, False)
@example("schedule.mode", "", True, False)
def test_explaining_never_fails_and_names_what_was_typed(key, value, equals, sweeps):
    override = f"{key}={value}" if equals else key
    rounds = {"schedule": "per_round", "schedule.mode": "per_round"}
    for choices in ({}, DEFAULTS, {"alpha": "fixed_0.05", "alpha.mode": "fixed", **rounds}):
        answers = find_faults(GROUPS, [override], choices, sweeps)
        for answer in answers.values():
            assert key.lstrip("+~").partition("=")[0].partition("@")[0] in answer.text
        assert not answers or mended(answers, [override], {}, lambda _: {}) != [override]
        line = CommandLine([override], CONF, lambda *_, choices=choices: ({}, choices), lambda *_: [])
        try:
            rewrite([override])
        except WrongInput:  # said before Hydra reads it
            continue
        refusal = line.explained(ValueError(f"about {override}\nand more"))
        assert len(str(refusal).splitlines()) <= 3
        assert key.lstrip("+~").partition("=")[0].partition("@")[0] in refusal.message
        assert f"there is no option --{key}" in line.of_options([f"--{key}"]).message


@settings(max_examples=15)
@given(
    st.sampled_from(sorted(schema_keys())), st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=6)
)
def test_any_override_composes_or_is_wrong_input(key, text):
    try:
        compose_config([f"{key}={text}"])
    except WrongInput as e:
        assert key.split(".")[0] in str(e)
