"""No damage to a run ends in a traceback, and none in another result that nobody is told of.

Digests cover checkpoints and segments, ``config.yaml`` (its first line), ``meta.json`` and ``summary.json``. What has
none is ``metrics.csv``, where a cell that reads as another number can't be told from a measured one; rows that can't be
read are left out, and said so. Nothing reads the events, ``train.log``, ``curve.png`` and the contents of ``.lock``.
"""

import json
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from sac_runner.storage.run_directory import RunDirectory
from tests.commands.damaged import READERS, Damage, ask, command, curve, damages

pytestmark = pytest.mark.usefixtures("nothing_goes_on")
SELDOM = ("config", "load kept", "evaluate", "as trained", "finished")
PLAIN = ("config.yaml", "meta.json", "summary.json")
STATE = "checkpoints/latest-000000000060/state.json"


def outcome(world, damage, name, answer):
    """Whether ``answer`` is the same as undamaged, a refusal or something less that was said; nothing else passes."""
    if answer.code:
        named = {Path(path).name for file in (damage.file, str(damage.at)) for path in (file, Path(file).parent)}
        assert any(x in line for x in named - {""} for line in answer.said), answer.said
        return "refused"
    if answer.value == world.expected[name].value:
        return "same"
    if name == "metrics":
        assert damage.file == "metrics.csv"
        assert_rest(world, damage, answer)
    else:
        allowed = {"summary": {}, "meta": {}, "finished": None, "resume": world.older}
        assert name in allowed and answer.value == allowed[name], answer
        # A deleted plain file is as one of a run that has not written it yet.
        assert any(line.startswith("warning: ") for line in answer.said) or damage.how == "delete", answer
        assert name != "resume" or "set aside as damaged-1-latest-000000000060" in answer.said[0], answer
    return "less"


def assert_rest(world, damage, answer):
    """At most one row is there that was not written. Rows that lie in the way of the damage are not; others are."""
    curves = (world.expected["metrics"].value, answer.value)
    before, after = ({(step, x) for points in tags.values() for step, x in points} for tags in curves)
    strange, missing = ({step for step, _ in points} for points in (after - before, before - after))
    assert len(strange) <= (damage.how == "flip")
    if damage.how == "flip" and damage.at // 8 > world.header:
        assert len(missing) <= 2


def outcomes(world, damage, names):
    """What the readers ``names`` make of ``damage``."""
    damage.do(world.copy())
    found = {outcome(world, damage, name, ask(READERS[name], world.folder)) for name in names}
    if damage.file == "metrics.csv":
        damage.do(world.copy())
        assert ask(curve, world.folder).value in (None, b"\x89PNG")
    return found


def kind(file):
    """``latest-60/state.json``; all segments are ``replay``, all events ``events``."""
    file = re.sub("0{3,}", "", file.removeprefix("checkpoints/"))
    return re.sub(r"(?<=^events).*|(?<=^replay).*", "", file)


def tried(world, chosen, seldom=1):
    """Try all ``chosen`` damages on all readers (the ``SELDOM`` ones at each ``seldom``-th).

    Returns file -> how often which outcome was the worst of any reader, and how often it was damaged how.
    """
    counts, wrong = defaultdict(Counter), []
    for number, damage in enumerate(chosen):
        try:
            found = outcomes(world, damage, [name for name in READERS if number % seldom == 0 or name not in SELDOM])
        except Exception as e:
            wrong.append(f"{damage}: {type(e).__name__}: {str(e)[:500]}")
            continue
        worst = next(x for x in ("refused", "less", "same") if x in found)
        counts[kind(damage.file)] += Counter([worst, damage.how])
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:20])
    return counts


def sample(world, of_each):
    """``of_each`` file so many of all damages."""
    files, draw = defaultdict(list), np.random.default_rng(0)
    for damage in damages(world.whole, 70):
        files[damage.file].append(damage)
    for there in files.values():
        yield from (there[i] for i in draw.permutation(len(there))[:of_each])


def test_damage_is_said_or_without_effect(world):
    chosen = list(sample(world, 8))
    assert len(chosen) > 190 and {d.how for d in chosen} >= {"truncate", "flip", "zeros", "swap"}
    counts = tried(world, chosen, seldom=8)
    assert counts["latest-60/state.json"]["same"] == 0 == counts["best-40/policy.safetensors"]["same"]


@pytest.mark.slow
def test_so_it_is_of_more_than_2000_truncations_and_bit_flips(world, capsys):
    begun, all_of_them = time.monotonic(), list(damages(world.whole, 70))
    counts = tried(world, all_of_them)
    hows = sum(counts.values(), Counter())
    with capsys.disabled():
        print(f"\n{len(all_of_them)} in {time.monotonic() - begun:.0f} s: {dict(hows)}")
        for file, count in sorted(counts.items()):
            print(f"{file:30} {dict(count)}")
    assert hows["truncate"] + hows["flip"] >= 2000


@pytest.mark.parametrize("files", [("summary.json", "meta.json", "metrics.csv"), (STATE,)], ids=["plain", "state"])
def test_a_damaged_run_goes_on_to_the_same_end(world, files):
    world.copy()
    for file in files:
        Damage("flip", file, 8 * 900).do(world.folder)
    assert command(world.folder) == world.at_66


@pytest.mark.slow
def test_so_it_does_or_refuses_to_whatever_file_is_damaged_how(world, capsys):
    counts = Counter()
    for damage in sample(world, 12):
        damage.do(world.copy())
        end = command(world.folder)
        assert end in (None, world.at_66), damage
        counts[kind(damage.file), "refused" if end is None else "the same end"] += 1
    with capsys.disabled():
        print(*sorted(counts.items()), sep="\n")


def test_rows_that_are_damaged_are_kept_beside_when_a_run_goes_on(world):
    world.copy()
    for name in ("earlier-metrics-1.csv", "earlier-metrics-2.csv"):
        Damage("flip", "metrics.csv", 8 * (world.header - 3)).do(world.folder)
        before = (world.folder / "metrics.csv").read_bytes()
        answer = ask(READERS["resume"], world.folder)
        assert f"as it was it is kept as {name}" in answer.said[0]
        assert (world.folder / name).read_bytes() == before


NONSENSE = [
    *(
        b"",
        b"\0" * 99,
        b"\xff\xfe\x80",
        b"[" * 5_000,
        b"[]",
        b"3",
        b"null",
        b"NaN",
        b'"text"',
        b"{}",
        b'{"a": 1e999}',
    ),
    *(
        b"a: &a [*a]",
        b"? [a]: b",
        b"1: 2",
        b"a: 2020-01-01",
        b"a: !!python/name:os.system",
        b"a: !!binary x",
        b"a: ${b}",
    ),
    *(b'{"sha256": 7}', b'{"threads": [], "device": {}, "started": {}, "earlier_starts": 7, "spaces": 3}'),
    *(b'{"spaces": {"action": {"shape": [Infinity], "dtype": "O"}}}', b'{"started": "0001-01-01", "versions": 1}'),
    *(b'{"status": {}}', b'{"status": "finished", "env_steps": {}, "episodes": 0, "updates": [], "rounds": ""}'),
]


CONCERNED = {
    "config.yaml": ("load best",),
    "meta.json": ("meta", "find", "load best", "evaluate"),
    "summary.json": ("summary", "load best"),
}


@pytest.mark.parametrize("file", PLAIN)
def test_nonsense_is_no_traceback(world, file):
    for text in NONSENSE:
        world.copy()
        (world.folder / file).write_bytes(text)
        answers = [ask(READERS[name], world.folder) for name in CONCERNED[file]]
        assert file != "config.yaml" or answers[0].code == 2


def test_a_summary_that_is_none_is_not_believed(world):
    text = '{"status": "finished", "env_steps": 66, "episodes": 4, "updates": 46, "rounds": 0, "scores": {"final": []}}'
    (world.copy() / "summary.json").write_text(text)
    assert command(world.folder) == world.at_66


@pytest.mark.parametrize("file", PLAIN)
def test_what_has_lost_its_digest_is_not_believed(world, file):
    path = world.copy() / file
    if file == "config.yaml":
        path.write_text(RunDirectory(world.folder).config_text())
    else:
        plain = json.loads(path.read_text())
        del plain["sha256"]
        path.write_text(json.dumps(plain, indent=2) + "\n")
    found = {outcome(world, Damage("flip", file, 0), name, ask(READERS[name], world.folder)) for name in READERS}
    assert found <= {"refused", "less", "same"} and found != {"same"}
