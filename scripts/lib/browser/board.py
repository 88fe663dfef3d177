"""TensorBoard as ``scripts/tensorboard`` starts it, and what must be seen in its tabs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser.chromium import HEIGHT, Page, TooLate, get_json, until
from browser.sweep import Row

_START = "from sac_runner.commands.tensorboard import main; main()"
_TAGS = "eval/(return_mean|q_bias)$|rollout/episode_return|train/(alpha|entropy|critic_loss)$"  # for the picture
_PATIENCE_S = 30.0

_RUNS = "deep('runs-selector').flatMap(e => e.innerText.split('\\n'))"
_CARDS = "deep('card-view').filter(e => e.querySelector('line-chart canvas, line-chart svg')).length"
_TABLE = """
deep('tf-hparams-table-view vaadin-grid, vaadin-grid').flatMap(grid =>
  [...grid.shadowRoot.querySelectorAll('tr')].map(row => [...row.children].map(cell =>
    cell.querySelector('slot').assignedNodes().map(node => node.textContent.trim()).join(''))))
"""
_BANDS = """
deep('tf-custom-scalar-margin-chart-card').map(e => [
  e.title,
  deep('.match-list-entry', e.shadowRoot).map(entry => /\\((.*)\\)/.exec(entry.textContent)[1]),
  deep('path.area', e.shadowRoot).filter(path => path.getAttribute('d')).length])
"""
_SHOW = "deep('tf-multi-checkbox').forEach(runs => runs.regex = '{}')"
_ENLARGE = """
deep('tf-custom-scalar-margin-chart-card')[0].shadowRoot.querySelector('paper-icon-button[icon=fullscreen]').click()
"""
_CHARTS = """
deep('tf-custom-scalar-multi-line-chart-card').filter(e =>
  deep('path.line', e.shadowRoot).some(path => path.getAttribute('d'))).map(e => e.title)
"""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """TensorBoard on ``folder``; gives the address that it prints.

    Raises:
        RuntimeError: It does not start; with what it says.
    """
    command = [sys.executable, "-c", _START, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said.startswith("http://"):
                raise RuntimeError(said + process.stdout.read())
            yield said.split()[0]
        finally:
            process.terminate()


def wait_for_events(address: str, rows: dict[str, Row]) -> None:
    """TensorBoard reads event files little by little, and a page that came too early asks again after 30 s only.

    Raises:
        TooLate: It has not read all.
    """

    def read() -> bool:
        tags = get_json(urlsplit(address).netloc, "/data/plugin/scalars/tags") or {}
        return all(row.scores.keys() <= tags.get(name, {}).keys() for name, row in rows.items())

    until("the events of all runs", read, 2 * _PATIENCE_S)


def look(page: Page, address: str, rows: dict[str, Row], pictures: Path) -> list[str]:
    """Open the tabs one after the other, and take a picture of each.

    Returns:
        What is missing, in words; nothing where all is there.
    """
    query = "&" if "?" in address else "?"
    page.go(f"{address}{query}smoothing=0&tagFilter={_TAGS}#timeseries")
    missing = []
    for tab, see in (("timeseries", _time_series), ("hparams", _hparams), ("custom_scalars", _custom_scalars)):
        page.ask(f"location.hash = '{tab}'")
        missing += [f"{tab}: {what}" for what in see(page, rows)]
        try:
            page.screenshot(pictures / f"tensorboard-{tab}.png")
        except TooLate as e:
            missing.append(f"{tab}: {e}")
    return missing


def _lacking(page: Page, script: str, lacks: Callable[[Any], list[str]]) -> list[str]:
    """What ``lacks`` finds in the value of ``script``, once that is nothing or patience is over."""
    found = ["nothing at all"]

    def is_whole() -> bool:
        nonlocal found
        answer = page.ask(script)
        found = found if answer is None else lacks(answer)
        return answer is not None and not found

    try:
        until("", is_whole, _PATIENCE_S)
    except TooLate:
        return found
    return []


def _time_series(page: Page, rows: dict[str, Row]) -> list[str]:
    missing = _lacking(page, _RUNS, lambda seen: [f"no run {name}" for name in rows if name not in seen])
    missing += _lacking(page, _CARDS, lambda count: [] if count >= 4 else [f"{count} charts"])
    page.ask("deep('button[aria-label=\"Close side pane\"]').forEach(button => button.click())")
    return missing


def _hparams(page: Page, rows: dict[str, Row]) -> list[str]:
    page.resize(HEIGHT + 40 * len(rows))  # the table makes only the rows that are in sight
    missing = _lacking(page, _TABLE, lambda table: _differences(table, rows))
    page.resize()
    return missing


def _differences(table: list[list[str]], rows: dict[str, Row]) -> list[str]:
    """Where a table of HParams, its header first, is not what ``rows`` say."""
    header = table[0] if table else []
    shown = {line[0]: dict(zip(header, line, strict=False)) for line in table[1:]}
    wrong = []
    for name, row in rows.items():
        wanted = row.hyperparameters | row.scores
        wrong += [
            f"{name}: {column} is {shown.get(name, {}).get(column)}, not {value}"
            for column, value in wanted.items()
            if not _same(shown.get(name, {}).get(column), value)
        ]
    return wrong


def _same(cell: str | None, value: str | float) -> bool:
    """Numbers are shown with five digits."""
    try:
        return cell is not None and abs(float(cell) - float(value)) <= 1e-4 * abs(float(value))
    except ValueError:
        return cell == value


def _custom_scalars(page: Page, rows: dict[str, Row]) -> list[str]:
    missing = _lacking(page, _BANDS, lambda bands: _without_band(bands, rows))
    wanted = ("return", "loss", "temperature", "per second")
    missing += _lacking(page, _CHARTS, lambda titles: [f"no chart of {x}" for x in wanted if x not in titles])
    seed = next(iter(rows)).rpartition("/")[2]
    page.ask(_SHOW.format(f"/{seed}$"))  # the bands of many runs hide each other
    page.ask(_ENLARGE)
    return missing


def _without_band(bands: list[tuple[str, list[str], int]], rows: dict[str, Row]) -> list[str]:
    if not bands:
        return ["no chart with a band"]
    _, names, drawn = bands[0]
    undrawn = [f"{len(rows) - drawn} of {len(rows)} bands are not drawn"] if drawn < len(rows) else []
    return [f"no band of {name}" for name in rows if name not in names] + undrawn
