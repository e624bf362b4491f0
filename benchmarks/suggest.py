"""Measures what suggested labels bring over random ones, on sets that are labelled throughout.

    python benchmarks/suggest.py NOTES --label label --group group --repeats 20

Each repeat draws a test part (30 % of the patients) and 100 labelled notes or a few more (whole
patients); the rest is the pool. Each strategy then labels 100 notes of the pool, four times, with a
model fitted again each time. Printed: the score of random labelling, in points, and at the same
number of labels the difference of each strategy, with its 95 % interval (Student's) over repeats,
which are paired: same parts, same start. --minutes ends earlier, after at least three repeats.

The model is TF-IDF + logistic regression as in a study or, with --features FILE.npy, logistic
regression on the mean token features of the built-in encoder, computed once and kept in that file.
"""

import argparse
import time
from pathlib import Path

import labelled
import numpy as np
from scipy.special import expit
from scipy.stats import t as student
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler, normalize

from clinadapt.core.device import pick_device
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels
from clinadapt.deployment.suggest import strategy
from clinadapt.evaluation import metrics, threshold
from clinadapt.features.encoders.pretrained import open_encoder
from clinadapt.features.frozen_encoder import FrozenPrefix

START, STEP, ROUNDS, TEST, FOLDS = 100, 100, 4, 0.3, 5


class Tfidf:
    """TF-IDF of the labelled notes and logistic regression, as `TfidfLogistic` with its defaults.

    All notes are counted once; terms and weights are those of the labelled notes. A penalised
    regression lies in the span of its notes, so it is fitted on coordinates in it.
    """

    C = 10.0

    def __init__(self, notes):
        self.counts = CountVectorizer(ngram_range=(1, 2), min_df=2).fit_transform(notes.texts)

    def features(self, rows, *others):
        own = self.counts[rows]
        frequency = np.bincount(own.indices, minlength=own.shape[1])
        kept = np.flatnonzero(frequency >= 2)
        weight = np.log((1 + len(rows)) / (1 + frequency[kept])) + 1
        parts = []
        for each in (rows, *others):
            part = self.counts[each][:, kept].astype(np.float64)
            part.data = 1 + np.log(part.data)
            parts.append(normalize(part.multiply(weight).tocsr()))
        values, directions = np.linalg.eigh((parts[0] @ parts[0].T).toarray())
        spanned = values > 1e-8
        basis = directions[:, spanned] / np.sqrt(values[spanned])
        return [(part @ parts[0].T).toarray() @ basis for part in parts]


class Frozen:
    """Logistic regression on the mean token features of a frozen encoder."""

    C = 0.1

    def __init__(self, notes, file):
        if not file.exists():
            encoder = open_encoder("clinadapt-mini-fr")
            prefix = FrozenPrefix(encoder, encoder.layers, 256, "head", "auto", "auto")
            sources = prefix.passing(notes.texts, Context(), pick_device("auto"))
            np.save(file, np.concatenate([np.array(one.pooled("mean").vectors) for one in sources]))
        self.vectors = np.load(file)

    def features(self, labelled_rows, *others):
        scaler = StandardScaler().fit(self.vectors[labelled_rows])
        return [scaler.transform(self.vectors[rows]) for rows in (labelled_rows, *others)]


def regression(features, labels, C):
    """Return a function from features to probabilities, fitted as in `TfidfLogistic`."""

    def fit(target):
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=300, tol=1e-3)
        return model.fit(features, target)

    if labels.task == "multiclass":
        model = fit(labels.matrix.argmax(axis=1))

        def probabilities(new):
            table = np.zeros((len(new), labels.matrix.shape[1]))
            table[:, model.classes_] = model.predict_proba(new)
            return table

        return probabilities
    columns = labels.matrix[:, 1:] if labels.task == "binary" else labels.matrix
    models = [fit(column) if 0 < column.sum() < len(column) else None for column in columns.T]
    rates = np.clip(columns.mean(axis=0), 0.5 / len(columns), 1 - 0.5 / len(columns))

    def each(new):
        odds = np.column_stack(
            [
                np.full(len(new), rate) if model is None else expit(model.decision_function(new))
                for model, rate in zip(models, rates, strict=True)
            ]
        )
        return np.column_stack([1 - odds, odds]) if labels.task == "binary" else odds

    return each


def chosen_threshold(features, labels, clusters, C):
    """Return the best threshold on out-of-fold probabilities of the labelled notes, if binary."""
    if labels.task != "binary" or len(np.unique(clusters)) < FOLDS:
        return threshold.Threshold(0.5, at_least_one=True)
    found = np.empty(labels.matrix.shape)
    for train, held_out in GroupKFold(FOLDS).split(features, groups=clusters):
        found[held_out] = regression(features[train], labels.take(train), C)(features[held_out])
    return threshold.choose(labels, found, metrics.PRIMARY[labels.task])


# ------------------------------------------------------------------ strategies


# Each returns rows of the pool, given residuals, uncertainty, vectors, patients and a generator.


def randomly(residuals, unsure, vectors, clusters, generator):
    return generator.permutation(len(clusters))[:STEP]


def one_per_patient(residuals, unsure, vectors, clusters, generator):
    return within_quota(generator.permutation(len(clusters)), clusters)


def most_uncertain(residuals, unsure, vectors, clusters, generator):
    return within_quota(np.argsort(-unsure, kind="stable"), clusters)


def weighted_k_means(residuals, unsure, vectors, clusters, generator, beta=10):
    """Zhdanov 2019: of the most uncertain, those nearest to the centres of weighted k-means."""
    rows = np.argsort(-unsure, kind="stable")[: beta * STEP]
    return _near_centres(vectors, unsure + 1e-9, rows, clusters, generator)


def k_means(residuals, unsure, vectors, clusters, generator):
    rows = np.arange(len(clusters))
    return _near_centres(vectors, np.ones(len(rows)), rows, clusters, generator)


def _near_centres(vectors, weight, rows, clusters, generator):
    seed = int(generator.integers(2**31))
    found = KMeans(STEP, n_init=1, max_iter=30, random_state=seed)
    found.fit(vectors[rows], sample_weight=weight[rows])
    distance = ((vectors[rows] - found.cluster_centers_[found.labels_]) ** 2).sum(axis=1)
    nearest = np.lexsort((distance, found.labels_))
    first = np.searchsorted(found.labels_[nearest], np.arange(STEP))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[nearest] = np.arange(len(rows)) - first[found.labels_[nearest]]
    return within_quota(rows[np.lexsort((distance, rank))], clusters)


def shipped(residuals, unsure, vectors, clusters, generator):
    one_each = np.ones(clusters.max() + 1, dtype=np.int64)
    return strategy.choose(residuals, vectors, clusters, STEP, one_each, generator)


def within_quota(order, clusters):
    """Return the first rows in an order with no patient twice."""
    firsts = np.sort(np.unique(clusters[order], return_index=True)[1])
    return order[firsts][:STEP]


STRATEGIES = {
    "random": randomly,
    "random, one per patient": one_per_patient,
    "most uncertain": most_uncertain,
    "weighted k-means": weighted_k_means,
    "k-means": k_means,
    "clinadapt suggest": shipped,
}


# ------------------------------------------------------------------ simulation


def draw(clusters, generator):
    """Return the rows of the test part, of the start and of the pool, patients whole."""
    patients = generator.permutation(clusters.max() + 1)
    ends = np.cumsum(np.bincount(clusters)[patients])
    in_test = np.searchsorted(ends, TEST * len(clusters))
    start = np.searchsorted(ends, ends[in_test - 1] + START) + 1
    place = np.empty(len(patients), dtype=np.int64)
    place[patients] = np.arange(len(patients))
    at = place[clusters]
    return (
        np.flatnonzero(at < in_test),
        np.flatnonzero((at >= in_test) & (at < start)),
        np.flatnonzero(at >= start),
    )


def simulate(model, choose, notes, vectors, parts, generator):
    """Return the score on the test part, in points, after each round."""
    test, rows, pool = parts
    labels, clusters, scores = notes.labels, notes.clusters, []
    for done in range(ROUNDS + 1):
        features, of_pool, of_test = model.features(rows, pool, test)
        own = labels.take(rows)
        probabilities = regression(features, own, model.C)
        rule = chosen_threshold(features, own, clusters[rows], model.C)
        scores.append(score(labels.take(test), probabilities(of_test), rule))
        if done == ROUNDS:
            return scores
        given = probabilities(of_pool)
        residuals = strategy.residuals(labels.task, given, rule.value)
        unsure = strategy.uncertainty(residuals)
        chosen = choose(residuals, unsure, vectors[pool], clusters[pool], generator)
        rows, pool = np.r_[rows, pool[chosen]], np.delete(pool, chosen)


def score(labels: Labels, probabilities, rule):
    name = metrics.PRIMARY[labels.task]
    predicted = rule.predict(labels.task, probabilities)
    value = metrics.values(labels, probabilities, predicted, np.ones((1, len(labels))), [name])
    return 100 * np.nan_to_num(value[name][0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    labelled.add_options(parser)
    parser.add_argument("--features", type=Path, help=".npy; absent: TF-IDF")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the processor")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    options = parser.parse_args()
    notes = labelled.read(options)
    model = Tfidf(notes) if options.features is None else Frozen(notes, options.features)
    vectors = strategy.vectors(notes.texts)
    grouped = notes.groups is not None
    names = [name for name in options.strategies if grouped or name != "random, one per patient"]
    found, began = {name: [] for name in names}, time.process_time()
    for repeat in range(options.repeats):
        spent = time.process_time() - began
        if repeat >= 3 and spent * (repeat + 1) / repeat > 60 * options.minutes:
            break
        parts = draw(notes.clusters, np.random.default_rng(repeat))
        for name in names:
            generator = np.random.default_rng([repeat, 1])
            scores = simulate(model, STRATEGIES[name], notes, vectors, parts, generator)
            found[name].append(scores)
    kind = "TF-IDF" if options.features is None else "frozen encoder"
    print(f"{options.notes}, {kind}, {metrics.PRIMARY[notes.labels.task]}")
    tell({name: np.array(scores) for name, scores in found.items()})


def tell(found):
    """Print the score of random labels, and the difference of each strategy from it."""
    base = found["random"]
    repeats, means = len(base), base.mean(axis=0)
    print(f"{repeats} repeats; random labels, after each round: {means.round(1).tolist()}")
    print(f"gained per 100 random labels: {(means[-1] - means[0]) / ROUNDS:.2f}")
    for name, scores in found.items():
        gain = scores[:, 1:] - base[:, 1:]
        for what, each in (("first 100", gain[:, 0]), ("mean of all rounds", gain.mean(axis=1))):
            half = student.ppf(0.975, repeats - 1) * each.std(ddof=1) / np.sqrt(repeats)
            print(f"{name}, {what}: {each.mean():+.2f} [{each.mean() - half:+.2f}, "
                  f"{each.mean() + half:+.2f}]")  # fmt: skip


if __name__ == "__main__":
    main()
