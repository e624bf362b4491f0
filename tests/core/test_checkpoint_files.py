"""A checkpoint is read whole or not at all."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinadapt.core.checkpoint_files import read_checkpoint, write_checkpoint

STATE = {
    "weights": {"a": torch.arange(600.0), "b": torch.ones(3, 5)},
    "history": [{"epoch": 1, "loss": 0.5}],
}
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def same(one, other):
    return one["history"] == other["history"] and all(
        torch.equal(one["weights"][name], weight) for name, weight in other["weights"].items()
    )


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "c.pt", STATE)
    assert same(read_checkpoint(tmp_path / "c.pt"), STATE)
    assert read_checkpoint(tmp_path / "absent.pt") is None


@HERE
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_damaged(tmp_path, share):
    path = tmp_path / "c.pt"
    write_checkpoint(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert read_checkpoint(path) is None


@HERE
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_changed_bytes_change_no_weight_unnoticed(tmp_path, share, mask):
    path = tmp_path / "c.pt"
    write_checkpoint(path, STATE)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= mask
    path.write_bytes(content)
    found = read_checkpoint(path)
    assert found is None or same(found, STATE)


def test_another_kind_of_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "c.pt"
    for content in (b"", bytes(1000), b"PK\x03\x04 and then nothing"):
        path.write_bytes(content)
        assert read_checkpoint(path) is None
    torch.save([1, 2], path)
    assert read_checkpoint(path) is None
