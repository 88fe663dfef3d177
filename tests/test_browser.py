"""``scripts/look`` sees what TensorBoard shows of a sweep, where there is a browser, and says what is missing."""

import struct
from functools import partial
from itertools import product

import pytest
from browser import __main__ as command
from browser import board, chromium
from browser.sweep import Row, rows

from sac_runner.errors import WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.training.run import train
from tests.support import AUTO, FIXED, config

ALPHAS = {"auto": AUTO, "fixed_0.05": FIXED | {"value": 0.05}}
needs_chromium = pytest.mark.skipif(chromium.find_chromium() is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two settings, two seeds, and a job that has not begun."""
    sweep = SweepDirectory(tmp_path_factory.mktemp("outputs") / "t_alpha")
    jobs = [
        SweepJob(n, f"alpha-{alpha}/s{seed}", {"alpha": alpha, "agent.lr": "1e-3"}, seed, 60)
        for n, (alpha, seed) in enumerate([*product(ALPHAS, (0, 1)), ("auto", 2)])
    ]
    sweep.path.mkdir()
    sweep.write_plan({"name": "alpha"}, jobs, [{} for _ in jobs])
    for job in jobs[:4]:
        tiny = config(
            alpha=ALPHAS[job.setting["alpha"]],
            seed=job.seed,
            total_env_steps=60,
            env={"max_episode_steps": 15},
            eval={"every_env_steps": 20},
        )
        sweep.run(job).path.mkdir(parents=True)
        train(tiny, [], None, partial(RunLock, sweep.run(job).path), swept=job.setting)
    return sweep


@needs_chromium
def test_tensorboard_shows_runs_hyperparameters_and_charts_of_a_sweep(sweep, tmp_path):
    assert command.see(sweep, tmp_path / "pictures") == []
    pictures = {file.name: file.read_bytes() for file in (tmp_path / "pictures").iterdir()}
    assert pictures.keys() == {f"tensorboard-{tab}.png" for tab in ("timeseries", "hparams", "custom_scalars")}
    for picture in pictures.values():
        assert struct.unpack(">II", picture[16:24]) == (1400, 900)
        assert len(picture) > 20_000  # more than an empty page


def test_what_must_be_seen_is_read_from_the_runs(sweep):
    wanted = rows(sweep)
    assert list(wanted) == ["alpha-auto/s0", "alpha-auto/s1", "alpha-fixed_0.05/s0", "alpha-fixed_0.05/s1"]
    row = wanted["alpha-fixed_0.05/s1"]
    assert row.hyperparameters == {"alpha": "fixed_0.05", "agent.lr": "1e-3", "seed": "1"}
    scores = sweep.status(sweep.jobs()[3]).scores
    assert row.scores["score/final"] == row.scores["eval/return_mean"] == scores["final"]["return_mean"]
    assert row.scores["score/best"] == scores["best"]["return_mean"] >= row.scores["score/area"]


ROWS = {"a/s0": Row({"alpha": "auto", "seed": "0"}, {"score/final": -1552.43})}
HEADER = ["Trial ID", "Show Metrics", "alpha", "seed", "score/final"]


@pytest.mark.parametrize(
    ("table", "lack"),
    [
        ([HEADER, ["a/s0", "", "auto", "0.0000", "-1552.4"]], []),
        ([HEADER, ["a/s0", "", "auto", "0.0000", "-1552.9"]], ["a/s0: score/final is -1552.9, not -1552.43"]),
        ([HEADER, ["a/s0", "", "fixed", "0.0000", "-1552.4"]], ["a/s0: alpha is fixed, not auto"]),
        ([HEADER, ["a/s0", "", "auto", "0.0000", ""]], ["a/s0: score/final is , not -1552.43"]),
        ([HEADER[:4], ["a/s0", "", "auto", "0.0000"]], ["a/s0: score/final is None, not -1552.43"]),
        ([HEADER, ["b/s0", "", "auto", "0.0000", "-1552.4"]], [f"a/s0: {x} is None" for x in HEADER[2:]]),
        ([], [f"a/s0: {x} is None" for x in HEADER[2:]]),
    ],
)
def test_a_table_that_lacks_something_is_told_from_one_that_is_whole(table, lack):
    found = board._differences(table, ROWS)
    assert len(found) == len(lack) and all(x.startswith(y) for x, y in zip(found, lack, strict=True))


def test_a_band_for_each_run():
    assert board._without_band([["return", ["a/s0"], 1]], ROWS) == []
    assert board._without_band([["return", [], 0]], ROWS) == ["no band of a/s0", "1 of 1 bands are not drawn"]
    assert board._without_band([], ROWS) == ["no chart with a band"]


class Pages:
    """Answers one thing after the other, the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def ask(self, script):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_page_is_waited_for_and_what_it_lacks_to_the_end_is_said(monkeypatch):
    monkeypatch.setattr(board, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(chromium.time, "sleep", lambda seconds: None)

    def lacks(seen):
        return [name for name in ("a", "b") if name not in seen]

    assert board._lacking(Pages(None, [], ["a"], ["a", "b"]), "", lacks) == []
    assert board._lacking(Pages(None, [], ["a"]), "", lacks) == ["b"]
    assert board._lacking(Pages(None), "", lacks) == ["nothing at all"]


def test_a_browser_with_a_tmp_of_its_own_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "_PROGRAMS", chromium._PROGRAMS[1:])
    for name in ("snap", "chromium-browser", "google-chrome-stable"):
        (tmp_path / name).write_text(
            "#!/bin/sh\n" + ("exec /snap/bin/chromium\n" if name == "chromium-browser" else "")
        )
        (tmp_path / name).chmod(0o755)
    (tmp_path / "chromium").symlink_to("snap")
    assert chromium.find_chromium() == str(tmp_path / "google-chrome-stable")
    (tmp_path / "google-chrome-stable").unlink()
    assert chromium.find_chromium() is None


def test_what_can_not_be_looked_at_is_said(sweep, tmp_path, monkeypatch, capsys):
    with pytest.raises(WrongInput, match="no sweep"):
        command.see(SweepDirectory(tmp_path), tmp_path)
    planned = SweepDirectory(tmp_path)
    planned.write_plan({}, sweep.jobs()[:1], [{}])
    with pytest.raises(RuntimeError, match="a run of"):
        command.see(planned, tmp_path)
    monkeypatch.setattr(command, "find_chromium", lambda: None)
    monkeypatch.setattr("sys.argv", ["look", str(sweep.path)])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 1 and "missing: a browser" in capsys.readouterr().err
