"""Several classifiers in one pass: the frozen layers that they share run once per note.

Bundles made from one encoder contain equal copies of it. If tokens, layers and precision are the
same too, so are the features at the split layer, and only the layers above it differ by task:
twenty tasks cost one pass of the encoder, twenty adapters and twenty heads.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from clinadapt.core.arrays import Floats
from clinadapt.core.device import compute_dtype, pick_device
from clinadapt.core.run_context import Context
from clinadapt.data.python_inputs import as_texts
from clinadapt.evaluation.calibration_maps import Scale
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.models import neural_base
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.encoder_model import EncoderModel
from clinadapt.models.load import load
from clinadapt.neural.pooling_head import Pooling
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.loop import run


class Together:
    """Classifiers by task name that share the work of equal frozen layers.

    Parameters
    ----------
    classifiers : mapping of str to NoteClassifier
        Fitted. Those with the same frozen layers share one `FrozenPrefix`, so that memory holds
        one encoder even if they are used separately.

    Attributes
    ----------
    classifiers : dict of str to NoteClassifier
    """

    def __init__(self, classifiers: Mapping[str, NoteClassifier]) -> None:
        self.classifiers = dict(classifiers)
        parts = [one.model_.frozen_part for one in self.classifiers.values()]
        models = [part for part in parts if part is not None]
        if len(models) < 2:  # nothing to share: the weights need not be hashed
            return
        prefixes: dict[tuple[Any, ...], FrozenPrefix] = {}
        for model in models:
            model.prefix_ = prefixes.setdefault(_content(model), model.prefix_)

    @classmethod
    def load(
        cls,
        bundles: Mapping[str, Path],
        scale: Scale | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> Self:
        """Open bundles, offline.

        Parameters
        ----------
        bundles : mapping of str to Path
            Folders by task name.
        scale : {"raw", "calibrated"}, optional
        thresholds : mapping of str to float, optional
            By task name; see `clinadapt.load`.

        Raises
        ------
        InputError
            A folder is not a bundle, or a bundle of another format; or see `clinadapt.load`.
        """
        given = thresholds or {}
        return cls({name: load(folder, scale, given.get(name)) for name, folder in bundles.items()})

    def predict_proba(
        self, texts: Sequence[str], tasks: Collection[str] | None = None
    ) -> dict[str, Floats]:
        """Return probabilities [note, class] by task, equal to those of each classifier alone.

        Columns are as in its ``classes_``. Those of a note in which a classifier finds nothing that
        it can read are NaN.

        Parameters
        ----------
        texts : sequence of str
        tasks : collection of str, optional
            Names of tasks; default: all.

        Raises
        ------
        InputError
            Something in `texts` is not a text, or is empty.
        """
        texts = as_texts(texts)
        chosen = {name: self.classifiers[name] for name in (tasks or self.classifiers)}
        if not texts:
            return {name: np.empty((0, len(one.classes_))) for name, one in chosen.items()}
        sharing: dict[int, dict[str, EncoderModel]] = {}
        for name, classifier in chosen.items():
            model = classifier.model_.frozen_part
            if model is not None:
                sharing.setdefault(id(model.prefix_), {})[name] = model
        in_one_pass: dict[str, Floats] = {}
        for models in sharing.values():
            in_one_pass |= _one_pass(models, texts)
        answers = {
            name: classifier.present(classifier.model_.finish(in_one_pass[name], texts))
            if name in in_one_pass
            else classifier.predict_proba(texts)
            for name, classifier in chosen.items()
        }
        for name, classifier in chosen.items():
            answers[name][~classifier.model_.readable(texts)] = np.nan
        return answers


def _content(model: EncoderModel) -> tuple[Any, ...]:
    """Return everything that the cached features of a text depend on."""
    prefix = model.prefix_
    tokenizer = hashlib.sha256(prefix.encoder.tokenizer.to_str().encode()).hexdigest()
    how = (
        prefix.split_layer,
        prefix.max_tokens,
        prefix.truncation,
        prefix.precision,
        prefix.backend,
    )
    return (prefix.encoder.fingerprint, tokenizer, *how, model.device)


def _one_pass(models: Mapping[str, EncoderModel], texts: Sequence[str]) -> dict[str, Floats]:
    """Return probabilities [note, class] of models that share one prefix, by name."""
    first = next(iter(models.values()))
    device = pick_device(first.device)
    dtype = compute_dtype(first.precision, device)
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in models}
    for features in first.prefix_.passing(texts, Context(), device):
        pooled: dict[
            Pooling, BatchSource
        ] = {}  # pooling costs more than a head: once for all models
        for name, model in models.items():
            source: BatchSource = features
            if model.after_pooling:
                if model.pooling_ not in pooled:
                    pooled[model.pooling_] = features.pooled(model.pooling_)
                source = pooled[model.pooling_]
            outputs[name].append(run(model.network_, source, device, dtype))
    return {
        name: neural_base.probabilities(model.task_, torch.cat(outputs[name]))
        for name, model in models.items()
    }
