import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.errors import Damaged
from sac_runner.storage.signed import parse_signed, read_signed, signed
from tests.storage.written import ANY_JSON


@given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), ANY_JSON, max_size=4))
def test_what_was_signed_is_read_as_it_was(value):
    assert parse_signed(signed(value), Path("a.json")) == value


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_shows(bit):
    value = {"x": [1, None, "a"], "y": 0.5}
    data = signed(value)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        try:
            assert parse_signed(changed, Path("a.json")) == value  # another blank, say
        except Damaged as e:
            assert e.message == "a.json is damaged, or was changed"


@pytest.mark.parametrize("text", ["", "[1]", "null", json.dumps({"x": 1}), '{"x": 1, "sha256": 7}', "[" * 5_000])
def test_what_nobody_signed_is_refused(tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(Damaged, match="b.json is damaged, or was changed"):
        read_signed(tmp_path / "b.json")


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(Damaged, match="missing.json is missing"):
        read_signed(tmp_path / "missing.json")
