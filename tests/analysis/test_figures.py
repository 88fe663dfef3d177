import numpy as np
from matplotlib.figure import Figure

from sac_runner.analysis.figures import learning_curve

METRICS = """\
env_steps,round,rollout/episode_return,eval/return_mean,eval/return_min,eval/return_max
0,0,,-50.0,-90.0,-40.0
10,0,-60.0,,,
20,0,-70.0,,,
20,0,,-20.0,-25.0,-10.0
30,0,,-30.0,-35.0,-5.0
"""


def test_the_curve_of_a_run_is_drawn_as_it_is(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    run = tmp_path / "pendulum" / "a_s0"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("env_steps,round,eval/return_mean\n")
    assert learning_curve(run) is None and drawn == []
    (run / "metrics.csv").write_text(METRICS)
    learning_curve(run)
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {
        "training episodes": [[10, -60], [20, -70]],
        "evaluation, mean": [[0, -50], [20, -20], [30, -30]],
    }
    (band,) = axes.collections
    outline = np.unique(band.get_paths()[0].vertices, axis=0).tolist()
    assert outline == [[0, -90], [0, -40], [20, -25], [20, -10], [30, -35], [30, -5]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("env steps", "return", "pendulum/a_s0")
