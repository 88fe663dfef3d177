import pytest

from sac_runner.errors import Damaged, DiskFailed
from sac_runner.storage.metrics_file import MetricsFile, Written, read_columns, read_points
from sac_runner.storage.run_directory import RunDirectory
from tests.analysis.made import make_run
from tests.support import short_of_room

METRIC = "eval/return_mean"
TAGS = [METRIC, "train/alpha"]


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "20260101-000000_s0")
    directory.path.mkdir()
    return directory


@pytest.fixture
def metrics(tmp_path):
    return make_run(tmp_path / "run", [10.0, 20.0, 40.0, 30.0]).path / "metrics.csv"


def values(metrics, tag=METRIC):
    return read_columns(metrics, [tag]).points[tag]


def write_rows(run, *rows, after=0, rows_there=9, tags=TAGS):
    metrics = MetricsFile(run, tags, Written(after, rows_there))
    for env_steps, values in rows:
        metrics.write(env_steps, env_steps // 10, values)
    metrics.close()


def lines(run):
    return (run.path / "metrics.csv").read_text().splitlines()


def points(run):
    """Tag -> (env steps, value) in order, of those of ``TAGS`` that have any."""
    return {tag: list(found.items()) for tag, found in zip(TAGS, read_points(run, *TAGS), strict=True) if found}


def test_metrics_are_one_row_for_each_time_blank_where_nothing_was_measured(run):
    write_rows(run, (0, {TAGS[0]: -1.5}), (10, {TAGS[1]: 0.1}), (20, {TAGS[0]: 1e-17, TAGS[1]: 3.0}))
    assert lines(run) == ["env_steps,round,eval/return_mean,train/alpha", "0,0,-1.5,", "10,1,,0.1", "20,2,1e-17,3.0"]
    assert points(run) == {TAGS[0]: [(0, -1.5), (20, 1e-17)], TAGS[1]: [(10, 0.1), (20, 3.0)]}


def test_a_run_without_metrics_has_no_curves(run):
    assert points(run) == {}


def test_every_row_is_with_the_operating_system_at_once(run):
    metrics = MetricsFile(run, TAGS, Written(0, 0))
    metrics.write(10, 0, {TAGS[0]: 1.0})
    assert points(run) == {TAGS[0]: [(10, 1.0)]}
    metrics.close()


def test_rows_that_a_full_disk_refuses_wait_for_it(run, monkeypatch):
    metrics = MetricsFile(run, TAGS, Written(-1, 0))
    room = short_of_room(monkeypatch, metrics._file, 7)
    metrics.write(1, 0, {"train/alpha": 0.5})
    metrics.write(2, 0, {"train/alpha": 0.25})
    with pytest.raises(DiskFailed, match="metrics.csv"):
        metrics.sync()
    room[0] = 1000
    metrics.sync()
    metrics.close()
    assert points(run) == {"train/alpha": [(1, 0.5), (2, 0.25)]}


def test_a_torn_last_line_is_left_out_and_mended(run):
    write_rows(run, (0, {TAGS[0]: 1.0}), (10, {TAGS[0]: 2.0}))
    path = run.path / "metrics.csv"
    path.write_text(path.read_text() + "20,2,3.1")
    assert points(run) == {TAGS[0]: [(0, 1.0), (10, 2.0)]}
    write_rows(run, (30, {TAGS[0]: 4.0}), after=20)
    assert lines(run)[1:] == ["0,0,1.0,", "10,1,2.0,", "30,3,4.0,"]


def test_rows_after_the_checkpoint_are_dropped_when_a_run_continues(run):
    write_rows(run, *((n, {TAGS[0]: float(n)}) for n in (0, 10, 10, 20, 30)))
    write_rows(run, (20, {TAGS[0]: 99.0}), after=10)
    assert lines(run)[1:] == ["0,0,0.0,", "10,1,10.0,", "10,1,10.0,", "20,2,99.0,"]


def test_rows_of_the_checkpoints_own_step_are_dropped_where_they_came_after_it(run):
    write_rows(run, (10, {TAGS[0]: 1.0}), (20, {TAGS[0]: 2.0}), (20, {TAGS[1]: 3.0}), (30, {TAGS[1]: 4.0}))
    metrics = MetricsFile(run, TAGS, Written(20, 1))
    assert lines(run)[1:] == ["10,1,1.0,", "20,2,2.0,"] and metrics.newest == [{TAGS[0]: 2.0}]
    metrics.close()
    MetricsFile(run, TAGS, Written(-1, 0)).close()
    assert len(lines(run)) == 1


def test_values_are_kept_as_they_were_written(run):
    values = [0.1 + 0.2, 1 / 3, 1e300, -5e-324, 12345678.9]
    write_rows(run, *((n, {TAGS[0]: x}) for n, x in enumerate(values)))
    before = lines(run)
    write_rows(run, after=100)
    assert lines(run) == before
    assert list(read_points(run, TAGS[0])[0].values()) == values


def test_a_run_of_a_version_with_other_tags_keeps_its_values_under_their_names(run):
    write_rows(run, (10, {"train/alpha": 0.5, "gone": 7.0}), tags=["gone", "train/alpha"])
    write_rows(run, (20, {TAGS[0]: 2.0}), after=10)
    assert lines(run)[0] == "env_steps,round,eval/return_mean,train/alpha"
    assert points(run) == {"train/alpha": [(10, 0.5)], TAGS[0]: [(20, 2.0)]}


def test_columns_are_what_was_written(metrics):
    assert list(values(metrics).items()) == [(0, 10), (1000, 20), (2000, 40), (3000, 30)]
    assert list(values(metrics, "train/alpha").items()) == [(1000, 0.1), (2000, 0.1), (3000, 0.1)]
    assert list(values(metrics, "perf/wall_time_s").items()) == [(1000, 6), (2000, 12), (3000, 18)]
    assert values(metrics, "rollout/success") == {}


def test_a_torn_last_row_is_not_there_yet_and_damaged_rows_are_counted(metrics, capsys):
    whole = values(metrics)
    text = metrics.read_text()
    metrics.write_text(text[:-4])  # 18.0 seconds are 1 so far
    assert (values(metrics), capsys.readouterr().err) == (whole, "")
    assert list(values(metrics, "perf/wall_time_s")) == [1000, 2000]
    lines = text.splitlines()
    lines[2] = lines[2].replace("20.0", "2o.0")
    lines[4] += ",1"
    metrics.write_text("\n".join([*lines, "not,a,row", "-5" + lines[-1].lstrip("0123456789")]) + "\n")
    assert values(metrics) == {step: x for step, x in whole.items() if step not in (1000, 2000)}
    assert capsys.readouterr().err == f"warning: {metrics} has damaged rows, which are left out: 4\n"


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_no_point(metrics, cell):
    metrics.write_text(metrics.read_text().replace("40.0", cell))
    assert values(metrics) == {0: 10, 1000: 20, 3000: 30}


def test_files_that_are_none(tmp_path, metrics):
    with pytest.raises(Damaged, match="missing"):
        read_columns(tmp_path / "metrics.csv", [METRIC])
    for text in ("", "\n", "a,b\n1,2\n"):
        metrics.write_text(text)
        with pytest.raises(Damaged, match="env_steps"):
            read_columns(metrics, [METRIC])


def test_of_damaged_rows_and_a_damaged_header_it_warns_and_of_no_file_it_does_not(run, capfd):
    assert read_points(run, *TAGS) == [{}, {}] and capfd.readouterr() == ("", "")
    path = run.path / "metrics.csv"
    path.write_text(f"env_steps,round,{METRIC}\n0,0,1.0\n10,0,x\n-20,0,3.0\n30,0,nan\n40,0,inf\n50,0,2.0\n")
    assert read_points(run, METRIC) == [{0: 1, 50: 2}]
    assert capfd.readouterr().err == f"warning: {path} has damaged rows, which are left out: 2\n"
    path.write_text(f"enw_steps,round,{METRIC}\n0,0,1.0\n")
    assert read_points(run, METRIC) == [{}]
    assert capfd.readouterr().err == f"warning: {path} is damaged: it has no column env_steps\n"


def written(run, rows=((0, {METRIC: 1.0}), (10, {METRIC: 2.0}), (20, {METRIC: 3.0}))):
    """How far the file of ``run`` has come with ``rows`` of it."""
    metrics = MetricsFile(run, TAGS, Written(-1, 0))
    for env_steps, values in rows:
        metrics.write(env_steps, 0, values)
    metrics.close()
    return Written(20, 1, metrics.digest)


def test_rows_that_are_as_they_were_written_bring_no_warning(run, capsys):
    there = written(run)
    before = lines(run)
    MetricsFile(run, TAGS, there).close()
    assert lines(run) == before and capsys.readouterr().err == "" and len(list(run.path.iterdir())) == 1


@pytest.mark.parametrize(("old", "new"), [("10,0,2.0,\n", ""), ("2.0", "2.5"), ("20,0,3.0,\n", "")])
def test_rows_that_are_missing_or_changed_are_said_and_kept_as_they_were(run, capsys, old, new):
    there, path = written(run), run.path / "metrics.csv"
    damaged = path.read_text().replace(old, new)
    path.write_text(damaged)
    MetricsFile(run, TAGS, there).close()
    assert "damaged, missing or unknown; as it was it is kept as earlier-metrics-1.csv" in capsys.readouterr().err
    assert (run.path / "earlier-metrics-1.csv").read_text() == damaged


def test_a_file_that_is_gone_is_said(run, capsys):
    there = written(run)
    (run.path / "metrics.csv").unlink()
    MetricsFile(run, TAGS, there).close()
    assert "is gone, and with it the curves of 20260101-000000_s0 so far" in capsys.readouterr().err
    assert len(lines(run)) == 1
