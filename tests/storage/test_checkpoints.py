import shutil
from pathlib import Path

import numpy as np
import pytest

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage import checkpoints, files
from sac_runner.storage.checkpoints import find, save
from sac_runner.storage.signed import digest, signed
from tests.support import flip

ARRAYS = {
    "policy": {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "count": np.array(3.5),
        "flags": np.eye(2) > 0,
    },
    "train": {"empty": np.zeros((0, 4), np.float32), "large": np.arange(10_000)},
}
PLAIN = {"state": {"counters": {"env_steps": 7}, "text": "häh", "list": [1, None, 0.1]}}


def save_some(folder, kind="latest", env_steps=7, **note):
    return save(folder, kind, env_steps, ARRAYS, PLAIN, note)


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_saved_is_read_back_to_the_bit(tmp_path):
    checkpoint = save_some(tmp_path, score={"return_mean": 0.1})
    for name, tensors in ARRAYS.items():
        back = checkpoint.arrays(name)
        assert back.keys() == tensors.keys()
        for key, x in tensors.items():
            assert (back[key].dtype, back[key].shape) == (x.dtype, x.shape)
            np.testing.assert_array_equal(back[key], x)
    assert checkpoint.plain("state") == PLAIN["state"]
    manifest = checkpoint.manifest()
    assert (manifest["kind"], manifest["env_steps"], manifest["score"]) == ("latest", 7, {"return_mean": 0.1})
    assert checkpoint.path.name == "latest-000000000007"


def test_a_checkpoint_is_nothing_but_safetensors_and_json(tmp_path):
    checkpoint = save_some(tmp_path)
    assert sorted(path.name for path in checkpoint.path.iterdir()) == [
        "manifest.json",
        "policy.safetensors",
        "state.json",
        "train.safetensors",
    ]
    listed = checkpoint.manifest()["files"]
    assert {name: entry["size"] for name, entry in listed.items()} == {
        path.name: path.stat().st_size for path in checkpoint.path.iterdir() if path.name != "manifest.json"
    }


def test_checkpoints_are_found_by_their_kind_oldest_first(tmp_path):
    for env_steps in (30, 10, 20):
        for kind in ("latest", "best", "kept"):
            save_some(tmp_path, kind, env_steps)
    assert [(c.kind, c.env_steps) for c in find(tmp_path, "kept")] == [("kept", 10), ("kept", 20), ("kept", 30)]
    assert [c.env_steps for c in find(tmp_path)] == [10, 10, 10, 20, 20, 20, 30, 30, 30]


def test_what_is_dropped_is_found_no_more_and_then_deleted(tmp_path):
    older, newer = (save_some(tmp_path, env_steps=env_steps) for env_steps in (10, 20))
    older.drop()
    assert find(tmp_path) == [newer]
    files.clean_up(tmp_path)
    assert list(tmp_path.iterdir()) == [newer.path]
    with pytest.raises(DiskFailed, match="can't drop"):
        older.drop()


def test_saving_the_same_again_touches_nothing(tmp_path):
    before = save_some(tmp_path).path.stat().st_ino
    assert save_some(tmp_path).path.stat().st_ino == before
    flip(save_some(tmp_path).path / "state.json")
    assert save_some(tmp_path).plain("state") == PLAIN["state"]


def test_what_leads_out_of_a_checkpoint_is_not_read(tmp_path):
    checkpoint = save_some(tmp_path)
    inside = checkpoint.path / "state.json"
    outside = tmp_path / "state.json"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(Damaged, match="leads out"):
        checkpoint.plain("state")
    with pytest.raises(Damaged):
        checkpoint.plain("../state")


@pytest.mark.parametrize("name", ["../state.json", "/etc/hostname", "nested/state.json", ".."])
def test_a_manifest_that_lists_what_lies_elsewhere_is_not_followed(tmp_path, name):
    checkpoint = save_some(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    manifest = checkpoint.manifest()
    manifest["files"][name] = {"size": 2, "sha256": digest(b"{}")}
    (checkpoint.path / "manifest.json").write_bytes(signed(manifest))
    with pytest.raises(DiskFailed if name == ".." else Damaged, match="leads out|Is a directory"):
        checkpoint.verify()


def test_a_checkpoint_under_the_name_of_another_is_refused(tmp_path):
    one, other = save_some(tmp_path, "best", 7), save_some(tmp_path, "kept", 8)
    shutil.rmtree(other.path)
    one.path.rename(other.path)
    with pytest.raises(Damaged, match="is another checkpoint: best at 7"):
        other.verify()


def test_a_damaged_one_is_set_aside_with_its_reason_and_never_over_another(tmp_path):
    for n in (1, 2):
        aside = save_some(tmp_path).set_aside("a bit has flipped")
        assert aside.name == f"damaged-{n}-latest-000000000007"
        assert (aside / "reason.txt").read_text() == "a bit has flipped\n"
    assert find(tmp_path) == []


def test_saving_at_the_same_step_replaces(tmp_path):
    save_some(tmp_path, note="old")
    save_some(tmp_path, note="new")
    (checkpoint,) = find(tmp_path)
    assert checkpoint.manifest()["note"] == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("killed")])
@pytest.mark.parametrize("written_before", range(4))
@pytest.mark.parametrize("env_steps", [7, 8])
def test_an_exception_while_writing_leaves_the_old_one_alone(tmp_path, monkeypatch, error, written_before, env_steps):
    old = save_some(tmp_path, env_steps=7)
    before = snapshot(tmp_path)
    calls = []

    def fails(path, data):
        if len(calls) == written_before:
            path.write_bytes(data[: len(data) // 2])
            raise error
        calls.append(path)
        files.write_durably(path, data)

    monkeypatch.setattr(checkpoints, "write_durably", fails)
    with pytest.raises(DiskFailed if isinstance(error, OSError) else type(error)):
        save_some(tmp_path, env_steps=env_steps, note="another")
    assert snapshot(tmp_path) == before
    assert find(tmp_path) == [old]


def test_what_a_killed_save_leaves_is_no_checkpoint_and_in_nobodys_way(tmp_path):
    torn = tmp_path / ".latest-000000000009.tmp"
    torn.mkdir()
    (torn / "policy.safetensors").write_bytes(b"half")
    (tmp_path / "notes-about-it").mkdir()
    assert find(tmp_path) == []
    checkpoint = save_some(tmp_path, env_steps=9)
    assert not torn.exists() and checkpoint.arrays("policy")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("file", ["policy.safetensors", "train.safetensors", "state.json"])
def test_a_damaged_file_is_found_and_named(tmp_path, damage, file):
    checkpoint = save_some(tmp_path)
    damage(checkpoint.path / file)
    with pytest.raises(Damaged, match=file):
        checkpoint.plain("state") if file == "state.json" else checkpoint.arrays(file.partition(".")[0])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", "{}", '{"format": "x", "files": {}}', '{"format": 1}', '{"format": 1, "files": 3}'],
)
def test_a_damaged_manifest_is_found(tmp_path, text):
    checkpoint = save_some(tmp_path)
    (checkpoint.path / "manifest.json").write_text(text)
    with pytest.raises(Damaged, match="latest-000000000007"):
        checkpoint.arrays("policy")
    (checkpoint.path / "manifest.json").unlink()
    with pytest.raises(Damaged, match="manifest.json is missing"):
        checkpoint.manifest()


def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path):
    checkpoint = save_some(tmp_path)
    manifest = checkpoint.manifest()
    del manifest["files"]["policy.safetensors"]
    (checkpoint.path / "manifest.json").write_bytes(signed(manifest))
    with pytest.raises(Damaged, match="policy.safetensors is damaged"):
        checkpoint.arrays("policy")


def test_a_bit_that_flips_in_a_manifest_is_found(tmp_path):
    checkpoint = save_some(tmp_path, score={"return_mean": 0.1})
    path = checkpoint.path / "manifest.json"
    whole = path.read_bytes()
    for where in range(0, len(whole), 7):
        data = bytearray(whole)
        data[where] ^= 1 << where % 3
        path.write_bytes(data)
        with pytest.raises(Damaged):
            checkpoint.verify()


def test_what_can_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    checkpoint = save_some(tmp_path)

    def refuses(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuses)
    with pytest.raises(DiskFailed, match="can't read .*Permission denied"):
        checkpoint.verify()


def test_what_a_kill_left_is_cleaned_up_and_given_back(tmp_path):
    (tmp_path / ".latest-000000000009.tmp").mkdir()
    (tmp_path / ".rows-1.safetensors.tmp").write_bytes(b"half")
    older = save_some(tmp_path, env_steps=5)
    older.path.rename(tmp_path / f".{older.path.name}.old")  # killed between the two renames
    shutil.copytree(save_some(tmp_path, "kept", 6).path, tmp_path / ".kept-000000000006.old")
    files.clean_up(tmp_path)
    assert [c.env_steps for c in find(tmp_path)] == [5, 6] and older.arrays("policy")
    assert not list(tmp_path.glob(".*"))
    files.clean_up(tmp_path / "nowhere")


def test_a_newer_format_is_refused(tmp_path):
    checkpoint = save_some(tmp_path)
    manifest = checkpoint.manifest() | {"format": checkpoints.FORMAT + 1}
    (checkpoint.path / "manifest.json").write_bytes(signed(manifest))
    for read in (checkpoint.manifest, lambda: checkpoint.arrays("policy"), lambda: checkpoint.plain("state")):
        with pytest.raises(WrongInput, match="has format 2; this version reads up to 1"):
            read()


def test_a_single_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    files.write_atomically(path, b"old")

    def fails(file, data):
        file.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_durably", fails)
    with pytest.raises(DiskFailed, match="can't write .*summary.json: No space left on device"):
        files.write_atomically(path, b"newer")
    assert snapshot(tmp_path) == {path.relative_to(tmp_path): b"old"}


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name_and_then_its_name_is(tmp_path, steps):
    save_some(tmp_path)
    name, aside = "latest-000000000007", ".latest-000000000007.tmp"
    assert sorted(steps[:4]) == ["manifest.json", "policy.safetensors", "state.json", "train.safetensors"]
    assert steps[3:] == ["manifest.json", aside, f"{aside} -> {name}", tmp_path.name]


def test_a_single_file_is_on_the_disk_before_it_gets_its_name_and_then_its_name_is(tmp_path, steps):
    files.write_atomically(tmp_path / "summary.json", b"{}")
    assert steps == [".summary.json.tmp", ".summary.json.tmp -> summary.json", tmp_path.name]
