import re
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from sac_runner.commands.record import main
from sac_runner.errors import DiskFailed, EnvironmentFailed
from sac_runner.playback import show
from sac_runner.playback.play import make_drawing_env, play_episode
from sac_runner.storage.video import Video
from tests.storage.written import change_config
from tests.support import config, sac


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER", "MUJOCO_GL", "PYGAME_HIDE_SUPPORT_PROMPT"):
        monkeypatch.setenv(name, {"MUJOCO_GL": "egl"}.get(name, "dummy"))  # what record sets is undone after the test


def frames_of(path):
    """The frames of an mp4, and what ffmpeg says of it."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    said = done.stderr.decode()
    width, height = map(int, re.search(r"Video: h264.* (\d+)x(\d+)", said).groups())
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3), said


def test_mp4_holds_every_frame_and_moves(own, call):
    answer = call(main, own, "--episodes", "2")
    assert answer.code == 0, answer.err
    (video,) = (own / "videos").iterdir()  # and nothing half-made beside it
    assert str(video) in answer.out
    assert sum(line.startswith("episode") for line in answer.out.splitlines()) == 2
    assert "length 20   (seed 1000001)" in answer.out
    frames, said = frames_of(video)
    assert "yuv420p" in said and " 30 fps" in said  # what every player and browser takes
    assert len(frames) == 2 * (20 + 1)
    assert frames[0].std() > 10
    assert (frames[0] != frames[10]).any()


def test_record_shows_the_episode_that_evaluate_scores(own, call):
    from sac_runner.commands.evaluate import main as evaluate

    scored = call(evaluate, own, "--episodes", "1", "--seed", "4").out
    (expected,) = (line.split()[1] for line in scored.splitlines() if line.startswith("return"))
    assert f"return {expected} " in call(main, own, "--seed", "4").out


def test_out_and_checkpoint(run, call, tmp_path):
    video = tmp_path / "elsewhere" / "film.mp4"
    answer = call(main, run, "--checkpoint", "20", "--sampled", "--out", video)
    assert answer.code == 0, answer.err
    assert "kept checkpoint, 20 env steps" in answer.out
    assert video.stat().st_size > 1000
    assert not (run / "videos").exists()


def test_out_may_begin_with_the_home_of_its_user(run, call, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(show, "record", lambda run, showing, out, say: out)
    assert call(main, run, "--out=~/film.mp4").out == "saved       /home/me/film.mp4\n"


def test_out_must_be_an_mp4(run, refused, tmp_path):
    assert "film.mp4" in refused(main, run, "--out", tmp_path / "film.avi")


def test_out_that_is_a_folder_is_refused_before_anything_is_played(run, refused, tmp_path):
    (tmp_path / "film.mp4").mkdir()
    assert "film.mp4: it is a folder" in refused(main, run, "--out", tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_place_that_cannot_be_written(own, refused):
    (own / "videos").write_text("a file where the folder goes")
    before = sorted(own.iterdir())
    assert refused(main, own).endswith(f"try: sac-record {own} --out ANOTHER_PLACE.mp4\n")
    assert refused(main, own, "--trust").endswith(f"try: sac-record {own} --trust --out ANOTHER_PLACE.mp4\n")
    assert sorted(own.iterdir()) == before


def test_failure_half_way_leaves_nothing(own, call, monkeypatch):
    def fails(policy, env, seed, sampled, on_frame):
        env.reset(seed=seed)
        on_frame()
        raise EnvironmentFailed("in the middle")

    monkeypatch.setattr(show, "play_episode", fails)
    answer = call(main, own)
    assert (answer.code, answer.err) == (70, "error: in the middle\n")
    assert not (own / "videos").exists()


@pytest.mark.parametrize("frames_after", [0, 50])
def test_ffmpeg_that_dies_leaves_nothing(frames_after, tmp_path):
    with pytest.raises(DiskFailed, match="can't write"), Video(tmp_path / "films" / "a.mp4", 30, "") as video:
        video.add(np.zeros((400, 600, 3), np.uint8))
        video._writer.proc.kill()
        for _ in range(frames_after):
            video.add(np.zeros((400, 600, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_environment_that_cannot_draw(own, refused):
    change_config(own, "id: Pendulum-v1", "id: tests.scripted:Spaces-v0")
    assert "no render mode" in refused(main, own, "--trust")
    change_config(own, "kwargs: {}", "kwargs: {acts: unit}")
    assert "no render mode" in refused(main, own, "--trust")


def test_package_named_by_a_run_is_imported_only_if_trusted(trusts):
    assert trusts(main)


def test_a_film_is_as_fast_as_its_environment(own, call, monkeypatch):
    speeds, reel = [], nullcontext(SimpleNamespace(add=lambda frame: None))
    monkeypatch.setattr(show, "Video", lambda path, fps, remedy: speeds.append(fps) or reel)
    monkeypatch.setitem(PendulumEnv.metadata, "render_fps", 12)
    assert call(main, own).code == 0 and speeds == [12]


def test_frames_of_odd_size_are_cut_to_even(tmp_path):
    with Video(tmp_path / "odd.mp4", 30, "") as video:
        for _ in range(3):
            video.add(np.full((65, 131, 3), 128, np.uint8))
    frames, _ = frames_of(tmp_path / "odd.mp4")
    assert len(frames) == 3 and frames[0].shape == (64, 130, 3)


def test_mujoco_without_a_screen(tmp_path):
    env_config = config(env={"id": "Hopper-v5", "max_episode_steps": 3}).env
    try:
        env = make_drawing_env(env_config, "rgb_array")
        env.reset(seed=0)
        env.render()
    except Exception as e:
        pytest.skip(f"no OpenGL here: {e}")
    with Video(tmp_path / "hopper.mp4", 30, "") as video:
        play_episode(sac(obs_dim=11, action_dim=3).policy, env, 0, False, lambda: video.add(env.render()))
    env.close()
    frames, _ = frames_of(tmp_path / "hopper.mp4")
    assert len(frames) == 4 and frames[0].std() > 10
