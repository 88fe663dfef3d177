"""Bugs around training: name, file, text there, text instead, the test that turns red."""

FILES = "sac_runner/storage/files.py"
CHECKPOINTS = "sac_runner/storage/checkpoints.py"
OF_CHECKPOINTS = "tests/storage/test_checkpoints.py::test_"
OF_COMMAND = "tests/commands/test_train.py::test_"
OF_CONFIGS = "tests/config/test_compose.py::test_"

STORAGE = [
    (
        "rows come twice after a resume",
        "sac_runner/storage/metrics_file.py",
        'int(row["env_steps"]) < written.env_steps',
        "True",
        "tests/storage/test_metrics_file.py::test_rows_after_the_checkpoint_are_dropped_when_a_run_continues",
    ),
    (
        "a checkpoint gets its name before it is on the disk",
        FILES,
        "        os.fsync(file.fileno())\n",
        "",
        f"{OF_CHECKPOINTS}a_checkpoint_is_on_the_disk_before_it_gets_its_name_and_then_its_name_is",
    ),
    (
        "the name of a single file is not made durable",
        FILES,
        "            os.replace(aside, path)\n            fsync_folder(path.parent)\n",
        "            os.replace(aside, path)\n",
        f"{OF_CHECKPOINTS}a_single_file_is_on_the_disk_before_it_gets_its_name_and_then_its_name_is",
    ),
    (
        "files are not held against their manifest",
        CHECKPOINTS,
        "digest(data) != expected",
        "not data",
        f"{OF_CHECKPOINTS}a_damaged_file_is_found_and_named",
    ),
    (
        "a manifest is believed whatever it says",
        "sac_runner/storage/signed.py",
        'value.pop("sha256") == ',
        'value.pop("sha256") or ',
        f"{OF_CHECKPOINTS}a_bit_that_flips_in_a_manifest_is_found",
    ),
    (
        "the older checkpoint goes before the newer one is there",
        CHECKPOINTS,
        "    if not checkpoint.holds(manifest):",
        '    for other in find(folder, kind) if kind != "kept" else []:\n'
        "        other.drop()\n"
        "    if not checkpoint.holds(manifest):",
        f"{OF_CHECKPOINTS}an_exception_while_writing_leaves_the_old_one_alone",
    ),
    (
        "a checkpoint does not wait for its rows",
        "sac_runner/training/record.py",
        "        self._csv.sync()\n",
        "",
        "tests/training/test_record.py::test_no_checkpoint_is_on_the_disk_before_its_rows",
    ),
    (
        "the older of two checkpoints counts as the latest",
        "sac_runner/storage/run_directory.py",
        "return chosen[-1]",
        "return chosen[0]",
        "tests/commands/test_train.py::test_its_summary_has_the_scores_with_their_protocol",
    ),
    (
        "no older checkpoint stays for a damaged one",
        "sac_runner/training/record.py",
        'keep = 1 if plain["replay"] is None else 2',
        "keep = 1",
        "tests/training/test_faults.py::test_a_damaged_checkpoint_is_set_aside_and_the_one_before_taken",
    ),
    (
        "failed checkpoints are counted over the whole run",
        "sac_runner/training/trainer.py",
        "                self._failed_saves, self._policies_wait = 0, False\n",
        "                self._policies_wait = False\n",
        "tests/training/test_faults.py::test_three_that_do_not_fit_but_not_in_a_row_end_nothing",
    ),
    (
        "rows that the older checkpoint needs are dropped",
        "sac_runner/training/recovery.py",
        'whole = checkpoints.find(run.checkpoints, "latest")',
        'whole = checkpoints.find(run.checkpoints, "latest")[-1:]',
        "tests/training/test_resume.py::"
        "test_each_row_of_the_replay_buffer_is_written_once_and_dropped_when_it_is_overwritten",
    ),
]

COMMANDS = [
    (
        "Ctrl-C while Hydra composes is wrong input",
        "sac_runner/errors.py",
        "            raise cause from e\n",
        "            pass\n",
        "tests/config/test_compose.py::test_ctrl_c_is_one_where_a_library_fails_as_it_cleans_up_after_it",
    ),
    (
        "a scheduler's signal leaves with the exit code of Ctrl-C",
        "sac_runner/commands/train.py",
        "130 if outcome.stop_signal == signal.SIGINT else 143",
        "130",
        f"{OF_COMMAND}run_dir_begins_continues_finishes_and_then_says_so",
    ),
    (
        "a second Ctrl-C ends nothing",
        "sac_runner/signals.py",
        "            os.kill(os.getpid(), number)",
        "            pass",
        "tests/test_signals.py::test_a_second_signal_ends_the_process_at_once_unless_it_is_an_echo",
    ),
    (
        "a second Ctrl-C waits until updates are compiled",
        "sac_runner/signals.py",
        "os.kill(os.getpid(), number)",
        "signal.raise_signal(number)",
        "tests/test_signals.py::test_so_it_does_while_updates_are_compiled",
    ),
    (
        "an environment that takes Ctrl-C for itself loses the run",
        "sac_runner/signals.py",
        "signal.getsignal(number) != self.handle",
        "False",
        "tests/test_signals.py::test_a_signal_that_an_environment_took_for_itself_is_heard_again_from_the_next_question_on",
    ),
    (
        "a terminal that is closed loses the run",
        "sac_runner/signals.py",
        "signal.SIGTERM, signal.SIGHUP, ",
        "signal.SIGTERM, ",
        "tests/test_signals.py::test_a_second_signal_ends_the_process_at_once_unless_it_is_an_echo",
    ),
    (
        "a run goes on where actions mean something else",
        "sac_runner/training/resume.py",
        "there.get(key) != now[key]",
        "False",
        f"{OF_COMMAND}a_run_goes_on_in_no_environment_with_other_spaces",
    ),
    (
        "an untrained policy is good enough",
        "sac_runner/training/schedule.py",
        "evaluated_at > warmup_env_steps(config.schedule)",
        "evaluated_at > 0",
        "tests/training/test_trainer.py::test_an_evaluation_before_the_first_update_ends_no_run",
    ),
    (
        "a recipe leans on tuned values",
        "conf/experiment/agent/lunarlander_100k_sac.yaml",
        "critic_layer_norm: true\n",
        "",
        f"{OF_CONFIGS}a_recipe_stays_the_same_whatever_is_tuned",
    ),
    (
        "a resume may change what was learned",
        "sac_runner/config/schema.py",
        '"checkpoint.", "stop.")',
        '"checkpoint.", "stop.", "agent.")',
        f"{OF_COMMAND}resume_refuses_what_would_change_what_was_learned",
    ),
    (
        "tau has no range",
        "sac_runner/config/schema.py",
        "tau: Annotated[float, Within(above=0, high=1)]",
        "tau: float",
        "tests/config/test_convert.py::test_no_share_is_more_than_all",
    ),
    (
        "a warm-up may be negative",
        "sac_runner/config/schema.py",
        "warmup_env_steps: Count",
        "warmup_env_steps: int",
        "tests/config/test_convert.py::test_no_other_key_takes_a_number_below_its_range",
    ),
    (
        "a value of a file is named with a file that is composed before it",
        "sac_runner/config/origin.py",
        "for file, package in files:",
        "for file, package in reversed(files):",
        "tests/config/test_diagnose.py::test_a_value_of_a_file_is_named_with_it",
    ),
    (
        "a run that goes on leaves settings of a whole group out",
        "sac_runner/training/resume.py",
        "    _require_single_keys(overrides, run)\n",
        "",
        "tests/commands/test_train.py::test_resume_takes_keys_one_by_one",
    ),
    (
        "a run that began from another's weights goes on as one from others",
        "sac_runner/training/resume.py",
        "return [*other, *_differences(",
        "return [*_differences(",
        "tests/commands/test_train.py::test_run_dir_that_began_from_another_run_is_refused",
    ),
    (
        "the command line loses to tuned values",
        "sac_runner/config/compose.py",
        "    config, faults = convert(plain)\n",
        '    if plain["env"]["id"] == "Pendulum-v1":\n'
        '        tuned: Any = OmegaConf.load(CONF / "tuned" / "pendulum.yaml")\n'
        "        plain = OmegaConf.to_container(OmegaConf.merge(plain, tuned))\n"
        "    config, faults = convert(plain)\n",
        f"{OF_CONFIGS}tuned_values_apply_by_naming_the_env_and_the_command_line_wins",
    ),
    (
        "a remedy leaves out what else was typed",
        "sac_runner/config/explain.py",
        "            words.append(argument)\n",
        "            pass\n",
        "tests/config/test_diagnose.py::test_wrong_input_is_explained_and_leaves_nothing_behind",
    ),
    (
        "a sweep is mended in the first of its wrong values alone",
        "sac_runner/config/explain.py",
        ' if _is_faultless(compose([*others, f"{key}={value}"]))]',
        " if value]",
        "tests/config/test_diagnose.py::test_wrong_input_is_explained_and_leaves_nothing_behind",
    ),
    (
        "what a command line composes to is kept though its files have changed",
        "sac_runner/config/compose.py",
        "def _outcome(",
        "@cache\ndef _outcome(",
        "tests/config/test_diagnose.py::test_an_explanation_is_of_the_files_as_they_are",
    ),
    (
        "tuned values lose to those of all environments",
        "conf/config.yaml",
        "  - _self_\n  - agent: sac\n",
        "  - agent: sac\n",
        f"{OF_CONFIGS}tuned_values_apply_by_naming_the_env_and_the_command_line_wins",
    ),
    (
        "one learning rate does not reach the critics",
        "conf/agent/sac.yaml",
        "critic_lr: ${agent.lr}",
        "critic_lr: 3e-4",
        f"{OF_CONFIGS}one_learning_rate_serves_actor_critic_and_alpha_unless_one_is_set_apart",
    ),
    (
        "thousands are answered with a thousandth",
        "sac_runner/config/diagnose.py",
        r"-?[1-9]\d{0,2}(,\d{3})*,0\d\d",
        r"-?[1-9]\d{0,2}(,\d{3})+,0\d\d",
        "tests/config/test_diagnose.py::test_wrong_input_is_explained_and_leaves_nothing_behind",
    ),
    (
        "the paper's targets follow ten times as fast",
        "conf/agent/sac.yaml",
        "tau: 0.005",
        "tau: 0.05",
        "tests/config/test_compose.py::test_an_environment_that_nobody_has_tuned_gets_the_values_of_the_paper",
    ),
]

PLAYBACK = [
    (
        "a stranger's package is imported by who only looks at a run",
        "sac_runner/playback/play.py",
        "require_trust(config.env, trusted)",
        "require_trust(config.env, True)",
        "tests/commands/test_record.py::test_package_named_by_a_run_is_imported_only_if_trusted",
    ),
    (
        "record draws its actions instead of taking the deterministic ones",
        "sac_runner/playback/play.py",
        "np.float32) if sampled else None",
        "np.float32) if not sampled else None",
        "tests/commands/test_record.py::test_record_shows_the_episode_that_evaluate_scores",
    ),
    (
        "the latest policy is loaded instead of the best",
        "sac_runner/playback/load.py",
        'checkpoint: str | int = "best"',
        'checkpoint: str | int = "latest"',
        "tests/test_load_policy.py::test_checkpoint_and_name_select",
    ),
    (
        "a loaded policy does not apply its statistics",
        "sac_runner/algorithm/acting.py",
        "x = self._normalize(obs).T",
        "x = obs.T",
        "tests/test_load_policy.py::test_action_is_that_of_the_weights_with_their_statistics",
    ),
    (
        "a loaded policy answers a sensor that fails",
        "sac_runner/interaction/spaces.py",
        "if not np.isfinite(flat).all():",
        "if np.isnan(flat).all():",
        "tests/test_load_policy.py::test_an_observation_that_is_not_finite_is_refused_not_answered",
    ),
    (
        "what is offered in place of a change forgets how the run began",
        "sac_runner/training/resume.py",
        "by_key([*before, *changes])",
        "by_key(changes)",
        "tests/commands/test_train.py::test_what_is_offered_in_place_of_a_change_begins_anew_from_the_weights",
    ),
]
