"""Do the intervals and conclusions hold? Simulated studies whose truth is known.

    python benchmarks/simulations.py coverage --studies 1000
    python benchmarks/simulations.py power --studies 200
    python benchmarks/simulations.py noise --studies 20

coverage: how often the 95 % interval of a difference of F1 holds the true one, and how often two
equal classifiers are called different, over numbers of patients. power: how often planted
differences are found on 1,600 notes. noise: whole studies, report included, on built-in notes whose
labels are drawn at random.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from simulated import draw, f1, labels_of, predictions

from clinadapt.evaluation.paired_comparison import Scores

TRUTH_PATIENTS = 300_000
NOISE_ROWS = [
    {"model": "tfidf-logistic"},
    {"model": "tfidf-logistic", "characters": True, "refit": True},
    {"model": "tfidf-mlp"},
    {"model": "transformer", "epochs": 5, "max_tokens": 64},
]


def true_difference(accuracies):
    _, positive, said = draw(TRUTH_PATIENTS, accuracies, np.random.default_rng(99))
    return f1(positive, said[1]) - f1(positive, said[0])


def compared(patients, accuracies, generator, resamples, seed):
    clusters, positive, said = draw(patients, accuracies, generator)
    rows = {str(number): [predictions(one)] for number, one in enumerate(said)}
    scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=resamples, seed=seed)
    return scores.differences([("1", "0")])["1", "0"]


def coverage(studies):
    accuracies = (0.86, 0.88)
    truth = true_difference(accuracies)
    print(f"true difference of F1: {truth:.4f}; {studies} studies a line")
    for patients in (30, 60, 125, 410):
        generator = np.random.default_rng(patients)
        held = alarmed = 0
        for study in range(studies):
            found = compared(patients, accuracies, generator, 400, study)
            held += found.low <= truth <= found.high
            alarmed += compared(patients, (0.86, 0.86), generator, 400, study).different
        print(
            f"{patients:4} patients: {held / studies:.1%} of intervals hold it; "
            f"{alarmed / studies:.1%} false alarms",
            flush=True,
        )


def power(studies):
    for second in (0.86, 0.868, 0.886, 0.92):
        truth = true_difference((0.85, second))
        for patients, notes in ((123, "480 test notes"), (410, "1,600 test notes")):
            generator = np.random.default_rng(7)
            found = [
                compared(patients, (0.85, second), generator, 400, study)
                for study in range(studies)
            ]
            share = np.mean([item.different and item.value > 0 for item in found])
            print(f"true difference {truth:+.3f}, {notes}: found in {share:.0%}", flush=True)


def noise(studies):
    import polars as pl

    from clinadapt import Study, write_report
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes
    from clinadapt.data.synthetic.generator import generate

    recommended = 0
    for seed in range(studies):
        table = generate(n_notes=600, n_patients=150, n_positive=216, seed=seed)
        drawn = np.random.default_rng(seed).permutation(table["label"].to_numpy())
        table = table.with_columns(label=pl.Series(drawn))
        with tempfile.TemporaryDirectory(prefix="clinadapt-") as folder:
            notes = read_notes(table, Columns(group="patient"))
            Study(notes, {"name": "noise", "configurations": NOISE_ROWS}, folder).run()
            evidence = json.loads((Path(folder) / "evidence.json").read_text())
            page = write_report(Path(folder)).read_text()
        recommended += evidence["recommended"] is not None
        assert ("none is recommended" in page) == (evidence["recommended"] is None)
        print(f"study {seed}: {evidence['sentence'][:70]} …", flush=True)
    print(f"{recommended} of {studies} studies of noise recommend a row")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("coverage", "power", "noise"))
    parser.add_argument("--studies", type=int, required=True)
    options = parser.parse_args()
    globals()[options.what](options.studies)


if __name__ == "__main__":
    main()
