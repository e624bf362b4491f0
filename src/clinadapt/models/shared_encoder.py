"""Several classifiers in one pass: the frozen layers that they share run once a note.

Bundles that were made from one encoder hold equal copies of it. Where tokens, layers and precision
are the same too, the features at the split layer are the same, and only what lies above is each
task's own: twenty tasks cost one pass of the encoder, twenty adapters and twenty heads.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from clinadapt.core.device import compute_dtype, pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.models import neural_base
from clinadapt.models.bundle.record import name_of
from clinadapt.models.classifier import NoteClassifier, as_texts
from clinadapt.models.encoder_model import EncoderModel
from clinadapt.models.load import load
from clinadapt.neural.pooling_head import Pooling
from clinadapt.neural.training.batch_sources import Source
from clinadapt.neural.training.loop import run

Floats = NDArray[np.float64]
NAME = re.compile(r"[\w.-]{1,64}")


class Together:
    """Classifiers by the name of their task; what several of them would do is done once.

    Parameters
    ----------
    classifiers : mapping of str to NoteClassifier
        Fitted. Those with the same frozen layers are given one `FrozenPrefix` among them, so that
        memory holds one encoder, also when they are asked by themselves.

    Attributes
    ----------
    classifiers : dict of str to NoteClassifier
    """

    def __init__(self, classifiers: Mapping[str, NoteClassifier]) -> None:
        self.classifiers = dict(classifiers)
        found = [one.model_.frozen_part for one in self.classifiers.values()]
        models = [model for model in found if model is not None]
        if len(models) < 2:  # whose weights need not be hashed
            return
        prefixes: dict[tuple[Any, ...], FrozenPrefix] = {}
        for model in models:
            model.prefix_ = prefixes.setdefault(_content(model), model.prefix_)

    @classmethod
    def load(cls, bundles: Mapping[str, Path]) -> Self:
        """Open bundles, offline.

        Raises
        ------
        InputError
            Not a bundle, or one of another format.
        """
        return cls({name: load(folder) for name, folder in bundles.items()})

    def predict_proba(
        self, texts: Sequence[str], tasks: Collection[str] | None = None
    ) -> dict[str, Floats]:
        """Probabilities [note, class] of every task: those of each classifier alone.

        Parameters
        ----------
        texts : sequence of str
        tasks : collection of str, optional
            Default: all.

        Raises
        ------
        InputError
            Texts that do not do.
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
        read: dict[str, Floats] = {}
        for models in sharing.values():
            read |= _one_pass(models, texts)
        return {
            name: classifier.model_.finish(read[name], texts)
            if name in read
            else classifier.predict_proba(texts)
            for name, classifier in chosen.items()
        }


def _content(model: EncoderModel) -> tuple[Any, ...]:
    """All that the cached features of a text depend on."""
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
    """Probabilities of models on one prefix."""
    first = next(iter(models.values()))
    device = pick_device(first.device)
    dtype = compute_dtype(first.precision, device)
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in models}
    for features in first.prefix_.passing(texts, Context(), device):
        pooled: dict[Pooling, Source] = {}  # a mean over tokens costs more than a head
        for name, model in models.items():
            source: Source = features
            if model.after_pooling:
                if model.pooling_ not in pooled:
                    pooled[model.pooling_] = features.pooled(model.pooling_)
                source = pooled[model.pooling_]
            outputs[name].append(run(model.network_, source, device, dtype))
    return {
        name: neural_base.probabilities(model.task_, torch.cat(outputs[name]))
        for name, model in models.items()
    }


def named_bundles(arguments: Sequence[str]) -> dict[str, Path]:
    """Tasks' names and bundles, of ``FOLDER`` or ``NAME=FOLDER`` each.

    Without a name the task is called like the folder, or, in a study's ``best`` and
    ``recommended``, like the study.

    Raises
    ------
    InputError
        Two of one name, or a name that does not do.
    """
    found: dict[str, Path] = {}
    problems = []
    for argument in arguments:
        name, separator, folder = argument.partition("=")
        path = Path(folder if separator else argument)
        if not separator:
            name = name_of(path)
        if not NAME.fullmatch(name):
            problems.append(
                f"a task's name has letters, digits, '.', '_' and '-', got {name!r}: write "
                "NAME=FOLDER"
            )
        elif name in found:
            problems.append(f"two tasks are called {name!r}: write NAME=FOLDER for one of them")
        found[name] = path
    if problems:
        raise InputError(problems)
    return found
