"""What other codebases call our keys, and how they write their values."""

from sac_runner.errors import command

# Names that SB3, CleanRL, Spinning Up and the tutorial use -> ours.
SYNONYMS = {
    "learning_starts": "schedule.warmup_env_steps",
    "start_steps": "schedule.warmup_env_steps",
    "ent_coef": "alpha.value",
    "entropy_weight": "alpha.value",
    "policy_lr": "agent.actor_lr",
    "pi_lr": "agent.actor_lr",
    "q_lr": "agent.critic_lr",
    "qf_learning_rate": "agent.critic_lr",
    "learning_rate": "agent.lr",
    "lr": "agent.lr",
    "alpha": "alpha.value",
    "alpha_lr": "alpha.lr",
    "alpha.learning_rate": "alpha.lr",
    "alpha.final": "alpha.end",
    "alpha.final_value": "alpha.end",
    "lr_decay": "agent.lr_decay_env_steps",
    "target_entropy": "alpha.target_entropy",
    "gamma": "agent.gamma",
    "tau": "agent.tau",
    "polyak": "agent.tau",
    "net_arch": "agent.hidden_sizes",
    "hidden_sizes": "agent.hidden_sizes",
    "buffer_size": "replay.capacity",
    "replay_buffer_size": "replay.capacity",
    "replay_size": "replay.capacity",
    "batch_size": "replay.batch_size",
    "gradient_steps": "schedule.updates_per_env_step",
    "utd_ratio": "schedule.updates_per_env_step",
    "replay_ratio": "schedule.updates_per_env_step",
    "autotune": "alpha",
    "epochs": "schedule.rounds",
    "steps_per_epoch": "schedule.updates_per_round",
    "num_trajectories": "schedule.episodes_per_round",
    "test_epochs_freq": "eval.every_rounds",
    "num_test_episodes": "eval.episodes",
    "test_seed": "eval.seed",
    "train_seed": "seed",
    "no_seed": "seed",
    "eval_freq": "eval.every_env_steps",
    "n_eval_episodes": "eval.episodes",
    "total_timesteps": "total_env_steps",
    "n_timesteps": "total_env_steps",
    "total_steps": "total_env_steps",
    "env_id": "env.id",
    "env_name": "env.id",
    "eval.n_envs": "eval.num_envs",
    "num_envs": "env.num_envs",
    "n_envs": "env.num_envs",
    "max_episode_steps": "env.max_episode_steps",
    "cuda": "device",
    "exp_name": "run.name",
    "env_kwargs": "env.kwargs",
    "save_freq": "checkpoint.every_env_steps",
    "tensorboard_log": "outputs",
}

# Their names for what has no key here.
_NOT_HERE = {
    "best_test_reward": "the policy with the best mean of an evaluation is always kept",
    "action_noise": "the policy explores by its own randomness",
    "capture_video": "{record} makes videos of a run",
    "log_interval": "rows come by env steps, log.every_env_steps",
    "n_steps": "targets look one step ahead, as in the paper",
    "optimize_memory_usage": "an observation is kept once as it is",
    "policy": "there is one, a squashed Gaussian; its networks are agent.hidden_sizes and agent.activation",
    "policy_kwargs": "networks are agent.hidden_sizes and agent.activation",
    "track": "each run has its TensorBoard events and metrics.csv in its folder",
    "torch_deterministic": "runs are deterministic as they are",
    "policy_frequency": "each update is one of the critics, the actor and alpha",
    "train_freq": "schedule.updates_per_env_step is the ratio of updates to env steps",
    "target_network_frequency": "agent.tau is what each update moves the targets by",
    "target_update_interval": "agent.tau is what each update moves the targets by",
    "reward_scale": "rewards are learned from as they are; normalization=reward divides them by the spread of returns",
    "stats_window_size": "returns of training are means since the last row, log.every_env_steps",
    "use_sde": "exploration is drawn anew at each step, as in the paper",
    "verbose": "a run shows how far it is by itself",
}

# Their values that are written otherwise here: ours for theirs; None stands for any other.
VALUES: dict[str, dict[str | None, str]] = {
    "ent_coef": {"auto": "alpha=auto"},
    "alpha": {choice: f"alpha={choice}" for choice in ("auto", "fixed", "annealed")},
    "autotune": {"False": "alpha=fixed", "0": "alpha=fixed", None: "alpha=auto"},
    "gradient_steps": {"-1": "schedule.updates_per_env_step=1"},
    "lr_decay": {choice: f"agent.lr_schedule={choice}" for choice in ("linear", "constant")},
    "target_entropy": {"auto": "alpha.target_entropy_per_action_dim=-1"},
    "no_seed": {None: "seed=null"},
    "cuda": {"False": "device=cpu", "0": "device=cpu", None: "device=auto"},
}


def not_here(theirs: str) -> str | None:
    """What there is instead of ``theirs``, if that is a name for what has no key here."""
    words = _NOT_HERE.get("track" if theirs.startswith("wandb") else theirs)
    return words and words.format(record=command("record"))
