"""Folds: patients whole, every note once, each class in every fold where it can be."""

import numpy as np
import pytest
from simulated import unequal_table

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.folds import make_folds, most_folds
from clinadapt.data.labels import from_single
from clinadapt.data.notes import read_notes


def table(clusters, positive):
    import polars as pl

    return read_notes(
        pl.DataFrame(
            {
                "text": [f"note {number}" for number in range(len(positive))],
                "label": positive.astype(int),
                "patient": [f"p{number}" for number in clusters],
            }
        ),
        Columns(group="patient"),
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_note_is_predicted_once_by_models_without_its_patient(seed):
    notes = table(*unequal_table(np.random.default_rng(seed), least=60))
    rows = np.sort(np.random.default_rng(seed).permutation(len(notes))[: len(notes) * 3 // 4])
    folds = make_folds(notes, rows, 5, 0.15, seed)
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), rows)
    for fold in folds:
        others = np.concatenate([fold.train, fold.validation])
        assert np.array_equal(np.sort(np.r_[others, fold.test]), rows)
        assert not set(notes.clusters[others]) & set(notes.clusters[fold.test])
        assert not set(notes.clusters[fold.train]) & set(notes.clusters[fold.validation])
        assert notes.labels.matrix[fold.train].any(axis=0).all()


def test_prevalence_of_the_folds_is_that_of_the_notes():
    errors = []
    for seed in range(20):
        notes = table(*unequal_table(np.random.default_rng(seed), least=60))
        positive = notes.labels.matrix[:, 1]
        errors += [
            abs(positive[fold.test].mean() / positive.mean() - 1)
            for fold in make_folds(notes, np.arange(len(notes)), 5, 0.15, seed)
        ]
    assert np.median(errors) < 0.1


def test_no_more_folds_than_patients_of_the_rarest_class():
    clusters = np.repeat(np.arange(20), 3)
    notes = table(clusters, np.isin(clusters, [3, 7, 11]))
    assert most_folds(notes.labels, notes.clusters) == 3
    assert len(make_folds(notes, np.arange(60), 3, 0.15, 0)) == 3
    with pytest.raises(InputError, match="at most 3"):
        make_folds(notes, np.arange(60), 4, 0.15, 0)
    many = from_single(["a", "b", "c"] * 10)
    assert most_folds(many, np.arange(30)) == 10
