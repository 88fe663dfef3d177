import pytest
import yaml

from sac_runner.config.compose import compose_config, to_yaml
from sac_runner.config.convert import to_plain
from sac_runner.errors import Damaged, WrongInput
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.stored_config import plain_config
from sac_runner.training.resume import stored_config


def run_of(folder, text):
    run = RunDirectory(folder)
    run.write_start(text, {})
    return run


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["env=humanoid", "alpha=fixed", "agent.lr=1e-3", "env.kwargs={a: [1, 2], b: 'on', c: '1e3', d: 1e-7}"],
        ["env=pendulum", "schedule=per_round", "schedule.rounds=3", "run.name='2020-01-01'", "agent.hidden_sizes=[]"],
    ],
)
def test_it_is_what_was_stored(tmp_path, overrides):
    config = compose_config(overrides)
    run = run_of(tmp_path, to_yaml(config))
    assert plain_config(run) == to_plain(config) and stored_config(run) == config


def refused(tmp_path, text):
    with pytest.raises(Damaged) as refusal:
        plain_config(run_of(tmp_path, text))
    assert str(refusal.value).count("\n") == 0
    return str(refusal.value)


def test_nothing_is_interpolated_made_or_multiplied(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "xyz")
    assert "interpolation" in refused(tmp_path, "a: ${oc.env:SECRET}\n")
    assert "constructor" in refused(tmp_path, "a: !!python/object/apply:os.getcwd []\n")
    laughs = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}\n" for i in range(1, 40))
    assert "alias" in refused(tmp_path, laughs)
    assert "alias" in refused(tmp_path, "a: &a\n  b: *a\n")


@pytest.mark.parametrize("tag", ["timestamp x", "int ''", "bool x", "float ''", "binary é", "set x", "omap x"])
def test_a_tag_that_its_value_does_not_fit(tmp_path, tag):
    assert "can't be read as a config" in refused(tmp_path, f"a: !!{tag}\n")


@pytest.mark.parametrize(
    "text", ["", "7\n", "[1, 2]\n", "a: [\n", "a: b: c\n", "a: 2020-13-45\n", "\x01\n", "? [a]\n: 1\n"]
)
def test_what_is_no_config(tmp_path, text):
    assert "can't be read as a config" in refused(tmp_path, text)


@pytest.mark.parametrize("text", ["[" * 200_000 + "]" * 200_000, "- " * 50_000, "a: " + "{b: " * 30 + "1" + "}" * 30])
def test_what_is_nested_too_deep_for_the_loader(tmp_path, text):
    assert "nested too deep" in refused(tmp_path, text)


@pytest.mark.parametrize("value", ["3", "[]", "{newer: 1}", "null", "{1: [2]}", "{hidden_sizes: {a: 1}}"])
@pytest.mark.parametrize("group", ["env", "agent", "alpha", "schedule"])
def test_a_config_of_another_version_names_its_file_and_what_is_wrong(tmp_path, group, value):
    whole = to_plain(compose_config(["env=pendulum"])) | {group: yaml.safe_load(value)}
    run = run_of(tmp_path, yaml.safe_dump(whole))
    assert plain_config(run) == whole
    with pytest.raises(WrongInput, match=rf"config.yaml can't be read as a config of this version: .*\b{group}\b"):
        stored_config(run)


def test_a_bit_flip_and_what_is_no_run(tmp_path):
    run = run_of(tmp_path, "a: 1\n")
    file = tmp_path / "config.yaml"
    file.write_bytes(file.read_bytes().replace(b"a: 1", b"a: 3"))
    with pytest.raises(Damaged, match="does not match"):
        plain_config(run)
    with pytest.raises(WrongInput, match="no config.yaml"):
        plain_config(RunDirectory(tmp_path / "other"))
