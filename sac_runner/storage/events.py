"""TensorBoard events of a run, written without torch: scalars, hyperparameters and the layout of charts."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from sac_runner.errors import DiskFailed
from sac_runner.storage.files import Appended

COMPARED = ("score/final", "score/best", "score/area", "eval/return_mean")
"""Tags that the HParams tab holds against hyperparameters."""

_CHARTS: dict[str, dict[str, list[str]]] = {
    "evaluation": {"return": ["eval/return_mean"]},
    "training": {"return": ["rollout/episode_return"], "episode length": ["rollout/episode_length"]},
    "critics": {
        "loss": ["train/critic_loss"],
        "values": ["train/q_mean", "train/q_target_mean"],
        "error": ["train/td_error_abs_mean"],
        "bias": ["eval/q_bias"],
    },
    "policy": {
        "temperature": ["train/alpha"],
        "entropy": ["train/entropy", "train/target_entropy"],
        "saturation": ["train/action_saturation"],
    },
    "speed": {"per second": ["perf/env_steps_per_s", "perf/updates_per_s"]},
}


class EventLog:
    """The event file in a run directory itself, so that TensorBoard names the run by its folder."""

    def __init__(self, folder: Path, env_steps: int) -> None:
        """Open a new event file beside earlier ones; TensorBoard drops what they hold from ``env_steps`` on."""
        # Not an EventFileWriter: its thread would answer a full disk with a traceback of its own.
        self._file = _new_file(folder)
        self._writer = RecordWriter(self._file)
        self._add(Event(file_version="brain.Event:2"))
        restart = SessionLog(status=SessionLog.START)  # TensorBoard purges from this event's step on
        self._add(Event(step=max(env_steps, 0), session_log=restart))
        self._write(_layout())

    def scalars(self, env_steps: int, values: dict[str, float]) -> None:
        """One event for a whole row, five times cheaper than one for each value; TensorBoard can read it at once."""
        self._write(Summary(value=[Summary.Value(tag=tag, simple_value=x) for tag, x in values.items()]), env_steps)
        with contextlib.suppress(DiskFailed):  # metrics.csv has the same rows
            self._file.flush()

    def begin_session(self, hyperparameters: dict[str, bool | float | str]) -> None:
        """List the hyperparameters in the HParams tab, under the run itself (torch's writer makes a child run)."""
        now = time.time()
        listed = {name: _hparam(x) for name, x in hyperparameters.items()}
        infos = [api_pb2.HParamInfo(name=name, type=kind) for name, (kind, _) in listed.items()]
        experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=compared(), time_created_secs=now)
        start = SessionStartInfo(start_time_secs=now)
        for name, (_, value) in listed.items():
            start.hparams[name].MergeFrom(value)
        self._hparams(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))
        self._hparams(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))

    def end_session(self) -> None:
        """The run has come to its end. TensorBoard keeps the first such word, so one that may go on says none."""
        end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        self._hparams(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))

    def _hparams(self, tag: str, data: HParamsPluginData) -> None:
        value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
        self._write(Summary(value=[value]))

    def sync(self) -> None:
        """Have on the disk what it takes: curves never stop a training."""
        with contextlib.suppress(DiskFailed):
            self._file.sync()

    def close(self) -> None:
        """Hand what the disk takes to the operating system."""
        with contextlib.suppress(DiskFailed):
            self._file.flush()
        self._file.close()

    def _write(self, summary: Summary, env_steps: int = 0) -> None:
        self._add(Event(step=env_steps, summary=summary))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


def compared() -> list[Any]:
    """A ``MetricInfo`` for each of ``COMPARED``."""
    return [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in COMPARED]


def _hparam(x: bool | float | str) -> tuple[Any, Value]:
    """Type and value of ``x`` for the HParams tab."""
    match x:
        case bool():
            return api_pb2.DATA_TYPE_BOOL, Value(bool_value=x)
        case int() | float():
            return api_pb2.DATA_TYPE_FLOAT64, Value(number_value=x)
        case str():
            return api_pb2.DATA_TYPE_STRING, Value(string_value=x)


def _layout() -> Summary:
    spread = layout_pb2.Chart(
        title="return, worst to best episode",
        margin=layout_pb2.MarginChartContent(
            series=[
                layout_pb2.MarginChartContent.Series(
                    value="eval/return_mean", lower="eval/return_min", upper="eval/return_max"
                )
            ]
        ),
    )
    categories = [
        layout_pb2.Category(
            title=category,
            chart=[
                layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
                for title, tags in charts.items()
            ],
        )
        for category, charts in _CHARTS.items()
    ]
    categories[0].chart.append(spread)
    return _charts(categories)


def _charts(categories: list[layout_pb2.Category]) -> Summary:
    """What tells TensorBoard of charts."""
    layout = layout_pb2.Layout(category=categories).SerializeToString()
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(layout),
    )
    return Summary(value=[value])


def _new_file(folder: Path) -> Appended:
    """Named as TensorBoard finds its files, and reads them in this order."""
    return Appended(folder / f"events.out.tfevents.{time.time_ns():020}.{os.uname().nodename}.{os.getpid()}", "xb")


class BandPoint(NamedTuple):
    """A group of runs at some env step."""

    env_steps: int
    seconds: float
    """Wall time since their start."""
    middle: float
    low: float | None
    """The band's lower end; None where there is none."""
    high: float | None


def write_band(folder: Path, tag: str, points: Sequence[BandPoint]) -> None:
    """An event file of a group of runs: ``tag`` and, as ``tag_low`` and ``tag_high``, its band, with a chart for them.

    Raises:
        DiskFailed: Not all of it is there.
    """
    now = time.time()
    file = _new_file(folder)
    writer = RecordWriter(file)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    writer.write(Event(wall_time=now, summary=_band_layout(tag)).SerializeToString())
    for point in points:
        values = {tag: point.middle, f"{tag}_low": point.low, f"{tag}_high": point.high}
        row = Summary(value=[Summary.Value(tag=name, simple_value=x) for name, x in values.items() if x is not None])
        writer.write(Event(wall_time=now + point.seconds, step=point.env_steps, summary=row).SerializeToString())
    try:
        file.flush()
    finally:
        file.close()


def _band_layout(tag: str) -> Summary:
    margin = layout_pb2.MarginChartContent.Series(value=tag, lower=f"{tag}_low", upper=f"{tag}_high")
    charts = [
        layout_pb2.Chart(title=f"{tag}, IQM and 95 % band", margin=layout_pb2.MarginChartContent(series=[margin])),
        layout_pb2.Chart(title=f"{tag}, IQM", multiline=layout_pb2.MultilineChartContent(tag=[f"{tag}$"])),
    ]
    return _charts([layout_pb2.Category(title="groups", chart=charts)])
