"""Bugs of the loop in ``sac_runner/training``: name, file, text there, text instead, the test that turns red."""

SCHEDULE = "sac_runner/training/schedule.py"
STATE = "sac_runner/training/state.py"
RANDOMNESS = "sac_runner/training/randomness.py"
TRAINER = "sac_runner/training/trainer.py"
OF_RESUMES = "tests/training/test_resume.py::test_being_stopped_at_any_step_changes_nothing"
OF_SIGNALS = "tests/training/test_resume.py::test_a_run_may_end_wherever_it_heeds_a_signal"
OF_EXTENSION = "tests/training/test_resume.py::test_an_extended_run_is_the_longer_run"
OF_FAULTS = "tests/training/test_faults.py::test_"
EVALUATION = "sac_runner/training/evaluation.py"
RECORD = "sac_runner/training/record.py"
OF_TRAINER = "tests/training/test_trainer.py::test_"
OF_RANDOMNESS = "tests/training/test_randomness.py::test_"

LOOP = [
    (
        "what a step still owes of an update is lost",
        SCHEDULE,
        "return owed - counters.updates",
        "return math.floor(ratio) if owed else 0",
        "tests/training/test_schedule.py::test_updates_follow_the_ratio",
    ),
    (
        "truncated goes into the buffer as terminated",
        TRAINER,
        "self.replay.add(step.action, step.reward, step.terminated,",
        "self.replay.add(step.action, step.reward, step.done,",
        f"{OF_TRAINER}the_replay_buffer_holds_what_the_environments_did",
    ),
    (
        "a step of several environments counts as one",
        TRAINER,
        "self.counters.env_steps += len(step.reward)",
        "self.counters.env_steps += 1",
        f"{OF_TRAINER}the_replay_buffer_holds_what_the_environments_did",
    ),
    (
        "a time limit bootstraps whatever is asked",
        TRAINER,
        "replay, bootstraps = config.replay, config.agent.bootstrap_at_time_limit",
        "replay, bootstraps = config.replay, True",
        f"{OF_TRAINER}a_time_limit_bootstraps_unless_told_otherwise",
    ),
    (
        "a time limit does not end a discounted return",
        TRAINER,
        "step.reward, step.done)",
        "step.reward, step.terminated)",
        f"{OF_TRAINER}statistics_are_of_every_frame_and_of_every_return_once",
    ),
    (
        "the statistics miss where a run begins",
        TRAINER,
        "        self.agent.begin(list(range(config.env.num_envs)), self.collector.obs)\n",
        "",
        f"{OF_TRAINER}statistics_are_of_every_frame_and_of_every_return_once",
    ),
    (
        "training acts without noise",
        TRAINER,
        "self.agent.policy.act(obs, self.streams.acting.standard_normal(shape, np.float32))",
        "self.agent.policy.act(obs)",
        f"{OF_TRAINER}actions_are_uniform_in_the_warm_up_and_then_drawn_from_the_policy",
    ),
    (
        "the warm-up tries half of the actions",
        TRAINER,
        "warmup.uniform(-1.0, 1.0, shape)",
        "warmup.uniform(0.0, 1.0, shape)",
        f"{OF_TRAINER}actions_are_uniform_in_the_warm_up_and_then_drawn_from_the_policy",
    ),
    (
        "an update draws one noise for both of its actions",
        "sac_runner/training/learner.py",
        "self._noise = UpdateNoise(*(self._outbox.there if self._outbox else noise))",
        "self._noise = UpdateNoise(noise[0], noise[0])",
        f"{OF_TRAINER}every_update_draws_noise_of_its_own_for_both_of_its_actions",
    ),
    (
        "rounds of several environments count their episodes once",
        TRAINER,
        "of_all // schedule.episodes_per_round",
        "episode // schedule.episodes_per_round",
        f"{OF_TRAINER}every_episode_of_a_round_has_the_seed_of_its_round",
    ),
    (
        "nothing follows the env steps",
        TRAINER,
        "            self.agent.set_env_step(counters.env_steps)\n",
        "            pass\n",
        f"{OF_TRAINER}what_changes_with_time_follows_the_env_steps",
    ),
]

CHANCE = [
    (
        "all runs draw what seed 0 draws",
        TRAINER,
        "Streams(self.seed)",
        "Streams(0)",
        f"{OF_TRAINER}everything_random_in_a_run_follows_its_seed",
    ),
    (
        "all runs have the episodes of seed 0",
        TRAINER,
        "episode_seed(self.seed,",
        "episode_seed(0,",
        f"{OF_TRAINER}everything_random_in_a_run_follows_its_seed",
    ),
    (
        "all environments have the same episodes",
        RANDOMNESS,
        "_sequence(root, _EPISODES, env, episode)",
        "_sequence(root, _EPISODES, episode)",
        f"{OF_RANDOMNESS}episode_seeds_are_reproducible_and_all_different",
    ),
    (
        "evaluation draws the noise of training",
        RANDOMNESS,
        "_sequence(seed, _EVALUATION)",
        "_sequence(seed, _ACTING)",
        f"{OF_RANDOMNESS}every_use_of_randomness_has_a_stream_of_its_own",
    ),
    (
        "the generator of the replay buffer is not restored",
        RANDOMNESS,
        "            stream.bit_generator.state = state[name]\n",
        '            if name != "replay":\n                stream.bit_generator.state = state[name]\n',
        f"{OF_RANDOMNESS}state_continues_after_a_trip_through_json",
    ),
    (
        "the warm-up is repeated after a resume",
        STATE,
        'vars(self.counters).update(plain["counters"])',
        'vars(self.counters).update(plain["counters"] | {"env_steps": 0})',
        OF_RESUMES,
    ),
    (
        "updates made before a resume are owed again",
        STATE,
        'vars(self.counters).update(plain["counters"])',
        'vars(self.counters).update(plain["counters"] | {"updates": 0})',
        OF_RESUMES,
    ),
    (
        "an episode cut short goes on in the buffer",
        STATE,
        "            self.replay.truncate_last(env)\n",
        "            pass\n",
        "tests/training/test_state.py",
    ),
    (
        "an episode cut short goes on for the statistics",
        STATE,
        "            self.agent.begin(cut, self.collector.obs[cut])\n",
        "",
        "tests/training/test_state.py",
    ),
]

ENDINGS = [
    (
        "an evaluation hears no signal",
        EVALUATION,
        "        if stop_requested():\n            raise Interrupted\n",
        "",
        OF_SIGNALS,
    ),
    (
        "updates hear no signal",
        TRAINER,
        "            if i > 0 and self._stop_requested():\n                return False\n",
        "",
        OF_SIGNALS,
    ),
    (
        "a round that a signal cut off after its updates makes those of the next one",
        TRAINER,
        "        if self.counters.rounds == before.rounds:  # else its updates are made\n            self._learn()\n",
        "        self._learn()\n",
        OF_SIGNALS,
    ),
    (
        "a run that kept no buffer goes on with an empty one",
        RECORD,
        "if self._has_replay and (keep",
        "if (keep",
        "tests/training/test_resume.py::test_a_signal_in_an_end_that_is_made_up_for_brings_no_buffer_back",
    ),
    (
        "the best policy of an end is lost",
        RECORD,
        "        recovery.keep_best_of_an_end(self.run, self._ended_at, self._needed_bests())\n",
        "",
        OF_EXTENSION,
    ),
    (
        "a run that is over and started again has another end",
        RECORD,
        'None if self.ending(at) else kept.get("ended_at")',
        'kept.get("ended_at")',
        "tests/training/test_resume.py::test_the_best_policy_of_an_end_is_kept_once_the_disk_takes_it",
    ),
    (
        "the seconds of an end do not count where the run goes on",
        RECORD,
        '(self._before_the_end or self._state_dict()) | {"wall_time_s": self.pace.wall_time}',
        "self._before_the_end or self._state_dict()",
        "tests/training/test_record.py::test_the_time_of_an_end_counts_where_the_run_goes_on",
    ),
    (
        "a policy that does not fit is tried again at every turn",
        TRAINER,
        "            elif not self._policies_wait:\n",
        "            else:\n",
        f"{OF_FAULTS}a_policy_that_does_not_fit_waits_for_the_next_checkpoint",
    ),
    (
        "the updates of a round that a signal cut off are made again",
        SCHEDULE,
        "return by_its_end - counters.updates if",
        "return schedule.updates_per_round if",
        OF_SIGNALS,
    ),
    (
        "the turn that a signal cut off is not finished",
        TRAINER,
        "        if self.state.turn is not None:",
        "        if self.state.turn is None and self.counters.env_steps < 0:",
        OF_SIGNALS,
    ),
    (
        "the rows of a step come twice after a kill",
        "sac_runner/storage/metrics_file.py",
        "[: written.rows]",
        "",
        "tests/storage/test_metrics_file.py::test_rows_of_the_checkpoints_own_step_are_dropped_where_they_came_after_it",
    ),
    (
        "the curve keeps what came after its checkpoint in the same step",
        "sac_runner/storage/events.py",
        "max(env_steps, 0)",
        "max(env_steps + 1, 0)",
        OF_SIGNALS,
    ),
    (
        "a longer run keeps the scores of its first end",
        RECORD,
        "self._before_the_end or self._state_dict()",
        "self._state_dict()",
        OF_EXTENSION,
    ),
    (
        "a longer run misses the best policy of before its first end",
        RECORD,
        'known = [self.scores, (self._before_the_end or {}).get("scores", {})]',
        "known = [self.scores]",
        OF_EXTENSION,
    ),
    (
        "once it is due a checkpoint by the clock is always due",
        TRAINER,
        "                self._saved_at = time.monotonic()\n                self.record",
        "                self.record",
        f"{OF_FAULTS}the_clock_of_checkpoints_begins_anew_at_each_of_them",
    ),
    (
        "the minutes between checkpoints are seconds",
        TRAINER,
        "self._saved_at + 60 * minutes",
        "self._saved_at + minutes",
        f"{OF_FAULTS}the_clock_of_checkpoints_begins_anew_at_each_of_them",
    ),
    (
        "a run that its minutes end keeps no buffer to go on with",
        TRAINER,
        "in (Ending.FINISHED, Ending.AT_RETURN)",
        "in (Ending.FINISHED, Ending.AT_RETURN, Ending.MAX_MINUTES)",
        f"{OF_TRAINER}a_run_that_its_minutes_end_keeps_the_buffer_that_it_goes_on_with",
    ),
    (
        "the minutes of a run are seconds",
        TRAINER,
        "time.monotonic() + 60 * minutes",
        "time.monotonic() + minutes",
        f"{OF_FAULTS}a_run_ends_after_its_minutes",
    ),
    (
        "an episode that was cut is whole after the next resume",
        RECORD,
        "            self._replay.forget_newest()\n",
        "            pass\n",
        "tests/training/test_resume.py::test_an_episode_that_can_not_be_played_again_is_cut_short_and_said_so",
    ),
    (
        "a return that is just what was asked for ends nothing",
        SCHEDULE,
        "mean_return >= level",
        "mean_return > level",
        "tests/training/test_schedule.py::test_a_return_that_is_just_what_was_asked_for_ends_a_run",
    ),
    (
        "the time of compiling counts as that of updates",
        TRAINER,
        "with self.record.pace.paused() if self.learner.updater.is_due(made) else contextlib.nullcontext():",
        "with contextlib.nullcontext():",
        f"{OF_TRAINER}the_speed_of_a_row_leaves_compiling_out",
    ),
    (
        "an evaluation that only the end brought ends the longer run",
        "sac_runner/training/report.py",
        "judged = _before_the_end(run) or final",
        "judged = final",
        f"{OF_TRAINER}a_run_that_was_good_enough_at_its_end_goes_on_by_what_is_offered",
    ),
    (
        "a policy that does not fit counts as a failed checkpoint",
        TRAINER,
        "self._failed_saves += everything",
        "self._failed_saves += 1",
        f"{OF_FAULTS}a_policy_that_does_not_fit_is_no_failed_checkpoint",
    ),
]
