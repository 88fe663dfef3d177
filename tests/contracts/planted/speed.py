"""Bugs of what makes updates fast: name, file, text there, text instead, the test that turns red."""

OPTIMIZER = "sac_runner/algorithm/optimizer.py"
COMPILATION = "sac_runner/training/compilation.py"
TRYOUT = "sac_runner/training/tryout.py"
STATE = "sac_runner/training/state.py"
AGENT = "sac_runner/algorithm/agent.py"
NETWORKS = "sac_runner/algorithm/networks.py"
ACTING = "sac_runner/algorithm/acting.py"
POLICY = "sac_runner/algorithm/policy.py"
OF_POLICY = "tests/algorithm/test_policy.py::test_"
OF_COMPILATION = "tests/training/test_compilation.py::test_"

SPEED = [
    (
        "Adam, where it is compiled, forgets to correct its second moment",
        OPTIMIZER,
        "self.lr.double() * root_of_correction /",
        "self.lr.double() /",
        "tests/algorithm/test_optimizer.py::test_what_is_compiled_is_adam_too",
    ),
    (
        "Adam, where it is compiled, adds its epsilon to a second moment that is not corrected",
        OPTIMIZER,
        "(v.sqrt() + epsilon)",
        "(v.sqrt() + _EPSILON)",
        "tests/algorithm/test_optimizer.py::test_what_is_compiled_is_adam_too",
    ),
    (
        "acting forgets the bounds of the standard deviation",
        ACTING,
        "np.minimum(np.maximum(_affine(x, *self._log_std), self._least), self._most)",
        "_affine(x, *self._log_std)",
        f"{OF_POLICY}acting_is_the_centre_and_with_noise_the_sample_of_the_policy_of_updates",
    ),
    (
        "acting does not squash",
        ACTING,
        "np.tanh(action).T",
        "action.T",
        f"{OF_POLICY}acting_is_the_centre_and_with_noise_the_sample_of_the_policy_of_updates",
    ),
    (
        "acting does not clip observations",
        "sac_runner/algorithm/normalization.py",
        "np.minimum(np.maximum(x, -clip, out=x), clip, out=x)",
        "pass",
        f"{OF_POLICY}acting_takes_raw_observations_and_normalizes_them",
    ),
    (
        "acting is with the weights of its first action",
        ACTING,
        "(weight.detach().numpy(), bias.detach().numpy()[:, None])",
        "(weight.detach().numpy().copy(), bias.detach().numpy().copy()[:, None])",
        f"{OF_POLICY}acting_is_with_the_weights_and_statistics_as_they_are_now",
    ),
    (
        "acting normalizes with the statistics of its first action",
        "sac_runner/algorithm/normalization.py",
        "mean, var, clip = self.moments.mean.numpy(), self.moments.var.numpy(), self.clip",
        "mean, var, clip = self.moments.mean.numpy().copy(), self.moments.var.numpy().copy(), self.clip",
        f"{OF_POLICY}acting_is_with_the_weights_and_statistics_as_they_are_now",
    ),
    (
        "a copy acts with the weights of its original",
        POLICY,
        " or self._acting_with != weight.data_ptr()",
        "",
        f"{OF_POLICY}a_copy_and_a_moved_policy_act_with_weights_of_their_own",
    ),
    (
        "NumPy's products take all cores",
        "sac_runner/training/device.py",
        '    threadpool_limits(1, user_api="blas")\n',
        "    pass\n",
        "tests/training/test_device.py::test_products_of_numpy_are_made_on_one_thread",
    ),
    (
        "oneDNN multiplies however many threads there are",
        "sac_runner/training/device.py",
        "return threads == 1 and ",
        "return ",
        "tests/training/test_device.py::test_onednn_multiplies_where_it_is_faster_and_keeps_float32_accuracy",
    ),
    (
        "a compiled update is not tried out",
        COMPILATION,
        "wrong = difference(self._agent, update, batch, noise)",
        "wrong = update(batch, noise) and None",
        f"{OF_COMPILATION}an_update_that_does_not_compile_or_comes_out_wrong_goes_on_as_written",
    ),
    (
        "what was compiled for one processor is run on another",
        COMPILATION,
        'f"update on {processor}"',
        '"update"',
        f"{OF_COMPILATION}what_was_compiled_on_another_processor_is_not_known_again",
    ),
    (
        "trying out leaves its step behind",
        TRYOUT,
        "    finally:\n        agent.load_state_dict(before)\n",
        "    finally:\n        pass\n",
        f"{OF_COMPILATION}trying_out_leaves_no_trace",
    ),
    (
        "a weight that is no number passes for close",
        TRYOUT,
        "lost or not off <= (0.25",
        "lost or off > (0.25",
        f"{OF_COMPILATION}an_update_that_does_not_compile_or_comes_out_wrong_goes_on_as_written",
    ),
    (
        "with medium precision, what was not written passes",
        TRYOUT,
        "return lost or not off",
        "return not off",
        f"{OF_COMPILATION}what_did_not_move_is_lost_however_coarse_the_rest_is",
    ),
    (
        "the C++ compiler dies of a signal that is meant for the run",
        COMPILATION,
        "signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
        f"{OF_COMPILATION}a_signal_to_stop_does_not_reach_the_compiler",
    ),
    (
        "a continued run tries again to compile",
        STATE,
        'self.updater.compiles = plain["compiles"]',
        "self.updater.compiles = None",
        "tests/training/test_resume.py::test_a_run_that_could_not_be_compiled_goes_on_so_where_it_could",
    ),
    (
        "wide observations meet the weights of actions",
        NETWORKS,
        "action.expand(both), of_action, ",
        "action.expand(both), of_obs[:, : action.shape[-1]], ",
        "tests/algorithm/test_networks.py::test_an_action_with_a_gradient_gives_the_same_values_also_where_observations_are_wide",
    ),
    (
        "medium precision multiplies in float32",
        AGENT,
        'agent.precision == "medium"',
        "False",
        "tests/algorithm/test_agent.py::test_precision_says_what_wide_layers_multiply_in_an_update_and_nothing_else",
    ),
    (
        "medium precision makes bfloat16 of narrow layers too",
        NETWORKS,
        "min(weight.shape[-2:]) >= _NARROW",
        "min(weight.shape[-2:]) >= 0",
        "tests/algorithm/test_agent.py::test_precision_says_what_wide_layers_multiply_in_an_update_and_nothing_else",
    ),
    (
        "medium precision makes bfloat16 of narrow layers on their way back",
        AGENT,
        "with torch.autocast(loss.device.type, enabled=False):",
        "with torch.no_grad(), torch.enable_grad():",
        "tests/algorithm/test_agent.py::test_precision_says_what_wide_layers_multiply_in_an_update_and_nothing_else",
    ),
    (
        "medium precision keeps bfloat16 copies of weights that have moved since",
        AGENT,
        "cache_enabled=False",
        "cache_enabled=True",
        "tests/algorithm/test_agent.py::test_an_update_of_medium_precision_goes_almost_the_same_way",
    ),
    (
        "medium precision is lost where updates are compiled",
        AGENT,
        'agent.precision == "medium"',
        'agent.precision == "medium" and not torch.compiler.is_compiling()',
        f"{OF_COMPILATION}a_run_whose_updates_are_compiled_in_its_midst_continues_to_the_same_end",
    ),
    (
        "this side of the benchmark makes half the updates",
        "scripts/lib/benchmark/ours.py",
        ', "schedule.updates_per_env_step=1"',
        "",
        "tests/test_benchmark.py::test_this_side_trains_with_what_stable_baselines3_has_by_default",
    ),
]
