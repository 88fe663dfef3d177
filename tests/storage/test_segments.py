import re

import numpy as np
import pytest

from sac_runner.errors import Damaged
from sac_runner.storage.segments import Segment, drop_segments, read_segments, verify_segments, write_segment


def rows(first, last):
    return {"obs": np.arange(first, last, dtype=np.float32)[:, None], "ended": np.arange(first, last) % 2 == 0}


@pytest.fixture
def written(tmp_path):
    return tmp_path / "replay", [
        write_segment(tmp_path / "replay", *span, rows(*span)) for span in [(0, 5), (5, 6), (6, 20)]
    ]


def test_segments_are_read_back_in_their_order_to_the_bit(written):
    folder, segments = written
    verify_segments(folder, segments)
    for (segment, arrays), (first, last) in zip(
        read_segments(folder, segments), [(0, 5), (5, 6), (6, 20)], strict=True
    ):
        assert (segment.first, segment.last) == (first, last)
        for name, x in rows(first, last).items():
            np.testing.assert_array_equal(arrays[name], x)


def test_names_sort_as_the_rows_do(written):
    folder, segments = written
    assert sorted(path.name for path in folder.iterdir()) == [segment.file for segment in segments]
    assert re.fullmatch(r"rows-000000000006-000000000020-[0-9a-f]{8}.safetensors", segments[2].file)


def test_what_is_not_needed_is_dropped_and_nothing_else(written):
    folder, segments = written
    (folder / "notes.txt").write_text("mine")
    drop_segments(folder, set(segments[1:]))
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", *(s.file for s in segments[1:])]
    drop_segments(folder, set())
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    drop_segments(folder / "nowhere", set())


def test_a_missing_segment_is_named(written):
    folder, segments = written
    (folder / segments[1].file).unlink()
    for read in (verify_segments, lambda *given: list(read_segments(*given))):
        with pytest.raises(Damaged, match=f"{segments[1].file} is missing"):
            read(folder, segments)


@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_a_bit_flip_is_found(written, where):
    folder, segments = written
    path = folder / segments[2].file
    data = bytearray(path.read_bytes())
    data[int(where * len(data)) if where >= 0 else -1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged, match=f"{segments[2].file} is damaged"):
        verify_segments(folder, segments)


def test_a_truncated_segment_is_found(written):
    folder, segments = written
    path = folder / segments[0].file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Damaged, match="is damaged"):
        verify_segments(folder, segments[:1])


def test_a_segment_that_leads_out_of_its_folder_is_not_read(written):
    folder, segments = written
    (folder / segments[0].file).rename(folder.parent / "outside")
    (folder / segments[0].file).symlink_to(folder.parent / "outside")
    digest = "/../../" + segments[0].sha256  # a name is made of its first characters
    for segment in (segments[0], Segment(0, 5, digest), Segment(0, 5, f"{folder}/x{digest}")):
        for read in (verify_segments, lambda *given: list(read_segments(*given))):
            with pytest.raises(Damaged, match="it leads out of its folder"):
                read(folder, [segment])


def test_the_digest_is_of_the_file(written):
    folder, segments = written
    assert [len(s.sha256) for s in segments] == [64] * 3 and len({s.sha256 for s in segments}) == 3
    assert Segment(*list(segments[0])) == segments[0]  # as JSON gives it back
    assert write_segment(folder, 0, 5, rows(1, 6)).file != segments[0].file
