"""A small fitted model of every kind."""

import numpy as np

from clinadapt.data.labels import from_sets, from_single
from clinadapt.evaluation.abstention import Abstention
from clinadapt.evaluation.prediction_sets import PredictionSets
from clinadapt.evaluation.reject_band import RejectBand
from clinadapt.models import registry
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.tfidf_logistic import TfidfLogistic

TEXTS = [
    f"enfant admis {'avec fievre' if n % 3 else 'pas de dyspnee'} transfert {'oedeme' * (n % 2)}"
    for n in range(48)
]


LABELS = {
    "binary": from_single([n % 2 for n in range(48)]),
    "multiclass": from_single([n % 3 for n in range(48)]),
    "multilabel": from_sets([{"even"} if n % 2 == 0 else {"odd", "all"} for n in range(48)]),
}


QUICK = {
    "tfidf-logistic": {},
    "tfidf-mlp": {"epochs": 2},
    "tfidf-autoencoder": {"epochs": 2, "pretrain_epochs": 1, "inner": 16, "code": 8},
    "transformer": {"epochs": 2, "vocabulary": 60, "max_tokens": 16},
    "moe": {"epochs": 2, "vocabulary": 60, "max_tokens": 16},
    "pretrained": {"epochs": 1, "max_tokens": 16},
    "stacked": {"max_tokens": 16, "encoder_options": {"epochs": 1}},
    "attention": {"epochs": 1, "max_tokens": 16},
    "private": {"epochs": 1, "max_tokens": 16},
    "sklearn": {"estimator": "pipelines:words"},
}


def build(name, encoder_folders, **more):
    values = QUICK[name] | more
    if name in ("pretrained", "stacked", "attention", "private"):
        values = {"encoder": str(encoder_folders["bert"]), **values}
    return registry.build(name, values)


def fitted(model, task, context=None):
    labels = LABELS[task]
    train, validation = np.arange(36), np.arange(36, 48)
    return NoteClassifier(model).fit_parts(
        TEXTS[:36], labels.take(train), TEXTS[36:], labels.take(validation), context
    )


def abstaining(task):
    """Return a classifier that leaves some of `TEXTS`, for a risk of 5 % and a coverage of 90 %."""
    classifier = fitted(TfidfLogistic(), task)
    probabilities = classifier.in_label_order(classifier.predict_proba(TEXTS))
    given = {"binary": probabilities[:, 1:], "multiclass": probabilities.max(axis=1)}
    low, middle, high = np.quantile(given.get(task, probabilities), [0.3, 0.5, 0.7]).tolist()
    classifier.abstention_ = Abstention(
        confidence=0.9,
        patients=12,
        bands=[RejectBand(risk=0.05, yes=high, no=None if task == "multiclass" else low)],
        sets=[PredictionSets(coverage=0.9, least=[middle] * len(classifier.classes_))],
    )
    return classifier


PLACES = {
    "frozen": {},
    "frozen, adapter": {"adapter": "gated_residual"},
    "frozen, matched": {"adapter": "bottleneck", "match_parameters": 500},
    "pooled": {"adapter": "lightweight", "placement": "pooled"},
    "top layer tuned": {"adapter": "tiny_attention", "tuned_layers": 1},
    "all tuned": {"tuned_layers": "all"},
    "all tuned by number": {"tuned_layers": 3, "adapter": "bottleneck"},
    "in layers": {"adapter": "bottleneck", "placement": "layers", "adapted_layers": 2},
    "in layers, tuned": {
        "adapter": "lightweight",
        "placement": "layers",
        "adapted_layers": 1,
        "tuned_layers": 2,
    },
    "lora": {"adapter": "lora", "placement": "layers", "adapted_layers": 1},
    "lora, all": {"adapter": "lora", "placement": "layers", "tuned_layers": 1},
    "dora": {"adapter": "dora", "placement": "layers", "adapter_options": {"rank": 2}},
    "ia3": {"adapter": "ia3", "placement": "layers"},
    "windows": {"truncation": "windows", "max_tokens": 6, "tuned_layers": 1},
}
