"""A classifier of patients: gated attention over the frozen features of their notes.

Each note is read by a frozen encoder once, and its pooled features are cached. What is trained is
small, and sees all notes of a patient together, so that it learns which of them matter. See
`clinadapt.neural.gated_attention` for the formula and the paper.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinadapt.core import param_validation, safe_files
from clinadapt.core.arrays import Floats
from clinadapt.core.device import Precision, compute_dtype, pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.data.patients import notes_of
from clinadapt.features.encoders.backends import BackendChoice
from clinadapt.features.encoders.catalog import find_local, require_plausible
from clinadapt.features.encoders.pretrained import (
    PretrainedEncoder,
    open_encoder,
    save_encoder_files,
)
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.models import neural_base
from clinadapt.models.contract import Effort, Kind
from clinadapt.models.encoder_model import ENCODER_FOLDER, NOTES_AT_ONCE
from clinadapt.models.training_settings import Epochs, ReadsTokens, StoppedEarly
from clinadapt.neural.adapters.registry import count_parameters
from clinadapt.neural.gated_attention import GatedAttention, PatientNetwork, PatientSource
from clinadapt.neural.pooling_head import Head, Pooling
from clinadapt.neural.training.loop import run


@dataclass(eq=False, repr=False, kw_only=True)
class AttentionModel(ReadsTokens, StoppedEarly):
    """Frozen encoder, gated attention over a patient's notes, and a head.

    It reads documents of patients (see `clinadapt.patient_documents`) and is for studies of
    patients; a single note is a patient with one note.

    Parameters
    ----------
    encoder : str
        Known name, hub id or folder.
    pooling : {"mean", "first", "last", "max"}
        How the tokens of a note become its vector.
    inner : int
        Units of the layers that the attention's weights are computed from.
    dropout : float
        Dropout rate of the head.
    epochs : int
    batch_size : int
        Patients per step.
    precision : {"auto", "fp32", "bf16"}
        Of the encoder. "auto" is bf16 on hardware that accelerates it.
    backend : {"auto", "torch", "openvino"}
        Runtime of the encoder; "auto" is the one measured fastest on this machine.
    others
        See `ReadsTokens` and `StoppedEarly`.

    Examples
    --------
    >>> from clinadapt import AttentionModel, NoteClassifier, patient_documents
    >>> notes = ["fièvre et toux", "suivi", "suivi du diabète", "contrôle"] * 20
    >>> patients, documents = patient_documents(notes, [n // 2 for n in range(80)])
    >>> model = AttentionModel("clinadapt-mini-fr", max_tokens=16, epochs=5)
    >>> classifier = NoteClassifier(model).fit(documents, ["fièvre" in one for one in documents])
    >>> classifier.predict_proba(documents).shape
    (40, 2)
    """

    kind: ClassVar[Kind] = "encoder"
    level = "group"
    explained_by = "note-occlusion"
    path_settings = ("encoder",)

    encoder: str = field(default="camembert-bio", kw_only=False)
    pooling: Pooling = "mean"
    inner: Annotated[int, Ge(1)] = 64
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    epochs: Epochs = 40
    batch_size: Annotated[int, Ge(1)] = 16
    patience: Annotated[int, Ge(1)] = 8
    precision: Precision = "auto"
    backend: BackendChoice = "auto"

    def file_problems(self) -> list[str]:
        """Return problems of the encoder, if it is on this machine."""
        try:
            if find_local(self.encoder) is None:
                require_plausible(self.encoder)
            else:
                self._require_length(open_encoder(self.encoder))
        except InputError as error:
            return error.problems
        return []

    def title(self, shown: dict[str, Any]) -> str:
        """Return the encoder, and that attention weighs the notes."""
        shown.pop("encoder", None)
        name = Path(self.encoder).name if "/" in self.encoder else self.encoder
        return f"{name} · attention over notes · frozen"

    def starting_files(self) -> tuple[str, str]:
        """Return the encoder's folder."""
        return "encoder", self.encoder

    def effort(self) -> Effort:
        """Return "head": what is trained reads features that are computed once."""
        return "head"

    def reads_encoder(self) -> bool:
        """Return True: a pass over the pretrained encoder precedes the fit."""
        return True

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer."""
        return self.encoder_.tokenizer

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether a token that is read of a note of each document is a known one."""
        notes, owner = notes_of(texts)
        return np.isin(np.arange(len(texts)), owner[super().readable(notes)])

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Train attention and head on documents, stopping early by those of validation patients.

        Raises
        ------
        EncoderNotFoundError
            The encoder is not on this machine.
        InputError
            Settings are not compatible with the encoder.
        """
        self._open()
        context = context or Context()
        device = pick_device(self.device)
        self.encoder_fingerprint_ = self.encoder_.fingerprint
        self._build(labels.task, len(labels.classes))
        validation_texts = validation[0] if validation is not None else []
        # One call for both parts, so that the encoder runs once.
        sources = self._sources([texts, validation_texts], context, device)
        self.history_ = neural_base.fit_classifier(
            self.network_,
            sources[0],
            labels,
            None if validation is None else (sources[1], validation[1]),
            metric,
            self.class_weight,
            self.recipe(),
            device,
            context,
        )
        return self

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of the notes of documents into the cache."""
        self._open()
        self.prefix_.cached([notes_of(texts)[0]], context, pick_device(self.device))

    def _open(self) -> None:
        param_validation.check(self)
        self.encoder_ = open_encoder(self.encoder)
        self._resolve()

    def _resolve(self) -> None:
        encoder = self.encoder_
        self._require_length(encoder)
        self.split_layer_ = encoder.layers
        self.prefix_ = FrozenPrefix(
            encoder,
            self.split_layer_,
            self.max_tokens,
            self.truncation,
            self.precision,
            self.backend,
        )

    def _require_length(self, encoder: PretrainedEncoder) -> None:
        if self.max_tokens > encoder.max_tokens:
            raise InputError(
                f"max_tokens={self.max_tokens}, but {self.encoder} reads at most "
                f"{encoder.max_tokens} tokens; use truncation='windows' for longer notes"
            )

    def _build(self, task: Task, classes: int) -> None:
        self.task_: Task = task
        width = self.encoder_.width
        with local_randomness(self.seed, stream=2**32):
            attention = GatedAttention(width, self.inner)
            self.network_ = PatientNetwork(
                attention, Head(width, classes, dropout=self.dropout), width
            )
        self.history_ = []
        self.trainable_parameters_ = count_parameters(self.network_)
        with torch.device("meta"):
            in_encoder = count_parameters(self.encoder_.empty())
        self.total_parameters_ = in_encoder + self.trainable_parameters_

    def _sources(
        self, parts: Sequence[Sequence[str]], context: Context, device: torch.device
    ) -> list[PatientSource]:
        """Return one source per part that is not empty, in one pass through the feature cache."""
        split = [notes_of(part) for part in parts if len(part)]
        sources = self.prefix_.cached([notes for notes, _ in split], context, device)
        return [
            PatientSource(source.pooled(self.pooling).vectors, _first(owner))
            for source, (_, owner) in zip(sources, split, strict=True)
        ]

    # ------------------------------------------------------------------ prediction

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [patient, class]."""
        device = pick_device(self.device)
        outputs = [
            run(self.network_, source, device, compute_dtype(self.precision, device))
            for source in self._few_at_a_time(texts, context or Context(), device)
        ]
        return neural_base.probabilities(self.task_, torch.cat(outputs))

    def _few_at_a_time(
        self, texts: Sequence[str], context: Context, device: torch.device
    ) -> Iterator[PatientSource]:
        for start in range(0, len(texts), NOTES_AT_ONCE):
            some = texts[start : start + NOTES_AT_ONCE]
            if context.cache is not None:
                yield from self._sources([some], context, device)
                continue
            notes, owner = notes_of(some)
            passed = self.prefix_.passing(notes, context, device)
            vectors = torch.cat([source.pooled(self.pooling).vectors for source in passed])
            yield PatientSource(vectors, _first(owner))

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write attention and head, and the encoder."""
        neural_base.save_weights(self.network_.state_dict(), folder)
        target = folder / ENCODER_FOLDER
        save_encoder_files(self.encoder_, target)
        for path in self.encoder_.folder.glob("*.safetensors*"):
            shutil.copyfile(path, target / path.name)

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote; the encoder's own folder is not needed."""
        self.encoder_ = PretrainedEncoder(folder / ENCODER_FOLDER)
        with torch.device("meta"):  # checks the size that the settings imply without the memory
            safe_files.require_room(folder, self.encoder_.empty())
        self.encoder_.check_tokenizer()
        self._resolve()
        with torch.device("meta"):
            self._build(task, classes)
        safe_files.require(self.network_, folder / neural_base.WEIGHTS_FILE)
        self._build(task, classes)
        neural_base.fill(self.network_, folder)
        return self


def _first(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first note of each document [document + 1], from the document of each note."""
    return np.r_[0, np.cumsum(np.bincount(owner))]
