"""Faults of the machine are told from other errors, also where a library hides them."""

import errno
import json
import os
import subprocess
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from clinadapt.core.errors import InputError, LimitError, MachineError, NoMemoryError
from clinadapt.core.machine_faults import PARTIAL, machine_error, machine_faults_told

# Writes more than the limit allows, in every way in which this package writes files.
WRITERS = {
    "text": "Path(path).write_text('a' * 100_000)",
    "csv": "pl.DataFrame({'a': numbers}).write_csv(path)",
    "csv in a file": "pl.DataFrame({'a': numbers}).write_csv(open(path, 'wb'))",
    "parquet": "pl.DataFrame({'a': numbers}).write_parquet(path)",
    "arrow": "pq.write_table(pl.DataFrame({'a': numbers}).to_arrow(), path)",
    "torch": "torch.save({'a': torch.from_numpy(numbers)}, path)",
    "safetensors": "save_file({'a': numbers}, path)",
    "numpy": "np.save(path, numbers)",
    "tokenizer": "Tokenizer(models.WordLevel(words, unk_token='word0')).save(path)",
}
LIMITED = """
import json, resource, sys
from pathlib import Path
import numpy as np, polars as pl, pyarrow.parquet as pq, torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models
from clinadapt.core.machine_faults import machine_error
words = {f"word{number}": number for number in range(9999)}
numbers = np.random.default_rng(0).random(20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
found = {}
for name, code in json.loads(sys.argv[1]).items():
    path = f"{sys.argv[2]}/{name}"
    try:
        exec(code)
        found[name] = "written"
    except Exception as error:
        found[name] = str(machine_error(error, Path(path)))
print(json.dumps(found))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_file_that_finds_no_room_is_a_fault_however_it_is_written(tmp_path):
    asked = [sys.executable, "-c", LIMITED, json.dumps(WRITERS), str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(found) == set(WRITERS)
    for name, words in found.items():
        assert "give the same command again" in words, (name, words)
        assert str(tmp_path / name) in words, name


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space", f"/a/b.json{PARTIAL}"),
            "/a/b.json: the disk is full. Make",
        ),
        (OSError(errno.EDQUOT, "Quota", "/a/b"), "quota"),
        (OSError(errno.EIO, "I/O"), "the disk, or the connection to it, failed"),
        (OSError(errno.EMFILE, "Too many"), "ulimit -n"),
        (BrokenProcessPool("a worker ended"), "was killed"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "was killed"),
        (RuntimeError("database or disk is full"), "look whether the disk is full"),
        (OSError("20000 requested and 1024 written"), "look whether the disk is full"),
    ],
)
def test_words(error, words):
    fault = machine_error(error)
    assert type(fault) is MachineError
    assert words.lower() in str(fault).lower()
    assert fault.exit_code == 2


LIMIT = 10**15


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.empty(LIMIT),
        lambda: torch.empty(LIMIT),
        lambda: [0] * LIMIT,
        lambda: bytes(LIMIT),
    ],
)
def test_memory_that_libraries_do_not_get(ask):
    with pytest.raises(NoMemoryError, match="no memory was left"), machine_faults_told():
        ask()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        LimitError("needs 3 GB, and 2 GB are allowed"),
        InputError("disk I/O error"),  # words of ours are never searched
        OSError("Can't load tokenizer for 'x'"),  # of transformers, without a number
        KeyError("text"),
    ],
)
def test_other_errors_are_none(error):
    assert machine_error(error, at_work=True) is None
    with pytest.raises(type(error)), machine_faults_told():
        raise error


def failing(first, then):
    """Raise an error while another is being handled."""
    try:
        raise first
    except type(first):
        raise then from None


def test_a_limit_that_is_kept_is_no_fault_even_if_memory_ran_out_on_the_way():
    with pytest.raises(LimitError), machine_faults_told():
        failing(MemoryError(), LimitError("does not fit"))


def test_the_cause_of_an_error_counts():
    with pytest.raises(MachineError, match="disk is full"), machine_faults_told():
        failing(OSError(errno.ENOSPC, "No space left"), RuntimeError("could not save"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTEMPTY])
def test_files_that_are_lost_or_locked_count_only_at_work(number):
    error = OSError(number, os.strerror(number), f"/study/x.json{PARTIAL}", None, "/study/x.json")
    assert machine_error(error) is None
    fault = machine_error(error, at_work=True)
    assert str(fault).startswith("/study/x.json ")


def test_messages_of_errors_are_never_shown():
    for error in (MemoryError("zqx"), RuntimeError("out of memory zqx"), OSError(28, "zqx")):
        assert "zqx" not in str(machine_error(error))


def test_the_first_fault_is_kept_as_it_was_told():
    with pytest.raises(MachineError, match="told before") as caught, machine_faults_told():
        raise MachineError("told before")
    assert "During handling" not in "".join(traceback.format_exception(caught.value))


def test_polars_number_in_words():
    error = pl.exceptions.ComputeError("parquet: IO error: No space left on device (os error 28)")
    assert "x.parquet: the disk is full" in str(machine_error(error, Path(f"x.parquet{PARTIAL}")))
