"""Tables of predictions: sets of labels can be told apart in every format."""

import csv
import re
from itertools import chain, combinations

import numpy as np

from clinadapt.data.labels import Labels
from clinadapt.data.prediction_tables import joined, prediction_frames, write_predictions
from clinadapt.data.text_store import Texts

NAMES = ["a", "b", "a|b", "|", "\\", "a\\", "\\|b", "$1"]


def split(cell):
    """The names of a joined cell, by an expression for one name with its escapes."""
    names = re.findall(r"(?:^|\|)((?:[^|\\]|\\.)+)", cell)
    return [re.sub(r"\\(.)", r"\1", name) for name in names]


def test_joined_labels_are_read_back(tmp_path):
    sets = [*chain.from_iterable(combinations(NAMES, size) for size in range(4))]
    assert len({joined(names) for names in sets}) == len(sets)
    matrix = np.array([[name in names for name in NAMES] for names in sets])
    labels = Labels("multilabel", np.array(NAMES), matrix)
    ids = Texts.of(map(str, range(len(sets))))
    frames = prediction_frames(ids, "test", labels, matrix.astype(float), matrix)
    write_predictions(frames, tmp_path / "out.csv", {})
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [split(row["prediction"]) for row in rows] == [list(names) for names in sets]
    assert [row["label"] for row in rows] == [joined(names) for names in sets]
