"""The real command in a terminal, in a pipe, and when it is interrupted."""

import os
import signal
import subprocess
import time

import pytest
from terminal import CLINADAPT, in_terminal, piped

CHECK = ("check", "notes.csv", "--id", "id", "--group", "patient")
LONG = """
name = "long"
[[configurations]]
model = "tfidf-mlp"
epochs = 2000
patience = 2000
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_table):
    folder = tmp_path_factory.mktemp("terminal")
    small_table.write_csv(folder / "notes.csv")
    (folder / "long.toml").write_text(LONG)
    return folder


def test_a_terminal_gets_a_frame_and_lines_that_fit(place):
    code, text = in_terminal(*CHECK, cwd=place, columns=80)
    assert code == 0
    assert "│ train" in text
    assert "…" not in text


def test_a_pipe_gets_plain_lines(place):
    done = piped(*CHECK, cwd=place, COLUMNS="40")
    assert done.returncode == 0
    assert "│" not in done.stdout
    train = next(line for line in done.stdout.splitlines() if line.startswith("train "))
    assert len(train.split()) == 5
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_names_of_encoders_are_whole_in_any_terminal(place):
    for columns in (100, 60, 30):
        code, text = in_terminal("encoders", cwd=place, columns=columns)
        assert code == 0
        assert "bioclinical-modernbert" in text
        assert "…" not in text


def test_no_colour_and_dumb_terminals_are_honoured(place):
    code, text = in_terminal(*CHECK, cwd=place, TERM="dumb")
    assert code == 0
    assert "│" not in text
    code, text = in_terminal(*CHECK, cwd=place, NO_COLOR="1")
    assert code == 0
    assert "│ train" in text


def test_a_reader_that_stops_is_no_error(place):
    # Enough lines that the command still writes after the reader has gone.
    process = subprocess.Popen(
        [*CLINADAPT, "encoders", "--json"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert said == b""


@pytest.mark.slow
def test_ctrl_c_names_the_command_that_goes_on(place):
    command = [
        "study", "notes.csv", "--id", "id", "--group", "patient", "--study", "long.toml",
        "--offline", "--out", "out",
    ]  # fmt: skip
    process = subprocess.Popen(
        [*CLINADAPT, *command],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list((place / "out").glob("cells/*/*")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from there" in said
    assert f"clinadapt {' '.join(command)}" in said
    assert "Traceback" not in said
