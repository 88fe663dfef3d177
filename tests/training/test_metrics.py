import json

import numpy as np
import pytest
import torch

from sac_runner.interaction.collector import Episode
from sac_runner.training.compilation import Updater
from sac_runner.training.metrics import METRICS, RolloutMeans, TrainMeans
from sac_runner.types import Scalars
from tests.support import AUTO, CPU, random_batch, random_noise, sac


def scalars(**values):
    return Scalars(tuple(values), torch.tensor(list(values.values())))


def test_train_means_are_over_the_updates_since_the_last_row():
    means = TrainMeans()
    means.add(scalars(q_mean=1.0, alpha=0.5))
    means.add(scalars(q_mean=4.0, alpha=0.25))
    assert means.take() == {"train/q_mean": 2.5, "train/alpha": 0.375}
    assert means.take() == {}
    means.add(scalars(q_mean=-8.0, alpha=1.0))
    assert means.take() == {"train/q_mean": -8.0, "train/alpha": 1.0}


def test_train_means_keep_no_graph():
    values, means = torch.tensor([2.0, 3.0], requires_grad=True), TrainMeans()
    for _ in range(2):
        means.add(Scalars(("q_mean", "alpha"), 3.0 * values))
        with torch.no_grad():
            values.add_(1.0)
    assert [x.requires_grad for x in means._waiting] == [False, False]
    assert means.take() == {"train/q_mean": 7.5, "train/alpha": 10.5}


def test_train_means_hold_what_the_next_update_on_a_gpu_writes_over(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    means, again = TrainMeans(), scalars(q_mean=1.0, alpha=2.0)
    for _ in range(2):
        means.add(again)
        again.values.add_(1.0)
    assert means.take() == {"train/q_mean": 1.5, "train/alpha": 2.5}


@pytest.mark.parametrize("asked_every", [1, 7, 64, 150])
def test_train_means_do_not_depend_on_how_often_a_checkpoint_asks_for_them(asked_every):
    means, total = TrainMeans(), 0.0
    for n in range(150):
        means.add(scalars(alpha=0.1 * n))
        total += float(np.float32(0.1 * n))
        if n % asked_every == 0:
            means.state_dict()
    assert means.take() == {"train/alpha": total / 150}


def test_train_means_of_many_updates_do_not_drift():
    means, restored = TrainMeans(), TrainMeans()
    means.add(scalars(alpha=1e8))
    for _ in range(50):
        means.add(scalars(alpha=1.0))
    restored.load_state_dict(means.state_dict(), CPU)
    for _ in range(50):
        restored.add(scalars(alpha=1.0))
    assert restored.take() == {"train/alpha": pytest.approx((1e8 + 100) / 101, rel=1e-12)}


def test_train_means_continue_after_a_trip_through_json():
    means, restored = TrainMeans(), TrainMeans()
    for x in (0.1, 0.7, 1e-8):
        means.add(scalars(q_mean=x))
    restored.load_state_dict(json.loads(json.dumps(means.state_dict())), CPU)
    for m in (means, restored):
        m.add(scalars(q_mean=1 / 3))
    assert means.take() == restored.take()


def test_empty_train_means_make_the_trip_too():
    restored = TrainMeans()
    restored.add(scalars(q_mean=1.0))
    restored.load_state_dict(json.loads(json.dumps(TrainMeans().state_dict())), CPU)
    assert restored.take() == {}


def test_rollout_means_are_over_the_episodes_since_the_last_row():
    means = RolloutMeans()
    means.add(Episode(env=0, ret=-10.0, length=3, success=True))
    means.add(Episode(env=1, ret=40.0, length=6, success=False))
    expected = {"rollout/episode_return": 15.0, "rollout/episode_length": 4.5, "rollout/success": 0.5}
    assert means.take() == expected
    assert means.take() == {}


def test_success_is_left_out_where_the_environment_does_not_say():
    means = RolloutMeans()
    means.add(Episode(env=0, ret=1.0, length=1, success=None))
    assert "rollout/success" not in means.take()
    means.add(Episode(env=0, ret=1.0, length=1, success=None))
    means.add(Episode(env=0, ret=1.0, length=1, success=True))
    assert means.take()["rollout/success"] == 1.0


def test_every_train_and_rollout_tag_is_in_the_contract_and_nothing_in_it_is_missing():
    train, rollout = TrainMeans(), RolloutMeans()
    train.add(Updater(sac(alpha=AUTO), None, print)(random_batch(), random_noise(), 0))
    rollout.add(Episode(env=0, ret=1.0, length=1, success=True))
    tags = train.take().keys() | rollout.take().keys()
    assert tags == {tag for tag in METRICS if tag.startswith(("train/", "rollout/"))}


@pytest.mark.parametrize("tag", METRICS)
def test_every_tag_is_explained(tag):
    assert tag.split("/")[0] in {"rollout", "eval", "train", "perf"} and METRICS[tag]
