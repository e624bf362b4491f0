"""A frozen encoder whose adapter and head are trained with differential privacy.

A reader of the bundle learns little more about any single training note than if that note had not
been there: see `clinadapt.neural.training.dp_sgd`, and docs/privacy.md for what this does not
cover. The training notes contribute noisy gradients only: there are no class weights, which would
count them, and there is no early stopping.
"""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge, Gt, Interval

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.models.contract import Kind
from clinadapt.models.encoder_model import EncoderModel
from clinadapt.models.files import GUARANTEE_BYTES, GUARANTEE_FILE
from clinadapt.models.token_network import TokenNetwork
from clinadapt.neural.adapters import lora
from clinadapt.neural.adapters import registry as adapters
from clinadapt.neural.training import dp_sgd
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.losses import ClassLoss
from clinadapt.neural.training.memory_budget import MemorySavings


@dataclass(eq=False, repr=False, kw_only=True)
class PrivateModel(EncoderModel):
    """Frozen encoder, and an adapter, pooling and head trained with (ε, δ)-differential privacy.

    Parameters
    ----------
    encoder, adapter, adapter_options, match_parameters, pooling, inner, epochs
        See `EncoderModel`. The encoder must not have been trained on the notes; adapters have no
        dropout; all epochs are run.
    placement : {"final", "pooled"}
        After the last layer, on token features; or on the pooled features.
    max_tokens, truncation
        See `ReadsTokens`. "windows" requires an adapter after pooling, or none.
    epsilon, delta : float
        Privacy budget of a note; δ must be below one over the number of training notes.
    clipping : float
        Largest norm of the gradient of a note.
    batch_size : int
        Average number of notes per step; large batches reduce the effect of the noise.
    precision, backend
        Precision and runtime of the encoder; trained weights are fp32.
    seed : int
        Seed of the initial weights. Noise and batches use a secret one, so that two fits differ.

    Attributes
    ----------
    guarantee_ : Guarantee
        Upper bound of the privacy loss.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, PrivateModel
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> model = PrivateModel("clinadapt-mini-fr", max_tokens=16, delta=1e-3)
    >>> classifier = NoteClassifier(model).fit(texts, [1, 0] * 20)
    >>> classifier.model_.guarantee_.epsilon <= 8
    True
    """

    kind: ClassVar[Kind] = "private"

    tuned_layers: Literal[0] = field(default=0, init=False)
    adapted_layers: Literal["all"] = field(default="all", init=False)
    dropout: float = field(default=0.0, init=False)
    placement: Literal["final", "pooled"] = "final"
    epsilon: Annotated[float, Gt(0)] = 8.0
    delta: Annotated[float, Interval(gt=0, lt=1)] = 1e-5
    clipping: Annotated[float, Gt(0)] = 1.0
    batch_size: Annotated[int, Ge(1)] = 256
    learning_rate: Annotated[float, Gt(0)] = 1e-2

    def title(self, shown: dict[str, Any]) -> str:
        """Return encoder, adapter and tuned layers, marked as private."""
        return f"private {super().title(shown)}"

    def setting_problems(self) -> list[str]:
        """Return problems of the adapter, its options and its placement."""
        if self.adapter in lora.LOW_RANK:
            return [
                f"{self.adapter} changes the encoder's layers, which stay frozen in private "
                f"training; choose one of {', '.join(adapters.ADAPTERS)}"
            ]
        problems = super().setting_problems()
        if "dropout" in (self.adapter_options or {}):
            problems.append("private training has no dropout: leave it out of adapter_options")
        one_vector = self.adapter == "none" or self.placement == "pooled"
        if self.truncation == "windows" and not one_vector:
            problems.append(
                "private training takes one sequence a note: truncation = 'windows' requires "
                "placement = 'pooled' or adapter = 'none'"
            )
        return problems

    def file_problems(self) -> list[str]:
        """Return problems of the encoder, and one if opacus is not installed."""
        installed = importlib.util.find_spec("opacus") is not None
        return super().file_problems() + ([] if installed else [dp_sgd.MISSING])

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
        if self.delta * len(labels) >= 1:
            raise InputError(
                f"delta = {self.delta:g} would allow one of the {len(labels)} training notes to be "
                f"disclosed in full: choose a delta well below {1 / len(labels):.1g}"
            )
        self.guarantee_, history = dp_sgd.train(
            self.network_,
            sources[0],
            ClassLoss(labels.target, len(labels.classes), "none"),
            self.recipe(max_batch_tokens=savings.batch_tokens),
            dp_sgd.PrivacyBudget(self.epsilon, self.delta, self.clipping),
            device,
            context.progress,
        )
        return history

    def token_network(self) -> TokenNetwork:
        """Raise an error: an exported network would not carry the guarantee.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a bundle trained with differential privacy cannot be exported, because the export "
            "would not carry its guarantee: use the bundle itself"
        )

    def save(self, folder: Path) -> None:
        """Write the files of a pretrained model, and the guarantee."""
        super().save(folder)
        text = json.dumps(asdict(self.guarantee_), indent=2)
        (folder / GUARANTEE_FILE).write_text(text, encoding="utf-8")

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote; opacus is not needed."""
        super().load(folder, task, classes)
        content = safe_files.read_json(folder / GUARANTEE_FILE, GUARANTEE_BYTES)
        self.guarantee_ = dp_sgd.Guarantee(**content)
        return self
