"""Files and folders that only their owner may read."""

import os

import pytest

from clinadapt.core.permissions import close_to_others, make_private, private_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def mode(path):
    return path.stat().st_mode & 0o777


def test_new_folders_are_private_and_others_are_left_alone(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    private_folder(shared)
    private_folder(shared / "new" / "deep")
    assert mode(shared) == 0o755
    assert (mode(shared / "new"), mode(shared / "new" / "deep")) == (0o700, 0o700)
    make_private(shared)
    assert mode(shared) == 0o700


def test_links_are_not_followed(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    for path in (folder / "a", outside):
        path.write_text("")
        path.chmod(0o664)
    (folder / "link").symlink_to(outside)
    close_to_others(folder)
    assert (mode(folder / "a"), mode(outside)) == (0o600, 0o664)
