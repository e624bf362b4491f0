"""Checks splits, thresholds, intervals and conclusions on simulated studies with known truth.

    python benchmarks/simulations.py split --tables 60
    python benchmarks/simulations.py split --data notes.parquet --label label --group group
    python benchmarks/simulations.py threshold --tables 60
    python benchmarks/simulations.py intervals --tables 1000
    python benchmarks/simulations.py coverage --tables 1000
    python benchmarks/simulations.py power --tables 200
    python benchmarks/simulations.py seeds --tables 400
    python benchmarks/simulations.py sites --tables 2000
    python benchmarks/simulations.py verdict --tables 200
    python benchmarks/simulations.py selection --tables 200
    python benchmarks/simulations.py abstention --tables 1000
    python benchmarks/simulations.py noise --tables 20

split: relative error of the share of positive notes in the validation part, and the share of its
positive notes that one patient brings, where patients have unequal numbers of notes; with --data,
on a table. threshold: F1 on new notes at the exact threshold, compared with the best of 200
quantiles. intervals: how often the 95 % interval of a score contains the true score. coverage: the
same for a difference of F1, and how often equal classifiers differ significantly. power: how often
true differences are significant on 480 and 1,600 test notes. seeds: the variance of a difference
that is due to seeds, beside the true one. sites: how often the pooled interval contains the true
mean. verdict: how often a cheaper classifier, worse than the margin allows or as good, is
recommended. selection: how often the best of six classifiers is chosen on five folds and on one
validation part, and the F1 of what is handed over. abstention: how often the promises of a reject
band hold on very many new patients, and the coverage of prediction sets on them. noise: complete
studies, report included, on built-in notes with random labels. --seed begins the random numbers
elsewhere.
"""

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from simulated import (
    ManyPatients,
    abstaining_table,
    draw,
    entrants_of,
    f1,
    labels_of,
    predictions,
    scored_table,
    true_scores,
    unequal_table,
)

from clinadapt.data.split import carve_validation, partition
from clinadapt.evaluation import metrics, prediction_sets, reject_band, threshold
from clinadapt.evaluation.paired_comparison import ResampledScores
from clinadapt.evaluation.random_effects import pool
from clinadapt.evaluation.recommendation import Evidence

TRUTH_PATIENTS = 300_000
FRACTIONS = (0.7 * 0.85, 0.7 * 0.15, 0.3)
SCORES = ["f1", "mcc", "auroc", "auprc", "accuracy", "precision", "recall", "brier"]
ABSTAINING_TABLES = {
    "few errors": {"signal": 4.0},
    "many errors": {"signal": 2.2},
    "errors alike in a patient": {"signal": 6.0, "of_patient": 2.0},
    "rare, labels and errors alike": {
        "signal": 5.0, "of_patient": 1.5, "mean": -2.5, "labels": 3.0
    },
}  # fmt: skip
NOISE_CONFIGURATIONS = [
    {"model": "tfidf-logistic"},
    {"model": "tfidf-logistic", "characters": True, "refit": True},
    {"model": "tfidf-mlp"},
    {"model": "transformer", "epochs": 5, "max_tokens": 64},
]


def split(options):
    if options.data:
        return split_of_table(options)
    from sklearn.model_selection import StratifiedGroupKFold

    ours, theirs, largest = [], [], []
    for seed in range(options.seed, options.seed + options.tables):
        clusters, positive = unequal_table(np.random.default_rng(seed))
        share = positive.mean()
        parts = partition(np.c_[~positive, positive], clusters, FRACTIONS, seed)
        ours.append(abs(positive[parts == 1].mean() - share) / share)
        of_patients = np.bincount(clusters[(parts == 1) & positive], minlength=1)
        largest.append(of_patients.max() / max(1, of_patients.sum()))
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few positive patients
            _, validation = next(folds.split(clusters, positive, clusters))
        theirs.append(abs(positive[validation].mean() - share) / share)
    for name, values in (("ours", ours), ("StratifiedGroupKFold", theirs)):
        print(f"{name}: error of prevalence, median {np.median(values):.3f}, "
              f"90 % {np.quantile(values, 0.9):.3f}")  # fmt: skip
    print(f"positive notes of the first patient: median {np.median(largest):.2f}, "
          f"90 % {np.quantile(largest, 0.9):.2f}")  # fmt: skip


def split_of_table(options):
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes

    columns = Columns(text=options.text, label=(options.label,), group=options.group)
    notes = read_notes(options.data, columns)
    for seed in range(options.seed, options.seed + 3):
        for share in (1.0, 0.1):
            kept = np.ones(len(notes), dtype=bool)
            if share < 1:
                drawn = np.random.default_rng(seed).permutation(int(notes.clusters.max()) + 1)
                kept = drawn[notes.clusters] < share * len(drawn)
            matrix, clusters = notes.labels.matrix[kept], notes.clusters[kept]
            validation = carve_validation(matrix, clusters, 0.15, seed)
            positive = matrix[:, 1]
            of_groups = np.bincount(clusters[validation & positive])
            of_groups = of_groups[of_groups > 0]
            print(
                f"seed {seed}, {share:.0%} of the groups: {validation.sum()} validation notes, "
                f"{positive[validation].mean():.3f} positive (of all {positive.mean():.3f}), from "
                f"{len(of_groups)} groups, at most {of_groups.max(initial=0)} from one"
            )


def exact_threshold(options):
    for share in (0.005, 0.02, 0.1):
        gained = []
        for seed in range(options.seed, options.seed + options.tables):
            generator = np.random.default_rng(seed)
            positive = generator.random(68_000) < share
            score = 1 / (1 + np.exp(5 - generator.normal(0, 1, 68_000) - 3.2 * positive))
            chosen, fresh = slice(8000), slice(8000, None)
            labels = labels_of(positive[chosen])
            probabilities = np.c_[1 - score[chosen], score[chosen]]
            exact = threshold.choose(labels, probabilities, "f1").value
            steps = np.unique(np.quantile(score[chosen], np.linspace(0, 1, 201)))
            coarse = max(
                (steps[1:] + steps[:-1]) / 2,
                key=lambda value: f1(positive[chosen], score[chosen] >= value),
            )
            reached = [f1(positive[fresh], score[fresh] >= value) for value in (exact, coarse)]
            gained.append(100 * (reached[0] - reached[1]))
        print(f"{share:.1%} positive: {np.mean(gained):+.1f} points of F1 on new notes", flush=True)


def intervals(options):
    for mean, kind in ((-0.9, "a third positive"), (-2.5, "a tenth positive")):
        for equal in (True, False):
            truth = true_scores(equal, SCORES, mean=mean)
            for patients in (40, 68, 125, 400):
                generator = np.random.default_rng([options.seed, patients, equal])
                covered = {name: [] for name in SCORES}
                for _ in range(options.tables):
                    table = scored_table(patients, equal, generator, mean=mean)
                    if len(np.unique(table[3][table[0].matrix[:, 1]])) > 1:
                        for name, score in metrics.scores(*table, SCORES).items():
                            covered[name].append(score.low <= truth[name] <= score.high)
                shares = ", ".join(f"{name} {np.mean(covered[name]):.1%}" for name in SCORES)
                sizes = "equal" if equal else "unequal"
                print(f"{kind}, {patients:3} {sizes} patients: {shares}", flush=True)


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


def coverage(options):
    accuracies = (0.86, 0.88)
    truth = true_difference(accuracies)
    print(f"true difference of F1: {truth:.4f}; {options.tables} studies per line")
    for patients in (30, 60, 125, 410):
        generator = np.random.default_rng([options.seed, patients])
        covered = alarmed = 0
        for study in range(options.tables):
            difference = compared(patients, accuracies, generator, 400, study)
            covered += difference.low <= truth <= difference.high
            alarmed += compared(patients, (0.86, 0.86), generator, 400, study).different
        print(
            f"{patients:4} patients: {covered / options.tables:.1%} of intervals contain it; "
            f"{alarmed / options.tables:.1%} false alarms",
            flush=True,
        )


def power(options):
    for second in (0.86, 0.868, 0.886, 0.92):
        truth = true_difference((0.85, second))
        for patients, notes in ((123, "480 test notes"), (410, "1,600 test notes")):
            generator = np.random.default_rng([options.seed, 7])
            differences = [
                compared(patients, (0.85, second), generator, 400, study)
                for study in range(options.tables)
            ]
            share = np.mean([item.different and item.value > 0 for item in differences])
            print(f"true difference {truth:+.3f}, {notes}: significant in {share:.0%}", flush=True)


def seeds(options):
    """Seeds of one configuration differ in accuracy with a standard deviation of .02."""
    notes, spread = 4000, 0.02
    positive = np.arange(notes) % 2 == 0
    for number in (2, 3, 5):
        generator = np.random.default_rng([options.seed, number])
        variances = []
        for study in range(options.tables):
            accuracies = 0.85 + generator.normal(0, spread, number)
            each = [
                np.where(np.arange(notes) < accuracy * notes, positive, ~positive)
                for accuracy in accuracies
            ]
            scores = ResampledScores(
                labels_of(positive),
                np.arange(notes),
                "accuracy",
                {"a": [predictions(one) for one in each], "b": [predictions(positive)]},
                resamples=200,
                seed=study,
            )
            variances.append(scores.differences([("a", "b")])["a", "b"].error ** 2)
        of_patients = 0.85 * 0.15 / notes
        estimated = np.mean(variances) - of_patients
        print(f"{number} seeds: {estimated / (spread**2 / number):.2f} of the true variance of "
              "their mean", flush=True)  # fmt: skip


def sites(options):
    for number in (2, 3, 5, 10):
        for between in (0.0, 0.03, 0.08):
            generator = np.random.default_rng([options.seed, number])
            covered = 0
            for _ in range(options.tables):
                errors = generator.uniform(0.015, 0.08, number)
                values = 0.8 + generator.normal(0, between, number) + generator.normal(0, errors)
                estimated = errors * np.sqrt(generator.chisquare(30, number) / 30)
                pooled = pool(values, estimated)
                covered += pooled.low <= 0.8 <= pooled.high
            print(f"{number} sites that differ by {between:.2f}: {covered / options.tables:.1%} of "
                  "intervals contain the mean", flush=True)  # fmt: skip


def verdict(options):
    for accuracies, margin in (((0.85, 0.866), 0.01), ((0.86, 0.86), 0.01), ((0.86, 0.86), 0.03)):
        truth = true_difference(accuracies)
        for patients in (68, 400, 2000):
            statuses = []
            for seed in range(options.seed, options.seed + options.tables):
                drawn = draw(patients, accuracies, np.random.default_rng([seed, patients]))
                entrants, labels, clusters = entrants_of(*drawn)
                evidence = Evidence(
                    *(entrants, labels, labels, labels, clusters, clusters),
                    *("f1", margin, 200),
                )
                chosen = evidence.recommended
                cheaper = chosen is not None and chosen.configuration_id == "0"
                statuses.append((evidence.status, cheaper))
            recommended = np.mean([one == ("recommended", True) for one in statuses])
            candidates = np.mean([status == "candidate" for status, _ in statuses])
            print(f"cheaper one {truth:+.3f} worse, margin {margin}, {patients} patients: it is "
                  f"recommended in {recommended:.1%}; a candidate only in {candidates:.1%}",
                  flush=True)  # fmt: skip


def selection(options):
    for patients in (30, 60, 120, 240):
        chosen = [
            one_selection(np.random.default_rng([patients, seed]), patients, seed)
            for seed in range(options.seed, options.seed + options.tables)
        ]
        for name, column in (("one part", 0), ("5 folds", 1)):
            best, lost, score = np.array([both[column] for both in chosen], float).T
            error = score.std(ddof=1) / np.sqrt(len(score))
            print(f"{patients} labelled patients, {name}: the best is chosen in {best.mean():.1%}, "
                  f"F1 lost by the choice {lost.mean():.4f}, F1 of what is handed over "
                  f"{score.mean():.4f} (standard error {error:.4f})", flush=True)  # fmt: skip


def one_selection(generator, patients, seed):
    """Return whether the best is chosen, the F1 lost, and the F1: on one part, and on folds."""
    from sklearn.base import clone

    candidates = selection_candidates()
    features, positive, clusters = clustered_features(generator, patients)
    fresh, truth, _ = clustered_features(generator, 4000)
    matrix = np.c_[~positive, positive]

    def probabilities(candidate, rows, on):
        return clone(candidate).fit(features[rows], positive[rows]).predict_proba(on)

    def judged(labels, held, new):
        """Return the score that ranks a candidate, and its true score, at the same threshold."""
        rule = threshold.choose(labels_of(labels), held, "f1")
        return f1(labels, rule.predict("binary", held)[:, 1]), f1(
            truth, rule.predict("binary", new)[:, 1]
        )

    in_validation = carve_validation(matrix, clusters, 0.15, seed)
    fold_of = partition(matrix, clusters, [0.2] * 5, seed)
    one, folds = [], []
    for candidate in candidates:
        held = probabilities(candidate, ~in_validation, features[in_validation])
        new = probabilities(candidate, ~in_validation, fresh)
        one.append(judged(positive[in_validation], held, new))
        outside = np.empty((len(positive), 2))
        for fold in range(5):
            own = fold_of == fold
            outside[own] = probabilities(candidate, ~own, features[own])
        everything = np.ones(len(positive), bool)
        folds.append(judged(positive, outside, probabilities(candidate, everything, fresh)))
    results = []
    for ranked, true in (np.array(one).T, np.array(folds).T):
        first = int(np.argmax(ranked))
        results.append((true[first] == true.max(), true.max() - true[first], true[first]))
    return results


def selection_candidates():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier

    return [
        *(LogisticRegression(C=strength, max_iter=1000) for strength in (0.003, 0.03, 1.0)),
        GaussianNB(),
        KNeighborsClassifier(15),
        RandomForestClassifier(40, min_samples_leaf=3, random_state=0),
    ]


def clustered_features(generator, patients):
    """Return features [note, 30], whether each note is positive, and the patient of each."""
    sizes = generator.geometric(0.25, patients).clip(max=30)
    clusters = np.repeat(np.arange(patients), sizes)
    shared = generator.normal(size=(patients, 30))[clusters]
    features = 0.7 * shared + 0.7 * generator.normal(size=(len(clusters), 30))
    signal = features[:, :6].sum(axis=1) * 0.6 + 0.5 * features[:, 0] * features[:, 1] - 1.7
    return features, generator.random(len(clusters)) < 1 / (1 + np.exp(-signal)), clusters


def abstention(options):
    half = threshold.Threshold(0.5)
    for kind, settings in ABSTAINING_TABLES.items():
        truth = ManyPatients(TRUTH_PATIENTS, **settings)
        for patients in (68, 125, 400, 1000):
            generator = np.random.default_rng([options.seed, patients])
            tables = [
                abstaining_table(patients, generator, **settings) for _ in range(options.tables)
            ]
            for risk in (0.05, 0.1):
                bands = [reject_band.choose(*table, half, risk) for table in tables]
                missed, wrong, left = np.array([truth.shares(band) for band in bands]).T
                print(f"{kind}, {patients:4} patients, risk {risk}: kept of missed "
                      f"{np.mean(missed <= risk):.1%}, of wrong {np.mean(wrong <= risk):.1%}; "
                      f"left {left.mean():.0%}", flush=True)  # fmt: skip
            sets = [prediction_sets.calibrate(*table, 0.9) for table in tables]
            no, yes = np.mean([truth.covered(one) for one in sets], axis=0)
            print(f"{kind}, {patients:4} patients: sets of 90 % contain the class of {no:.1%} of "
                  f"the negative and {yes:.1%} of the positive notes", flush=True)  # fmt: skip


def noise(options):
    import polars as pl

    from clinadapt import Study, write_report
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes
    from clinadapt.data.synthetic.generator import generate

    recommended = 0
    for seed in range(options.seed, options.seed + options.tables):
        table = generate(n_notes=600, n_patients=150, n_positive=216, seed=seed)
        drawn = np.random.default_rng(seed).permutation(table["label"].to_numpy())
        table = table.with_columns(label=pl.Series(drawn))
        with tempfile.TemporaryDirectory(prefix="clinadapt-") as folder:
            notes = read_notes(table, Columns(group="patient"))
            Study(notes, {"name": "noise", "configurations": NOISE_CONFIGURATIONS}, folder).run()
            evidence = json.loads((Path(folder) / "evidence.json").read_text())
            page = write_report(Path(folder)).read_text()
        recommended += evidence["recommended"] is not None
        tagged = any(f'tag">{status}</span>' in page for status in ("recommended", "candidate"))
        assert tagged == (evidence["recommended"] is not None)
        print(f"study {seed}: {evidence['sentence'][:70]} …", flush=True)
    print(f"{recommended} of {options.tables} studies of noise recommend a configuration")


WHAT = {
    "split": split,
    "threshold": exact_threshold,
    "intervals": intervals,
    "coverage": coverage,
    "power": power,
    "seeds": seeds,
    "sites": sites,
    "verdict": verdict,
    "selection": selection,
    "abstention": abstention,
    "noise": noise,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--tables", type=int, default=20, help="number of tables or studies")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the random numbers")
    parser.add_argument("--data", help="table of notes to split, instead of drawn ones")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group", default="group")
    options = parser.parse_args()
    WHAT[options.what](options)


if __name__ == "__main__":
    main()
