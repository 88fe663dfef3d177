import threading

from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from sac_runner.storage.events import EventLog
from sac_runner.training.metrics import METRICS, SCORES
from tests.runs import event_curve, events_of
from tests.support import short_of_room

HYPERPARAMETERS = {"agent.lr": 3e-4, "alpha.mode": "auto", "normalization.obs": True, "seed": 3}


def write(folder, rows, after=0, ended=True):
    log = EventLog(folder, after)
    log.begin_session(HYPERPARAMETERS)
    for env_steps, values in rows:
        log.scalars(env_steps, values)
    if ended:
        log.end_session()
    log.close()


def test_every_tag_is_a_scalar_over_env_steps(tmp_path):
    write(tmp_path, [(step, {tag: step + i for i, tag in enumerate(METRICS)}) for step in (0, 1000, 2000)])
    assert sorted(events_of(tmp_path).Tags()["scalars"]) == sorted(METRICS)
    for i, tag in enumerate(METRICS):
        assert event_curve(tmp_path, tag) == [(0, i), (1000, 1000 + i), (2000, 2000 + i)]


def test_events_lie_in_the_run_directory_itself(tmp_path):
    write(tmp_path, [])
    (file,) = tmp_path.rglob("*")
    assert file.name.startswith("events.out.tfevents.")


def test_hyperparameters_are_listed_under_the_run_itself(tmp_path):
    write(tmp_path, [(10, {"eval/return_mean": 1.0})])
    contents = events_of(tmp_path).PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    listed = {key: getattr(x, x.WhichOneof("kind")) for key, x in start.hparams.items()}
    assert listed == HYPERPARAMETERS
    experiment = metadata.parse_experiment_plugin_data(contents[metadata.EXPERIMENT_TAG])
    assert {info.name for info in experiment.hparam_infos} == set(HYPERPARAMETERS)
    assert [info.name.tag for info in experiment.metric_infos] == [*SCORES, "eval/return_mean"]


def test_a_session_that_ended_says_so_at_once_or_after_it_went_on(tmp_path):
    write(tmp_path, [], ended=False)
    assert metadata.SESSION_END_INFO_TAG not in events_of(tmp_path).PluginTagToContent("hparams")
    write(tmp_path, [])
    content = events_of(tmp_path).PluginTagToContent("hparams")[metadata.SESSION_END_INFO_TAG]
    assert metadata.parse_session_end_info_plugin_data(content).status == api_pb2.STATUS_SUCCESS


def test_the_layout_of_charts_names_only_tags_there_are(tmp_path):
    write(tmp_path, [])
    (event,) = events_of(tmp_path).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(tensor_util.make_ndarray(event.tensor_proto).item())
    charts = [chart for category in layout.category for chart in category.chart]
    tags = [tag for chart in charts for tag in chart.multiline.tag]
    tags += [tag for chart in charts for line in chart.margin.series for tag in (line.value, line.lower, line.upper)]
    assert len(charts) >= 5 and set(tags) <= set(METRICS)
    assert {"eval/return_mean", "train/alpha", "train/entropy"} <= set(tags)
    (line,) = layout.category[0].chart[1].margin.series  # first in sight
    assert (line.value, line.lower, line.upper) == ("eval/return_mean", "eval/return_min", "eval/return_max")


def test_a_run_that_went_on_has_one_curve_without_what_lay_after_the_checkpoint(tmp_path):
    tag = "train/alpha"
    write(tmp_path, [(step, {tag: step}) for step in (0, 10, 20, 30)])
    write(tmp_path, [(step, {tag: step + 0.5}) for step in (30, 40)], after=30)
    assert event_curve(tmp_path, tag) == [(0, 0), (10, 10), (20, 20), (30, 30.5), (40, 40.5)]
    write(tmp_path, [(50, {tag: 50})], after=50)
    assert event_curve(tmp_path, tag) == [(0, 0), (10, 10), (20, 20), (30, 30.5), (40, 40.5), (50, 50)]


def test_a_row_can_be_read_while_the_run_goes_on(tmp_path):
    log = EventLog(tmp_path, 0)
    log.scalars(10, {"train/alpha": 0.5})
    assert event_curve(tmp_path, "train/alpha") == [(10, 0.5)]
    log.close()


def test_events_that_a_full_disk_refuses_wait_and_never_stop_a_run(tmp_path, monkeypatch):
    log = EventLog(tmp_path, -1)
    log.begin_session(HYPERPARAMETERS)
    room = short_of_room(monkeypatch, log._file, 9)
    log.scalars(1, {"train/alpha": 0.5})
    room[0] = 10_000
    log.scalars(2, {"train/alpha": 0.25})
    log.close()
    assert event_curve(tmp_path, "train/alpha") == [(1, 0.5), (2, 0.25)]


def test_no_thread_writes_behind_the_runs_back(tmp_path):
    before = threading.enumerate()
    log = EventLog(tmp_path, 0)
    assert threading.enumerate() == before
    log.close()
