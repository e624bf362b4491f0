"""A model of another package, registered by an entry point, through everything a study does."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from clinadapt import load
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.models import registry

TOY = '''
"""Says yes where a word stands in the note: the least that a model must be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from clinadapt.models.contract import Model


@dataclass(eq=False, repr=False, kw_only=True)
class KeywordModel(Model):
    word: str = "insuffisance"

    def fit(self, texts, labels, validation=None, metric=None, context=None):
        here = np.array([self.word in text.lower() for text in texts])
        self.rates_ = np.array(
            [[(labels.matrix[here == at].sum(axis=0) + 1) / ((here == at).sum() + 2)]
             for at in (False, True)]
        )[:, 0]
        self.rates_ /= self.rates_.sum(axis=1, keepdims=True)
        return self

    def predict_proba(self, texts, context=None):
        return self.rates_[[int(self.word in text.lower()) for text in texts]]

    def save(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"rates": self.rates_}, folder / "rates.safetensors")

    def load(self, folder, task, classes):
        self.rates_ = load_file(folder / "rates.safetensors")["rates"]
        return self
'''
STUDY = """
name = "own"
resamples = 100
[[configurations]]
model = "tfidf-logistic"
[[configurations]]
model = "keyword"
word = ["insuffisance", "patient"]
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str) -> None:
    """Put a package with an entry point on the path, as pip would."""
    (folder / "toy_keyword.py").write_text(TOY, encoding="utf-8")
    about = folder / "toy_keyword-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-keyword\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[clinadapt.models]\n{points}\n")
    monkeypatch.syspath_prepend(folder)
    registry.models.cache_clear()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, "keyword = toy_keyword:KeywordModel")
    yield tmp_path
    monkeypatch.undo()
    registry.models.cache_clear()


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_study_plan_explain_bundle_reload_report(installed, small_table):
    table, design, out = installed / "notes.parquet", installed / "own.toml", installed / "out"
    small_table.write_parquet(table)
    design.write_text(STUDY, encoding="utf-8")
    columns = ("--id", "id", "--group", "patient")
    planned = run("plan", table, *columns, "--study", design, "--out", out, "--offline")
    assert planned.count("keyword") == 2
    told = run("study", table, *columns, "--study", design, "--out", out, "--offline")
    assert "keyword (word=patient)" in told
    board = pl.read_csv(out / "leaderboard.csv")
    assert board["status"].to_list() == ["done"] * 3
    assert board.filter(pl.col("model") == "keyword").height == 2

    # The bundle of one of its runs, opened again, says what the run's predictions say.
    results = [json.loads(path.read_text()) for path in out.glob("cells/*/result.json")]
    assert {result["configuration"] for result in results} >= {"keyword (word=insuffisance)"}
    bundle = installed / "bundle"
    texts, labels = small_table["text"].to_list(), small_table["label"].to_list()
    from clinadapt import NoteClassifier

    model = registry.build("keyword", {"word": "insuffisance"})
    classifier = NoteClassifier(model).fit(texts, labels, small_table["patient"].to_list())
    classifier.save(bundle)
    assert json.loads((bundle / "bundle.json").read_text())["settings"] == {"word": "insuffisance"}
    again = load(bundle)
    np.testing.assert_array_equal(again.predict_proba(texts), classifier.predict_proba(texts))
    rates = load_file(bundle / "model" / "rates.safetensors")["rates"]
    assert rates[1, 1] != rates[0, 1]  # the word moves the probability

    # Explained by leaving words out: the word that the model looks for, and no other.
    run("explain", bundle, table, "--id", "id", "--out", installed / "why.html", "--limit", 3)
    from clinadapt.explain.explain import explain

    note = next(text for text in texts if text.lower().count("insuffisance") == 1)
    (why,) = explain(again, [note])
    (moved,) = [word for word in why.words if word.contribution]
    assert note[moved.start : moved.end].lower() == "insuffisance"
    odds = np.log(rates[1, 1] / rates[1, 0]) - np.log(rates[0, 1] / rates[0, 0])
    assert moved.contribution == pytest.approx(odds)

    (out / "report.html").unlink()
    run("report", out)
    assert "keyword (word=patient)" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("moe = toy_keyword:KeywordModel", "'moe' is already taken"),
        ("toy = pathlib:Path", "not a subclass of clinadapt's Model"),
    ],
)
def test_what_cannot_be_registered_is_refused(tmp_path, monkeypatch, points, message):
    install(tmp_path, monkeypatch, points)
    try:
        with pytest.raises(InputError, match=message):
            registry.models()
    finally:
        monkeypatch.undo()
        registry.models.cache_clear()
