"""Whatever a command writes can be read by its owner only, whatever the umask."""

import os

import pytest
from command import run
from studies import SMALL

from clinadapt.data.synthetic.generator import generate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")

STUDY = """
name = "small"
resamples = 100
[[configurations]]
model = "tfidf-logistic"
[[configurations]]
model = "pretrained"
encoder = "clinadapt-mini-fr"
max_tokens = 16
epochs = 1
"""


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_all_outputs(tmp_path, capsys):
    notes, design, out = tmp_path / "notes.csv", tmp_path / "small.toml", tmp_path / "out"
    generate(**SMALL).write_csv(notes)
    design.write_text(STUDY)
    given = {notes, design}
    labelled = [notes, "--id", "id", "--group", "patient"]
    texts = [notes, "--id", "id"]
    planned = ["--study", design, "--out", out, "--offline"]
    for command in (
        ["plan", *labelled, *planned],
        ["study", *labelled, *planned, "--describe", "patient"],
        ["report", out],
        ["errors", out, *labelled, "--out", tmp_path / "errors.html"],
        ["predict", out / "best", *texts, "--out", tmp_path / "p.csv"],
        ["predict", out / "best", *texts, "--out", tmp_path / "p.parquet"],
        ["explain", out / "best", *texts, "--limit", "2", "--out", tmp_path / "e.html"],
        ["explain", out / "best", *texts, "--limit", "2", "--out", tmp_path / "e.jsonl"],
        ["drift", out / "best", notes, "--out", tmp_path / "drift.html"],
        ["track", out],
        ["pretrain", notes, "--strength", "fast", "--vocabulary", "200", "--width", "8",
         "--out", tmp_path / "vectors"],
    ):  # fmt: skip
        code, _, error = run(*command, capsys=capsys)
        assert code in (0, 3), (command[0], error)
    written = {path for path in tmp_path.rglob("*") if not path.is_symlink()} - given
    assert {"p.csv", "mlflow.db", "terms.json", "split.json", "drift.json", "tripod-ai.md"} <= {
        path.name for path in written
    }
    is_open = [path for path in written if path.stat().st_mode & 0o077]
    assert is_open == []
