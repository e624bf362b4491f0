"""Predictions are written in blocks, atomically, and equal those of the classifier."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from clinadapt import NoteClassifier
from clinadapt.core.errors import InputError
from clinadapt.data.tables import table
from clinadapt.deployment.scoring import loop
from clinadapt.deployment.scoring.job import Prediction

TEXTS = [f"enfant {'fievre toux' if n % 2 else 'apyretique'} jour {n % 5}" for n in range(60)]
TABLE = pl.DataFrame({"key": [f"n{n}" for n in range(60)], "text": TEXTS})


@pytest.fixture(scope="module")
def classifier(tfidf_bundle):
    return tfidf_bundle.classifier


@pytest.fixture(scope="module")
def bundle(tfidf_bundle):
    return tfidf_bundle.folder


@pytest.fixture
def predict(tmp_path_factory):
    """Score a table that is not in the folder of the predictions."""
    home = tmp_path_factory.mktemp("notes")

    def predict(bundle, table, out, **options):
        table.write_parquet(home / "notes.parquet")
        return Prediction(bundle, [str(home / "notes.parquet")], out, **options).run()

    return predict


def at_once(monkeypatch, notes):
    """Set the number of notes that are read and scored at a time."""
    monkeypatch.setattr(table, "ROWS_AT_ONCE", notes)
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", notes)


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
@pytest.mark.parametrize("size", [7, 60, 1000])
def test_predictions_do_not_depend_on_the_block_size(
    classifier, bundle, predict, tmp_path, monkeypatch, name, size
):
    at_once(monkeypatch, size)
    assert predict(bundle, TABLE, tmp_path / name, id="key").scored == 60
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    frame = read(tmp_path / name)
    assert frame["id"].to_list() == TABLE["key"].to_list()
    np.testing.assert_allclose(frame["prob_1"], classifier.predict_proba(TEXTS)[:, 1], atol=1e-12)
    assert frame["prediction"].cast(pl.String).to_list() == [
        str(label) for label in classifier.predict(TEXTS)
    ]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).stat().st_mode & 0o077 == 0
    if name.endswith("parquet"):
        file = pq.ParquetFile(tmp_path / name)
        assert file.num_row_groups == -(-60 // size)
        assert file.schema_arrow.metadata[b"model_fitted_on"] == b"notes"


def test_labels_of_a_note_are_joined_in_csv(predict, tmp_path):
    sets = [("a",) if n % 2 else ("a", "b") for n in range(60)]
    folder = NoteClassifier().fit(TEXTS, sets).save(tmp_path / "bundle")
    predict(folder, TABLE, tmp_path / "p.csv")
    frame = pl.read_csv(tmp_path / "p.csv", schema_overrides={"id": pl.String})
    assert frame["prediction"].to_list() == ["|".join(labels) for labels in sets]
    assert frame["id"].to_list() == [str(n) for n in range(1, 61)]


def test_a_failure_leaves_the_old_file_unchanged(bundle, predict, tmp_path, monkeypatch):
    at_once(monkeypatch, 20)
    out = tmp_path / "p.parquet"
    predict(bundle, TABLE[:5], out)
    before, calls = out.read_bytes(), []

    def fails(self, texts):
        calls.append(len(texts))
        if len(calls) == 3:
            raise RuntimeError("stop")
        return np.full((len(texts), 2), 0.5)

    monkeypatch.setattr(NoteClassifier, "predict_proba", fails)
    with pytest.raises(RuntimeError, match="stop"):
        predict(bundle, TABLE, out)
    assert calls == [20, 20, 20]
    assert out.read_bytes() == before
    monkeypatch.undo()
    with pytest.raises(InputError, match="unfinished run"):  # of another table
        predict(bundle, TABLE[:9], out)
    assert predict(bundle, TABLE[:9], out, anew=True).scored == 9
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_empty_tables_and_mistakes(bundle, predict, tmp_path):
    assert predict(bundle, TABLE[:0], tmp_path / "p.parquet").read == 0
    assert pl.read_parquet(tmp_path / "p.parquet").columns == [
        "id",
        "prediction",
        "prob_0",
        "prob_1",
    ]
    with pytest.raises(InputError, match=r"to end in \.parquet or \.csv"):
        predict(bundle, TABLE, tmp_path / "p.json")
