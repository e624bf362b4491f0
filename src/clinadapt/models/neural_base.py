"""Shared by all neural models: train a classifier, convert its outputs, save its weights."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from clinadapt.core import old_names, safe_files
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics
from clinadapt.evaluation.threshold import best_score
from clinadapt.features.tokenization import Tokens, Truncation, tokenize
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.loop import Validation, train
from clinadapt.neural.training.losses import ClassLoss, ClassWeight
from clinadapt.neural.training.recipe import Recipe

WEIGHTS_FILE = "model.safetensors"


def probabilities(task: Task, outputs: Tensor) -> NDArray[np.float64]:
    """Return probabilities [note, class]: a softmax, or a sigmoid per label (multi-label)."""
    scores = outputs.double()
    return (scores.sigmoid() if task == "multilabel" else scores.softmax(dim=1)).numpy()


def fit_classifier(
    network: nn.Module,
    source: BatchSource,
    labels: Labels,
    validation: tuple[BatchSource, Labels] | None,
    metric: str | None,
    class_weight: ClassWeight,
    recipe: Recipe,
    device: torch.device,
    context: Context,
    pretrained: Callable[[str], bool] = lambda name: False,
    report: Callable[[], dict[str, Any]] = dict,
) -> list[dict[str, Any]]:
    """Train a network to classify notes, stopping early by a metric on validation notes.

    Parameters
    ----------
    network : nn.Module
    source : BatchSource
        Training notes, in the order of `labels`.
    labels : Labels
    validation : (Source, Labels), optional
    metric : str, optional
        Default: the task's primary metric.
    class_weight : {"balanced", "none"}
    recipe : Recipe
    device : torch.device
    context : Context
    pretrained, report : callable
        See `clinadapt.neural.training.loop.train`.

    Returns
    -------
    list of dict
        The history, one entry per epoch.
    """
    objective = ClassLoss(labels.target, len(labels.classes), class_weight)
    judge = None
    if validation is not None:
        validation_source, truth = validation
        # Weighted as in training, so that the two losses are comparable.
        loss = ClassLoss(truth.target, len(truth.classes), "none")
        loss.present, loss.absent = objective.present, objective.absent
        name = metric or metrics.PRIMARY[truth.task]
        judge = Validation(
            validation_source,
            loss,
            lambda outputs: best_score(truth, probabilities(truth.task, outputs), name),
        )
    return train(
        network,
        source,
        objective,
        recipe,
        device,
        judge,
        pretrained,
        context.checkpoint,
        context.progress,
        report,
    )


def tokenize_notes(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_tokens: int,
    truncation: Truncation,
    context: Context,
) -> Tokens:
    """Return the token ids of notes, and count the truncated notes in the ledger."""
    tokens = tokenize(tokenizer, texts, max_tokens, truncation)
    context.ledger.truncated_notes += tokens.truncated
    return tokens


def save_weights(weights: dict[str, Tensor], folder: Path) -> None:
    """Write tensors as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    plain: dict[str, Tensor] = {}
    stored: set[int] = set()
    for name, tensor in weights.items():
        plain[name] = tensor.detach().cpu().contiguous()
        address = plain[name].untyped_storage().data_ptr()
        if address in stored:  # safetensors refuses tensors that share memory
            plain[name] = plain[name].clone()
        stored.add(address)
    save_file(plain, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the tensors that `save_weights` wrote."""
    saved = load_file(folder / WEIGHTS_FILE)
    return {old_names.weight(name): tensor for name, tensor in saved.items()}


def fill(network: nn.Module, folder: Path, needed: set[str] | None = None) -> None:
    """Load saved tensors into a network, which must have exactly these.

    Parameters
    ----------
    network : nn.Module
    folder : Path
        Folder of the weights.
    needed : set of str, optional
        Names that the file must contain; default: all of the network's.

    Raises
    ------
    InputError
        A tensor is missing, unexpected or of another shape: no weight may stay random.
    """
    safe_files.require(network, folder / WEIGHTS_FILE, needed)
    network.load_state_dict(read_weights(folder), strict=False)


def trainable(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that training changes, by name."""
    return {name: w for name, w in network.named_parameters() if w.requires_grad}
