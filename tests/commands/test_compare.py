import csv
import os
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sac_runner.commands.compare import _parser, main
from sac_runner.storage.run_directory import RunDirectory
from tests.analysis.made import ALPHAS, alpha_sweep, learning, make_run, make_sweep
from tests.runs import TINY, train


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sweep():
    return alpha_sweep(Path("outputs/sweeps/20260102-000000_alpha"), seeds=4, points=11).path


def made():
    """The only folder under outputs/compare."""
    (folder,) = Path("outputs/compare").iterdir()
    return folder


@pytest.mark.parametrize(
    ("typed", "level"), [("-1e3", -1000.0), ("-1,000", -1000.0), ("50,100", 50100.0), ("-.5", -0.5), ("1e2", 100.0)]
)
def test_levels_are_taken_as_they_are_written(typed, level):
    assert _parser().read(["last", "--to-reach", typed]).to_reach == level


def test_runs_of_the_train_command_are_compared(call):
    for alpha in ("auto", "fixed_0.05"):
        answer = train(*TINY, f"alpha={alpha}", "eval.every_env_steps=20")
        assert answer.code == 0, answer.err
    answer = call(main, "outputs/runs", "--to-reach", "-5000")
    assert (answer.code, answer.err) == (0, ""), answer
    lines = answer.out.splitlines()
    assert lines[0] == "eval/return_mean at 60 env steps, deterministic, Pendulum-v1"
    assert re.fullmatch(r"alpha=auto +1 +1 seed: \S+ +\S+ +0 \(1/1\) +baseline +\S+", lines[2]), lines[2]
    assert lines[3].startswith("alpha=fixed ") and lines[4].startswith("differ in alpha; equal: ")
    assert re.fullmatch(r"\d{8}-\d{6}_alpha", made().name)
    assert lines[-1] == f"report.html curves.png scores.csv curves.csv -> {made()}"
    assert sorted(x.name for x in made().iterdir()) == ["curves.csv", "curves.png", "report.html", "scores.csv"]
    with (made() / "scores.csv").open() as file:
        for run in (row for row in csv.DictReader(file) if row["kind"] == "run"):
            summary = RunDirectory(Path(run["run"])).read_summary()
            assert float(run["final"]) == pytest.approx(summary["scores"]["final"]["return_mean"])
            assert float(run["best"]) == pytest.approx(summary["scores"]["best"]["return_mean"])
            assert float(run["minutes"]) == pytest.approx(summary["wall_time_s"] / 60, rel=0.2)


def test_last_is_the_newest_sweep_and_the_files_are_named(sweep, call):
    make_run(Path("outputs/runs/pendulum/20250101-000000_s0"), [1.0, 2.0])
    answer = call(main, "last", "--out", "there/it/is")
    assert answer.code == 0 and "alpha=fixed_0.05" in answer.out
    assert answer.out.endswith("report.html curves.png scores.csv curves.csv -> there/it/is\n")
    folder = Path("there/it/is")
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text()
    assert "sac-compare last --out there/it/is" in page and "20250101" not in page
    with (folder / "scores.csv").open() as file:
        assert sum(row["kind"] == "run" for row in csv.DictReader(file)) == 12
    assert not Path("outputs/compare").exists()


def test_a_home_of_nobody_is_a_folder_of_that_name(sweep, call):
    assert call(main, "last", "--out", "~nobody-of-this-name/x").code == 0
    assert Path("~nobody-of-this-name/x/report.html").is_file()


def test_outputs_in_a_home_are_found_where_they_were_made(call, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    answer = train(*TINY, "outputs='~/mine'", "eval.every_env_steps=20")
    assert answer.code == 0, answer.err
    assert call(main, "last", "--outputs", "~/mine").code == 0
    assert [x.name for x in tmp_path.iterdir()] == ["home"] and (tmp_path / "home/mine/compare").is_dir()


def test_the_same_folder_again_holds_the_newer_comparison(sweep, call):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("x")
    Path("out/report.html").write_text("old")
    assert call(main, "last", "--out", "out", "--to-reach", "200").code == 0
    assert "to 200" in Path("out/report.html").read_text() and Path("out/mine.txt").read_text() == "x"


def test_nothing_is_written_into_a_run_or_a_sweep(sweep, refused):
    before = sorted(Path().rglob("*"))
    for out in (sweep, sweep / "new", sweep / "alpha-auto/s0", sweep / "alpha-auto/s0/deeper/still"):
        assert "which is a run or a sweep" in refused(main, "last", "--out", out)
    assert sorted(Path().rglob("*")) == before


def test_reading_leaves_no_trace_in_a_run(sweep, call):
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sweep.rglob("*") if path.is_file()}
    assert call(main, "last", "--to-tensorboard").code == 0
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sweep.rglob("*") if path.is_file()} == files


def test_options_reach_the_comparison(sweep, call):
    answer = call(
        main, "last", "--at", "5e3", "--baseline", "0.05", "--group-by", "agent.tau, alpha", "--metric", "train/alpha"
    )
    lines = answer.out.splitlines()
    assert lines[0] == "train/alpha at 5,000 env steps, Pendulum-v1"
    assert lines[2].startswith("agent.tau=0.005 alpha=fixed alpha.value=0.05") and "baseline" in lines[2]
    assert "mixes settings" not in answer.out


def test_to_tensorboard_prints_what_to_type(sweep, call, monkeypatch):
    monkeypatch.setenv("SAC_SCRIPTS", "scripts")
    for n in ("", "-2"):
        answer = call(main, "last", "--out", "my out", "--to-tensorboard")
        assert answer.out.splitlines()[-1] == f"scripts/tensorboard 'my out/tensorboard{n}'"
    assert {x.parent.name for x in Path("my out/tensorboard").rglob("events*")} == {
        *("alpha-auto", "alpha-fixed", "alpha-fixed_0.05")
    }


def test_tensorboard_takes_that_folder(sweep, call, monkeypatch):
    from sac_runner.commands import tensorboard

    served = []
    monkeypatch.setattr(tensorboard, "serve", served.append)
    folder = call(main, "last", "--to-tensorboard").out.split()[-1]
    answer = call(tensorboard.main, folder)
    assert answer.code == 0 and len(served) == 1, answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "sac-compare last"),
        (["nix"], "nix"),
        (["last", "--metric", "eval/retrun_mean"], "--metric eval/return_mean"),
        (["last", "--group-by", "alhpa"], "--group-by alpha"),
        (["last", "--group-by", "seed"], "seeds never split"),
        (["last", "--baseline", "nix"], "alpha=auto"),
        (["last", "--at", "2e6"], "--at 10000"),
        (["last", "--at", "half"], "half"),
        (["last", "--at", "0.5"], "0.5"),
        (["last", "--to-reach", "nan"], "nan"),
        (["last", "--to-reach", "1,5"], "1,5 must be a number"),
        (["last", "--group_by", "alpha"], "--group-by"),
        (["last", "metric=x"], "--metric x"),
        (["last", "--out", "file"], "file"),
        (["last", "--out", "file/below"], "--out DIR"),
    ],
)
def test_wrong_input(sweep, arguments, words, call):
    Path("file").write_text("x")
    answer = call(main, *arguments)
    assert answer.code == 2 and words in answer.err and len(answer.err.splitlines()) <= 3, answer
    assert answer.err.startswith("error: ") and not Path("outputs/compare").exists()


def test_where_nothing_can_be_compared(call, refused):
    assert "no runs" in refused(main, "last")
    run = make_run(Path("outputs/runs/pendulum/a"), [1.0])
    (run.path / "metrics.csv").unlink()
    assert "nothing to compare: pendulum/a metrics.csv is missing" in refused(main, "last")


def test_a_disk_that_refuses_is_said_after_the_table(sweep, call, monkeypatch):
    from sac_runner.storage import files

    def refuse(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_durably", refuse)
    answer = call(main, "last")
    assert answer.code == 74 and "No space left" in answer.err and "alpha=fixed_0.05" in answer.out


def test_a_folder_that_can_not_be_written_costs_no_table(sweep, call):
    Path("file").write_text("x")
    answer = call(main, "last", "--out", "file")
    assert answer.code == 2 and "is not a folder" in answer.err and "alpha=fixed_0.05" in answer.out


def test_a_path_that_is_no_text(call):
    folder = os.fsencode("outputs/runs/pendulum/") + b"\xff"
    shutil.copytree(os.fsencode(make_run(Path("made"), [1.0, 2.0]).path), folder)
    assert call(main, "outputs/runs").code == 0
    assert "outputs/runs/pendulum/?" in (made() / "scores.csv").read_text()


def compare_process(*arguments, **more):
    command = [sys.executable, "-c", "from sac_runner.commands.compare import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


def test_help_is_short_and_needs_no_library():
    code = "import sys; from sac_runner.commands.compare import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print({'matplotlib', 'torch', 'yaml', 'tensorboard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "set()" and len(lines) <= 32 and max(map(len, lines)) <= 100
    assert all(option in done.stdout for option in ("--group-by", "--to-tensorboard", "examples:"))
    assert "(default: the last step that all finished runs came to)" in " ".join(done.stdout.split())


def test_a_pipe_that_closes_early_ends_it_quietly(sweep):
    command = f"{shlex.quote(sys.executable)} -c 'from sac_runner.commands.compare import main; main()' last | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("eval/return_mean at") and done.stderr == ""


def test_a_hundred_runs_of_a_thousand_points_take_less_than_5_seconds():
    settings = {f"agent.tau={i / 100:g}": {"agent": {"tau": i / 100}} for i in range(1, 21)}
    folder = Path("outputs/sweeps/20260102-000000_tau")
    sweep = make_sweep(folder, settings, 5, lambda i, seed: [0.0])
    texts = [
        make_run(Path(f"made{i}"), learning(100, i, 1000)).path.joinpath("metrics.csv").read_bytes() for i in range(5)
    ]
    for job in sweep.jobs():
        sweep.run(job).write_bytes("metrics.csv", texts[job.seed])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = compare_process("last", "--to-reach", "100")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and done.stdout.startswith("eval/return_mean at 999,000"), done.stderr
    assert len(done.stdout.splitlines()) == 2 + 20 + 3 and " 5 " in done.stdout.splitlines()[2]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 5, seconds  # of one core, whatever else the machine does


def test_damage_of_every_kind_is_no_traceback(call):
    settings = dict(list(ALPHAS.items())[:2])
    whole = make_sweep(Path("whole"), settings, 2, lambda i, seed: learning(100 * i, seed, 11)).path
    draw, codes = random.Random(3), []
    names = ["config.yaml", "metrics.csv", "meta.json", "summary.json", "sweep.json"]
    for attempt in range(8):
        shutil.rmtree("outputs", ignore_errors=True)
        place = Path(shutil.copytree(whole, "outputs/sweeps/20260102-000000_x"))
        for path in draw.sample([path for path in sorted(place.rglob("*")) if path.name in names], 4):
            data = bytearray(path.read_bytes())
            for _ in range(draw.choice([1, 3])):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            path.write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
        answer = call(main, "outputs/sweeps/20260102-000000_x", "--out", f"out{attempt % 2}")
        codes.append(answer.code)
    assert set(codes) <= {0, 2} and codes.count(0) >= 4, codes
