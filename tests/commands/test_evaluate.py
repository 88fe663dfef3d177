import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sac_runner.commands.evaluate import main
from sac_runner.playback.assess import fresh_seeds
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import signed
from tests.runs import BUDGET, train
from tests.storage.written import change_config
from tests.support import config

pytestmark = pytest.mark.usefixtures("nothing_goes_on")


def score(run, which):
    return json.loads((run / "summary.json").read_text())["scores"][which]


def as_trained(call, run, checkpoint):
    answer = call(main, run, "--as-trained", "--json", "--checkpoint", checkpoint)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def assert_equal_to_the_bit(here, recorded):
    compared = {"return_mean", "return_std", "return_min", "return_max", "length_mean", "episodes", "seed", "num_envs"}
    assert {name: here[name] for name in compared} == {name: recorded[name] for name in compared}
    assert here["deterministic"] == recorded["deterministic"]
    assert here["checkpoint"]["env_steps"] == recorded["env_steps"]
    assert here["equal_to_recorded"] is True


@pytest.mark.parametrize("which", ["run", "sampled_run"])
def test_as_trained_is_the_recorded_score_to_the_bit(which, call, request):
    run = request.getfixturevalue(which)
    assert_equal_to_the_bit(as_trained(call, run, "best"), score(run, "best"))
    assert_equal_to_the_bit(as_trained(call, run, "latest"), score(run, "final"))
    assert_equal_to_the_bit(as_trained(call, run, score(run, "best")["env_steps"]), score(run, "best"))


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def test_as_trained_of_a_run_that_was_moved_and_made_read_only(own, run, call):
    for path in [*own.rglob("*"), own]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = contents(own)
    assert_equal_to_the_bit(as_trained(call, own, "best"), score(run, "best"))
    assert contents(own) == before  # root writes in spite of the modes


def test_as_trained_says_so_in_words(run, call):
    answer = call(main, run, "--as-trained")
    assert "as in training: 3 episodes on seeds 1000..1002, deterministic" in answer.out
    assert "equal    bit for bit" in answer.out


def test_as_trained_shows_a_difference_and_what_has_changed(own, call):
    (manifest,) = own.glob("checkpoints/best-*/manifest.json")
    stored = json.loads(manifest.read_text())
    del stored["sha256"]
    recorded = stored["score"]["return_mean"] = stored["score"]["return_mean"] + 1e-12
    manifest.write_bytes(signed(stored))
    meta = RunDirectory(own).read_meta()
    meta["versions"]["torch"] = "0.1"
    (own / "meta.json").write_bytes(signed(meta))
    answer = call(main, own, "--as-trained")
    assert answer.code == 0
    assert f"return_mean {recorded!r}, here" in answer.out
    assert "torch 0.1, here" in answer.out


def test_as_trained_needs_an_evaluation_at_that_step(run, refused):
    assert "there was one at 0, 40, 80, 120" in refused(main, run, "--as-trained", "--checkpoint", "60")


@pytest.mark.parametrize("options", [["--seed", "1"], ["--episodes", "2"], ["--sampled"]])
def test_as_trained_takes_no_protocol(options, run, refused):
    assert options[0] in refused(main, run, "--as-trained", *options)
    assert refused(main, run, "--as-trained", "--trust", *options).endswith(f"{run} --as-trained --trust\n")
    elsewhere = ["--checkpoint", "40", "--outputs", "my runs"]
    right = "'a run' --as-trained --checkpoint 40 --outputs 'my runs'\n"
    assert refused(main, "a run", "--as-trained", *elsewhere, *options).endswith(right)


def evaluated(call, *arguments):
    answer = call(main, *arguments, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)  # one object and nothing else


def test_what_an_environment_prints_is_no_json(tmp_path):
    env = ["env=custom", "env.id=tests.scripted:Prints-v0", "env.vectorization=async", "env.num_envs=1"]
    assert train(*env, *BUDGET, f"run.dir={tmp_path / 'run'}").code == 0
    call = "from sac_runner.commands.evaluate import main; main()"
    asked = [sys.executable, "-c", call, str(tmp_path / "run"), "--trust", "--episodes", "1", "--json"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["episodes"] == 1 and '{"needs": "nothing"}' in done.stderr


def test_default_is_the_best_checkpoint_on_fresh_seeds(run, call):
    result = evaluated(call, run)
    assert result["checkpoint"] == {"kind": "best", "env_steps": score(run, "best")["env_steps"]}
    assert (result["seed"], result["episodes"], result["deterministic"]) == (1_000_000, 20, True)
    assert len(result["returns"]) == len(result["lengths"]) == 20
    assert result["return_mean"] == pytest.approx(sum(result["returns"]) / 20)
    assert result["recorded"] == score(run, "best")
    assert "equal_to_recorded" not in result


def test_checkpoint_selects(run, call):
    few = ["--episodes", "1"]
    assert evaluated(call, run, "--checkpoint", "latest", *few)["checkpoint"] == {"kind": "latest", "env_steps": 120}
    kept = evaluated(call, run, "--checkpoint", "6_0", *few)
    assert kept["checkpoint"] == {"kind": "kept", "env_steps": 60}
    assert kept["recorded"] is None
    returns = {evaluated(call, run, "--checkpoint", step, *few)["return_mean"] for step in ("20", "60", "1e2", "120")}
    assert len(returns) == 4


def test_seed_episodes_and_sampling_count(run, call):
    first = evaluated(call, run, "--episodes", "4", "--seed", "5")
    assert evaluated(call, run, "--episodes", "4", "--seed", "5")["returns"] == first["returns"]
    assert evaluated(call, run, "--episodes", "2", "--seed", "5")["returns"] == first["returns"][:2]
    assert evaluated(call, run, "--episodes", "4", "--seed", "6")["returns"][:3] == pytest.approx(first["returns"][1:])
    sampled = evaluated(call, run, "--episodes", "4", "--seed", "5", "--sampled")
    assert sampled["returns"] != first["returns"] and sampled["deterministic"] is False


def test_words_say_by_what_the_checkpoint_was_chosen(run, call):
    out = call(main, run, "--episodes", "2").out
    assert "best of 4 evaluations of 3 episodes each on seeds 1000..1002, there " in out
    assert "2 episodes on fresh seeds 1000000..1000001, deterministic" in out
    assert "not evaluated" in call(main, run, "--episodes", "1", "--checkpoint", "60").out


def test_words_say_where_seeds_are_not_fresh(run, call):
    out = call(main, run, "--episodes", "2", "--seed", "1002").out
    assert "2 episodes on seeds 1002..1003, some of which chose the best policy, deterministic" in out


def test_fresh_seeds_keep_clear_of_those_that_chose(own, call):
    change_config(own, "seed: 1000\n", "seed: 999999\n")
    assert evaluated(call, own, "--episodes", "1")["seed"] == 1_000_002


@pytest.mark.parametrize(
    ("seed", "episodes", "fresh"),
    [(0, 5, 1_000_000), (999_990, 5, 1_000_000), (1_000_005, 5, 1_000_000), (1_000_004, 5, 1_000_007)],
)
def test_seeds_are_fresh_however_many_are_asked_for(seed, episodes, fresh):
    chosen = config(eval={"seed": seed, "episodes": 3})
    assert fresh_seeds(chosen, episodes, None) == range(fresh, fresh + episodes)
    assert fresh_seeds(chosen, episodes, 7) == range(7, 7 + episodes)


def test_run_is_found_by_name(run, call, monkeypatch):
    monkeypatch.setenv("SAC_OUTPUTS", str(run.parents[2]))
    assert evaluated(call, "last", "--episodes", "1")["run"] == str(run)
    assert evaluated(call, "tiny", "--episodes", "1")["run"] == str(run)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["RUN", "episodes=100"], "use --episodes 100\n  try: sac-evaluate RUN --episodes 100"),
        (["RUN", "eval.episodes=100", "--json"], "sac-evaluate RUN --episodes 100 --json"),
        (["RUN", "sampled=true"], "sac-evaluate RUN --sampled"),
        (["RUN", "agent.lr=1"], "takes options"),
        (["RUN", "--epsiodes", "5"], "--episodes"),
        (["RUN", "--episodes", "0"], "at least 1"),
        (["RUN", "--episodes", "many"], "at least 1"),
        (["RUN", "--seed", "-1"], "--seed"),
        (["RUN", "--checkpoint", "bets"], "best, latest or a number of env steps"),
        (["RUN", "--checkpoint", "inf"], "best, latest or a number of env steps"),
        (["RUN", "--checkpoint", "7"], "no checkpoint 7"),
        (["RUN", "another"], "another"),
        ([], "RUN"),
    ],
)
def test_wrong_arguments(arguments, answer, run, refused, monkeypatch):
    monkeypatch.delenv("SAC_SCRIPTS", raising=False)
    arguments = [str(run) if argument == "RUN" else argument for argument in arguments]
    assert answer.replace("RUN", str(run) if arguments else "RUN") in refused(main, *arguments)


def test_folder_that_is_no_run(tmp_path, refused):
    assert "is not a run" in refused(main, tmp_path)


def damage_half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def damage_bit(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("policy.safetensors", damage_half),
        ("policy.safetensors", damage_bit),
        ("policy.safetensors", Path.unlink),
        ("manifest.json", damage_half),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda file: file.write_text("[]")),
        ("manifest.json", lambda file: file.write_text('{"format": 1}')),
    ],
)
def test_damaged_checkpoint_is_refused(name, damage, own, refused):
    (folder,) = own.glob("checkpoints/best-*")
    damage(folder / name)
    assert str(folder) in refused(main, own)
    assert "checkpoint" in refused(main, own, "--as-trained")


@pytest.mark.parametrize("text", ["", "5", "a: [", "[1, 2]", "!!python/object/apply:os.getcwd []"])
def test_damaged_config_is_refused(text, own, refused):
    (own / "config.yaml").write_text(text)
    assert "config.yaml" in refused(main, own)


def test_weights_that_do_not_fit_the_config_are_refused(own, refused):
    change_config(own, "hidden_sizes:\n  - 8\n", "hidden_sizes:\n  - 9\n")
    assert "does not fit" in refused(main, own)


def test_environment_that_has_changed_since_is_named(own, refused):
    change_config(own, "id: Pendulum-v1", "id: MountainCarContinuous-v0")
    assert "observes 2 and takes 1 numbers; the policy was trained on 3 and 1" in refused(main, own)


def test_damaged_meta_and_metrics_do_not_matter(own, call):
    (own / "meta.json").write_text("[]")
    (own / "metrics.csv").write_text("")
    (own / "summary.json").write_text("{")
    assert evaluated(call, own, "--episodes", "1")["episodes"] == 1
    assert call(main, own, "--episodes", "1").code == 0


def test_package_named_by_a_run_is_imported_only_if_trusted(trusts):
    assert trusts(main)


def test_a_run_of_a_gpu_is_evaluated_where_there_is_none(own, call, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    change_config(own, "device: cpu", "device: cuda")
    stored = RunDirectory(own)
    stored.write_start(stored.config_text(), stored.read_meta() | {"device": "cuda:0"})
    here = as_trained(call, own, "best")
    assert here["return_mean"] == score(own, "best")["return_mean"]
