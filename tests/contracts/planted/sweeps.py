"""Bugs of sweeps: name, file, text there, text instead, the test that turns red."""

SESSION = "sac_runner/sweep/session.py"
POOL = "sac_runner/sweep/pool.py"
PROCESS = "sac_runner/sweep/job_process.py"
TABLE = "sac_runner/sweep/table.py"
OF_LAUNCHERS = "tests/sweep/test_launchers.py::test_"
OF_POOL = "tests/sweep/test_pool.py::test_"
OF_TABLE = "tests/sweep/test_table.py::test_"

SWEEPS = [
    (
        "every seed of a setting is the first one",
        SESSION,
        "_frozen(p.of_seed(seed)) for p, seed in drawn",
        "_frozen(p.config) for p, seed in drawn",
        f"{OF_LAUNCHERS}a_sweep_makes_a_run_for_each_setting_and_seed",
    ),
    (
        "a resume runs what is finished too",
        SESSION,
        'if states[job.path] != "finished"]\n        words',
        "]\n        words",
        f"{OF_LAUNCHERS}each_fault_costs_its_own_job_alone_and_a_resume_runs_those_again",
    ),
    (
        "a sweep with failures ends with 0",
        SESSION,
        "1 if left else 0)",
        "0)",
        f"{OF_LAUNCHERS}a_sweep_whose_jobs_die_without_a_word_does_not_end_with_0",
    ),
    (
        "two launchers run one sweep",
        SESSION,
        "        self._at_the_end.enter_context(RunLock(sweep.path))\n",
        "",
        f"{OF_LAUNCHERS}two_launchers_never_run_one_sweep",
    ),
    (
        "a sweeper gets the return of the first seed",
        SESSION,
        "sum(some) / len(some)",
        "some[0]",
        f"{OF_LAUNCHERS}an_optimizing_sweeper_grows_one_sweep_and_never_tunes_a_seed",
    ),
    (
        "seeds do not count from seed",
        "sac_runner/sweep/plan.py",
        "range(first, first + count)",
        "range(count)",
        f"{OF_LAUNCHERS}seeds_is_a_sweep_by_itself_from_the_first_seed_on",
    ),
    (
        "a job outlives its launcher and is not told",
        PROCESS,
        "        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)\n",
        "        pass\n",
        f"{OF_LAUNCHERS}a_job_stops_and_saves_when_its_launcher_is_killed",
    ),
    (
        "Ctrl-C goes to the launcher alone",
        POOL,
        "                process.popen.send_signal(number)\n",
        "                pass\n",
        f"{OF_POOL}a_signal_is_passed_on_as_it_is_and_nothing_more_is_begun",
    ),
    (
        "what an earlier start printed is taken for the cause",
        PROCESS,
        "return cls(sweep, job, popen, begin)",
        "return cls(sweep, job, popen, 0)",
        f"{OF_POOL}only_what_this_start_printed_is_its_cause",
    ),
    (
        "a job that hangs is waited for",
        PROCESS,
        "            self.popen.send_signal(signal.SIGABRT)\n",
        "            pass\n",
        f"{OF_POOL}one_that_hangs_is_asked_where_and_then_killed",
    ),
    (
        "failed jobs score as their last evaluation",
        TABLE,
        'done = now.state == "finished" and "final" in now.scores',
        'done = "final" in now.scores',
        f"{OF_TABLE}a_sweeper_gets_a_finite_number_that_no_failure_makes_tempting",
    ),
    (
        "the best stands for the final",
        TABLE,
        'finals = [float(now.scores["final"]["return_mean"]) for now in done]',
        'finals = [float(now.scores["best"]["return_mean"]) for now in done]',
        f"{OF_TABLE}settings_stand_best_first_and_few_seeds_stand_by_themselves",
    ),
    (
        "a job is taken to need no more memory than the least of all",
        SESSION,
        "max(needs.memory",
        "min(needs.memory",
        "tests/sweep/test_session.py::test_the_job_that_needs_most_says_how_many_run_at_a_time",
    ),
    (
        "a job is taken to need no memory for its replay buffer",
        "sac_runner/training/preflight.py",
        "memory + process + compiler",
        "process + compiler",
        "tests/training/test_preflight.py::test_a_job_needs_its_buffer_its_process_and_its_compiler",
    ),
    (
        "jobs fight for cores",
        "sac_runner/sweep/resources.py",
        "max(machine.cores // at_a_time, 1)",
        "machine.cores",
        "tests/sweep/test_resources.py::test_cores_and_memory_are_shared_out",
    ),
]

SCORES = [
    (
        "an area grows with the budget",
        "sac_runner/training/metrics.py",
        "steps) / span)",
        "steps))",
        "tests/training/test_record.py",
    ),
    (
        "the best score is told twice",
        "sac_runner/training/metrics.py",
        '("final", "best"))',
        '("best", "best"))',
        "tests/training/test_record.py",
    ),
    (
        "TensorBoard keeps the scores of an earlier end",
        "sac_runner/storage/events.py",
        "max(env_steps, 0)",
        "max(env_steps, 0) + 10**6",
        "tests/training/test_record.py",
    ),
    (
        "what is swept in one sweep hides what is swept in another",
        "sac_runner/commands/tensorboard.py",
        "if tag != EXPERIMENT_TAG",
        "if tag",
        "tests/commands/test_tensorboard.py",
    ),
    (
        "the beginning of a longer run counts as another seed",
        "sac_runner/analysis/copies.py",
        "(learned or whole) and all(",
        "whole and all(",
        "tests/analysis/test_copies.py::test_the_beginning_of_a_longer_run_is_no_second_seed",
    ),
    (
        "a first policy that is that of all makes a run a copy",
        "sac_runner/analysis/copies.py",
        "(learned or whole) and all(",
        "all(",
        "tests/analysis/test_copies.py::test_the_beginning_of_a_longer_run_is_no_second_seed",
    ),
    (
        "a sweep's returns of unequal length are ranked without a word",
        "sac_runner/sweep/table.py",
        "if at and max(at) > _UNEQUAL * min(at):",
        "if at and max(at) < _UNEQUAL * min(at):",
        "tests/sweep/test_table.py::test_returns_of_unequal_length_are_said_to_be_that",
    ),
    (
        "a sweeper looks for the lowest return",
        "sac_runner/sweep/launchers.py",
        "        self._refuse_the_lowest()\n",
        "",
        "tests/sweep/test_launchers.py::test_an_optimizing_sweeper_that_looks_for_the_lowest_return_is_refused",
    ),
    (
        "an entropy that no policy has is aimed at",
        "sac_runner/training/preflight.py",
        "if target >= most:",
        "if target >= 2 * most:",
        "tests/training/test_preflight.py::test_a_target_entropy_out_of_reach_is_refused_but_for_a_run_that_has_begun_with_it",
    ),
]
