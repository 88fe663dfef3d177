"""What a run goes on with where it can't go on exactly."""

import numpy as np
import pytest

from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.trainer import Trainer
from tests.support import CPU, config


def test_an_episode_cut_short_is_truncated_in_the_buffer_and_begun_anew_by_the_agent(tmp_path):
    c = config(
        env={"max_episode_steps": 100, "num_envs": 2},
        normalization={"obs": True, "reward": True},
        eval={"every_env_steps": None, "max_episode_steps": 5},
        total_env_steps=20,
    )
    with Trainer(c, CPU, Console(c)) as trainer, Trainer(c, CPU, Console(c)) as restored:
        record = Record(c, RunDirectory(tmp_path), {})
        record.open()
        trainer.run(record, lambda: False)
        record.close(True)
        arrays, plain = trainer.state.capture()
        plain["collector"]["heard"][1] = plain["collector"]["heard"][0]  # as if environment 1 had answered otherwise
        at, obs = trainer.replay.added, trainer.collector.obs
        restored.replay.restore([(0, trainer.replay.rows_between(0, at))], obs)
        assert restored.state.restore(arrays, plain) == [1]
    rows, agent, before = restored.replay.rows_between(0, at), restored.agent, trainer.agent
    assert np.argwhere(rows["truncated"]).tolist() == [[at - 1, 1]]
    np.testing.assert_array_equal(rows["final_obs"], obs[1:])
    begun, went_on = agent.reward_normalizer.discounted_return[1], agent.reward_normalizer.discounted_return[0]
    assert begun == 0.0 and went_on == before.reward_normalizer.discounted_return[0] != 0.0
    counts = [x.policy.obs_normalizer.moments.count.item() for x in (agent, before)]
    assert counts[0] - counts[1] == pytest.approx(1.0)  # the first observation of the new episode
