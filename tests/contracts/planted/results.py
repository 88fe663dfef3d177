"""Bugs of evaluations and what is written of a run: name, file, text there, text instead, the test that turns red."""

EVALUATION = "sac_runner/training/evaluation.py"
TRAINER = "sac_runner/training/trainer.py"
PACE = "sac_runner/training/pace.py"
RECORD = "sac_runner/training/record.py"
POLICIES = "sac_runner/training/policies.py"
METRICS = "sac_runner/training/metrics.py"
OF_RESUMES = "tests/training/test_resume.py::test_being_stopped_at_any_step_changes_nothing"
OF_TRAINER = "tests/training/test_trainer.py::test_"
OF_EVALUATION = "tests/training/test_evaluation.py::test_"
OF_RECORD = "tests/training/test_record.py::test_"
OF_METRICS = "tests/training/test_metrics.py::test_"
CONSOLE = "sac_runner/training/console.py"
REPORT = "sac_runner/training/report.py"
PREFLIGHT = "sac_runner/training/preflight.py"
OF_CONSOLE = "tests/training/test_console.py::test_"
OF_REPORT = "tests/training/test_report.py::test_"
OF_PREFLIGHT = "tests/training/test_preflight.py::test_"

EVALUATIONS = [
    (
        "an evaluation's seeds depend on the run's",
        TRAINER,
        "Protocol.in_training(self.config.eval),",
        "Protocol.in_training(self.config.eval)._replace(seed=self.seed),",
        f"{OF_TRAINER}an_evaluation_in_training_is_that_of_its_protocol",
    ),
    (
        "the bias of the critics is that of an undiscounted return",
        TRAINER,
        "gamma=self.config.agent.gamma,",
        "gamma=1.0,",
        f"{OF_TRAINER}an_evaluation_in_training_is_that_of_its_protocol",
    ),
    (
        "evaluation has the time limit of training",
        TRAINER,
        "make_vector_env(evaluation_env(config), config.eval.num_envs)",
        "make_vector_env(config.env, config.eval.num_envs)",
        f"{OF_TRAINER}an_evaluation_in_training_is_that_of_its_protocol",
    ),
    (
        "evaluation plays in the environments of training",
        TRAINER,
        "                self.eval_envs,\n",
        "                self.envs,\n",
        "tests/training/test_resume.py::test_watching_a_run_more_or_less_often_changes_no_bit_of_it",
    ),
    (
        "evaluation moves the statistics",
        EVALUATION,
        "        if stop_requested():\n",
        "        policy.obs_normalizer.observe(collector.obs)\n        if stop_requested():\n",
        f"{OF_EVALUATION}an_evaluation_moves_no_weight_no_statistic_and_no_global_generator",
    ),
    (
        "the episodes that finish first are counted",
        EVALUATION,
        "            if index < episodes:\n",
        "            if len(finished) < episodes:\n                index = len(finished)\n",
        f"{OF_EVALUATION}episode_i_is_the_one_of_seed_plus_i_whatever_num_envs",
    ),
    (
        "episodes come in the order of their ends",
        EVALUATION,
        "ordered = [finished[i] for i in range(episodes)]",
        "ordered = [*finished.values()]",
        f"{OF_EVALUATION}episode_i_is_the_one_of_seed_plus_i_whatever_num_envs",
    ),
    (
        "a run that was trained on a GPU can't be evaluated without one",
        "sac_runner/playback/assess.py",
        "except WrongInput:  # trained",
        "except RuntimeError:  # trained",
        "tests/commands/test_evaluate.py::test_a_run_of_a_gpu_is_evaluated_where_there_is_none",
    ),
]

REPORTS = [
    (
        "the best policy is the one of the best episode",
        RECORD,
        'scores["return_mean"] > best["return_mean"]',
        'scores["return_max"] > best["return_max"]',
        f"{OF_RECORD}the_best_policy_is_that_of_the_highest_mean_and_the_first_of_equal_ones",
    ),
    (
        "the best policy stays the first",
        RECORD,
        'scores["return_mean"] > best["return_mean"]',
        "False",
        f"{OF_RECORD}the_best_policy_is_that_of_the_highest_mean_and_the_first_of_equal_ones",
    ),
    (
        "a policy that waits to be saved goes on learning",
        POLICIES,
        "x.cpu().numpy().copy()",
        "x.cpu().numpy()",
        "tests/training/test_faults.py::test_a_policy_that_did_not_fit_is_saved_later_as_it_was",
    ),
    (
        "policies are saved with other statistics",
        POLICIES,
        "x.cpu().numpy().copy() for",
        '(x * 0 if name.endswith("moments.mean") else x).cpu().numpy().copy() for',
        f"{OF_RECORD}a_policy_is_saved_with_its_statistics",
    ),
    (
        "means are over the wrong count",
        METRICS,
        "self.count += 1",
        "self.count = 1",
        f"{OF_METRICS}train_means_are_over_the_updates_since_the_last_row",
    ),
    (
        "a resume drops the updates since the last row",
        RECORD,
        '"train": self._train.state_dict(),',
        '"train": TrainMeans().state_dict(),',
        OF_RESUMES,
    ),
    (
        "a resume counts the speed of a row from the start",
        PACE,
        'Counters(**state["row"]), state["row_s"]',
        'Counters(), state["row_s"]',
        f"{OF_RECORD}speeds_and_wall_time_go_on_where_an_earlier_start_stopped",
    ),
    (
        "updates per second are counted from the start",
        PACE,
        "(counters.updates - self.at.updates) / seconds",
        "counters.updates / seconds",
        f"{OF_RECORD}speeds_and_wall_time_go_on_where_an_earlier_start_stopped",
    ),
    (
        "a resume forgets the seconds of earlier starts",
        PACE,
        'state["row_s"], state["wall_time_s"]',
        'state["row_s"], 0.0',
        f"{OF_RECORD}speeds_and_wall_time_go_on_where_an_earlier_start_stopped",
    ),
    (
        "a run on a terminal dies of its first evaluation",
        CONSOLE,
        "evaluating {finished}/",
        "evaluating {finished:s}/",
        f"{OF_CONSOLE}an_evaluation_is_counted_on_the_live_line_which_goes_before_a_word_is_said",
    ),
    (
        "the time left is nonsense",
        CONSOLE,
        "done - getattr(began, counter)",
        "total - getattr(began, counter)",
        f"{OF_CONSOLE}the_live_line_says_how_far_how_fast_how_long_and_how_good",
    ),
    (
        "the last words of a run call the last return the best",
        REPORT,
        "best {_score(best)}",
        "best {_score(final)}",
        f"{OF_REPORT}the_last_lines_of_a_run_tell_the_last_policy_from_the_best",
    ),
    (
        "a run that kept no buffer says that it goes on",
        REPORT,
        'checkpoint.keep_replay == "never"',
        'checkpoint.keep_replay == "until_finished"',
        f"{OF_REPORT}a_run_that_was_stopped_says_what_goes_on_from_it",
    ),
    (
        "what a buffer needs is told without its observations",
        PREFLIGHT,
        "columns = (replay.obs, replay.taken,",
        "columns = (replay.taken,",
        f"{OF_PREFLIGHT}the_bytes_of_a_replay_buffer_are_those_of_the_rows_that_it_comes_to_hold",
    ),
    (
        "the curve of a run rises whatever it did",
        "sac_runner/analysis/figures.py",
        "axes.plot(list(mean), list(mean.values()),",
        "axes.plot(list(mean), sorted(mean.values()),",
        "tests/analysis/test_figures.py::test_the_curve_of_a_run_is_drawn_as_it_is",
    ),
    (
        "a job that failed before it was measured is none of its setting",
        "sac_runner/analysis/load.py",
        'not run.is_measured and now.state != "failed"',
        "not run.is_measured",
        "tests/analysis/test_load.py::test_a_job_that_failed_before_it_was_measured_is_one_of_its_setting",
    ),
    (
        "runs of one seed prove as much as seeds",
        "sac_runner/analysis/words.py",
        "math.comb(len(row.finals) + len(base.finals), len(base.finals))",
        "math.comb(len(row.scores) + len(base.scores), len(base.scores))",
        "tests/analysis/test_words.py::test_runs_of_one_seed_prove_nothing",
    ),
    (
        "any word of an environment is a success",
        "sac_runner/interaction/faults.py",
        "np.size(said) == 1 and np.asarray(said).item() in (0, 1)",
        "True",
        "tests/interaction/test_faulty_envs.py::test_an_answer_of_other_values_than_there_must_be_is_named",
    ),
]
