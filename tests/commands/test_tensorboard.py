import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from sac_runner.commands import tensorboard
from sac_runner.commands.tensorboard import HOST, command_line, free_port, link, main, tunnel


@pytest.fixture
def served(monkeypatch):
    """What TensorBoard would be started with, and what it would find there."""
    seen = []

    def serve(arguments):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        logdir = Path(options["--logdir"])
        runs = [Path(folder) for folder, _, files in os.walk(logdir, followlinks=True) if "config.yaml" in files]
        seen.append((options, sorted(str(run.relative_to(logdir)) for run in runs)))

    monkeypatch.setattr(tensorboard, "serve", serve)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return seen


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
    link([*folders, folders[0]], links)
    targets = [path.resolve() for path in links.rglob("*") if path.is_symlink()]
    assert sorted(targets) == sorted(folders)


def test_sweep_by_its_path(tmp_path, call, served):
    for seed in (0, 1):
        (tmp_path / f"sweeps/t_alpha/default/s{seed}").mkdir(parents=True)
        (tmp_path / f"sweeps/t_alpha/default/s{seed}/config.yaml").touch()
    assert call(main, tmp_path / "sweeps/t_alpha").code == 0
    ((_, names),) = served
    assert names == ["t_alpha/default/s0", "t_alpha/default/s1"]


def test_over_ssh_the_tunnel_is_said(run, call, served, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.5 5555 192.168.1.9 22")
    monkeypatch.setenv("LOGNAME", "ada")
    answer = call(main, run, "--port", free_port(None))
    port = served[0][0]["--port"]
    assert f"ssh -N -L {port}:127.0.0.1:{port} ada@192.168.1.9" in answer.out
    assert tunnel("::1 1 ::2 2222", 6006) == "ssh -N -L 6006:127.0.0.1:6006 -p 2222 ada@::2"


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
    assert "no run" in refused(main, tmp_path)
    assert "port" in refused(main, "--port", "0")
    assert not served


def test_tensorboard_takes_these_arguments():
    from tensorboard.default import get_plugins
    from tensorboard.program import TensorBoard

    program = TensorBoard(plugins=get_plugins())
    program.configure(argv=["tensorboard", *command_line(Path("outputs"), 6006)])
    assert (program.flags.logdir, program.flags.host, program.flags.port) == ("outputs", HOST, 6006)


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
