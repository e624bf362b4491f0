"""Base of models on a pretrained encoder: frozen, tuned at the top, or tuned throughout.

``tuned_layers`` ranges from 0 (the paper's frozen set-up) to all (its fine-tuned one). Features at
the split between frozen and trained layers are computed once and cached; only the layers above it
run in training.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge, Interval
from tokenizers import Tokenizer

from clinadapt.core import param_validation, safe_files
from clinadapt.core.arrays import Floats
from clinadapt.core.device import Precision, compute_dtype, pick_device
from clinadapt.core.process_memory import give_back_freed
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.encoders.backends import BackendChoice
from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.features.encoders.pretrained import (
    PretrainedEncoder,
    open_encoder,
    save_encoder_files,
)
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.features.note_sources import FeatureSource, TokenSource
from clinadapt.features.tokenization import Tokens
from clinadapt.models import encoder_assembly, neural_base
from clinadapt.models.contract import Kind
from clinadapt.models.encoder_assembly import Layers
from clinadapt.models.token_network import TokenNetwork
from clinadapt.models.training_settings import Epochs, ReadsTokens, TrainingSettings
from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import Pooling
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.loop import run
from clinadapt.neural.training.memory_budget import (
    Footprint,
    MemorySavings,
    choose_savings,
    measure,
    set_recompute,
)

ENCODER_FOLDER = "encoder"
FROZEN_EPOCHS, TUNED_EPOCHS = 20, 5
NOTES_AT_ONCE = 8_192


@dataclass(eq=False, repr=False, kw_only=True)
class EncoderModel(ReadsTokens, TrainingSettings):
    """Encoder, adapter, pooling and head: base of tuned and private training.

    A subclass defines `_train`.

    Parameters
    ----------
    encoder : str
        Known name, hub id or folder.
    adapter : str
        A registered adapter, or "lora", "dora", "ia3".
    adapter_options : dict, optional
        Settings of the adapter: inner, dropout, norm, heads; rank, alpha, targets.
    match_parameters : int, optional
        Number of weights that the adapter's inner width is chosen to match.
    placement : {"final", "pooled", "layers"}
        After the last layer, on token features (the paper); on the pooled features; or after each
        of the top `adapted_layers` layers. Low-rank methods require "layers".
    adapted_layers : int or "all"
        Number of top layers with adapters; used with ``placement="layers"``.
    tuned_layers : int or "all"
        Number of top layers that are tuned: 0 is frozen, "all" includes the embeddings.
    pooling : {"auto", "mean", "first", "last", "max"}
        "auto" is the mean, or for a decoder the last token.
    inner : int
        Units of the head's hidden layer; 0 for a linear head.
    dropout : float
        Dropout rate of the head.
    epochs : int, optional
        Default 20 if the encoder is frozen, 5 if any of it is tuned.
    precision : {"auto", "fp32", "bf16"}
        "auto" is bf16 on hardware that accelerates it.
    backend : {"auto", "torch", "openvino"}
        Runtime of the frozen layers; "auto" is the one measured fastest on this machine.
    others
        See `ReadsTokens` and `TrainingSettings`.
    """

    kind: ClassVar[Kind] = "encoder"
    explained_by = "tokens-pretrained"
    path_settings = ("encoder",)
    reads_tokens = True

    encoder: str = field(default="camembert-bio", kw_only=False)
    adapter: str = "none"
    adapter_options: dict[str, Any] | None = None
    match_parameters: Annotated[int, Ge(1)] | None = None
    placement: Literal["final", "pooled", "layers"] = "final"
    adapted_layers: Annotated[int, Ge(1)] | Literal["all"] = "all"
    tuned_layers: Annotated[int, Ge(0)] | Literal["all"] = 0
    pooling: Pooling | Literal["auto"] = "auto"
    inner: Annotated[int, Ge(0)] = 0
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    epochs: Epochs | None = None
    batch_size: Annotated[int, Ge(1)] = 16
    precision: Precision = "auto"
    backend: BackendChoice = "auto"

    def setting_problems(self) -> list[str]:
        """Return problems of the adapter, its options and its placement."""
        return encoder_assembly.option_problems(self)

    def file_problems(self) -> list[str]:
        """Return problems of the encoder, if it is on this machine, and of settings for it."""
        return encoder_assembly.encoder_problems(self)

    def title(self, shown: dict[str, Any]) -> str:
        """Return encoder, adapter and which layers are tuned."""
        for name in ("encoder", "adapter", "placement", "adapted_layers", "tuned_layers"):
            shown.pop(name, None)
        place = {
            "final": "",
            "pooled": " on pooled",
            "layers": " in all layers"
            if self.adapted_layers == "all"
            else f" in top {self.adapted_layers} layers",
        }[self.placement]
        if self.adapter == "none":
            place = ""
        regime = {0: "frozen", "all": "all tuned"}.get(
            self.tuned_layers, f"top {self.tuned_layers} tuned"
        )
        name = Path(self.encoder).name if "/" in self.encoder else self.encoder
        return f"{name} · {self.adapter}{place} · {regime}"

    def starting_files(self) -> tuple[str, str]:
        """Return the encoder's folder."""
        return "encoder", self.encoder

    def planned_epochs(self) -> list[int]:
        """Return the epochs of the fit; the default depends on whether encoder layers run."""
        usual = TUNED_EPOCHS if getattr(self, "suffix_", False) else FROZEN_EPOCHS
        return [self.epochs or usual]

    # ------------------------------------------------------------------ frozen and trained layers

    def _resolve(self) -> None:
        """Determine split layer, pooling and frozen prefix for the opened encoder."""
        param_validation.raise_if(self.setting_problems())
        encoder = self.encoder_
        self.layers_ = Layers.of(self, encoder)
        self.split_layer_ = self.layers_.split_layer
        self.suffix_ = self.split_layer_ < encoder.layers
        self.prefix_ = FrozenPrefix(
            encoder,
            self.split_layer_,
            self.max_tokens,
            self.truncation,
            self.precision,
            self.backend,
        )
        usual: Pooling = "last" if encoder.causal else "mean"
        self.pooling_: Pooling = usual if self.pooling == "auto" else self.pooling

    @property
    def after_pooling(self) -> bool:
        """True if training uses pooled features only, never single tokens."""
        no_tokens = self.placement == "pooled" or self.adapter == "none"
        return no_tokens and not self.suffix_

    @property
    def trains_on_tokens(self) -> bool:
        """True if the cost of a training step depends on the number of tokens of its notes."""
        return not self.after_pooling

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer."""
        return self.encoder_.tokenizer

    @property
    def frozen_part(self) -> "EncoderModel | None":
        """The model itself if it reads cached features of frozen layers, else None."""
        return self if self.split_layer_ else None

    def reads_encoder(self) -> bool:
        """Return True: a pass over the pretrained encoder precedes the fit."""
        return True

    def token_network(self) -> TokenNetwork:
        """Return the fitted network from token ids to class scores, on the CPU."""
        prefix = None
        if self.split_layer_:
            prefix = Prefix(self.encoder_.load(), self.encoder_.layers, self.split_layer_)
        return TokenNetwork(self.network_, prefix, self.pooling_ if self.after_pooling else None)

    def licence_files(self) -> list[Path]:
        """Return the licence files of the encoder."""
        return sorted(self.encoder_.folder.glob("LICENSE*"))

    def _build(self, task: Task, classes: int, model: Any) -> None:
        """Build the network around a complete encoder model (None if all of it is frozen)."""
        self.task_: Task = task
        pooling: Pooling = "mean" if self.after_pooling else self.pooling_
        self.network_, self.suffix_module_ = encoder_assembly.assemble(
            self, self.layers_, self.encoder_, model, classes, pooling
        )
        trained = neural_base.trainable(self.network_)
        self.history_ = []
        self.trainable_parameters_ = sum(weight.numel() for weight in trained.values())
        whole = self.suffix_module_ is not None and not self.split_layer_
        self.total_parameters_ = encoder_assembly.count_total(self.network_, self.encoder_, whole)

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Train the layers that are not frozen, stopping early by validation notes.

        Raises
        ------
        EncoderNotFoundError
            The encoder is not on this machine.
        InputError
            Settings are not compatible with each other or with the encoder.
        """
        self._open()
        context = context or Context()
        device = pick_device(self.device)
        if self.suffix_:
            context.progress("loading encoder…", 0, 1)
        self._build(
            labels.task, len(labels.classes), self.encoder_.load() if self.suffix_ else None
        )
        self.encoder_fingerprint_ = self.encoder_.fingerprint
        validation_texts = validation[0] if validation is not None else []
        # One call for both parts, so that the encoder runs once.
        sources = self._sources([texts, validation_texts], context, device)
        savings = self._save_memory(context, device)
        validation_labels = None if validation is None else validation[1]
        self.history_ = self._train(
            sources, labels, validation_labels, metric, savings, device, context
        )
        return self

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
        raise TypeError(f"{type(self).__name__} must define _train")

    def _save_memory(self, context: Context, device: torch.device) -> MemorySavings:
        """Choose and apply the memory savings that the memory limit requires."""
        if context.memory is None:
            return MemorySavings()
        give_back_freed(always=True)
        savings = choose_savings(self.footprint(device), context.memory)
        suffix = self.suffix_module_
        if suffix is not None:
            for layer in suffix.running:
                set_recompute(layer, savings.recompute)
            if savings.frozen_embeddings:
                for weight in suffix.embeddings():
                    weight.requires_grad_(False)
        context.ledger.memory_savings = savings.words()
        return savings

    def footprint(self, device: torch.device) -> Footprint:
        """Return the bytes that training the built network needs, measured on synthetic notes."""
        suffix = self.suffix_module_
        dtype = compute_dtype(self.precision, device)
        return measure(
            self.network_,
            [] if suffix is None else suffix.running,
            [] if suffix is None else suffix.embeddings(),
            lambda notes: self._longest_notes(notes, dtype),
            self.batch_size,
            device,
            dtype,
        )

    def _longest_notes(self, notes: int, dtype: torch.dtype) -> Batch:
        """Return a batch of notes of the greatest length, as the network receives them."""
        longest = 1 if self.after_pooling else self.max_tokens
        mask = torch.ones(notes, longest, dtype=torch.bool)
        if not self.split_layer_:
            inputs = torch.ones(notes, longest, dtype=torch.int64)
        else:
            width = self.encoder_.width_at(self.split_layer_)
            inputs = torch.zeros(notes, longest, width, dtype=dtype)
        return Batch(inputs, mask, torch.arange(notes), notes)

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of notes into the cache, if there is a frozen prefix."""
        self._open()
        if self.split_layer_:
            self.prefix_.cached([texts], context, pick_device(self.device))

    def _open(self) -> None:
        param_validation.check(self)
        self.encoder_ = open_encoder(self.encoder)
        self._resolve()

    def _tokens(self, texts: Sequence[str], context: Context) -> Tokens:
        return neural_base.tokenize_notes(
            self.encoder_.tokenizer, texts, self.max_tokens, self.truncation, context
        )

    def _sources(
        self, parts: list[Sequence[str]], context: Context, device: torch.device
    ) -> list[BatchSource]:
        """Return one source per part, read through the feature cache if there is a prefix."""
        if not self.split_layer_:
            return [TokenSource(self._tokens(part, context)) for part in parts if len(part)]
        return [self._pooled(source) for source in self.prefix_.cached(parts, context, device)]

    def _pooled(self, source: FeatureSource) -> BatchSource:
        return source.pooled(self.pooling_) if self.after_pooling else source

    # ------------------------------------------------------------------ prediction

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [note, class]; memory does not grow with the number of notes."""
        context = context or Context()
        device = pick_device(self.device)
        dtype = compute_dtype(self.precision, device)
        outputs = [
            run(self.network_, source, device, dtype)
            for source in self._few_at_a_time(texts, context, device)
        ]
        return neural_base.probabilities(self.task_, torch.cat(outputs))

    def _few_at_a_time(
        self, texts: Sequence[str], context: Context, device: torch.device
    ) -> Iterator[BatchSource]:
        if self.split_layer_ and context.cache is None:
            for source in self.prefix_.passing(texts, context, device):
                yield self._pooled(source)
            return
        for start in range(0, len(texts), NOTES_AT_ONCE):
            yield from self._sources([texts[start : start + NOTES_AT_ONCE]], context, device)

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write the trained weights, and the encoder's unless all of them were trained."""
        weights = neural_base.trainable(self.network_)
        if self._encoder_is_trained and self.suffix_module_ is not None:
            # Embeddings that were frozen to save memory are needed too: without the encoder's
            # own file they would be lost.
            named = self.network_.named_parameters()
            weights |= {name: w for name, w in named if name.startswith("encoder.")}
        neural_base.save_weights(weights, folder)
        target = folder / ENCODER_FOLDER
        save_encoder_files(self.encoder_, target)
        if not self._encoder_is_trained:
            for path in self.encoder_.folder.glob("*.safetensors*"):
                shutil.copyfile(path, target / path.name)

    @property
    def _encoder_is_trained(self) -> bool:
        return self.layers_.tuned == self.layers_.total

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote; the encoder's own folder is not needed."""
        self.encoder_ = PretrainedEncoder(folder / ENCODER_FOLDER)
        with torch.device("meta"):  # checks the size that the settings imply without the memory
            safe_files.require_room(folder, self.encoder_.empty())
        self.encoder_.check_tokenizer()
        self._resolve()
        with torch.device("meta"):
            new = encoder_assembly.inserted_modules(self, self.layers_, self.encoder_, classes)
            safe_files.require_room(folder, new)
        model = None
        if self.suffix_:
            trained = self._encoder_is_trained
            model = self.encoder_.empty() if trained else self.encoder_.load()
        self._build(task, classes, model)
        neural_base.fill(self.network_, folder, set(neural_base.trainable(self.network_)))
        return self
