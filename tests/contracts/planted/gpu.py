"""Bugs of what is done for GPUs alone: name, file, text there, text instead, the test that turns red."""

ACTING = "sac_runner/algorithm/acting.py"
NORMALIZATION = "sac_runner/algorithm/normalization.py"
COMPILATION = "sac_runner/training/compilation.py"
REPLAY = "sac_runner/interaction/device_replay.py"
LEARNER = "sac_runner/training/learner.py"
OF_ACTING = "tests/algorithm/test_policy.py::test_on_a_gpu_acting_is_recorded_for_each_number_of_observations"
OF_UPDATES = "tests/training/test_compilation.py::test_on_a_gpu_updates_are_recorded_and_stay_the_same"
OF_REPLAY = "tests/interaction/test_replay.py::test_"
OF_RUNS = "tests/training/test_trainer.py::test_on_a_gpu_a_run_is_the_same"
AHEAD = "tests/training/test_trainer.py::test_updates_ahead_of_a_step_are_those_after_it"

GPU = [
    (
        "nobody waits for what a GPU chooses",
        ACTING,
        "        torch.cuda.current_stream(self._device).synchronize()\n",
        "",
        f"{OF_ACTING}_and_stays_the_same",
    ),
    (
        "a recorded update takes the first noise for ever",
        COMPILATION,
        " or self._recorded.noise is not noise",
        "",
        OF_UPDATES,
    ),
    (
        "noise does not reach a GPU",
        LEARNER,
        "            self._outbox.send()\n",
        "            pass\n",
        OF_RUNS,
    ),
    (
        "memory is written anew while a GPU may still copy it",
        REPLAY,
        "        self._copied[self._turn].synchronize()\n",
        "",
        f"{OF_REPLAY}what_goes_to_a_gpu_is_written_over_only_once_it_is_there",
    ),
    (
        "the last copy is waited for before the next is written",
        REPLAY,
        "        self._turn = 1 - self._turn\n",
        "",
        f"{OF_REPLAY}what_goes_to_a_gpu_is_written_over_only_once_it_is_there",
    ),
    (
        "where room was made on a GPU, batches stay in their memory",
        REPLAY,
        "            self._staged = None\n",
        "            pass\n",
        f"{OF_REPLAY}where_room_is_made_on_a_gpu_its_batches_lie_elsewhere",
    ),
    (
        "of many new rows the first ones reach a GPU",
        REPLAY,
        "for first in range(0, len(places), _AT_ONCE):",
        "for first in range(0, 1, _AT_ONCE):",
        f"{OF_REPLAY}rows_taken_to_disk_in_pieces_restore_the_buffer",
    ),
    (
        "a policy on a GPU acts as if it were in the computer's memory",
        "sac_runner/algorithm/policy.py",
        "if weight.is_cpu:",
        "if True:",
        f"{OF_ACTING}_and_stays_the_same",
    ),
    (
        "acting with noise and without it is recorded as one",
        ACTING,
        "key = len(obs), noise is not None",
        "key = len(obs), True",
        f"{OF_ACTING}_and_stays_the_same",
    ),
    (
        "actions lie where the next ones are written",
        ACTING,
        "return graph.action.copy()",
        "return graph.action",
        f"{OF_ACTING}_and_stays_the_same",
    ),
    (
        "a policy that has acted on a GPU can't be copied",
        ACTING,
        "def __deepcopy__(",
        "def nobody_calls_this(",
        "tests/algorithm/test_policy.py::test_a_copy_of_a_policy_on_a_gpu_acts_with_weights_of_its_own",
    ),
    (
        "any number of observations is recorded",
        ACTING,
        " and len(self._graphs) < _MOST_GRAPHS",
        "",
        "tests/algorithm/test_policy.py::test_on_a_gpu_only_so_many_numbers_of_observations_are_recorded",
    ),
    (
        "statistics do not reach a GPU",
        NORMALIZATION,
        "        buffer.copy_(torch.from_numpy(array), non_blocking=True)",
        "        pass",
        "tests/algorithm/test_normalization.py::test_statistics_reach_another_device",
    ),
    (
        "statistics of before a checkpoint was loaded are kept",
        NORMALIZATION,
        "kept[0] == _version(buffer)",
        "kept[0][0] == buffer.data_ptr()",
        "tests/algorithm/test_normalization.py::test_statistics_reach_another_device",
    ),
    (
        "a recorded update takes the first batch for ever",
        COMPILATION,
        "self._recorded.batch is not batch",
        "False",
        OF_UPDATES,
    ),
    (
        "what was recorded before is gone on with once it is compiled",
        COMPILATION,
        "                self._recorded = self._record(update, batch, noise)\n",
        "                pass\n",
        OF_UPDATES,
    ),
    (
        "to record an update makes it three times",
        COMPILATION,
        "            self._agent.load_state_dict(before)\n",
        "            pass\n",
        OF_UPDATES,
    ),
    (
        "a batch is not gathered before its update",
        COMPILATION,
        "            self._gather()\n            return update(batch, noise)",
        "            return update(batch, noise)",
        OF_RUNS,
    ),
    (
        "the next row counts as what follows where an episode ended",
        REPLAY,
        "np.where(final < 0,",
        "np.where(final < 1,",
        f"{OF_REPLAY}exactly_the_newest_transitions_can_be_sampled",
    ),
    (
        "the GPU hears of a row once, before it is filled",
        REPLAY,
        "self._sent = max(replay.added - 1, 0)",
        "self._sent = replay.added + 1",
        f"{OF_REPLAY}exactly_the_newest_transitions_can_be_sampled",
    ),
    (
        "the GPU does not hear of an episode that is cut short",
        REPLAY,
        "self._sent = max(replay.added - 1, 0)",
        "self._sent = replay.added",
        f"{OF_REPLAY}an_episode_cut_short_ends_in_truncation_where_it_stood",
    ),
    (
        "the GPU updates with transitions that are still to come",
        LEARNER,
        "if self._replay.is_here(drawn):",
        "if True:",
        AHEAD,
    ),
    (
        "what was drawn ahead of a step is drawn again after it",
        LEARNER,
        "        self._drawn = drawn\n        return None",
        "        return None",
        AHEAD,
    ),
    (
        "the GPU updates before the statistics are those of the step",
        LEARNER,
        "device_replay is not None and not normalizes",
        "device_replay is not None",
        OF_RUNS,
    ),
    (
        "updates ahead of a step have the learning rate of before it",
        "sac_runner/training/trainer.py",
        "self.agent.set_env_step(counters.env_steps)",
        "self.agent.set_env_step(self.counters.env_steps)",
        AHEAD,
    ),
    (
        "updates ahead of a step are those due before it",
        "sac_runner/training/trainer.py",
        "replace(self.counters, env_steps=env_steps)",
        "self.counters",
        AHEAD,
    ),
    (
        "means are of what the next update writes over",
        "sac_runner/training/metrics.py",
        "if scalars.values.is_cuda or len(self._waiting) == _AT_ONCE:",
        "if len(self._waiting) == _AT_ONCE:",
        "tests/training/test_metrics.py::test_train_means_hold_what_the_next_update_on_a_gpu_writes_over",
    ),
    (
        "memory of a GPU that runs out is taken for a graph that can't be recorded",
        "sac_runner/algorithm/cuda_graph.py",
        "while (cause := causes[-1].__context__) is not None:",
        "while (cause := None) is not None:",
        "tests/algorithm/test_cuda_graph.py::test_memory_that_runs_out_while_recording_is_said_to_have_run_out",
    ),
]
