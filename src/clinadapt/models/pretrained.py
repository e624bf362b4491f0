"""A pretrained encoder with an adapter, trained with early stopping."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Gt

from clinadapt.core.device import compute_dtype
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels
from clinadapt.models import neural_base
from clinadapt.models.contract import Effort
from clinadapt.models.encoder_assembly import is_pretrained_weight
from clinadapt.models.encoder_model import EncoderModel
from clinadapt.models.training_settings import StoppedEarly
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.memory_budget import MemorySavings


@dataclass(eq=False, repr=False, kw_only=True)
class PretrainedModel(EncoderModel, StoppedEarly):
    """Encoder, adapter, pooling and head, trained with early stopping.

    Parameters
    ----------
    encoder, adapter, placement, tuned_layers, …
        See `EncoderModel` and `StoppedEarly`.
    learning_rate : float
        Learning rate of adapter and head.
    encoder_learning_rate : float
        Learning rate of tuned layers.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, PretrainedModel
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> model = PretrainedModel("clinadapt-mini-fr", adapter="bottleneck", max_tokens=16)
    >>> classifier = NoteClassifier(model).fit(texts, [1, 0] * 20)
    >>> classifier.model_.trainable_parameters_ < classifier.model_.total_parameters_
    True
    """

    encoder_learning_rate: Annotated[float, Gt(0)] = 5e-5

    def effort(self) -> Effort:
        """Return "encoder" if any of its layers run in training, else "head"."""
        return "encoder" if self.tuned_layers or self.placement == "layers" else "head"

    def _train(
        self,
        sources: Sequence[BatchSource],
        labels: Labels,
        validation_labels: Labels | None,
        metric: str | None,
        savings: MemorySavings,
        device: torch.device,
        context: Context,
    ) -> list[dict[str, Any]]:
        """Train the built network on the first source; the second holds the validation notes."""
        return neural_base.fit_classifier(
            self.network_,
            sources[0],
            labels,
            None if validation_labels is None else (sources[1], validation_labels),
            metric,
            self.class_weight,
            self.recipe(
                encoder_learning_rate=self.encoder_learning_rate,
                max_batch_tokens=savings.batch_tokens,
                lean_optimizer=savings.lean_optimizer,
                dtype=compute_dtype(self.precision, device),
            ),
            device,
            context,
            pretrained=is_pretrained_weight,
        )
