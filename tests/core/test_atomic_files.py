"""Files and folders are written atomically."""

import os

import pytest
import torch
from safetensors.torch import save_file

from clinadapt.core.atomic_files import PARTIAL, atomic_folder, atomic_path
from clinadapt.core.permissions import OWNER_ONLY


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error):
    path.write_text("half")
    raise error


@pytest.mark.parametrize("mode", [None, OWNER_ONLY])
def test_file_takes_the_old_ones_place(tmp_path, mode):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_path(path, mode) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("mode", [None, OWNER_ONLY])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_old_file_and_nothing_else(tmp_path, mode, error):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path, mode) as partial:
        write_half(partial, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_error_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="early"), atomic_path(tmp_path / "a"):
        raise ValueError("early")
    assert names(tmp_path) == []


def test_file_that_cannot_be_replaced(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(OSError), atomic_path(tmp_path / "a") as partial:  # noqa: PT011 (by system)
        partial.write_text("new")
    assert names(tmp_path) == ["a"]


def test_what_a_killed_run_left_is_written_over(tmp_path):
    path, left = tmp_path / "a", tmp_path / f"a{PARTIAL}"
    left.write_text("a longer half of something")
    with atomic_path(path) as partial:
        assert partial == left
        partial.write_text("new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
class TestMode:
    def mode(self, path):
        return path.stat().st_mode & 0o777

    def test_is_there_before_anything_is_written(self, tmp_path):
        path, left = tmp_path / "a", tmp_path / f"a{PARTIAL}"
        for open_to_all in (path, left):
            open_to_all.write_text("old")
            open_to_all.chmod(0o644)
        with atomic_path(path, OWNER_ONLY) as partial:
            assert (partial.stat().st_size, self.mode(partial)) == (0, 0o600)
            partial.write_text("new")
        assert self.mode(path) == 0o600

    def test_survives_a_library_that_makes_a_file_of_its_own(self, tmp_path):
        def write(path):
            path.unlink()
            path.write_text("new")
            path.chmod(0o644)

        for name, library in (
            ("a", write),
            ("b", lambda path: save_file({"a": torch.ones(1)}, path)),
            ("c", lambda path: torch.save({"a": torch.ones(1)}, path)),
        ):
            with atomic_path(tmp_path / name, OWNER_ONLY) as partial:
                library(partial)
            assert self.mode(tmp_path / name) == 0o600

    def test_is_private_unless_another_is_asked_for(self, tmp_path):
        (tmp_path / "a").write_text("")
        with atomic_path(tmp_path / "b") as partial:
            partial.write_text("")
        with atomic_path(tmp_path / "c", None) as partial:
            partial.write_text("")
        assert self.mode(tmp_path / "b") == 0o600
        assert self.mode(tmp_path / "a") == self.mode(tmp_path / "c")

    def test_of_a_folder_and_everything_in_it(self, tmp_path):
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "deep").mkdir()
            (partial / "deep" / "file").write_text("")
            (partial / "deep" / "file").chmod(0o644)
            (partial / "deep").chmod(0o755)
        paths = [tmp_path / "folder", *(tmp_path / "folder").rglob("*")]
        assert [self.mode(path) for path in paths] == [0o700, 0o700, 0o600]


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    return folder


def test_folder_takes_the_old_ones_place(old):
    with atomic_folder(old, replace=True) as partial:
        (partial / "new").write_text("new")
        assert names(old) == ["old"]
    assert names(old) == ["new"]
    assert names(old.parent) == ["folder"]


def test_folder_is_not_replaced_unless_that_is_asked_for(old):
    with pytest.raises(OSError), atomic_folder(old) as partial:  # noqa: PT011 (by system)
        (partial / "new").write_text("new")
    assert names(old) == ["old"]
    assert names(old.parent / f"folder{PARTIAL}") == ["new"]  # nothing that was made is lost


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_old_folder_and_nothing_else(old, error):
    with pytest.raises(error), atomic_folder(old, replace=True) as partial:
        write_half(partial / "new", error)
    assert names(old) == ["old"]
    assert names(old.parent) == ["folder"]


def test_folder_begins_empty(tmp_path):
    left = tmp_path / f"deep{PARTIAL}"
    left.mkdir()
    (left / "half").write_text("half")
    with atomic_folder(tmp_path / "deep") as partial:
        assert names(partial) == []
    assert names(tmp_path) == ["deep"]
    with atomic_folder(tmp_path / "a" / "b") as partial:  # parents are made
        (partial / "c").touch()
    assert names(tmp_path / "a" / "b") == ["c"]
