"""The metric contract: one list, held by the code, the README and every run."""

import math
import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sac_runner.training.metrics import METRICS, SCORES
from tests.runs import BUDGET, TINY, measured, trained

README = Path(__file__).resolve().parents[2] / "README.md"
CONTRACT = {
    "rollout": "episode_return episode_length success",
    "eval": "return_mean return_std return_min return_max length_mean success_rate q_bias",
    "train": "critic_loss actor_loss alpha_loss alpha entropy target_entropy q_mean q_target_mean td_error_abs_mean "
    "action_saturation",
    "perf": "env_steps_per_s updates_per_s updates_per_env_step wall_time_s",
}
OF_THE_END = ["score/final", "score/best", "score/area"]


def test_the_list_is_that_of_the_contract():
    assert list(METRICS) == [f"{group}/{name}" for group, names in CONTRACT.items() for name in names.split()]
    assert list(SCORES) == OF_THE_END


def test_the_table_of_the_readme_is_the_list():
    found = re.search(r"<!-- metrics -->\n(.*?)<!-- /metrics -->", README.read_text(), re.S)
    assert found, "README.md has no table of metrics between its markers"
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", found[1], re.M)
    assert rows[0] == ("tag", "meaning")
    assert {tag.strip("`"): meaning.replace("&#124;", "|") for tag, meaning in rows[1:]} == METRICS | SCORES


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (["env=custom", "env.id=tests.scripted:Countdown-v0", *BUDGET, "normalization=obs_and_reward"], set()),
        ([*TINY, "alpha=fixed"], {"rollout/success", "eval/success_rate", "train/alpha_loss", "train/target_entropy"}),
    ],
)
def test_a_run_writes_these_tags_and_no_other(overrides, left_out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained(*overrides, "eval.episodes=4", "log.every_env_steps=20")
    curves = measured(run.path)
    assert set(curves) == set(METRICS) - left_out
    assert all(math.isfinite(x) for curve in curves.values() for _, x in curve)
    assert (run.path / "metrics.csv").read_text().splitlines()[0] == ",".join(["env_steps", "round", *METRICS])
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {*curves, *SCORES}


def test_numbers_mean_what_the_table_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ratio = ["schedule.updates_per_env_step=0.5", "log.every_env_steps=30"]
    curves = {tag: dict(curve) for tag, curve in measured(trained(*TINY, *ratio, "eval.episodes=3").path).items()}
    assert curves["perf/updates_per_env_step"] == {30: 0.5, 60: 0.5}
    assert curves["rollout/episode_length"] == {30: 15.0, 60: 15.0} and curves["eval/length_mean"][60] == 15.0
    assert curves["train/target_entropy"][60] == -1.0
    low, mean, high = (curves[f"eval/return_{x}"][60] for x in ("min", "mean", "max"))
    assert low < mean < high and 0 < curves["eval/return_std"][60] <= high - low
    assert 0 < curves["perf/wall_time_s"][30] < curves["perf/wall_time_s"][60] < 60
    assert all(0 <= share <= 1 for share in curves["train/action_saturation"].values())
