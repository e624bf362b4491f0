"""Patients of several notes of which one tells the label, and studies of them."""

import numpy as np
import polars as pl

from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes

WORDS = [f"mot{number}" for number in range(60)]


def one_telling(patients, notes, seed=0, telling="thrombose"):
    """Return a table of patients with several notes each; one note of every second one tells.

    All notes of a patient have the patient's label.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        positive = patient % 2
        count = int(generator.integers(2, 2 * notes))
        tells = int(generator.integers(count))
        for number in range(count):
            words = list(generator.choice(WORDS, 12))
            if positive and number == tells:
                words[3] = telling
            rows.append((f"{patient}.{number}", f"p{patient}", " ".join(words), str(positive)))
    schema = ["id", "patient", "text", "label"]
    return pl.DataFrame(rows, schema=schema, orient="row").sample(
        fraction=1.0, shuffle=True, seed=seed
    )


def read(table):
    return read_notes(table, Columns(id="id", group="patient"))
