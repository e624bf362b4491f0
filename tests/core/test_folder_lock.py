"""One process at a time writes to a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clinadapt.core.errors import MachineError
from clinadapt.core.folder_lock import LOCK, folder_lock

COUNT = """
import sys
from pathlib import Path
from clinadapt.core.folder_lock import folder_lock
folder = Path(sys.argv[1])
for _ in range(40):
    with folder_lock(folder, waiting=lambda holder: None):
        count = folder / "count"
        count.write_text(str(int(count.read_text()) + 1))
"""
HOLD = """
import sys, time
from pathlib import Path
from clinadapt.core.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(code, folder, **more):
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, text=True, **more)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder until its input is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with start(HOLD, tmp_path, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_no_step_of_two_processes_is_lost(tmp_path):
    (tmp_path / "count").write_text("0")
    processes = [start(COUNT, tmp_path) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "count").read_text() == "80"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_folder_in_use_is_told_with_the_process(holder, tmp_path):
    with (
        pytest.raises(MachineError, match=f"is in use by process {holder.pid}: wait") as caught,
        folder_lock(tmp_path),
    ):
        pass
    assert caught.value.exit_code == 2


def test_who_waits_is_told_once_and_gets_the_folder(holder, tmp_path):
    told = []

    def waiting(who):
        told.append(who)
        holder.stdin.close()

    with folder_lock(tmp_path, waiting):
        assert holder.wait() == 0
    assert told == [f"{tmp_path} is in use by process {holder.pid}"]


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with folder_lock(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())
    assert not (tmp_path / LOCK).exists()


def test_who_has_the_folder_may_take_it_again_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with folder_lock(tmp_path):
        with folder_lock(Path()):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()
