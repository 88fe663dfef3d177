"""Bugs by which runs are lost, or others' files: name, file, text there, text instead, the test that turns red."""

PRUNE = "sac_runner/storage/prune.py"
OF_PRUNE = "tests/storage/test_prune.py::test_"
LOCK = "sac_runner/storage/lock.py"
OF_LOCK = "tests/storage/test_lock.py::test_"

SAFETY = [
    (
        "removing one seed takes those that begin with its digits",
        "sac_runner/storage/find.py",
        "return whole or [run for run, label",
        "return [run for run, label",
        "tests/commands/test_runs.py::test_a_whole_name_means_no_other_that_begins_with_it",
    ),
    (
        "a run that has finished since it was listed goes",
        PRUNE,
        'run.path in unfinished and read_signed(run.path / "summary.json").get("status") == "finished"',
        "False",
        f"{OF_PRUNE}what_has_finished_since_it_was_listed_stays",
    ),
    (
        "a disk that does not answer has no finished runs",
        PRUNE,
        "    with contextlib.suppress(Damaged):  # a summary",
        "    with contextlib.suppress(Damaged, DiskFailed):  # a summary",
        f"{OF_PRUNE}a_run_that_can_not_say_whether_it_has_finished_stays",
    ),
    (
        "a full disk keeps its replay from being removed",
        PRUNE,
        "            for older in found[:-1]:\n                older.drop()\n",
        "",
        f"{OF_PRUNE}an_older_checkpoint_makes_room_for_the_one_that_says_so",
    ),
    (
        "what is left of a removed job stays for ever",
        PRUNE,
        ', "sweeps/*/*/.*.removed"',
        "",
        f"{OF_PRUNE}a_leftover_right_below_runs_goes_too",
    ),
    (
        "a lock is written through a link",
        LOCK,
        " | os.O_NOFOLLOW",
        "",
        f"{OF_LOCK}a_lock_that_leads_elsewhere_is_refused_and_nothing_is_written_there",
    ),
    (
        "who looks at a run keeps it from starting",
        LOCK,
        "                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n                return None\n",
        "                pass\n",
        f"{OF_LOCK}one_that_only_looks_whether_it_is_free_keeps_no_start_out",
    ),
    (
        "a power cut takes the folder of a run with all that is saved in it",
        "sac_runner/storage/new_folder.py",
        "            fsync_folder(above)\n",
        "",
        "tests/storage/test_new_folder.py::test_the_names_of_all_new_folders_are_on_the_disk",
    ),
    (
        "a launcher that was suspended ends jobs that are well",
        "sac_runner/sweep/job_process.py",
        "            self._alive_at += gap\n",
        "            pass\n",
        "tests/sweep/test_job_process.py::"
        "test_a_job_has_its_time_anew_once_its_launcher_was_suspended_or_waited_for_a_disk",
    ),
    (
        "a pre-empted job is watched no more",
        "sac_runner/sweep/submission.py",
        "(ended.exit_code != STOPPED or self._interrupts)",
        "True",
        "tests/sweep/test_slurm.py::test_a_job_that_slurm_has_pre_empted_is_watched_until_it_is_done",
    ),
    (
        "a job that goes on by hand has failed all the same",
        "sac_runner/commands/train.py",
        "        begin()\n",
        "",
        "tests/sweep/test_launchers.py::test_a_job_that_was_continued_by_hand_is_finished_by_its_sweep",
    ),
    (
        "one damaged job keeps all of its sweep from going on",
        "sac_runner/sweep/session.py",
        "        except (Damaged, WrongInput) as e:\n            failures.append(e)\n",
        "        except ZeroDivisionError as e:\n            failures.append(e)\n",
        "tests/sweep/test_session.py::test_a_job_that_can_not_be_read_keeps_no_other_from_going_on",
    ),
    (
        "an environment changes the config of its run",
        "sac_runner/interaction/envs.py",
        "copy.deepcopy(config.kwargs)",
        "config.kwargs",
        "tests/commands/test_train.py::test_what_an_environment_is_made_with_stays_as_it_was_typed",
    ),
    (
        "an environment that works in another folder takes the checkpoints along",
        "sac_runner/training/run.py",
        "RunDirectory(lock.run.absolute())",
        "RunDirectory(lock.run)",
        "tests/commands/test_train.py::test_an_environment_that_works_in_another_folder_takes_no_file_of_the_run_there",
    ),
    (
        "a thread that an environment left keeps the process",
        "sac_runner/commands/arguments.py",
        "        os._exit(code)  #",
        "        pass  #",
        "tests/commands/test_arguments.py::test_a_thread_that_an_environment_left_does_not_keep_a_command",
    ),
    (
        "an option of a cluster stays as it was planned whatever a resume asks for",
        "sac_runner/commands/train.py",
        "    return planned | asked | within\n",
        "    return planned\n",
        "tests/sweep/test_slurm.py::"
        "test_a_sweep_that_was_refused_goes_on_with_another_option_and_all_others_as_they_were",
    ),
    (
        "a stopped run whose learning rate falls to zero does not go on",
        "sac_runner/training/resume.py",
        '    if "total_env_steps" in keys:\n',
        "    if True:\n",
        "tests/training/test_resume.py::test_past_the_end_of_a_learning_rate_a_run_goes_on_unless_it_is_zero",
    ),
]
