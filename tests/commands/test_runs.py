import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_runner import load_policy
from sac_runner.commands import evaluate, runs
from sac_runner.commands.runs import main
from sac_runner.commands.runs_table import sizes, table
from sac_runner.storage.checkpoints import find
from sac_runner.storage.files import folder_size
from sac_runner.storage.lock import RunLock
from sac_runner.storage.overview import RunSeen
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import Status
from tests.commands.conftest import PENDULUM, train_pendulum
from tests.runs import train
from tests.storage.written import going_on, tree, write_checkpoints, write_run, write_sweep

NOW = 1_800_000_000


def ago(hours):
    return time.strftime("%FT%T+0000", time.gmtime(NOW - 3600 * hours))


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """The time of the command, and its sleeps, which may be given something to do."""
    clock = SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr(runs, "time", clock)
    return clock


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("SAC_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture
def some(outputs):
    """Two runs and a sweep of four jobs: one is done, one failed, one was killed, one has not begun."""
    done = write_run(outputs / "runs/pendulum/20270101-000000_s0", final=-187.4, best=-150.0, started=ago(3))
    done.replay.mkdir()
    for name, n_bytes in [("curve.png", 38_000_000), ("replay/rows-0.safetensors", 12_000_000)]:
        os.truncate(done.write_bytes(name, b""), n_bytes)  # of blocks that are not there
    failed = write_run(outputs / "runs/ant/20270102-000000_s1", "failed", "env raised", 42_000, total=100_000)
    failed.write_start("env:\n  name: ant\n  id: Ant-v5\n  kwargs: {}\ntotal_env_steps: 100000\n", {"started": ago(1)})
    sweep, jobs = write_sweep(
        outputs / "sweeps/20270101-120000_alpha", "alpha=auto", "alpha=fixed", seeds=2, started=ago(48)
    )
    write_run(sweep.run(jobs[0]).path, final=1.0, started=ago(48))
    write_run(sweep.run(jobs[1]).path, "failed", "killed by signal 9", env_steps=61, started=ago(47))
    going_on(write_run(sweep.run(jobs[2]).path, "running", started=ago(47)), env_steps=420)
    return outputs


def listed(answer):
    """The first column, header and totals aside."""
    assert (answer.code, answer.err) == (0, ""), answer
    return [line.split()[0] for line in answer.out.splitlines()[1:-1]]


def test_runs_and_sweeps_are_listed_newest_first(some, call):
    answer = call(main)
    assert answer.code == 0 and answer.err == ""
    lines = [line.split("   ") for line in answer.out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["run", "state", "env steps", "final", "best", "started", "size"]
    assert cells[1][:4] == ["ant/20270102-000000_s1", "failed", "42,000/100k", "60 min ago"]
    assert cells[1][-1] == "env raised"
    assert cells[2] == [
        *("pendulum/20270101-000000_s0", "finished", "1,000", "-187", "-150", "3 h ago", "50 MB, 12 replay")
    ]
    assert cells[3][:4] == ["20270101-120000_alpha", "failed", "1/4 runs", "2 days ago"]
    assert cells[3][-1] == "1 done, 1 failed, 1 killed, 1 waiting"
    assert cells[4] == ["6 runs (4 in 1 sweep): 2 done, 2 failed, 1 killed, 1 waiting; 50 MB, 12 replay"]
    assert "\033" not in answer.out


@pytest.mark.parametrize("arguments", [["--all"], ["alpha"], ["20270101-120000_alpha", "--all"]])
def test_jobs_are_listed_where_all_are_or_their_sweep_is_named(some, call, arguments):
    answer = call(main, *arguments)
    lines = answer.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("20270101-120000_alpha"))
    jobs = [line.split()[:3] for line in lines[at + 1 : at + 5]]
    assert jobs == [
        ["alpha-auto/s0", "finished", "1,000"],
        ["alpha-auto/s1", "failed", "61/1k"],
        ["alpha-fixed/s0", "killed", "1,000"],
        ["alpha-fixed/s1", "waiting", "0/1k"],
    ]
    assert lines[at + 2].endswith("killed by signal 9")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["ant"], ["ant/20270102-000000_s1"]),
        (["ant", "pendulum"], ["ant/20270102-000000_s1", "pendulum/20270101-000000_s0"]),
        (["auto/s1"], ["20270101-120000_alpha", "alpha-auto/s1"]),
        (["last"], ["ant/20270102-000000_s1"]),
        (["--env", "ANT-v5"], ["ant/20270102-000000_s1"]),
        (["--env", "ant"], ["ant/20270102-000000_s1"]),
        (["--state", "failed"], ["ant/20270102-000000_s1", "20270101-120000_alpha"]),
        (["--state", "done,killed"], ["pendulum/20270101-000000_s0", "20270101-120000_alpha"]),
        (["--state", "waiting", "--all"], ["20270101-120000_alpha", "alpha-fixed/s1"]),
        (["--state", "failed", "2027010"], ["ant/20270102-000000_s1", "20270101-120000_alpha", "alpha-auto/s1"]),
        (["--sweeps"], ["20270101-120000_alpha"]),
        (["--sweeps", "alpha"], ["20270101-120000_alpha"]),
    ],
)
def test_filters_choose_runs_and_a_sweep_keeps_those_of_its_jobs_that_match(some, call, arguments, names):
    assert listed(call(main, *arguments)) == names


def test_a_path_stands_for_the_runs_below_it(some, call, monkeypatch):
    assert listed(call(main, some / "runs")) == ["ant/20270102-000000_s1", "pendulum/20270101-000000_s0"]
    assert listed(call(main, some / "sweeps/20270101-120000_alpha/alpha-auto/s0")) == [
        *("20270101-120000_alpha", "alpha-auto/s0")
    ]
    monkeypatch.chdir(some)
    assert listed(call(main, "runs")) == ["ant/20270102-000000_s1", "pendulum/20270101-000000_s0"]
    (some / "ant").mkdir()  # what it is called counts before what lies here by chance
    assert listed(call(main, "ant")) == ["ant/20270102-000000_s1"]


def test_a_run_right_below_runs_is_listed_and_removed_as_others_are(some, call):
    write_run(some / "runs/mine", started=ago(0))
    assert listed(call(main)) == [
        *("mine", "ant/20270102-000000_s1", "pendulum/20270101-000000_s0", "20270101-120000_alpha")
    ]
    assert listed(call(main, "mine")) == listed(call(main, "last")) == ["mine"]
    assert call(main, "mine", "--prune", "runs", "--yes").code == 0
    assert not (some / "runs/mine").exists() and (some / "runs/ant").exists()


def test_what_is_a_part_of_a_sweep_only_is_counted_as_that(some, call):
    (line,) = [line for line in call(main, "--state", "failed").out.splitlines() if "alpha" in line]
    assert " 1 of 4 runs " in line and line.endswith("1 failed")
    (line,) = [line for line in call(main, "--state", "done").out.splitlines() if "alpha" in line]
    assert "  failed  " in line and line.endswith("1 done")  # how the whole of it stands


def test_a_running_sweep_is_one_that_a_process_runs(some, call):
    assert "  failed  " in call(main, "--sweeps").out
    with RunLock(some / "sweeps/20270101-120000_alpha"):
        assert "  running  " in call(main, "--sweeps").out


def test_damaged_files_are_listed_as_what_they_are(some, call):
    (some / "runs/pendulum/20270101-000000_s0/summary.json").write_text("{")
    (some / "runs/ant/20270102-000000_s1/config.yaml").write_bytes(b"\xff")
    (some / "sweeps/20270101-120000_alpha/sweep.json").write_text("{")
    answer = call(main, "--all")
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert answer.code == 0 and len(lines) == 8
    assert lines["pendulum/20270101-000000_s0"].endswith("summary.json is damaged or can't be read")
    assert "is damaged, or was changed" in lines["20270101-120000_alpha"]
    assert " failed " in lines["alpha-auto/s1"] and "alpha-fixed/s1" not in lines
    for setting in (some / "sweeps/20270101-120000_alpha").glob("alpha-*"):
        shutil.rmtree(setting)
    assert "  waiting  " in call(main).out


def test_where_there_is_nothing_it_says_so(outputs, call, refused):
    assert call(main) == (0, "", f"no runs in {outputs}/ yet; make one: sac-train env=pendulum\n")
    assert json.loads(call(main, "--json").out) == {"runs": [], "sweeps": []}
    assert "is not a folder" in refused(main, "--outputs", outputs)
    assert "there are no runs" in refused(main, "alpha")


def test_what_matches_nothing(some, call, refused):
    assert call(main, "--state", "running") == (0, "", f"no such runs in {some}/\n")
    assert 'no run has "walker" in its name' in refused(main, "walker")
    assert 'no run has "" in its name' in refused(main, "")
    assert "try: one of Pendulum-v1, ant" in refused(main, "--env", "walker")
    assert "'gone' is no state; there are finished, running" in refused(main, "--state", "failed,gone")
    assert "use --state failed" in refused(main, "state=failed")
    assert "--yes answers what --prune asks" in refused(main, "--yes")
    assert "not allowed with" in refused(main, "--json", "--prune", "runs")


def test_a_run_elsewhere_is_listed_where_it_is_named_by_its_path_and_never_removed(some, tmp_path, call, refused):
    run = write_run(tmp_path / "elsewhere")
    assert "elsewhere" not in call(main).out
    assert [Path(x["path"]) for x in json.loads(call(main, run.path, "--json").out)["runs"]] == [run.path]
    inside = some / "runs/pendulum/20270101-000000_s0"
    assert len(json.loads(call(main, inside, inside, run.path, run.path, "--json").out)["runs"]) == 2  # no run twice
    beside = write_run(some / "mine")  # in outputs, where runs are not looked for
    assert [Path(x["path"]) for x in json.loads(call(main, beside.path, "--json").out)["runs"]] == [beside.path]
    assert f"{run.path} holds no run that is in {some}" in refused(main, run.path, "--prune", "runs", "--yes")


def test_json_has_every_run_with_its_numbers(some, call):
    read = json.loads(call(main, "--json").out)
    failed, done = read["runs"]
    assert done == {
        "name": "pendulum/20270101-000000_s0",
        "path": str(some / "runs/pendulum/20270101-000000_s0"),
        "state": "finished",
        "cause": None,
        "env": "Pendulum-v1",
        "env_steps": 1000,
        "total_env_steps": 1000,
        "wall_time_s": 10.0,
        "final": -187.4,
        "best": -150.0,
        "started": NOW - 3 * 3600,
        "bytes": folder_size(some / "runs/pendulum/20270101-000000_s0"),
        "replay_bytes": 12_000_000,
    }
    assert (failed["env"], failed["cause"], failed["final"]) == ("ant", "env raised", None)
    (sweep,) = read["sweeps"]
    assert sweep["state"] == "failed" and sweep["started"] == NOW - 48 * 3600
    assert [job["state"] for job in sweep["runs"]] == ["finished", "failed", "killed", "waiting"]


SEEN = st.builds(
    RunSeen,
    path=st.just(Path("outputs/runs/ant/x")),
    label=st.text("abc/-_0123456789", min_size=1, max_size=60),
    envs=st.just(()),
    status=st.builds(
        Status,
        state=st.sampled_from(["finished", "failed", "waiting"]),
        cause=st.none() | st.text(max_size=150),
        env_steps=st.integers(0, 10**9),
        wall_time_s=st.just(0.0),
        scores=st.sampled_from([{}, {"final": {"return_mean": -1234.5}}, {"best": {"return_mean": None}}]),
    ),
    total_env_steps=st.none() | st.integers(1, 10**9),
    started=st.floats(0, NOW),
    n_bytes=st.integers(0, 10**13),
    replay_bytes=st.integers(0, 10**9),
)


@given(st.lists(SEEN, min_size=1, max_size=4), st.integers(20, 250))
@settings(max_examples=60)
def test_the_table_fits_the_terminal_and_keeps_name_and_state(seen, width):
    lines = table(seen, [], False, NOW, width)
    assert len(lines) == len(seen) + 1 and all(len(line) <= width and line.isprintable() for line in lines)
    ends = sorted((run.label[-7:], run.status.state) for run in seen)
    assert sorted((line.split()[0][-7:], line.split()[1]) for line in lines[1:]) == ends


def test_a_terminal_of_80_columns_has_room_for_what_matters(some, call, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(main, "--all").out.splitlines()
    assert lines[0].split() == ["run", "state", "env", "steps", "final"]
    assert any("ant/20270102-000000_s1" in line and line.endswith("env raised") for line in lines)


@pytest.mark.parametrize(
    ("n_bytes", "replay", "text"),
    [
        (0, 0, "0.0 kB"),
        (9_940, 0, "9.9 kB"),
        (38_000_000, 12_400_000, "38 MB, 12 replay"),
        (1_500_000_000, 400_000_000, "1.5 GB, 0.4 replay"),
        (2_345_000_000_000, 0, "2,345 GB"),
    ],
)
def test_sizes_are_short(n_bytes, replay, text):
    assert sizes(n_bytes, replay) == text


def test_listing_imports_nothing_slow(some):
    """Hundreds of runs take well under a second, most of which would go into these."""
    code = "import sys; from sac_runner.commands.runs import main; main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "gymnasium", "hydra", "omegaconf", "yaml", "matplotlib"} & set(done.stderr.split())
    assert len(done.stdout.splitlines()) == 5


def test_a_finished_sweep_is_followed_no_further(outputs, call):
    sweep, jobs = write_sweep(outputs / "sweeps/20270101-120000_alpha", "alpha=auto")
    write_run(sweep.run(jobs[0]).path)
    for name in (["alpha"], [], [str(sweep.path)]):
        assert call(main, "--follow", *name) == (0, "sweep 20270101-120000_alpha  1/1 done\n", "")


def test_the_sweep_that_is_followed_may_be_named_before_too_and_is_the_only_one(outputs, call, refused):
    for day, name in enumerate(("alpha", "beta")):
        sweep, jobs = write_sweep(outputs / f"sweeps/2027010{day}-120000_{name}", "alpha=auto", started=ago(9 - day))
        write_run(sweep.run(jobs[0]).path)
    assert call(main, "alpha", "--follow") == (0, "sweep 20270100-120000_alpha  1/1 done\n", "")
    for arguments in (["alpha", "--follow", "beta"], ["alpha", "beta", "--follow"], ["--follow", "beta", "--all"]):
        assert refused(main, *arguments).endswith("try: sac-runs --follow beta\n")
    for choice in (["--env", "ant"], ["--state", "failed"], ["--sweeps"]):
        assert refused(main, *choice, "--follow").endswith("try: sac-runs --follow last\n")
    elsewhere = ("--outputs", outputs)
    assert refused(main, "--all", *elsewhere, "--follow").endswith(f" --follow last --outputs {outputs}\n")


def test_following_a_sweep_that_nobody_runs_says_how_to_go_on(some, call):
    code, out, err = call(main, "--follow", "alpha")
    assert (code, err) == (1, "") and out.splitlines() == [
        "sweep 20270101-120000_alpha  1/4 done, 1 failed, 1 killed, 1 waiting",
        "  failed   alpha-auto/s1  killed by signal 9",
        "  killed   alpha-fixed/s0",
        f"nobody runs it. Go on: sac-train resume={some}/sweeps/20270101-120000_alpha",
    ]


@pytest.mark.parametrize("owner", ["sweep", "job"])
def test_a_sweep_is_followed_as_long_as_it_runs(some, call, now, owner):
    """``job``: the process that ran the sweep is gone, and one of its jobs still saves."""
    sweep, sleeps = some / "sweeps/20270101-120000_alpha", []
    with ExitStack() as locks:
        locks.enter_context(RunLock(sweep if owner == "sweep" else sweep / "alpha-fixed/s0"))

        def sleep(seconds):
            sleeps.append(seconds)
            if len(sleeps) == 3:
                locks.close()

        now.sleep = sleep
        answer = call(main, "--follow", "alpha")
    assert answer.code == 1 and len(sleeps) == 3 and sum(sleeps) <= 1.5
    (at_once,) = answer.err.splitlines()
    assert at_once.startswith("sweep 20270101-120000_alpha  1/4 done, ")


@pytest.mark.parametrize("owner", ["", "alpha-fixed/s0"])
def test_ctrl_c_ends_the_following_and_nothing_else(some, call, now, owner):
    """Also of a sweep whose jobs alone are run, as on a cluster."""

    def sleep(seconds):
        raise KeyboardInterrupt

    now.sleep = sleep
    with RunLock(some / "sweeps/20270101-120000_alpha" / owner):
        code, out, _ = call(main, "--follow", "alpha")
    assert code == 130 and out.startswith("sweep ") and "nobody runs it" not in out


def test_only_a_sweep_is_followed(some, refused):
    assert "is a run, and --follow takes a sweep" in refused(main, "--follow", "ant")
    assert 'no run has "walker"' in refused(main, "--follow", "walker")
    (some / "sweeps/20270101-120000_alpha/sweep.json").write_text("{")
    assert "is damaged" in refused(main, "--follow", "alpha")


@pytest.fixture
def terminal(monkeypatch):
    """Someone who answers."""

    def terminal(answer):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return terminal


def test_pruning_lists_what_goes_and_asks(some, call, terminal):
    before = tree(some)
    for answer in ("n\n", "\n", ""):
        terminal(answer)
        code, out, err = call(main, "pendulum", "--prune", "runs")
        assert (code, tree(some)) == (1, before) and err.endswith("nothing was removed\n")
        assert "remove 1 run, 50 MB? [y/N]" in err and "pendulum/20270101-000000_s0" in out
    terminal("y\n")
    code, out, _ = call(main, "pendulum", "--prune", "runs")
    assert code == 0 and out.splitlines()[-1] == "removed 1 run, 50 MB"
    assert not (some / "runs/pendulum").exists() and (some / "runs/ant").is_dir()


@pytest.mark.parametrize("what", ["runs", "replay"])
def test_without_a_terminal_it_removes_nothing_unless_told_to(some, call, what):
    before = tree(some)
    code, out, err = call(main, "pendulum", "--prune", what)
    assert (code, tree(some)) == (2, before) and "there is no terminal to ask on" in err and "--yes" in err
    assert call(main, "pendulum", "--prune", what, "--yes").code == 0
    assert tree(some) != before


def test_only_finished_runs_lose_their_replay_and_it_says_what_that_means(some, call):
    stopped = write_run(some / "runs/ant/20270103-000000_s0", "stopped")
    write_checkpoints(stopped)
    code, out, _ = call(main, "--prune", "replay", "--yes")
    assert code == 0 and "can't be continued" in out and out.splitlines()[-1] == "removed the replay of 1 run, 12 MB"
    assert tree(stopped.replay) != [] and tree(some / "runs/pendulum/20270101-000000_s0/replay") == []
    assert call(main, "--prune", "replay", "--yes") == (0, "", f"nothing to remove in {some}/\n")


def test_a_sweep_goes_whole_where_all_of_it_matches_and_else_in_part(some, call):
    code, out, _ = call(main, "alpha", "--state", "failed", "--prune", "runs", "--yes")
    assert code == 0 and "20270101-120000_alpha would train them anew, should it be resumed" in out
    sweep = some / "sweeps/20270101-120000_alpha"
    assert not (sweep / "alpha-auto/s1").exists() and (sweep / "alpha-auto/s0").is_dir()
    code, out, _ = call(main, "alpha", "--prune", "runs", "--yes")
    assert code == 0 and "anew" not in out and not (some / "sweeps").exists()


def test_a_whole_name_means_no_other_that_begins_with_it(some, call):
    sweep, jobs = write_sweep(some / "sweeps/20270201-120000_lr", "agent.lr=1", "agent.lr=10", seeds=11)
    twin, _ = write_sweep(some / "sweeps/20270201-120000_lr-2", "agent.tau=1")
    for job in jobs:
        write_run(sweep.run(job).path)
    for name, gone in (
        ("20270201-120000_lr/lr-1/s1", 1),
        ("lr-10/s1", 1),
        ("20270201-120000_lr/lr-1", 10),
        (sweep.path.name, 22),
    ):
        out = call(main, name, "--prune", "runs", "--yes").out
        assert f"removed {gone} run" in out.splitlines()[-1], name
    assert twin.is_sweep and not sweep.is_sweep
    assert call(main, "20270201", "--prune", "runs", "--yes").out.splitlines()[-1].startswith("removed 1 run,")


def test_what_runs_stays(some, call):
    sweep = some / "sweeps/20270101-120000_alpha"
    with RunLock(some / "runs/pendulum/20270101-000000_s0"), RunLock(some / "runs/ant/20270102-000000_s1"):
        with RunLock(sweep):
            code, out, err = call(main, "--prune", "runs", "--yes")
            assert code == 1 and f"left: {some}/runs/pendulum/20270101-000000_s0 is in use by" in err
            assert "20270101-120000_alpha stays: it is running" in out and out.endswith("removed 0 runs, 0.0 kB\n")
        (sweep / "alpha-fixed/s1").mkdir()
        with RunLock(sweep / "alpha-fixed/s1"):
            assert call(main, "alpha", "--prune", "runs", "--yes").code == 0
    assert (sweep / "sweep.json").is_file() and not (sweep / "alpha-auto").exists()
    assert (some / "runs/ant").is_dir() and (some / "runs/pendulum").is_dir()


def test_what_a_killed_removal_left_goes_with_the_next(outputs, call):
    write_run(outputs / "runs/ant/.x_s0.removed")
    assert call(main).err.startswith("no runs in")
    assert call(main, "--prune", "runs").code == 0
    assert tree(outputs) == []


@pytest.fixture(scope="module")
def pruned(run, tmp_path_factory):
    """A true run after ``--prune replay``."""
    outputs = tmp_path_factory.mktemp("pruned") / "outputs"
    folder = shutil.copytree(run, outputs / "runs/pendulum/tiny_s3")
    main(["--prune", "replay", "--yes", "--outputs", str(outputs)])
    return folder


def test_a_pruned_run_is_as_one_that_was_told_to_keep_its_replay_until_finished(pruned, tmp_path):
    other = train_pendulum(tmp_path / "other", "checkpoint.keep_replay=until_finished")
    (mine,), (theirs,) = (find(RunDirectory(folder).checkpoints, "latest") for folder in (pruned, other))
    assert plain_state(mine) == plain_state(theirs)
    for name in ("policy", "train"):
        ours, expected = mine.arrays(name), theirs.arrays(name)
        assert ours.keys() == expected.keys()
        assert all(x.dtype == expected[key].dtype and np.array_equal(x, expected[key]) for key, x in ours.items())
    assert tree(pruned / "checkpoints") == tree(other / "checkpoints")
    assert tree(pruned / "replay") == tree(other / "replay") == []


def plain_state(checkpoint):
    """What it says, seconds aside."""
    manifest, state = checkpoint.manifest(), checkpoint.plain("state")
    record = state["record"]
    for name in [name for name in record["latest"] if name.startswith("perf/")]:
        del record["latest"][name]
    del record["wall_time_s"], record["row_s"], record["rows"]
    return state, manifest["score"], sorted(manifest["files"])


def test_a_pruned_run_is_evaluated_and_used_and_begun_from_but_not_continued(pruned, run, call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (
        call(evaluate.main, pruned, "--as-trained").out.splitlines()[2:]
        == (call(evaluate.main, run, "--as-trained").out.splitlines()[2:])
    )
    obs = np.array([0.5, -0.5, 3.0], np.float32)
    for which in ("best", "latest", 40):
        assert np.array_equal(load_policy(pruned, which)(obs), load_policy(run, which)(obs))
    begun = train(*PENDULUM, f"init_from={pruned}", "run.dir=begun")
    assert begun.code == 0, begun.err
    said = train(f"resume={pruned}").err
    assert "is finished" in said and f"more: sac-train init_from={pruned} " in said
    assert train(*shlex.split(said.partition("more: sac-train ")[2]), "run.dir=more").code == 0
    refused = train(f"resume={pruned}", "total_env_steps=200")
    assert refused.code == 2 and "did not keep its replay buffer" in refused.err
    assert RunDirectory(pruned).read_summary()["status"] == "finished"
