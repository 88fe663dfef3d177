"""Pictures of run directories."""

import io
from pathlib import Path

from sac_runner.storage.run_directory import RunDirectory


def learning_curve(run: Path) -> bytes | None:
    """The run's returns over env steps as a PNG; None while it has no evaluation."""
    from matplotlib.figure import Figure  # takes half a second to import

    curves = RunDirectory(run).read_metrics()
    if "eval/return_mean" not in curves:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if "rollout/episode_return" in curves:
        axes.plot(*zip(*curves["rollout/episode_return"], strict=True), color="0.75", lw=1, label="training episodes")
    steps, mean = zip(*curves["eval/return_mean"], strict=True)
    low, high = (dict(curves.get(f"eval/return_{end}", [])) for end in ("min", "max"))
    both = [step for step in steps if step in low and step in high]  # a damaged header can lack one
    worst, top = ([end[step] for step in both] for end in (low, high))
    axes.fill_between(both, worst, top, color="C0", alpha=0.15, lw=0, label="evaluation, worst to best episode")
    axes.plot(steps, mean, color="C0", lw=2, marker="o", ms=3, label="evaluation, mean")
    axes.set(xlabel="env steps", ylabel="return", title=f"{run.parent.name}/{run.name}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
