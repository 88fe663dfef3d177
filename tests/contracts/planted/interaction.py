"""Bugs of ``sac_runner/interaction``: name, file, text there, text instead, the test that turns red."""

REPLAY = "sac_runner/interaction/replay.py"
COLLECTOR = "sac_runner/interaction/collector.py"
TRANSCRIPT = "sac_runner/interaction/transcript.py"
OF_REPLAY = "tests/interaction/test_replay.py::test_"
OF_COLLECTOR = "tests/interaction/test_collector.py::test_"
OF_TRANSCRIPT = "tests/interaction/test_transcript.py::test_"

BUFFER = [
    (
        "the ring has no row for the newest successor",
        REPLAY,
        "slots = self.rows + 1",
        "slots = self.rows",
        f"{OF_REPLAY}exactly_the_newest_transitions_can_be_sampled",
    ),
    (
        "the row at the ring's head is drawn too",
        REPLAY,
        "held = min(added, self.rows) * num_envs",
        "held = min(added, len(self.obs)) * num_envs",
        f"{OF_REPLAY}a_real_generator_reaches_every_transition_across_the_rings_head_and_none_else",
    ),
    (
        "an episode's last transition leads to the reset",
        REPLAY,
        "        next_obs[ended] = self.final_obs[final[ended]]\n",
        "",
        f"{OF_REPLAY}exactly_the_newest_transitions_can_be_sampled",
    ),
    (
        "truncated is stored as terminated",
        REPLAY,
        "self.terminated[slot] = terminated",
        "self.terminated[slot] = terminated | truncated",
        f"{OF_REPLAY}a_time_limit_ends_the_world_only_where_it_is_asked_to",
    ),
    (
        "done is sampled for terminated",
        REPLAY,
        "ends if self._bootstrap_at_time_limit else ends | self.truncated[slots]",
        "ends | self.truncated[slots]",
        f"{OF_REPLAY}a_time_limit_ends_the_world_only_where_it_is_asked_to",
    ),
]

EPISODES = [
    (
        "every episode has the seed of the first",
        COLLECTOR,
        "self.episode_seed(env, int(self.begun[env]), ",
        "self.episode_seed(env, 0, ",
        f"{OF_COLLECTOR}each_episode_begins_with_the_seed_asked_for",
    ),
    (
        "an episode that ends resets all environments",
        COLLECTOR,
        '{"reset_mask": mask.copy()}',
        '{"reset_mask": np.ones_like(mask)}',
        f"{OF_COLLECTOR}steps_are_those_of_each_environment_alone",
    ),
    (
        "a reward that is no number is stored",
        COLLECTOR,
        " and _is_plainly_below(_MAX_FLOAT32, reward)",
        "",
        f"{OF_COLLECTOR}a_reward_that_the_replay_buffer_can_not_hold_is_refused_with_its_episode",
    ),
    (
        "the statistics miss the first observations of episodes",
        COLLECTOR,
        "np.concatenate([self.next_obs, self.following_obs[self.done]])",
        "self.next_obs",
        f"{OF_COLLECTOR}frames_hold_every_new_observation_once",
    ),
    (
        "a worker whose run was killed prints a traceback",
        "sac_runner/interaction/faults.py",
        "suppress(EOFError, ConnectionError):  # the run",
        "suppress(ZeroDivisionError):  # the run",
        "tests/interaction/test_faulty_envs.py::test_a_process_whose_run_is_gone_ends_without_a_word",
    ),
    (
        "resets have empty options",
        "sac_runner/interaction/faults.py",
        "options=options or None",
        "options=options",
        "tests/interaction/test_faulty_envs.py::test_options_of_a_reset_are_none_as_they_are_by_themselves",
    ),
    (
        "the current episode is not played again on resume",
        COLLECTOR,
        "self.obs = self._replay_episodes(taken, stop_requested)",
        'self.obs, self.transcript._digests = arrays["obs"], [bytes.fromhex(x) for x in plain["heard"]]',
        f"{OF_COLLECTOR}a_restored_collector_plays_real_physics_to_the_same_bit",
    ),
    (
        "the actions of an episode that goes on are forgotten with those of one that ended",
        TRANSCRIPT,
        "- max(map(self._playable",
        "- min(map(self._playable",
        f"{OF_TRANSCRIPT}nothing_that_a_checkpoint_needs_is_forgotten",
    ),
    (
        "the digest of an episode holds answers of the one before",
        TRANSCRIPT,
        "answers[max(len(answers) - self.length(env), 0) :, env]",
        "answers[:, env]",
        f"{OF_TRANSCRIPT}the_digest_is_the_same_however_often_it_is_asked_for",
    ),
    (
        "actions of all episodes are kept for good",
        TRANSCRIPT,
        "            del self._actions[",
        "            self._actions[",
        f"{OF_TRANSCRIPT}memory_is_bounded",
    ),
    (
        "a transition that is cut bootstraps where a time limit is to end it",
        REPLAY,
        "            self.truncated[slot, env] = True\n            self._note_ends(slot)\n",
        "            self.truncated[slot, env] = True\n",
        f"{OF_REPLAY}an_episode_cut_short_ends_in_truncation_where_it_stood",
    ),
    (
        "a cut episode is begun anew from another's seed",
        COLLECTOR,
        "self.obs = self._reset_envs(differs)",
        "self.begun[differs] -= 1\n            self.obs = self._reset(differs)",
        f"{OF_COLLECTOR}an_episode_that_is_cut_is_begun_anew_from_its_own_seed",
    ),
    (
        "what lies in the working folder is imported for any environment",
        "sac_runner/interaction/envs.py",
        'if ":" in config.id and os.getcwd() not in sys.path:',
        "if os.getcwd() not in sys.path:",
        "tests/interaction/test_envs.py::test_only_an_id_that_names_a_package_lets_python_look_for_it_here",
    ),
    (
        "a reset may observe what is no number",
        COLLECTOR,
        "        self._check_finite(obs, np.zeros(1), mask)\n",
        "",
        f"{OF_COLLECTOR}an_observation_that_is_no_number_is_refused_with_its_episode",
    ),
    (
        "wide observations wait for 500 steps to be hashed",
        "sac_runner/interaction/transcript.py",
        "max(1, min(_MOST, _MOST_BYTES // (num_envs * self._answer.itemsize)))",
        "_MOST",
        "tests/interaction/test_transcript.py::test_wide_observations_are_hashed_before_they_take_much_memory",
    ),
    (
        "environments that were suspended have hung",
        "sac_runner/interaction/faults.py",
        "left -= min(time.monotonic() - begun, slice_s)",
        "left -= time.monotonic() - begun",
        "tests/interaction/test_faulty_envs.py::test_time_in_which_all_of_it_was_suspended_is_no_waiting",
    ),
]
