"""Every knob: its type, unit, range and source. Values live in ``conf/``; nothing here has a default."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from sac_runner.config.ranges import Count, NonNegative, Positive, PositiveInt, Share, Within

ABOUT_A_START = ("resume", "dry_run", "outputs", "run.")  # keys begin so that say how, or where the run lies
NOT_LEARNED = (
    *("total_env_steps", "schedule.rounds", "device", "threads", "compile_after_updates", "env.timeout_s"),
    *("log.", "eval.every_", "checkpoint.", "stop."),
)
"""Keys begin so that say how far a run goes, how it is watched and where it computes: not what it learns."""
OF_A_LINEAR_RATE = ("agent.lr_final_share", "agent.lr_decay_env_steps")


@dataclass(frozen=True)
class EnvConfig:
    """The environment, any Gymnasium id with a Box observation and a finite Box action space."""

    name: str | None
    """Folder under outputs/runs; null takes it from ``id``."""
    id: str | None
    """Gymnasium id; ``package:Env-v0`` imports ``package`` first, from the working directory too. Needed."""
    kwargs: dict[str, Any]
    """Passed to ``gymnasium.make``."""
    max_episode_steps: PositiveInt | None
    """Time limit in steps; null keeps the registered one."""
    num_envs: PositiveInt
    """Environments stepped side by side."""
    vectorization: Literal["sync", "async"]
    """``sync`` steps them in this process, ``async`` in a process each, those of evaluations too."""
    timeout_s: Positive | None
    """Seconds that a process of ``async`` may take for its start, a step or a reset; null waits for ever."""
    episode_seed: Literal["per_episode", "per_round"]
    """``per_episode`` gives every episode a seed of its own; ``per_round`` is the tutorial's ``seed + round``.

    With several environments a round is counted by episodes begun: some of the next one begin before it ends."""
    flatten_dict: bool
    """Accept a Dict observation by flattening it."""
    make_each_episode: bool
    """Make the environment anew for each episode: for worlds that outlive a reset (BipedalWalker)."""


@dataclass(frozen=True)
class AgentConfig:
    """Networks and the update. Sources: SAC v2 = arXiv 1812.05905v2, table 1."""

    hidden_sizes: tuple[PositiveInt, ...]
    """Units of each hidden layer, actor and critics alike. SAC v2: [256, 256]."""
    activation: Literal["relu", "leaky_relu", "tanh", "elu", "silu"]
    """SAC v2: relu. The tutorial: leaky_relu (slope 0.01)."""
    log_std_min: float
    """Lower clamp of the log standard deviation before tanh. Spinning Up: -20."""
    log_std_max: float
    """Upper clamp. Spinning Up: 2."""
    n_critics: PositiveInt
    """Critics whose minimum is taken. SAC v2: 2."""
    critic_layer_norm: bool
    """Layer norm before each critic activation (as DroQ, arXiv 2110.02034, without its dropout)."""
    lr: Positive
    """Adam step size shared by actor, critic and alpha unless one is set apart. SAC v2: 3e-4."""
    actor_lr: Positive
    """Adam step size of the actor."""
    critic_lr: Positive
    """Adam step size of the critics."""
    lr_schedule: Literal["constant", "linear"]
    """``linear`` falls from the start of the run to ``lr_final_share`` (actor and critics)."""
    lr_final_share: Share
    """Share of the learning rate that a linear schedule ends at."""
    lr_decay_env_steps: PositiveInt | None
    """Env steps over which a linear schedule falls."""
    max_grad_norm: Positive | None
    """Gradient norm above which actor and critic gradients are scaled down; null leaves them."""
    gamma: Share
    """Discount per env step. SAC v2: 0.99."""
    tau: Annotated[float, Within(above=0, high=1)]
    """Share of the new weights in a target update. SAC v2: 0.005."""
    bootstrap_at_time_limit: bool
    """False treats a time limit as the end of the world, as the tutorial does."""
    log_prob_epsilon: Positive | None
    """null: exact log-probability. The tutorial adds 1e-6 inside its logarithm."""


@dataclass(frozen=True)
class FixedAlphaConfig:
    """alpha=fixed."""

    mode: Literal["fixed"]
    value: NonNegative
    """Temperature, in reward per nat. Spinning Up: 0.2; the tutorial: 0.05."""


@dataclass(frozen=True)
class AutoAlphaConfig:
    """alpha=auto."""

    mode: Literal["auto"]
    initial: Positive
    """Temperature at the start, in reward per nat. The tutorial: 1."""
    lr: Positive
    """Adam step size on log(alpha)."""
    target_entropy: float | None
    """Entropy to hold, in nats of the action in [-1, 1]; null takes the next key."""
    target_entropy_per_action_dim: float
    """The same as a multiple of the action dimension. SAC v2: -1."""


@dataclass(frozen=True)
class AnnealedAlphaConfig:
    """alpha=annealed."""

    mode: Literal["annealed"]
    start: NonNegative
    """Temperature at step 0, in reward per nat."""
    end: NonNegative
    """Temperature from ``over_env_steps`` on."""
    over_env_steps: PositiveInt | None
    """Env steps over which alpha goes from start to end; null where there is no ``total_env_steps``, but needed."""


AlphaConfig = FixedAlphaConfig | AutoAlphaConfig | AnnealedAlphaConfig


@dataclass(frozen=True)
class NormalizationConfig:
    """Running normalization; statistics are saved with the weights."""

    obs: bool
    """Observations to mean 0 and variance 1."""
    reward: bool
    """Rewards divided by the running standard deviation of the discounted return."""
    obs_clip: Positive | None
    """Normalized observations are clipped to +- this; null leaves them."""
    reward_clip: Positive | None
    """Scaled rewards are clipped to +- this; null leaves them."""


@dataclass(frozen=True)
class PerStepConfig:
    """schedule=per_step: uniform random warm-up, then a fixed ratio of updates to env steps."""

    mode: Literal["per_step"]
    warmup_env_steps: Count
    """Env steps with uniform random actions before the first update. Spinning Up: 10,000."""
    updates_per_env_step: Positive
    """Updates per env step after the warm-up, whatever num_envs. SAC v2: 1."""


@dataclass(frozen=True)
class PerRoundConfig:
    """schedule=per_round: the tutorial's rounds of whole episodes, then updates."""

    mode: Literal["per_round"]
    rounds: PositiveInt
    """Rounds in the run, if ``total_env_steps`` does not end it before. The tutorial: 2000."""
    episodes_per_round: PositiveInt
    """Episodes collected in a round. The tutorial: 10."""
    updates_per_round: PositiveInt
    """Updates after them. The tutorial: 256."""


ScheduleConfig = PerStepConfig | PerRoundConfig


@dataclass(frozen=True)
class ReplayConfig:
    """The replay buffer."""

    capacity: PositiveInt
    """Transitions kept. SAC v2: 1e6."""
    batch_size: PositiveInt
    """Transitions in an update. SAC v2: 256."""


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation, in environments of its own; it changes no bit of the training."""

    every_env_steps: PositiveInt | None
    """Env steps between evaluations; null: only at the start and the end (or by rounds)."""
    every_rounds: PositiveInt | None
    """Rounds between evaluations, for schedule=per_round."""
    episodes: PositiveInt
    """Episodes in an evaluation."""
    deterministic: bool
    """True acts with tanh(mean), false samples."""
    seed: Count
    """Episode i is reset with ``seed + i``, in every evaluation of every run."""
    num_envs: PositiveInt
    """Environments, and so the constant batch size, of an evaluation: all step until its last episode has ended."""
    max_episode_steps: PositiveInt | None
    """Time limit in steps of evaluation, watching and recording; null keeps the registered one."""


@dataclass(frozen=True)
class CheckpointConfig:
    """What is saved, and how often. The best policy is always kept."""

    every_env_steps: PositiveInt
    """Env steps between checkpoints to continue from."""
    every_minutes: Positive | None
    """Minutes after which one is due anyhow; null counts env steps alone."""
    keep_every_env_steps: PositiveInt | None
    """Also keep the policy at each multiple of this; null keeps best and latest only."""
    keep_replay: Literal["always", "until_finished", "never"]
    """Whether the replay buffer stays on disk."""


@dataclass(frozen=True)
class LogConfig:
    """TensorBoard and metrics.csv."""

    every_env_steps: PositiveInt
    """Env steps between rows."""


@dataclass(frozen=True)
class StopConfig:
    """Reasons to end a run early."""

    max_minutes: Positive | None
    """Minutes that this start of the run trains, from its first step on; evaluations at its start and end come on top.
    A run that it ended is finished for a sweep; ``resume=RUN`` goes on with it."""
    at_return: float | None
    """Mean return of an evaluation, after the warm-up, at which the run counts as done."""


@dataclass(frozen=True)
class RunConfig:
    """Where the run goes."""

    dir: str | None
    """The run directory itself; null makes one under ``outputs``. By name it is found as runs/X or runs/X/Y alone."""
    name: str | None
    """Replaces the list of overrides in the directory's name, of a sweep the swept keys."""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    env: EnvConfig
    agent: AgentConfig
    alpha: AlphaConfig
    normalization: NormalizationConfig
    schedule: ScheduleConfig
    replay: ReplayConfig
    eval: EvalConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    stop: StopConfig
    run: RunConfig
    seed: Count | None
    """Root of all randomness but evaluation's; null draws one and records it."""
    total_env_steps: PositiveInt | None
    """Env steps in the run; null, for schedule=per_round, ends it by rounds alone."""
    device: str
    """auto, cpu, cuda or cuda:N."""
    threads: Annotated[int, Within(low=1, high=1024)] | Literal["auto"]
    """CPU threads of PyTorch."""
    precision: Literal["highest", "medium"]
    """Of the products of updates: float32, or with ``medium`` bfloat16 where layers are wide."""
    compile_after_updates: Count | None
    """Updates before the rest are compiled into one function; null compiles none. What compiling takes, 20 to 30 s,
    from a cache some 5, comes back within 5,000 to 20,000 updates more."""
    outputs: str
    """Folder of all runs and sweeps; the environment variable SAC_OUTPUTS sets it too."""
    resume: str | None
    """Run to continue or sweep to finish: a path, a unique part of its name, or ``last``."""
    init_from: str | None
    """Run whose newest weights and statistics a new run starts from; alpha, Adam's moments and replay start new."""
    dry_run: bool
    """Say what would run, and run nothing."""

    @property
    def transitions(self) -> int:
        """What the replay buffer comes to hold."""
        return min(self.replay.capacity, self.total_env_steps or self.replay.capacity)
