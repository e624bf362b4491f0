"""Benefit of pre-training: held-out loss and downstream score by minutes, size and objective.

    python benchmarks/pretraining.py TEXTS --notes NOTES --group group --split split \
        --minutes 2 6 --size mini small --objective bag masked

Each combination is trained from scratch. The downstream score is the average precision of a
logistic regression on mean frozen features of the training notes, over folds that keep groups
together; test notes are not used. TF-IDF with the same regression and folds is the baseline.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinadapt.core.run_context import Context
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.pretraining.corpus import read_corpus, read_excluded
from clinadapt.pretraining.model_sizes import SIZES
from clinadapt.pretraining.pretrain import make_encoder

FOLDS = 5
MAX_TOKENS = 256


def regression(strength):
    return LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)


def average_precision(model, features, labels, groups):
    """Return the cross-validated average precision, weighted over classes by their notes."""
    if labels.task == "binary":
        target = labels.target
    else:
        target, model = labels.matrix.astype(int), OneVsRestClassifier(clone(model))
    folds = GroupKFold(FOLDS) if groups is not None else KFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(
        model, features, target, groups=groups, cv=folds, method="decision_function"
    )
    return float(average_precision_score(target, scores, average="weighted"))


def mean_features(folder, texts):
    encoder = PretrainedEncoder(folder)
    longest = min(MAX_TOKENS, encoder.max_tokens)
    prefix = FrozenPrefix(encoder, encoder.layers, longest, "head", "auto", "torch")
    (features,) = prefix.cached([texts], Context(), torch.device("cpu"))
    return features.pooled("mean").vectors.numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--label", default="label")
    parser.add_argument("--separator")
    parser.add_argument("--group")
    parser.add_argument("--split", required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0])
    parser.add_argument("--size", nargs="+", default=["mini"], choices=sorted(SIZES))
    parser.add_argument("--objective", nargs="+", default=["bag"])
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[16384])
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("pretraining"))
    options = parser.parse_args()

    columns = Columns(
        label=(options.label,),
        separator=options.separator,
        group=options.group,
        split=options.split,
    )
    notes = read_notes(options.notes, columns)
    train = np.flatnonzero(np.asarray(list(notes.parts)) == "train")
    texts, labels = list(notes.texts.take(train)), notes.labels.take(train)
    groups = None if options.group is None else np.asarray(list(notes.groups))[train]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    sparse = average_precision(make_pipeline(words, regression(10)), texts, labels, groups)
    print(f"TF-IDF + logistic regression: {sparse:.3f}", flush=True)

    corpus = read_corpus(options.texts, excluded=read_excluded(options.notes, split=options.split))
    options.out.mkdir(parents=True, exist_ok=True)
    for minutes, size, objective, vocabulary in product(
        options.minutes, options.size, options.objective, options.vocabulary
    ):
        folder = options.out / f"{size}-{objective}-{vocabulary}-{minutes:g}"
        record = make_encoder(
            corpus,
            folder,
            minutes,
            objective=objective,
            size=size,
            vocabulary=vocabulary,
            length=options.length,
        )
        model = make_pipeline(StandardScaler(), regression(0.01))
        line = {
            "size": size,
            "objective": objective,
            "vocabulary": vocabulary,
            "minutes": minutes,
            "tokens": record["result"]["tokens"],
            "tokens_per_second": record["result"]["tokens_per_second"],
            "held_out_loss": record["result"]["held_out_loss"],
            "average_precision": average_precision(
                model, mean_features(folder, texts), labels, groups
            ),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
