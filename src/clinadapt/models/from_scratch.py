"""A Transformer, or a Mixture-of-Experts Transformer, trained from scratch on the notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinadapt.core import param_validation, safe_files
from clinadapt.core.device import Precision, compute_dtype, pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.note_sources import TokenSource
from clinadapt.features.tokenization import learn_tokenizer, read_tokenizer, require_usable
from clinadapt.models import neural_base
from clinadapt.models.token_network import TokenNetwork
from clinadapt.models.training_settings import Epochs, ReadsTokens, StoppedEarly
from clinadapt.neural.adapters.identity import Identity
from clinadapt.neural.adapters.registry import count_parameters
from clinadapt.neural.mixture_of_experts import MoETransformer
from clinadapt.neural.note_network import Batch, NoteNetwork
from clinadapt.neural.pooling_head import Head, Pooling
from clinadapt.neural.training.loop import run
from clinadapt.neural.training.memory_budget import (
    Footprint,
    MemorySavings,
    choose_savings,
    measure,
)
from clinadapt.neural.transformer import Transformer
from clinadapt.pretraining.subword_vectors import Vectors

ENCODERS = {"transformer": Transformer, "moe": MoETransformer}
TITLES = {"transformer": "Transformer from scratch", "moe": "MoE-Transformer from scratch"}
TOKENIZER_FILE = "tokenizer.json"
VOCABULARY = 8192


@dataclass(eq=False, repr=False, kw_only=True)
class ScratchModel(ReadsTokens, StoppedEarly):
    """An encoder trained from scratch, with a tokenizer learned on the training notes.

    Initial weights are random; with `vectors`, token embeddings start from those.

    Parameters
    ----------
    encoder : {"transformer", "moe"}
    encoder_options : dict, optional
        Settings of the encoder's class: width, blocks, heads, experts, balance_weight, …
    vocabulary : int
        Largest number of sub-words of the tokenizer.
    vectors : str, optional
        Folder written by `clinadapt.pretraining.subword_vectors.make_vectors`: its tokenizer is
        used, and its vectors, truncated to the encoder's width, initialise the token embeddings.
    pooling : {"mean", "first", "last", "max"}
    inner : int
        Units of the head's hidden layer.
    dropout : float
        Dropout rate of the head.
    epochs : int
    precision : {"auto", "fp32", "bf16"}
        Default "fp32": at this small width, conversions cost more than bf16 saves.
    others
        See `ReadsTokens` and `StoppedEarly`.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, ScratchModel
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> classifier = NoteClassifier(ScratchModel(max_tokens=16)).fit(texts, [1, 0] * 20)
    >>> classifier.predict(["fièvre et toux"])
    array([1])
    """

    kind = "from scratch"
    explained_by = "tokens-scratch"
    path_settings = ("vectors",)
    reads_tokens = True

    encoder: Literal["transformer", "moe"] = field(default="transformer", kw_only=False)
    encoder_options: dict[str, Any] | None = None
    vocabulary: Annotated[int, Ge(10)] = VOCABULARY
    vectors: str | None = None
    pooling: Pooling = "mean"
    inner: Annotated[int, Ge(0)] = 20
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    epochs: Epochs = 20
    batch_size: Annotated[int, Ge(1)] = 32
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    precision: Precision = "fp32"

    def title(self, shown: dict[str, Any]) -> str:
        """Return the encoder's title; `vectors` is shortened to the last part of its path."""
        if "vectors" in shown:
            shown["vectors"] = Path(str(shown["vectors"])).name
        return TITLES[self.encoder]

    def starting_files(self) -> tuple[str, str] | None:
        """Return the folder of `vectors`, if it is given."""
        return None if self.vectors is None else ("vectors", self.vectors)

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer learned on the training notes, or that of the vectors."""
        return self.tokenizer_

    @property
    def trains_on_tokens(self) -> bool:
        """True: the cost of a training step depends on the number of tokens of its notes."""
        return True

    def token_network(self) -> TokenNetwork:
        """Return the fitted network from token ids to class scores, on the CPU.

        Raises
        ------
        InputError
            The encoder is a mixture of experts.
        """
        if isinstance(self.network_.encoder, MoETransformer):
            raise InputError(
                "a mixture of experts cannot be exported: an exported graph is fixed, but the "
                "expert of a token depends on the note. Use the bundle itself"
            )
        return TokenNetwork(self.network_)

    def setting_problems(self) -> list[str]:
        """Return problems of `encoder_options`, and of settings that exclude each other."""
        options = {"vocabulary": 10, "max_tokens": 4, **(self.encoder_options or {})}
        problems = param_validation.problems(ENCODERS[self.encoder], options)
        if self.vectors is not None and self.vocabulary != VOCABULARY:
            problems.append("vocabulary is that of the vectors: leave it out if vectors are given")
        return problems

    def file_problems(self) -> list[str]:
        """Return problems of the folder of `vectors`; empty without one."""
        if self.vectors is None:
            return []
        try:
            vectors = Vectors.of(self.vectors)
        except InputError as error:
            return error.problems
        # Built without memory, only to learn the width that the defaults give.
        with torch.device("meta"):
            encoder = ENCODERS[self.encoder](10, 4, **(self.encoder_options or {}))
        return vectors.problems(encoder.width)

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Train tokenizer and network on training notes, stopping early by validation notes."""
        param_validation.check(self)
        param_validation.raise_if(self.setting_problems() or self.file_problems())
        context = context or Context()
        vectors = None if self.vectors is None else Vectors.of(self.vectors)
        self.tokenizer_ = (
            learn_tokenizer(texts, self.vocabulary) if vectors is None else vectors.tokenizer
        )
        self._build(labels.task, len(labels.classes))
        if vectors is not None:
            vectors.put_into(self.network_.get_parameter("encoder.embedding.token.weight"))
            self.vectors_fingerprint_ = vectors.fingerprint
        source = self._source(texts, context)
        validation_part = None
        if validation is not None:
            validation_part = (self._source(validation[0], context), validation[1])
        device = pick_device(self.device)
        savings = self._save_memory(context, device)
        encoder = self.network_.encoder
        self.history_ = neural_base.fit_classifier(
            self.network_,
            source,
            labels,
            validation_part,
            metric,
            self.class_weight,
            self.recipe(
                max_batch_tokens=savings.batch_tokens, dtype=compute_dtype(self.precision, device)
            ),
            device,
            context,
            report=getattr(encoder, "take_report", dict),
        )
        return self

    def _save_memory(self, context: Context, device: torch.device) -> MemorySavings:
        """Choose the micro-batches that the memory limit requires, the only saving available."""
        if context.memory is None:
            return MemorySavings()
        savings = choose_savings(self.footprint(device), context.memory, batches_only=True)
        context.ledger.memory_savings = savings.words()
        return savings

    def footprint(self, device: torch.device) -> Footprint:
        """Return the bytes that training the built network needs, measured on synthetic notes."""

        def longest_notes(notes: int) -> Batch:
            ids = torch.ones(notes, self.max_tokens, dtype=torch.int64)
            return Batch(ids, ids.bool(), torch.arange(notes), notes)

        dtype = compute_dtype(self.precision, device)
        return measure(self.network_, [], [], longest_notes, self.batch_size, device, dtype)

    def _source(self, texts: Sequence[str], context: Context) -> TokenSource:
        return TokenSource(
            neural_base.tokenize_notes(
                self.tokenizer_, texts, self.max_tokens, self.truncation, context
            )
        )

    def _build(self, task: Task, classes: int) -> None:
        self.task_: Task = task
        with local_randomness(self.seed, stream=2**32):
            encoder = ENCODERS[self.encoder](
                self.tokenizer_.get_vocab_size(), self.max_tokens, **(self.encoder_options or {})
            )
            head = Head(encoder.width, classes, self.inner, self.dropout)
        self.network_ = NoteNetwork(encoder, Identity(encoder.width), head, self.pooling)
        self.history_ = []
        self.trainable_parameters_ = count_parameters(self.network_)
        self.total_parameters_ = self.trainable_parameters_

    def predict_proba(
        self, texts: Sequence[str], context: Context | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities [note, class]."""
        device = pick_device(self.device)
        source = self._source(texts, context or Context())
        outputs = run(self.network_, source, device, compute_dtype(self.precision, device))
        return neural_base.probabilities(self.task_, outputs)

    def save(self, folder: Path) -> None:
        """Write tokenizer and network."""
        neural_base.save_weights(self.network_.state_dict(), folder)
        self.tokenizer_.save(str(folder / TOKENIZER_FILE))

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote."""
        self.tokenizer_ = read_tokenizer(folder / TOKENIZER_FILE)
        require_usable(self.tokenizer_, self.tokenizer_.get_vocab_size())
        with torch.device("meta"):  # checks the size that the settings imply without the memory
            self._build(task, classes)
        safe_files.require(self.network_, folder / neural_base.WEIGHTS_FILE)
        self._build(task, classes)
        neural_base.fill(self.network_, folder)
        return self
