"""Bugs of ``sac_runner/algorithm``: name, file, text there, text instead, the test that turns red."""

LOSSES = "sac_runner/algorithm/losses.py"
NETWORKS = "sac_runner/algorithm/networks.py"
AGENT = "sac_runner/algorithm/agent.py"
NORMALIZATION = "sac_runner/algorithm/normalization.py"
OF_LOSSES = "tests/algorithm/test_losses.py::test_"
OF_NETWORKS = "tests/algorithm/test_networks.py::test_"
OF_AGENT = "tests/algorithm/test_agent.py::test_"
OF_UPDATES = "tests/algorithm/test_golden_update.py::test_"
OF_NORMALIZATION = "tests/algorithm/test_normalization.py::test_"

EQUATIONS = [
    (
        "the target counts no entropy",
        LOSSES,
        "next_q.amin(dim=0) - alpha * next_log_prob",
        "next_q.amin(dim=0)",
        f"{OF_LOSSES}target_by_hand",
    ),
    (
        "the target takes the mean of the critics",
        LOSSES,
        "next_value = next_q.amin(dim=0)",
        "next_value = next_q.mean(dim=0)",
        f"{OF_LOSSES}target_by_hand",
    ),
    (
        "a terminated state has a value",
        LOSSES,
        "gamma * (1.0 - terminated) * next_value",
        "gamma * next_value",
        f"{OF_LOSSES}target_by_hand",
    ),
    (
        "the actor climbs the largest critic",
        LOSSES,
        "- q.amin(dim=0)).mean()",
        "- q.amax(dim=0)).mean()",
        f"{OF_LOSSES}actor_loss_by_hand",
    ),
    (
        "alpha falls where it should rise",
        LOSSES,
        "return -(log_alpha * (log_prob + target_entropy)).mean()",
        "return (log_alpha * (log_prob + target_entropy)).mean()",
        "tests/algorithm/test_alpha.py::test_auto_rises_below_its_target_entropy_falls_above_it_and_rests_on_it",
    ),
    (
        "the target entropy has the other sign",
        LOSSES,
        "(log_prob + target_entropy)",
        "(log_prob - target_entropy)",
        f"{OF_LOSSES}alpha_loss_by_hand_and_its_slope_is_minus_the_excess_of_log_prob",
    ),
    (
        "alpha takes part in the other losses' gradients",
        "sac_runner/algorithm/alpha.py",
        "return self.log_alpha.detach().exp()",
        "return self.log_alpha.exp()",
        "tests/algorithm/test_alpha.py::test_alpha_starts_at_its_configured_value_and_gives_no_gradient",
    ),
    (
        "tau is the share of the old weights",
        LOSSES,
        "_foreach_lerp_(target, online, tau)",
        "_foreach_lerp_(target, online, 1.0 - tau)",
        f"{OF_LOSSES}soft_update_takes_tau_of_the_online_weights_in_place",
    ),
    (
        "the slope of tanh is its root",
        NETWORKS,
        "log_slope = 2.0 * (math.log(2.0)",
        "log_slope = (math.log(2.0)",
        f"{OF_NETWORKS}density_over_the_action_interval_integrates_to_one",
    ),
    (
        "log_std has no clamp",
        NETWORKS,
        "log_std.clamp(*self.log_std_range)",
        "log_std",
        f"{OF_NETWORKS}log_std_is_clamped_to_its_range",
    ),
    (
        "layer norm is left out",
        NETWORKS,
        "self.activation(norm(layer(x)))",
        "self.activation(layer(x))",
        f"{OF_NETWORKS}each_critic_of_the_stack_is_a_network_of_its_own",
    ),
    (
        "the action is not squashed",
        NETWORKS,
        "action = torch.tanh(pre_tanh)",
        "action = pre_tanh",
        f"{OF_NETWORKS}sample_is_the_squashed_gaussian_of_its_noise",
    ),
]

UPDATE = [
    (
        "gradients flow through the target",
        AGENT,
        "with torch.no_grad():  # line 12",
        "with torch.enable_grad():  # line 12",
        f"{OF_AGENT}the_critics_move_through_the_critic_loss_alone",
    ),
    (
        "the target comes from the critics that learn",
        AGENT,
        "next_q = self.critic_target(",
        "next_q = self.critic(",
        f"{OF_AGENT}the_target_comes_from_target_critics_and_the_current_policy",
    ),
    (
        "both actions of an update share their noise",
        AGENT,
        "actor.sample(obs, noise.action)",
        "actor.sample(obs, noise.next_action)",
        f"{OF_AGENT}an_update_is_a_function_of_state_batch_and_noise",
    ),
    (
        "the next observations are not normalized",
        AGENT,
        "self.policy.obs_normalizer(batch.next_obs)",
        "batch.next_obs",
        f"{OF_UPDATES}update_equals_the_equations_in_numpy",
    ),
    (
        "the actor looks at the critics before their step",
        AGENT,
        "        self._descend(self.critic_optimizer, loss_q)\n\n"
        "        action, log_prob = actor.sample(obs, noise.action)"
        "  # line 14: one step for the actor, critics held still\n"
        "        loss_pi = actor_loss(self.critic(obs, action), log_prob, alpha)\n",
        "        action, log_prob = actor.sample(obs, noise.action)\n"
        "        loss_pi = actor_loss(self.critic(obs, action), log_prob, alpha)\n"
        "        self._descend(self.critic_optimizer, loss_q)\n",
        f"{OF_AGENT}the_actors_step_looks_at_the_critics_after_theirs",
    ),
    (
        "the target critics are the critics",
        AGENT,
        "copy.deepcopy(self.critic).requires_grad_(False)",
        "self.critic",
        f"{OF_AGENT}targets_start_as_copies_that_share_no_memory",
    ),
    (
        "the critics learn at the actor's rate",
        AGENT,
        "self.critic.parameters(), agent.critic_lr",
        "self.critic.parameters(), agent.actor_lr",
        f"{OF_AGENT}the_actors_step_looks_at_the_critics_after_theirs",
    ),
    (
        "a linear learning rate leaves the critics out",
        AGENT,
        "            self.critic_optimizer.lr.fill_(share * self.config.critic_lr)\n",
        "",
        f"{OF_AGENT}a_linear_learning_rate_falls_by_absolute_step_to_its_final_share",
    ),
    (
        "alpha's optimizer is not saved",
        AGENT,
        "if isinstance(self.alpha, AutoAlpha) else {}",
        "if False else {}",
        f"{OF_AGENT}a_loaded_state_continues_bit_for_bit",
    ),
    (
        "the target critics are not saved",
        AGENT,
        '"critic_target": self.critic_target,',
        '"critic_target": self.critic,',
        f"{OF_AGENT}a_loaded_state_continues_bit_for_bit",
    ),
]

STATISTICS = [
    (
        "merged variances forget how far the means lie apart",
        NORMALIZATION,
        "            var -= sums * shift\n",
        "",
        f"{OF_NORMALIZATION}any_split_into_chunks_gives_the_moments_of_the_whole",
    ),
    (
        "statistics are computed in float32",
        NORMALIZATION,
        "distance = x - mean\n",
        "distance = x - mean.astype(x.dtype)\n",
        f"{OF_NORMALIZATION}moments_of_float32_frames_are_those_of_gymnasium_in_float64",
    ),
    (
        "a discounted return goes on past the end of its episode",
        NORMALIZATION,
        "        discounted_return[done] = 0.0\n",
        "",
        f"{OF_NORMALIZATION}environments_do_not_share_a_return",
    ),
    (
        "acting moves the statistics",
        "sac_runner/algorithm/policy.py",
        "        return self._acting.act(",
        "        self.obs_normalizer.observe(obs)\n        return self._acting.act(",
        "tests/algorithm/test_policy.py::test_acting_moves_nothing",
    ),
    (
        "what never varies is divided by nothing in acting",
        NORMALIZATION,
        "            std += 1e-8\n",
        "",
        f"{OF_NORMALIZATION}observations_that_never_vary_stay_finite",
    ),
]
