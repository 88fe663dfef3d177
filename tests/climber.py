"""A sweeper as others write them: it proposes settings one at a time, and goes by what they return."""

import json
import sys
from pathlib import Path
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Climber(Sweeper):
    """Three settings, the last one with a fault."""

    def __init__(self, params, direction):
        self.params, self.direction = params, direction

    def setup(self, *, hydra_context, task_function, config):
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        fixed = [x for x in arguments if "env.kwargs.at" not in x]
        returned = []
        for number, (tau, at) in enumerate([("0.1", "1000"), ("0.2", "1000"), ("0.3", "3")]):
            job = [*fixed, f"agent.tau={tau}", f"++env.kwargs.at={at}"]
            (answer,) = self.launcher.launch([job], initial_job_idx=number)
            returned.append(answer.return_value)
        Path(self.config.hydra.sweep.dir, "climbed.json").write_text(json.dumps(returned))


def register():
    """Make it known to Hydra, as an installed plugin would be."""
    plugins = Plugins.instance()
    sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    sys.modules["hydra_plugins.climber"] = sys.modules[__name__]
    Climber.__module__ = "hydra_plugins.climber"
    plugins.register(Climber)
