import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sac_runner.analysis.comparison import compare
from sac_runner.analysis.figures import draw, styles
from sac_runner.analysis.load import load
from sac_runner.analysis.report import report
from sac_runner.analysis.tables import CURVES, SCORES, curves_csv, scores_csv
from tests.analysis.made import alpha_sweep, make_run

METRIC = "eval/return_mean"
EVIL = "<script>alert(1)</script>&\"'$x_$"


def comparison_of(*texts, **options):
    given = {"by": None, "baseline": None, "to_reach": None, "at": None} | options
    return compare(load(list(texts), Path("outputs"), METRIC), METRIC, *given.values())


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Three settings of a sweep, one run of another environment, one that ended early."""
    root = tmp_path_factory.mktemp("compared")
    alpha_sweep(root / "sweeps/t_alpha", seeds=5, points=21)
    make_run(root / "runs/hopper/h", [1.0, 2.0], env={"id": "Hopper-v5"})
    make_run(root / "runs/pendulum/gone", [1.0], seed=9, state="killed")
    return comparison_of(str(root), to_reach=200.0)


@pytest.fixture(scope="module")
def pictures(comparison):
    return draw(comparison)


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and whether each is closed where it must be."""

    VOID = {"meta", "br", "path", "line", "rect", "circle", "use"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(scope="module")
def page(comparison, pictures):
    return report(comparison, pictures.svg, f"sac-compare '{EVIL}'")


def test_the_page_says_where_the_best_is_found(page):
    assert "In the table of runs and in scores.csv." in page and "<th>best</th>" in page


def test_the_page_is_whole_and_holds_all_there_is_to_say(page, comparison):
    read = Page(page)
    assert read.open == []
    words = " ".join(read.words)
    for panel in comparison.panels:
        assert panel.env_id in words
        for row in panel.rows:
            assert row.group.label in words
            assert all(str(run.path) in words for run in row.group.runs)
    for expected in (
        "alpha=fixed alpha.value=0.2 is worse than alpha=auto",
        "IQM [95%]",
        "to 200",
        "no common mean",
        "What differs",
        "alpha.value",
        "Left out of the scores",
        "killed at 0",
        "How it was computed",
        "permutation test",
    ):
        assert expected in words, expected
    assert all(column in words for column in (*SCORES, *CURVES))


def test_the_table_of_runs_has_their_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/a", [0.0, 9.0, 4.0], seconds_per_step=0.06)
    cells = re.findall(r"<td class='\w*'>(.*?)</td>", report(comparison_of("runs"), "", "sac-compare runs"))
    assert cells[-7:] == ["0", "finished", "2,000", "4", "9", "2", "runs/a"]


def test_the_page_asks_for_nothing_elsewhere(page):
    read = Page(page)
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & set(read.tags)
    loads = [
        (name, value) for name, value in read.attributes if name in ("src", "href", "xlink:href", "srcset", "data")
    ]
    assert not [value for _, value in loads if not value.startswith("#")]
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_light_and_dark_are_colours_of_the_page_that_the_picture_follows(page):
    light, dark = re.findall(r"--ink: (#\w+)", page)
    assert light != dark and "prefers-color-scheme: dark" in page
    svg = page[page.index("<figure>") : page.index("</figure>")]
    assert "var(--ink)" in svg and "var(--line)" in svg and light not in svg
    assert "<text" in svg and "alpha=auto" in svg


def test_a_strip_shows_seeds_interval_and_iqm_from_low_to_high(page, comparison):
    (pendulum,) = [panel for panel in comparison.panels if panel.env_id == "Pendulum-v1"]
    strips = re.findall(r'<svg class="strip".*?</svg>', page)[-3:]
    places = {}
    for row, strip in zip(pendulum.rows, strips, strict=True):
        found = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', strip)]
        assert len(found) == len(row.scores)
        places |= dict(zip(row.finals.tolist(), found, strict=True))
        (iqm,) = re.findall(r'<line x1="([\d.]+)"', strip)
        begin, width = map(float, re.search(r'<rect x="([\d.]+)" width="([\d.]+)"', strip).groups())
        assert begin <= float(iqm) <= begin + width
    assert sorted(places.values()) == [places[x] for x in sorted(places)]
    assert (places[min(places)], places[max(places)]) == (6, 184)


def test_what_comes_from_files_and_from_the_command_line_is_escaped(page, tmp_path, monkeypatch):
    assert "<script" not in page and "&lt;script&gt;" in page
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        run = make_run(
            tmp_path / f"runs/<b>{i}", [1.0, 2.0], seed=EVIL, env={"id": EVIL, "kwargs": {f"{EVIL}{i}": EVIL}}
        )
        assert run.is_run
    make_run(tmp_path / "runs/gone", [1.0], state="failed", cause=EVIL, env={"id": EVIL})
    evil = comparison_of("runs")
    text = report(evil, draw(evil).svg, EVIL)
    read = Page(text)
    assert read.open == [] and not {"script", "b"} & set(read.tags)
    assert " ".join(read.words).count(EVIL) > 5


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_scores_csv_has_a_line_for_each_group_and_each_run(comparison):
    lines = read_csv(scores_csv(comparison))
    assert list(lines[0]) == list(SCORES)
    groups = {(x["environment"], x["group"]): x for x in lines if x["kind"] == "group"}
    assert len(groups) == 4 and len(lines) == 4 + 15 + 1 + 1
    (pendulum,) = [panel for panel in comparison.panels if panel.env_id == "Pendulum-v1"]
    for row in pendulum.rows:
        found = groups["Pendulum-v1", row.group.label]
        assert float(found["final"]) == pytest.approx(row.iqm)
        assert (float(found["low"]), float(found["high"])) == pytest.approx(row.interval)
        assert [float(found[x]) for x in ("best", "area", "minutes")] == pytest.approx(
            [row.best, row.area, row.minutes]
        )
        assert int(found["counted"]) == 5 and float(found["env_steps"]) == 20000
        if row.better:
            assert float(found["p_better"]) == pytest.approx(row.better.probability)
            assert (float(found["p_low"]), float(found["p_high"])) == pytest.approx(row.better.interval)
            assert float(found["p_value"]) == pytest.approx(row.better.p_value)
        runs = [x for x in lines if x["kind"] == "run" and x["group"] == row.group.label and x["counted"] == "1"]
        assert [float(x["final"]) for x in runs] == pytest.approx(row.finals.tolist())
        assert int(found["reached"]) == sum(int(x["reached"]) for x in runs) == len(row.reached)
    (gone,) = [x for x in lines if x["state"] == "killed"]
    assert (gone["counted"], gone["final"], gone["env_steps"]) == ("0", "", "")


def test_medians_of_those_that_came_to_the_level(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, values in enumerate(([0.0, 9.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0])):
        make_run(tmp_path / f"runs/{i}", values, seed=i, seconds_per_step=0.06)
    lines = read_csv(scores_csv(comparison_of("runs", to_reach=9.0)))
    assert [x["reached"] for x in lines] == ["2", "1", "1", "0"]
    assert [x["reach_env_steps"] for x in lines] == ["1500", "1000", "2000", ""]
    assert [x["reach_minutes"] for x in lines] == ["1.5", "1", "2", ""]
    assert {x["reached"] for x in read_csv(scores_csv(comparison_of("runs")))} == {""}


def test_curves_csv_has_the_lines_over_both_axes(comparison):
    lines = read_csv(curves_csv(comparison))
    assert list(lines[0]) == list(CURVES)
    for panel in comparison.panels:
        for row in panel.rows:
            own = [x for x in lines if (x["environment"], x["group"]) == (panel.env_id, row.group.label)]
            for axis, line in (("env_steps", row.over_steps), ("minutes", row.over_minutes)):
                points = [x for x in own if x["axis"] == axis]
                assert [float(x["x"]) for x in points] == pytest.approx(line.x.tolist())
                assert [float(x["iqm"]) for x in points] == pytest.approx(line.iqm.tolist())
                assert {x["low"] == "" for x in points} == {line.band is None}
                assert {x["runs"] for x in points} == {str(len(row.scores))}


def test_a_group_has_one_colour_everywhere_and_none_shares_it(comparison):
    found = styles(comparison)
    assert list(found) == ["all runs", "alpha=auto", "alpha=fixed alpha.value=0.05", "alpha=fixed alpha.value=0.2"]
    assert len(set(map(str, found.values()))) == 4


def lines_of(axes):
    """Colour -> points, of its bold lines."""
    return {line.get_color(): line.get_xydata().tolist() for line in axes.get_lines() if line.get_linewidth() > 1}


def test_the_picture_shows_each_groups_line_band_and_seeds(comparison):
    from sac_runner.analysis import figures

    (pendulum,) = [panel for panel in comparison.panels if panel.env_id == "Pendulum-v1"]
    figure = figures._figure(comparison_with(comparison, pendulum))
    of_group = styles(comparison_with(comparison, pendulum))
    left, right = figure.axes
    for row in pendulum.rows:
        for axes, line in ((left, row.over_steps), (right, row.over_minutes)):
            shown = lines_of(axes)[of_group[row.group.label][0]]
            assert shown == [[x, y] for x, y in zip(line.x.tolist(), line.iqm.tolist(), strict=True)]
    assert len(left.collections) == len(right.collections) == 6  # a band and the seeds of each
    assert sorted(len(x.get_segments()) for x in left.collections if hasattr(x, "get_segments")) == [5, 5, 6]
    legend = [text.get_text().replace("\n", " ") for text in right.get_legend().get_texts()]
    best_first = sorted(pendulum.rows, key=lambda row: -row.iqm)
    assert legend == [f"{row.group.label} (5 seeds)" for row in best_first]
    assert left.get_xlabel() == "env steps" and right.get_xlabel() == "minutes of wall time"
    assert left.xaxis.get_major_formatter()(1_000_000) == "1,000,000"


def comparison_with(comparison, *panels):
    from dataclasses import replace

    return replace(comparison, panels=list(panels))


def test_odd_pictures_can_be_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = {"id": "深層$x_$-v0", "kwargs": {"a$x_$": "$x_$"}}
    make_run(tmp_path / "runs/other", [0.0], env={"id": odd["id"]})
    for i in range(30):  # more settings than colours, one point each, letters that the font lacks, no wall time
        path = make_run(tmp_path / f"runs/{i}", [float(i)], agent={"tau": (i + 1) / 100}, env=odd).path
        (path / "summary.json").unlink()
    many = comparison_of("runs")
    found = draw(many)
    assert "and 7 more" in found.svg and found.svg.count("seed)") == 24
    assert found.png.startswith(b"\x89PNG") and len(set(map(str, styles(many).values()))) == 24


def test_the_same_comparison_gives_the_same_files(comparison, pictures):
    again = draw(comparison)
    assert again == pictures and scores_csv(comparison) == scores_csv(comparison)
