"""One SAC update in float64 NumPy, forward and backward by hand from the equations; it calls nothing of sac_runner.

Weights are dicts of arrays under the names that the networks give them: the actor's are (out, in), the critics'
(n, in, out) with biases (n, 1, out).
"""

import numpy as np


def _softplus(x):
    return np.logaddexp(0.0, x)


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


ACTIVATIONS = {  # name -> (function, derivative)
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0.0) * 1.0),
    "leaky_relu": (lambda x: np.where(x > 0.0, x, 0.01 * x), lambda x: np.where(x > 0.0, 1.0, 0.01)),
    "tanh": (np.tanh, lambda x: 1.0 - np.tanh(x) ** 2),
    "elu": (lambda x: np.where(x > 0.0, x, np.expm1(x)), lambda x: np.where(x > 0.0, 1.0, np.exp(x))),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1.0 + x * (1.0 - _sigmoid(x)))),
}


class Adam:
    """Kingma and Ba (arXiv 1412.6980), algorithm 1."""

    def __init__(self, lr):
        self.lr, self.t, self.m, self.v = lr, 0, {}, {}

    def step(self, params, grads):
        self.t += 1
        for name, g in grads.items():
            self.m[name] = 0.9 * self.m.get(name, 0.0) + 0.1 * g
            self.v[name] = 0.999 * self.v.get(name, 0.0) + 0.001 * g**2
            m = self.m[name] / (1.0 - 0.9**self.t)
            v = self.v[name] / (1.0 - 0.999**self.t)
            params[name] = params[name] - self.lr * m / (np.sqrt(v) + 1e-8)


class NumpySAC:
    """The state of an agent: actor, critic and target weights, log alpha (or alpha), Adam's moments."""

    def __init__(self, actor, critic, target, alpha, target_entropy=None, **knobs):
        """``target_entropy`` None leaves alpha to whoever sets it; ``knobs`` are those of AgentConfig, and alpha_lr."""
        self.actor, self.critic, self.target = actor, critic, target
        self.log_alpha, self.alpha, self.target_entropy = np.log(alpha) if alpha > 0 else None, alpha, target_entropy
        self.knobs = knobs
        self.layers = len(knobs["hidden_sizes"])
        self.f, self.df = ACTIVATIONS[knobs["activation"]]
        self.actor_adam, self.critic_adam = Adam(knobs["actor_lr"]), Adam(knobs["critic_lr"])
        self.alpha_adam = Adam(knobs.get("alpha_lr"))

    def update(self, obs, action, reward, next_obs, terminated, next_noise, noise):
        """Lines 12 to 15; returns what the metrics must be."""
        size, alpha = len(obs), self.alpha

        next_action, next_log_prob, _ = self.act(next_obs, next_noise)
        next_q, _ = self.q(self.target, next_obs, next_action)
        y = reward + self.knobs["gamma"] * (1.0 - terminated) * (next_q.min(axis=0) - alpha * next_log_prob)

        q, tape = self.q(self.critic, obs, action)
        critic_loss = sum(np.mean((q_i - y) ** 2) for q_i in q)
        grads, _ = self.q_backward(self.critic, 2.0 * (q - y) / size, tape)
        self.critic_adam.step(self.critic, self.clipped(grads))

        new_action, log_prob, actor_tape = self.act(obs, noise)
        new_q, tape = self.q(self.critic, obs, new_action)
        actor_loss = np.mean(alpha * log_prob - new_q.min(axis=0))
        dq = np.where(np.arange(len(new_q))[:, None] == new_q.argmin(axis=0), -1.0 / size, 0.0)
        _, d_input = self.q_backward(self.critic, dq, tape)
        grads = self.act_backward(d_input[:, obs.shape[1] :], alpha / size, noise, new_action, actor_tape)
        self.actor_adam.step(self.actor, self.clipped(grads))

        metrics = {
            "critic_loss": critic_loss,
            "actor_loss": actor_loss,
            "alpha": alpha,
            "entropy": -np.mean(log_prob),
            "q_mean": np.mean(q),
            "q_target_mean": np.mean(y),
            "td_error_abs_mean": np.mean(np.abs(q - y)),
            "action_saturation": np.mean(np.abs(new_action) > 0.99),
        }
        if self.target_entropy is not None:
            gradient = -np.mean(log_prob + self.target_entropy)
            metrics |= {"alpha_loss": self.log_alpha * gradient, "target_entropy": self.target_entropy}
            state = {"log_alpha": self.log_alpha}
            self.alpha_adam.step(state, {"log_alpha": gradient})
            self.log_alpha, self.alpha = state["log_alpha"], np.exp(state["log_alpha"])

        tau = self.knobs["tau"]
        self.target = {k: (1.0 - tau) * self.target[k] + tau * self.critic[k] for k in self.target}
        return metrics

    def clipped(self, grads):
        """Scaled down to a norm of max_grad_norm, all weights of the network together."""
        limit = self.knobs["max_grad_norm"]
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        scale = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
        return {name: g * scale for name, g in grads.items()}

    def act(self, obs, noise):
        """Action, log-probability, and what the backward pass needs."""
        x, tape = obs, []
        for i in range(self.layers):
            z = x @ self.actor[f"hidden.{i}.weight"].T + self.actor[f"hidden.{i}.bias"]
            tape.append((x, z))
            x = self.f(z)
        mean = x @ self.actor["mean.weight"].T + self.actor["mean.bias"]
        raw_log_std = x @ self.actor["log_std.weight"].T + self.actor["log_std.bias"]
        log_std = np.clip(raw_log_std, self.knobs["log_std_min"], self.knobs["log_std_max"])
        u = mean + np.exp(log_std) * noise
        epsilon = self.knobs["log_prob_epsilon"]
        if epsilon is None:
            log_slope = np.log(4.0) - 2.0 * u - 2.0 * _softplus(-2.0 * u)
        else:
            log_slope = np.log(1.0 - np.tanh(u) ** 2 + epsilon)
        log_prob = np.sum(-0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi) - log_slope, axis=1)
        return np.tanh(u), log_prob, (tape, x, raw_log_std, log_std)

    def act_backward(self, d_action, d_log_prob, noise, action, tape):
        """Gradients of the actor's weights."""
        tape, last, raw_log_std, log_std = tape
        epsilon = self.knobs["log_prob_epsilon"] or 0.0
        slope = 1.0 - action**2
        du = d_action * slope + d_log_prob * 2.0 * action * slope / (slope + epsilon)
        inside = (raw_log_std >= self.knobs["log_std_min"]) & (raw_log_std <= self.knobs["log_std_max"])
        d_log_std = (du * np.exp(log_std) * noise - d_log_prob) * inside
        grads = {
            "mean.weight": du.T @ last,
            "mean.bias": du.sum(axis=0),
            "log_std.weight": d_log_std.T @ last,
            "log_std.bias": d_log_std.sum(axis=0),
        }
        dx = du @ self.actor["mean.weight"] + d_log_std @ self.actor["log_std.weight"]
        for i in reversed(range(self.layers)):
            x, z = tape[i]
            dz = dx * self.df(z)
            grads |= {f"hidden.{i}.weight": dz.T @ x, f"hidden.{i}.bias": dz.sum(axis=0)}
            dx = dz @ self.actor[f"hidden.{i}.weight"]
        return grads

    def q(self, w, obs, action):
        """Q-values (n, B), and what the backward pass needs."""
        x, tape = np.concatenate([obs, action], axis=1)[None], []
        for i in range(self.layers):
            z = x @ w[f"hidden.{i}.weight"] + w[f"hidden.{i}.bias"]
            centred = std = None
            y = z
            if self.knobs["critic_layer_norm"]:
                std = np.sqrt(z.var(axis=-1, keepdims=True) + 1e-5)
                centred = (z - z.mean(axis=-1, keepdims=True)) / std
                y = centred * w[f"norms.{i}.weight"] + w[f"norms.{i}.bias"]
            tape.append((x, centred, std, y))
            x = self.f(y)
        return (x @ w["out.weight"] + w["out.bias"])[..., 0], (tape, x)

    def q_backward(self, w, dq, tape):
        """Gradients of the critics' weights, and of their common input summed over critics."""
        tape, last = tape
        dz = dq[..., None]
        grads = {"out.weight": last.swapaxes(1, 2) @ dz, "out.bias": dz.sum(axis=1, keepdims=True)}
        dx = dz @ w["out.weight"].swapaxes(1, 2)
        for i in reversed(range(self.layers)):
            x, centred, std, y = tape[i]
            dz = dx * self.df(y)
            if centred is not None:
                grads[f"norms.{i}.weight"] = (dz * centred).sum(axis=1, keepdims=True)
                grads[f"norms.{i}.bias"] = dz.sum(axis=1, keepdims=True)
                d = dz * w[f"norms.{i}.weight"]
                along = (d * centred).mean(axis=-1, keepdims=True)
                dz = (d - d.mean(axis=-1, keepdims=True) - centred * along) / std
            grads[f"hidden.{i}.weight"] = x.swapaxes(1, 2) @ dz
            grads[f"hidden.{i}.bias"] = dz.sum(axis=1, keepdims=True)
            dx = dz @ w[f"hidden.{i}.weight"].swapaxes(1, 2)
        return grads, dx.sum(axis=0)
