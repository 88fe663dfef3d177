import contextlib
import shutil
from pathlib import Path

import pytest

from sac_runner.analysis.load import load
from sac_runner.errors import WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import Ended
from tests.analysis.made import ALPHAS, make_run, make_sweep
from tests.support import as_nobody

METRIC = "eval/return_mean"


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Three runs and two sweeps, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        make_run(Path(f"outputs/runs/ant/20260101-00000{i}_s{i}"), [1.0, 2.0], seed=i)
    make_run(Path("outputs/runs/hopper/20260101-000002_lr-1_s0"), [1.0, 2.0])
    for name in ("20260102-000000_alpha", "20260103-000000_tau"):
        make_sweep(Path("outputs/sweeps") / name, dict(list(ALPHAS.items())[:2]), 2, lambda i, seed: [0.0, i + seed])
    return Path("outputs")


def names(outputs, *texts):
    return [run.name for run in load(list(texts), outputs, METRIC).runs]


def refusal(outputs, *texts, metric=METRIC):
    with pytest.raises(WrongInput) as refused:
        load(list(texts), outputs, metric)
    assert len(str(refused.value).splitlines()) <= 3
    return str(refused.value)


ANT = ["ant/20260101-000000_s0", "ant/20260101-000001_s1"]
SWEEP = [
    f"20260102-000000_alpha/{setting}/s{seed}" for setting in ("alpha-auto", "alpha-fixed_0.05") for seed in (0, 1)
]
TAU = [name.replace("20260102-000000_alpha", "20260103-000000_tau") for name in SWEEP]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["outputs/runs/ant/20260101-000000_s0"], ANT[:1]),
        (["000001_s1"], ANT[1:]),
        (["outputs/sweeps/20260102-000000_alpha"], SWEEP),
        (["0102-000000_alpha"], SWEEP),
        (["last"], TAU),
        (["outputs/runs/ant"], ANT),
        (["outputs"], [*ANT, "hopper/20260101-000002_lr-1_s0", *SWEEP, *TAU]),
        (["outputs/runs/ant/*"], ANT),
        (["ant/*"], ANT),
        (["*_alpha"], SWEEP),
        (["*fixed_0.05/s1"], [SWEEP[3], TAU[3]]),
        (["outputs/sweeps/*_alpha/*auto*"], SWEEP[:2]),
        (["outputs/sweeps/20260102-000000_alpha/alpha-auto"], SWEEP[:2]),
        (["last", "hopper", "outputs/runs/ant"], [*TAU, "hopper/20260101-000002_lr-1_s0", *ANT]),
        (["ant/*", "outputs/runs/ant/../ant", "000001_s1"], ANT),
    ],
)
def test_what_a_text_names(outputs, texts, expected):
    assert names(outputs, *texts) == expected


def test_a_pattern_that_the_shell_has_filled_in_finds_files_too(outputs):
    inside = sorted(map(str, Path("outputs/sweeps/20260102-000000_alpha").iterdir()))
    assert any(path.endswith("sweep.json") for path in inside) and any(path.endswith("jobs") for path in inside)
    assert names(outputs, *inside) == SWEEP
    assert "is not a run" in refusal(outputs, *[path for path in inside if "alpha-" not in Path(path).name])


def test_hidden_folders_are_nobodys_runs(outputs):
    shutil.copytree("outputs/runs/ant/20260101-000000_s0", "outputs/runs/ant/.trash")
    assert names(outputs, "outputs/runs/ant") == ANT


def test_what_names_nothing(outputs):
    assert "nix" in refusal(outputs, "nix")
    assert "nix" in refusal(outputs, "last", "nix")  # a mistyped one is not passed over
    assert "*nix*" in refusal(outputs, "*nix*")
    assert "'*ant*'   # all of them" in refusal(outputs, "ant")
    assert "no runs" in refusal(Path("elsewhere"), "last")
    Path("empty").mkdir()
    assert "empty" in refusal(outputs, "empty")


def test_jobs_know_what_was_swept_wherever_they_were_named(outputs):
    for texts in (["0102-000000_alpha"], ["outputs/sweeps/*_alpha/*/*"], SWEEP):
        runs = load([str(text) for text in texts], outputs, METRIC).runs
        assert [run.setting for run in runs] == [{"alpha": "auto"}] * 2 + [{"alpha": "fixed_0.05"}] * 2
        assert [run.seed for run in runs] == [0, 1, 0, 1]
    (alone,) = load(["hopper"], outputs, METRIC).runs
    assert alone.setting is None and alone.env_id == "Pendulum-v1" and alone.config["agent.lr"] == 3e-4
    moved = shutil.copytree(f"outputs/sweeps/{SWEEP[0]}", "elsewhere")
    assert load([moved], outputs, METRIC).runs[0].setting is None


def test_a_sweep_without_its_plan_still_has_its_runs(outputs, capsys):
    plan = Path("outputs/sweeps/20260102-000000_alpha/sweep.json")
    plan.write_text(plan.read_text().replace("auto", "ant"))
    assert names(outputs, str(plan.parent)) == SWEEP
    assert "sweep.json is damaged" in capsys.readouterr().err
    assert names(outputs, f"{plan.parent}/alpha-auto/s0") == SWEEP[:1]


def test_a_job_that_failed_before_it_was_measured_is_one_of_its_setting(outputs):
    values = {(0, 0): [1.0, 2.0], (1, 0): [1.0, 2.0]}
    folder = outputs / "sweeps" / "20260104-000000_half"
    sweep = make_sweep(folder, dict(list(ALPHAS.items())[:2]), 2, lambda i, seed: values.get((i, seed)))
    sweep.write_end(sweep.jobs()[1], Ended(139, "killed by signal 11"))
    loaded = load([str(folder)], outputs, METRIC)
    assert loaded.left_out == [(f"{folder.name}/alpha-fixed_0.05/s1", "has not begun")]
    first, failed, other = loaded.runs
    assert failed.curve.reach == -1 and failed.config == first.config | {"seed": 1} != other.config
    assert failed.status.cause == "killed by signal 11"
    sweep.job_file(sweep.jobs()[1]).unlink()
    (unknown, _) = load([str(folder)], outputs, METRIC).left_out
    assert unknown.name.endswith("alpha-auto/s1") and "killed by signal 11: " in unknown.why
    assert "no run has the metric eval/nope" in refusal(outputs, str(folder), metric="eval/nope")


def test_of_an_environment_in_which_all_failed_there_is_nothing_to_compare(outputs):
    settings = {"env=a": {"env": {"id": "A-v0"}}, "env=b": {"env": {"id": "B-v0"}}}
    sweep = make_sweep(outputs / "sweeps" / "ab", settings, 1, lambda i, seed: None if i else [1.0, 2.0])
    sweep.write_end(sweep.jobs()[1], Ended(70, "the rotor came off"))
    loaded = load(["outputs/sweeps/ab"], outputs, METRIC)
    assert [run.env_id for run in loaded.runs] == ["A-v0"] and loaded.left_out == [
        ("ab/env-b/s0", "the rotor came off")
    ]
    alone = make_sweep(outputs / "sweeps" / "b", {"env=b": settings["env=b"]}, 1, lambda *_: None)
    alone.write_end(alone.jobs()[0], Ended(70, "the rotor came off"))
    assert "there is nothing to compare: b/env-b/s0 the rotor came off" in refusal(outputs, "outputs/sweeps/b")


@pytest.mark.parametrize(
    ("typed", "meant"), [("eval/return", "mean"), ("eval/returns", "mean"), ("eval/return_ma", "max"), ("nope", "mean")]
)
def test_a_metric_that_is_not_there_is_answered_with_the_nearest(outputs, typed, meant):
    assert f"try: --metric eval/return_{meant}" in refusal(outputs, "last", metric=typed)


def test_nothing_is_no_name(outputs):
    assert 'no run has "" in its name' in refusal(outputs, "")


def spoil(path, how):
    if how == "missing":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif how == "flipped":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 64
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "cut", "flipped"])
@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "meta.json", "summary.json"])
def test_a_damaged_file_costs_at_most_its_run(outputs, name, how, capsys):
    spoil(outputs / "runs/ant/20260101-000000_s0" / name, how)
    loaded = load(["outputs/runs"], outputs, METRIC)
    kept, left_out = [run.name for run in loaded.runs], [x.name for x in loaded.left_out]
    assert ANT[1] in kept and "hopper/20260101-000002_lr-1_s0" in kept
    if name in ("meta.json", "summary.json"):
        assert ANT[0] in kept
    elif name == "config.yaml" and how in ("missing", "folder"):
        assert ANT[0] not in kept  # it is not a run at all
    elif (name, how) != ("metrics.csv", "flipped"):
        assert left_out == [ANT[0]] and name in loaded.left_out[0].why


def test_where_nothing_is_left_the_first_reason_is_said(outputs):
    shutil.rmtree("outputs/runs/ant/20260101-000001_s1")
    Path("outputs/runs/ant/20260101-000000_s0/metrics.csv").unlink()
    assert "metrics.csv is missing" in refusal(outputs, "outputs/runs/ant")


def test_a_metric_that_no_run_has(outputs):
    text = refusal(outputs, "last", metric="eval/retrun_mean")
    assert "train/alpha" in text and "--metric eval/return_mean" in text
    text = refusal(outputs, "last", metric="rollout/success")  # a column there is, with nothing in it
    assert "has no rollout/success yet" in text and "3 more" in text


def test_a_run_that_goes_on_is_read_as_far_as_it_is(outputs):
    path = outputs / "runs/ant/20260101-000000_s0"
    run = make_run(outputs / "runs/ant/20260105-000000_on_s5", [1.0, 2.0, 3.0], state="killed")
    with (run.path / "metrics.csv").open("a") as file, contextlib.closing(file):
        file.write("3000,0,,,,7")
    with RunLock(run.path):
        loaded = load([str(run.path), str(path)], outputs, METRIC)
    assert [r.status.state for r in loaded.runs] == ["running", "finished"]
    assert loaded.runs[0].curve.env_steps.tolist() == [0, 1000, 2000]


@contextlib.contextmanager
def closed(folder):
    names(Path("outputs"), "outputs/runs")  # imports what it needs
    Path.cwd().chmod(0o755)
    folder.chmod(0)
    try:
        with as_nobody():
            yield
    finally:
        folder.chmod(0o755)


def test_a_folder_that_may_not_be_read_is_said_and_the_others_are_read(outputs, capsys):
    Path("link").symlink_to(outputs / "runs/ant/20260101-000000_s0")
    with closed(outputs / "runs/ant"):
        assert names(outputs, "outputs/runs") == ["hopper/20260101-000002_lr-1_s0"]
        assert "can't read outputs/runs/ant" in capsys.readouterr().err
        assert "can't read outputs/runs/ant: Permission denied" in refusal(outputs, "outputs/runs/ant")
        for text in ("outputs/runs/ant/20260101-000000_s0", "outputs/runs/ant/*", "link", "lin*"):
            assert text in refusal(outputs, text)


def test_a_job_that_may_not_be_read_is_not_said_to_be_waiting(outputs):
    with closed(outputs / f"sweeps/{SWEEP[0]}"):
        loaded = load(["0102-000000_alpha"], outputs, METRIC)
    assert [run.name for run in loaded.runs] == SWEEP[1:]
    assert loaded.left_out == [(SWEEP[0], "Permission denied")]


def test_links_that_lead_round_in_a_circle_are_passed_over(outputs):
    (outputs / "runs/ant/loop").symlink_to("loop")
    assert names(outputs, "outputs/runs/ant") == ANT


def test_a_run_may_lie_just_below_the_root(outputs, monkeypatch):
    monkeypatch.setattr(Path, "absolute", lambda self: Path("/data"))  # such as what a container mounts
    (run,) = load(["outputs/runs/ant/20260101-000000_s0"], outputs, METRIC).runs
    assert run.name == "data" and run.setting is None


def test_what_no_path_can_be_is_a_name(outputs):
    for text in ("~nobody-of-this-name/x", "~nobody-of-this-name/*", "x" * 5000):
        assert text in refusal(outputs, text)


def test_nothing_that_leads_out_of_a_run_is_read(outputs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    path = outputs / "runs/ant/20260101-000000_s0"
    (path / "notes").symlink_to(secret)
    loaded = load(["outputs/runs/ant"], outputs, METRIC)
    assert [x.name for x in loaded.left_out] == ANT[:1] and "leads out" in loaded.left_out[0].why
