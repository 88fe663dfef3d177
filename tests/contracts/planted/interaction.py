"""Bugs of ``sac_runner/interaction``: name, file, text there, text instead, the test that turns red."""

REPLAY = "sac_runner/interaction/replay.py"
COLLECTOR = "sac_runner/interaction/collector.py"
OF_REPLAY = "tests/interaction/test_replay.py::test_"
OF_COLLECTOR = "tests/interaction/test_collector.py::test_"

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
        "        held = min(self.added, self.rows)\n",
        "        held = min(self.added, len(self.obs))\n",
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
        "terminated: NDArray[np.bool_] = self.terminated[at]",
        "terminated: NDArray[np.bool_] = self.terminated[at] | self.truncated[at]",
        f"{OF_REPLAY}a_time_limit_ends_the_world_only_where_it_is_asked_to",
    ),
]

EPISODES = [
    (
        "every episode has the seed of the first",
        COLLECTOR,
        "self.episode_seed(env, int(self.begun[env]))",
        "self.episode_seed(env, 0)",
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
        "the current episode is not played again on resume",
        COLLECTOR,
        "self.obs = self._replay_episodes(stop_requested)",
        'self.obs, self.heard = arrays["obs"], [bytes.fromhex(x) for x in plain["heard"]]',
        f"{OF_COLLECTOR}a_restored_collector_plays_real_physics_to_the_same_bit",
    ),
]
