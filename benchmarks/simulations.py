"""Checks intervals and conclusions on simulated studies with known truth.

    python benchmarks/simulations.py coverage --studies 1000
    python benchmarks/simulations.py power --studies 200
    python benchmarks/simulations.py noise --studies 20

coverage: how often the 95 % interval of a difference of F1 contains the true difference, and how
often equal classifiers differ significantly, by number of patients. power: how often true
differences are significant on 480 and 1,600 test notes. noise: complete studies, report included,
on built-in notes with random labels.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from simulated import draw, f1, labels_of, predictions

from clinadapt.evaluation.paired_comparison import ResampledScores

TRUTH_PATIENTS = 300_000
NOISE_CONFIGURATIONS = [
    {"model": "tfidf-logistic"},
    {"model": "tfidf-logistic", "characters": True, "refit": True},
    {"model": "tfidf-mlp"},
    {"model": "transformer", "epochs": 5, "max_tokens": 64},
]


def true_difference(accuracies):
    _, positive, predicted = draw(TRUTH_PATIENTS, accuracies, np.random.default_rng(99))
    return f1(positive, predicted[1]) - f1(positive, predicted[0])


def compared(patients, accuracies, generator, resamples, seed):
    clusters, positive, predicted = draw(patients, accuracies, generator)
    by_name = {str(number): [predictions(one)] for number, one in enumerate(predicted)}
    scores = ResampledScores(
        labels_of(positive), clusters, "f1", by_name, resamples=resamples, seed=seed
    )
    return scores.differences([("1", "0")])["1", "0"]


def coverage(studies):
    accuracies = (0.86, 0.88)
    truth = true_difference(accuracies)
    print(f"true difference of F1: {truth:.4f}; {studies} studies per line")
    for patients in (30, 60, 125, 410):
        generator = np.random.default_rng(patients)
        covered = alarmed = 0
        for study in range(studies):
            difference = compared(patients, accuracies, generator, 400, study)
            covered += difference.low <= truth <= difference.high
            alarmed += compared(patients, (0.86, 0.86), generator, 400, study).different
        print(
            f"{patients:4} patients: {covered / studies:.1%} of intervals contain it; "
            f"{alarmed / studies:.1%} false alarms",
            flush=True,
        )


def power(studies):
    for second in (0.86, 0.868, 0.886, 0.92):
        truth = true_difference((0.85, second))
        for patients, notes in ((123, "480 test notes"), (410, "1,600 test notes")):
            generator = np.random.default_rng(7)
            differences = [
                compared(patients, (0.85, second), generator, 400, study)
                for study in range(studies)
            ]
            share = np.mean([item.different and item.value > 0 for item in differences])
            print(f"true difference {truth:+.3f}, {notes}: significant in {share:.0%}", flush=True)


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
            Study(notes, {"name": "noise", "configurations": NOISE_CONFIGURATIONS}, folder).run()
            evidence = json.loads((Path(folder) / "evidence.json").read_text())
            page = write_report(Path(folder)).read_text()
        recommended += evidence["recommended"] is not None
        assert (">recommended</span>" in page) == (evidence["recommended"] is not None)
        print(f"study {seed}: {evidence['sentence'][:70]} …", flush=True)
    print(f"{recommended} of {studies} studies of noise recommend a configuration")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("coverage", "power", "noise"))
    parser.add_argument("--studies", type=int, required=True)
    options = parser.parse_args()
    globals()[options.what](options.studies)


if __name__ == "__main__":
    main()
