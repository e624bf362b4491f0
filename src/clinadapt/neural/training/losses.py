"""Training objectives: weighted class losses and the reconstruction error."""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clinadapt.neural.note_network import Batch

ClassWeight = Literal["balanced", "none"]


class Objective(Protocol):
    """Loss that is summed over notes, so that the losses of micro-batches can be added."""

    def __call__(self, output: Tensor, notes: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the notes' losses.

        Parameters
        ----------
        output : Tensor, shape [note, ...]
            Output of the network.
        notes : Tensor of int64, shape [note]
            Indices of the notes in the source.
        batch : Batch
            Input of the network.
        """
        ...


class ClassLoss:
    """Cross-entropy over classes, or over each label's presence in a multi-label task.

    Parameters
    ----------
    target : ndarray of int64, shape [note] or [note, class]
        Class codes, or a 0/1 indicator.
    classes : int
        Number of classes.
    class_weight : {"balanced", "none"}
        "balanced" weights classes inversely to their frequency, with mean weight 1, as in
        scikit-learn.
    """

    def __init__(
        self, target: NDArray[np.int64], classes: int, class_weight: ClassWeight = "balanced"
    ) -> None:
        self.target = torch.from_numpy(target)
        self.multilabel = target.ndim == 2
        positive = target.sum(axis=0) if self.multilabel else np.bincount(target, minlength=classes)
        share = torch.from_numpy(positive / len(target)).float()
        if class_weight == "none":
            self.present = torch.ones(classes)
            self.absent = torch.ones(classes)
        elif self.multilabel:
            self.present = 0.5 / share.clamp(min=1e-9)
            self.absent = 0.5 / (1 - share).clamp(min=1e-9)
        else:
            self.present = 1 / (classes * share.clamp(min=1e-9))
            self.absent = self.present

    def __call__(self, output: Tensor, notes: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the notes' weighted losses."""
        target = self.target[notes].to(output.device)
        present = self.present.to(output.device)
        if not self.multilabel:
            return functional.cross_entropy(output.float(), target, weight=present, reduction="sum")
        weight = torch.where(target > 0, present, self.absent.to(output.device))
        loss = functional.binary_cross_entropy_with_logits(
            output.float(), target.float(), weight=weight, reduction="none"
        )
        return loss.mean(dim=1).sum()


class Reconstruction:
    """Squared error between the output and the input vectors, for an autoencoder."""

    def __call__(self, output: Tensor, notes: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the squared errors over notes and features."""
        return (output.float() - batch.inputs[:, 0]).square().sum()
