"""Predictions are written block after block, appear whole, and are the classifier's own."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from clinadapt import NoteClassifier, results
from clinadapt.errors import InputError
from clinadapt.predict import predict_table

TEXTS = [f"enfant {'fievre toux' if n % 2 else 'apyretique'} jour {n % 5}" for n in range(60)]
TABLE = pl.DataFrame({"key": [f"n{n}" for n in range(60)], "text": TEXTS})


@pytest.fixture(scope="module")
def classifier():
    return NoteClassifier().fit(TEXTS, [n % 2 for n in range(60)])


@pytest.fixture(scope="module")
def bundle(classifier, tmp_path_factory):
    return classifier.save(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
@pytest.mark.parametrize("at_once", [7, 60, 1000])
def test_blocks_make_the_predictions_of_the_whole(
    classifier, bundle, tmp_path, monkeypatch, name, at_once
):
    monkeypatch.setattr(results, "NOTES_AT_ONCE", at_once)
    assert predict_table(bundle, TABLE, tmp_path / name, id="key") == 60
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
        found = pq.ParquetFile(tmp_path / name)
        assert found.num_row_groups == -(-60 // at_once)
        assert found.schema_arrow.metadata[b"model_fitted_on"] == b"notes"


def test_labels_of_a_note_are_joined_in_csv(tmp_path):
    sets = [("a",) if n % 2 else ("a", "b") for n in range(60)]
    folder = NoteClassifier().fit(TEXTS, sets).save(tmp_path / "bundle")
    predict_table(folder, TABLE, tmp_path / "p.csv")
    frame = pl.read_csv(tmp_path / "p.csv", schema_overrides={"id": pl.String})
    assert frame["prediction"].to_list() == ["|".join(labels) for labels in sets]
    assert frame["id"].to_list() == [str(n) for n in range(1, 61)]


def test_a_failure_leaves_no_file_and_the_old_one_whole(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "NOTES_AT_ONCE", 20)
    out = tmp_path / "p.parquet"
    predict_table(bundle, TABLE[:5], out)
    before, calls = out.read_bytes(), []

    def fails(self, texts):
        calls.append(len(texts))
        if len(calls) == 3:
            raise RuntimeError("stop")
        return np.full((len(texts), 2), 0.5)

    monkeypatch.setattr(NoteClassifier, "predict_proba", fails)
    with pytest.raises(RuntimeError, match="stop"):
        predict_table(bundle, TABLE, out)
    assert calls == [20, 20, 20]
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_empty_tables_and_mistakes(bundle, tmp_path):
    assert predict_table(bundle, TABLE[:0], tmp_path / "p.parquet") == 0
    assert pl.read_parquet(tmp_path / "p.parquet").columns == [
        "id",
        "prediction",
        "prob_0",
        "prob_1",
    ]
    with pytest.raises(InputError, match="missing id in 1 row"):
        predict_table(
            bundle,
            TABLE.with_columns(key=pl.Series([None, *"x" * 59])),
            tmp_path / "q.csv",
            id="key",
        )
    with pytest.raises(InputError, match=r"to end in \.parquet or \.csv"):
        predict_table(bundle, TABLE, tmp_path / "p.json")
