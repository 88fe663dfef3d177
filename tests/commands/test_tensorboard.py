import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.program import TensorBoard, WerkzeugServer
from tensorboard.util.tb_logging import get_logger
from werkzeug.test import Client

from sac_runner.commands import tensorboard
from sac_runner.commands.tensorboard import HOST, command_line, free_port, log_folder, main, plugins, tunnel
from sac_runner.storage.events import EventLog
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob


@pytest.fixture
def served(monkeypatch):
    """What TensorBoard would be started with, and what it would find there."""
    seen = []

    def serve(arguments):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        logdir = Path(options["--logdir"])
        runs = [Path(folder) for folder, _, files in os.walk(logdir, followlinks=True) if _is_shown(files)]
        seen.append((options, sorted(str(run.relative_to(logdir)) for run in runs)))

    monkeypatch.setattr(tensorboard, "serve", serve)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return seen


def _is_shown(files):
    return any(name == "config.yaml" or "tfevents" in name for name in files)


@pytest.fixture
def sweep(tmp_path):
    """Makes a sweep as its launcher leaves it: a plan, ``jobs/`` and run directories."""

    def make(name, at="outputs", started="2026-01-01T00:00:00+00:00"):
        folder = SweepDirectory(tmp_path / at / "sweeps" / name)
        jobs = [SweepJob(n, f"alpha-auto/s{n}", {"alpha": "auto"}, n, 100) for n in (0, 1)]
        folder.path.mkdir(parents=True)
        folder.write_plan({"name": name, "started": started}, jobs, [{}, {}])
        for job in jobs:
            folder.log_file(job).write_text("a line\n")
            folder.run(job).path.mkdir(parents=True)
            (folder.run(job).path / "config.yaml").touch()
        return folder.path

    return make


def test_all_runs_on_this_host_only(run, call, served):
    answer = call(main, "--outputs", run.parents[2])
    assert answer.code == 0, answer.err
    ((options, names),) = served
    assert options["--logdir"] == str(run.parents[2])
    assert options["--host"] == "127.0.0.1"
    assert names == ["runs/pendulum/tiny_s3"]
    assert answer.out.startswith(f"http://127.0.0.1:{options['--port']}/ ")


def test_chosen_runs_are_named_after_their_folders(run, own, sampled_run, call, served):
    call(main, run, own, sampled_run)
    ((options, names),) = served
    assert "pendulum/tiny_s3" in names and len(names) == 3
    assert not Path(options["--logdir"]).exists()  # the links are gone


def test_runs_of_the_same_name_and_with_a_comma_and_named_twice(tmp_path):
    folders = [tmp_path / place / "runs" / "ant" / "a,b:c" for place in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
    links = tmp_path / "links"
    assert log_folder([*folders, folders[0]], links) == links
    targets = [path.resolve() for path in links.rglob("*") if path.is_symlink()]
    assert sorted(targets) == sorted(folders)


@pytest.mark.parametrize("which", ["its path", "t_al", "last"])
def test_runs_of_one_sweep_are_named_by_setting_and_seed(sweep, which, call, served):
    folder = sweep("t_alpha")
    answer = call(main, folder if which == "its path" else which, "--outputs", folder.parents[1])
    assert answer.code == 0, answer.err
    ((options, names),) = served
    assert names == ["alpha-auto/s0", "alpha-auto/s1"]
    assert re.match(rf"http://127\.0\.0\.1:{options['--port']}/\?runColorGroup=\S+ ", answer.out)


def test_runs_of_several_sweeps_are_named_by_the_sweep_too(sweep, call, served):
    folders = [sweep("t_alpha"), sweep("t_lr"), sweep("t_lr", at="other")]
    assert call(main, *folders).code == 0
    ((_, names),) = served
    elsewhere = str(folders[2]).strip("/")
    assert names == sorted(f"{name}/alpha-auto/s{seed}" for name in ("t_alpha", "t_lr", elsewhere) for seed in (0, 1))


def test_last_is_a_sweep_or_a_run_whichever_is_newer(sweep, run, call, served):
    folder = sweep("t_alpha", started="2020-01-01T00:00:00+00:00")
    single = folder.parents[1] / "runs" / "pendulum" / "tiny_s3"
    shutil.copytree(run, single)
    call(main, "last", "--outputs", folder.parents[1])
    sweep("t_lr", started="2120-01-01T00:00:00+00:00")
    call(main, "last", "--outputs", folder.parents[1])
    (_, of_the_run), (_, of_the_sweep) = served
    assert of_the_run == ["pendulum/tiny_s3"] and of_the_sweep == ["alpha-auto/s0", "alpha-auto/s1"]


def test_a_job_beside_its_own_sweep_is_shown_once_and_nothing_is_written_into_another(sweep, call, served):
    first, other = sweep("t_alpha"), sweep("t_alpha", at="other")
    others = [other / "alpha-auto/s1", other / "alpha-fixed/s0"]
    others[1].mkdir(parents=True)
    (others[1] / "config.yaml").touch()
    before = sorted(first.rglob("*"))
    assert call(main, first, first / "alpha-auto/s0", *others).code == 0
    ((_, names),) = served
    elsewhere = [str(run).strip("/") for run in others]
    assert names == sorted(["t_alpha/alpha-auto/s0", "t_alpha/alpha-auto/s1", *elsewhere])
    assert sorted(first.rglob("*")) == before


def test_groups_that_compare_wrote(sweep, tmp_path, call, served):
    groups = tmp_path / "outputs" / "compare" / "t_alpha" / "tensorboard"
    (groups / "alpha=auto").mkdir(parents=True)
    (groups / "alpha=auto" / "events.out.tfevents.1.host.2").touch()
    for arguments in ([groups], [groups.parent], [sweep("t_alpha"), groups]):
        assert call(main, *arguments).code == 0
    assert [names for _, names in served] == [
        ["alpha=auto"],
        ["tensorboard/alpha=auto"],
        ["compare/t_alpha/alpha=auto", "t_alpha/alpha-auto/s0", "t_alpha/alpha-auto/s1"],
    ]


def write_events(folder, hyperparameters, scores=()):
    folder.mkdir(parents=True)
    log = EventLog(folder, -1)
    log.begin_session(hyperparameters)
    log.scalars(10, {"train/alpha": 0.5, "eval/return_mean": -3.0} | dict(scores))
    log.close()


def hparams_tab(logdir):
    """What the HParams tab asks for: columns of hyperparameters, those of metrics, and each run's row."""
    (kind,) = [x for x in plugins() if isinstance(x, type) and issubclass(x, HParamsPlugin)]
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    provider = MultiplexerDataProvider(multiplexer.Reload(), str(logdir))
    apps = kind(TBContext(data_provider=provider, logdir=str(logdir))).get_plugin_apps()

    def ask(route, **request):
        return json.loads(Client(apps[route]).post(data=json.dumps(request)).data)

    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    experiment = ask("/experiment")
    groups = ask("/session_groups", allowedStatuses=statuses, colParams=[], startIndex=0, sliceSize=100)
    rows = {
        group["name"]: (group["hparams"], {x["name"]["tag"]: x["value"] for x in group["metricValues"]})
        for group in groups["sessionGroups"]
    }
    return experiment["hparamInfos"], [info["name"]["tag"] for info in experiment["metricInfos"]], rows


def test_sweeps_and_single_runs_share_one_table_of_hyperparameters(tmp_path):
    scores = {"score/final": -3.0, "score/best": -1.0, "score/area": -2.0}
    write_events(tmp_path / "runs" / "single", {"agent.gamma": 0.99, "agent.lr": 3e-4, "seed": 0})
    write_events(tmp_path / "sweeps" / "t_alpha" / "a", {"alpha": "auto", "seed": 0}, scores)
    write_events(tmp_path / "sweeps" / "t_alpha" / "b", {"alpha": "fixed", "seed": 1}, scores)
    write_events(tmp_path / "sweeps" / "t_lr" / "a", {"agent.lr": 1e-3, "seed": 0})
    hyperparameters, metrics, rows = hparams_tab(tmp_path)
    columns = {info["name"]: (info["type"], info["differs"]) for info in hyperparameters}
    assert list(columns)[:3] == ["agent.lr", "alpha", "seed"]  # what differs comes first
    assert columns == {
        **{"agent.lr": ("DATA_TYPE_FLOAT64", True), "alpha": ("DATA_TYPE_STRING", True)},
        **{"seed": ("DATA_TYPE_FLOAT64", True), "agent.gamma": ("DATA_TYPE_FLOAT64", False)},
    }
    assert metrics == [*scores, "eval/return_mean"]
    assert rows == {
        "runs/single": ({"agent.gamma": 0.99, "agent.lr": 3e-4, "seed": 0}, {"eval/return_mean": -3.0}),
        "sweeps/t_alpha/a": ({"alpha": "auto", "seed": 0}, scores | {"eval/return_mean": -3.0}),
        "sweeps/t_alpha/b": ({"alpha": "fixed", "seed": 1}, scores | {"eval/return_mean": -3.0}),
        "sweeps/t_lr/a": ({"agent.lr": 1e-3, "seed": 0}, {"eval/return_mean": -3.0}),
    }


def test_without_a_run_the_table_is_empty(tmp_path):
    assert hparams_tab(tmp_path)[2] == {}


def test_over_ssh_the_tunnel_is_said(run, call, served, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.5 5555 192.168.1.9 22")
    monkeypatch.setenv("LOGNAME", "ada")
    answer = call(main, run, "--port", free_port(None))
    port = served[0][0]["--port"]
    assert f"ssh -N -L {port}:127.0.0.1:{port} ada@192.168.1.9" in answer.out
    assert tunnel("::1 1 ::2 2222", 6006) == "ssh -N -L 6006:127.0.0.1:6006 -p 2222 ada@::2"


def test_an_ssh_connection_that_says_nothing_gives_no_tunnel(run, call, served, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "")
    answer = call(main, run)
    assert answer.code == 0 and len(served) == 1 and "ssh" not in answer.out


def test_taken_port(run, refused, served):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        assert str(taken) in refused(main, run, "--port", taken)


def test_next_port_when_the_first_is_taken(monkeypatch):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(tensorboard, "_PORTS", range(taken, taken + 100))
        assert taken < free_port(None) < taken + 100


def test_nothing_to_show(tmp_path, refused, served):
    assert "no runs" in refused(main, "--outputs", tmp_path)
    assert "is not a run" in refused(main, tmp_path)
    for text in ("~nobody-of-this-name/x", "x" * 5000):
        assert "no runs" in refused(main, text, "--outputs", tmp_path)
    assert "port" in refused(main, "--port", "0")
    assert not served


def test_tensorboard_takes_these_arguments():
    program = TensorBoard(plugins=plugins())
    program.configure(argv=["tensorboard", *command_line(Path("outputs"), 6006)])
    assert (program.flags.logdir, program.flags.host, program.flags.port) == ("outputs", HOST, 6006)


def test_it_is_served_with_that_table(monkeypatch):
    given = []
    monkeypatch.setattr("tensorboard.program.TensorBoard", lambda plugins, **_: given.extend(plugins) or MagicMock())
    tensorboard.serve([])
    kinds = [plugin for plugin in given if isinstance(plugin, type) and issubclass(plugin, HParamsPlugin)]
    assert len(kinds) == 1 and HParamsPlugin not in kinds


def test_the_address_is_printed_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(TensorBoard, "_install_signal_handler", lambda *_: None)
    monkeypatch.setattr(TensorBoard, "_register_info", lambda *_: None)
    ready = []
    monkeypatch.setattr(WerkzeugServer, "serve_forever", lambda server: ready.append(server) or server.server_close())
    port = free_port(None)
    tensorboard.serve(command_line(tmp_path, port))
    assert [server.get_url() for server in ready] == [f"http://{HOST}:{port}/"]
    assert "http" not in "".join(capfd.readouterr())


def test_a_run_that_went_on_is_no_warning_and_others_are_said(tmp_path, monkeypatch, caplog):
    for env_steps in (-1, 10):
        log = EventLog(tmp_path, env_steps)
        log.scalars(10, {"eval/return_mean": -3.0})
        log.close()
    logger = get_logger()
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "disabled", False)  # Hydra disables loggers that it does not know
    caplog.set_level("WARNING", "tensorboard")
    EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert "Purging" in caplog.text  # as it is
    caplog.clear()
    monkeypatch.setattr(TensorBoard, "main", lambda _: 0)
    tensorboard.serve(command_line(tmp_path, 6006))
    EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    logger.warning("another")
    assert caplog.messages == ["another"]


@pytest.mark.slow
def test_server_answers_on_this_host_and_ends_when_told(run, tmp_path):
    code = "from sac_runner.commands.tensorboard import main; main()"
    command = [sys.executable, "-c", code, str(run), "--port", str(free_port(None))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        for attempt in range(120):
            try:
                page = urllib.request.urlopen(url, timeout=5).read()
                break
            except OSError:
                assert process.poll() is None and attempt < 119
                time.sleep(0.5)
        assert b"TensorBoard" in page
        for _ in range(60):
            names = urllib.request.urlopen(f"{url}data/runs", timeout=5).read().decode()
            if "tiny_s3" in names:
                break
            time.sleep(0.5)
        assert names == '["pendulum/tiny_s3"]'
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
