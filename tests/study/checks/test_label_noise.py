"""Doubted labels of single-label and multi-label studies, and their texts."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from faulty import doubting, labelled, results, row, run

from clinadapt.core.errors import InputError
from clinadapt.data.prediction_tables import PREDICTIONS
from clinadapt.study.checks.label_noise import COLUMNS, doubted_labels, with_texts


def test_flipped_labels_are_listed_most_doubtful_first(tmp_path):
    found = doubted_labels(doubting(tmp_path, 400, 40))
    assert tuple(found.table.columns) == COLUMNS
    flipped = [int(name.split()[1]) < 40 for name in found.table["id"]]
    assert np.mean(flipped) > 0.5  # of 40 in 400
    assert sum(flipped) >= 20  # half of them, as the threshold is the mean of the class
    assert found.table["probability of label"].is_sorted()
    assert (found.table["label"] != found.table["likely"]).all()


def test_a_model_that_learned_nothing_doubts_nothing(tmp_path):
    assert doubted_labels(doubting(tmp_path, 400, 200, useful=False)) is None


def test_each_label_of_several_is_a_question_of_its_own(tmp_path):
    generator = np.random.default_rng(0)
    truth = generator.random((200, 2)) < 0.5
    probabilities = np.where(truth, 0.9, 0.1)
    label = truth.copy()
    label[0, 1] ^= True
    pl.DataFrame(
        {
            "id": [str(number) for number in range(200)],
            "part": "validation",
            "label": [[name for name, has in zip("np", one, strict=True) if has] for one in label],
            "prob_n": probabilities[:, 0],
            "prob_p": probabilities[:, 1],
        }
    ).write_parquet(tmp_path / PREDICTIONS)
    study = results([row("model", 1.0)], [run("model", tmp_path)])
    found = doubted_labels(replace(study, about={**study.about, "task": "multilabel"}))
    given, likely = ("p", "not p") if label[0, 1] else ("not p", "p")
    assert found.table.select("id", "label", "likely").rows() == [("0", given, likely)]


def test_texts_are_those_of_the_notes():
    notes = labelled("a", "b", "a")
    table = pl.DataFrame({"id": ["3", "1"], "label": ["a", "a"]})
    assert with_texts(table, notes)["text"].to_list() == ["note 2", "note 0"]
    with pytest.raises(InputError, match=r"1 of the 1 notes"):
        with_texts(pl.DataFrame({"id": ["9"]}), notes)
