"""What jobs need, measured in a process of its own: an environment that crashes must not take the sweep along."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from sac_runner.config.convert import from_plain, to_plain
from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput
from sac_runner.sweep.resources import Needs

_MEASURED = 4
"""Configs that are measured at most; the others are taken to need what the one with the most memory does."""
_TIMEOUT_S = 60.0
_UNKNOWN = Needs(0.0, 0, 0, 0)


def measure(configs: list[Config]) -> list[Needs]:
    """What each of ``configs`` needs; all zero where that can't be known.

    Raises:
        WrongInput: What one of them names is not there.
    """
    parts = [repr((config.env, config.device, config.alpha)) for config in configs]
    sizes = [_what_costs(config) for config in configs]
    distinct = dict(zip(sizes, configs, strict=True)).items()
    to_measure = sorted(distinct, key=lambda item: -item[1].transitions)[:_MEASURED]
    request = {
        "to_try": [to_plain(config) for config in dict(zip(parts, configs, strict=True)).values()],
        "to_measure": [to_plain(config) for _, config in to_measure],
    }
    found = []
    for line in ask(json.dumps(request)).splitlines():
        answer = json.loads(line)
        if "refused" in answer:
            raise WrongInput(*answer["refused"])
        found.append(Needs(*answer["needs"]))
    known = {key: needs for (key, _), needs in zip(to_measure, found, strict=False)}
    most = max(found, key=lambda needs: needs.memory, default=_UNKNOWN)
    return [known.get(key, most) for key in sizes]


def _what_costs(config: Config) -> str:
    """What memory, disk and time depend on: configs that differ in a learning rate need the same."""
    agent = config.agent
    networks = (agent.hidden_sizes, agent.activation, agent.n_critics, agent.critic_layer_norm)
    size = (config.replay, config.schedule, config.total_env_steps, config.checkpoint.keep_replay)
    return repr((config.env, networks, size, config.compile_after_updates, config.precision, config.device))


def ask(request: str) -> str:
    """The lines that ``sac-train --probe`` answers, as far as it came."""
    command = [sys.executable, "-P", "-m", "sac_runner.commands.train", "--probe"]
    try:
        done = subprocess.run(
            command, input=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_TIMEOUT_S
        )
        return _whole_lines(done.stdout)
    except subprocess.TimeoutExpired as e:
        said = e.stdout or b""
        return _whole_lines(said.decode() if isinstance(said, bytes) else said)


def _whole_lines(text: str) -> str:
    return text[: text.rfind("\n") + 1]


def answer(
    request: str, try_out: Callable[[Config], None], needs: Callable[[Config], tuple[float, int, int, int]]
) -> Iterator[str]:
    """The other side of ``ask``: a line of JSON for each config, or the first that is refused.

    Args:
        request: What was asked.
        try_out: Raises ``WrongInput`` where what a config names is not there.
        needs: Measures a config.
    """
    asked: dict[str, list[dict[str, Any]]] = json.loads(request)
    try:
        for plain in asked["to_try"]:
            try_out(from_plain(plain))
        for plain in asked["to_measure"]:
            yield json.dumps({"needs": needs(from_plain(plain))})
    except WrongInput as e:
        yield json.dumps({"refused": [e.message, e.remedy]})


def answer_on_stdout(try_out: Callable[[Config], None], needs: Callable[[Config], tuple[float, int, int, int]]) -> None:
    """``sac-train --probe``; what an environment prints is not taken for an answer."""
    request = sys.stdin.read()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in answer(request, try_out, needs):
            print(line, file=answers, flush=True)
