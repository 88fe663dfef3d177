import shutil
import threading

import pytest

from sac_runner.algorithm.policy import Policy
from sac_runner.commands.watch import main
from sac_runner.playback import play, stored
from sac_runner.storage.checkpoints import find, save
from sac_runner.storage.run_directory import RunDirectory


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")


@pytest.fixture
def drawn_nowhere(monkeypatch):
    """pygame draws in memory, and does not wait for the next frame's time."""
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(pygame.time, "Clock", lambda: type("Clock", (), {"tick": lambda self, fps: 0})())
    return pygame


def test_without_a_display_record_is_the_way(run, refused):
    answer = refused(main, run)
    assert "no display" in answer and "mp4" in answer and f"try: sac-record {run}   # " in answer
    assert f"try: sac-record {run} --trust   # " in refused(main, run, "--trust")


@pytest.mark.skipif("sys.platform != 'linux'")
def test_display_that_does_not_answer(run, refused, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":4711")
    assert "no display" in refused(main, run)


def test_package_named_by_a_run_is_imported_only_if_trusted(drawn_nowhere, trusts):
    assert trusts(main)


def test_prints_each_episode(run, call, drawn_nowhere):
    answer = call(main, run, "--episodes", "2", "--seed", "9")
    assert answer.code == 0, answer.err
    first, *episodes = answer.out.splitlines()
    assert "best checkpoint" in first
    assert [line.split("(")[1] for line in episodes] == ["seed 9)", "seed 10)"]
    assert "return" in episodes[0] and "length 20" in episodes[0]


def test_closing_the_window_ends_it(run, call, drawn_nowhere, monkeypatch):
    act, acted = Policy.act, []

    def close_meanwhile(policy, obs, noise):
        acted.append(obs)
        if len(acted) == 25:
            drawn_nowhere.event.post(drawn_nowhere.event.Event(drawn_nowhere.QUIT))
        return act(policy, obs, noise)

    monkeypatch.setattr(Policy, "act", close_meanwhile)
    answer = call(main, run)
    assert answer.code == 0 and len(acted) == 25
    assert sum(line.startswith("episode") for line in answer.out.splitlines()) == 1


def become_best(folder, env_steps):
    """What a run that goes on does: a new best checkpoint appears, then the old one vanishes."""
    checkpoints = folder / "checkpoints"
    (kept,) = [checkpoint for checkpoint in find(checkpoints, "kept") if checkpoint.env_steps == env_steps]
    save(checkpoints, "best", env_steps, {"policy": kept.arrays("policy")}, {}, {"score": kept.manifest()["score"]})
    for older in find(checkpoints, "best"):
        if older.env_steps != env_steps:
            shutil.rmtree(older.path)


def test_run_that_goes_on_shows_its_newest_best(own, call, drawn_nowhere, monkeypatch):
    become_best(own, 40)
    play_episode = play._play

    def play_and_improve(policy, env, seed, *rest):
        if seed == 1:
            become_best(own, 120)
        return play_episode(policy, env, seed, *rest)

    monkeypatch.setattr(play, "_play", play_and_improve)
    answer = call(main, own, "--episodes", "4", "--seed", "0")
    assert answer.code == 0, answer.err
    kinds = ["policy" if "checkpoint" in line else "episode" for line in answer.out.splitlines()]
    assert kinds == ["policy", "episode", "episode", "policy", "episode", "episode"]


def test_checkpoint_that_vanishes_while_it_is_read_gives_way_to_the_newer_one(own, monkeypatch):
    become_best(own, 40)
    run, config = RunDirectory(own), stored.as_recorded(RunDirectory(own))
    find, threads = RunDirectory.checkpoint, []

    def vanishes_after(self, which):
        found = find(self, which)
        if not threads:
            threads.append(threading.current_thread())
            become_best(own, 120)
        return found

    monkeypatch.setattr(RunDirectory, "checkpoint", vanishes_after)
    read = stored.read_policy(run, config, "best", stored.torch.device("cpu"))
    assert read.checkpoint.env_steps == 120
