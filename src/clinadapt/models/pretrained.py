"""A pretrained encoder with an adapter structure: frozen, tuned at the top, or tuned throughout.

``tuned_layers`` runs from 0 (the paper's frozen set-up) to all (its fine-tuned one). States at the
boundary of what is frozen are computed once and cached; only what lies above is run in training.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import nn

from clinadapt.core import param_validation, safe_files
from clinadapt.core.device import Precision, compute_dtype, pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.process_memory import give_back_freed
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.encoders.backends import BackendChoice
from clinadapt.features.encoders.layer_split import Suffix
from clinadapt.features.encoders.pretrained import (
    PretrainedEncoder,
    open_encoder,
    save_encoder_files,
)
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.features.note_sources import StateSource, TokenSource
from clinadapt.features.tokenization import Cut, Tokens
from clinadapt.models import neural_base
from clinadapt.neural.adapters import lora
from clinadapt.neural.adapters import registry as adapters
from clinadapt.neural.adapters.identity import Identity
from clinadapt.neural.dropout import replace_dropout
from clinadapt.neural.note_network import Batch, NoteNetwork, StatesAsTheyAre
from clinadapt.neural.pooling_head import Head, Pooling
from clinadapt.neural.training.batch_sources import Source
from clinadapt.neural.training.loop import Recipe, run
from clinadapt.neural.training.losses import ClassWeight
from clinadapt.neural.training.memory_budget import (
    Economy,
    Footprint,
    choose_economy,
    measure,
    set_recompute,
)

ENCODER_FOLDER = "encoder"
FROZEN_EPOCHS, TUNED_EPOCHS = 20, 5
NOTES_AT_ONCE = 8_192


class PretrainedModel(BaseEstimator):  # type: ignore[misc]
    """Encoder, structure, pooling and head.

    Parameters
    ----------
    encoder : str
        Known name, hub id or folder.
    structure : str
        A structure of the registry, or "lora", "dora", "ia3".
    structure_options : dict, optional
        Settings of the structure: inner, dropout, norm, heads; rank, alpha, targets.
    match_parameters : int, optional
        Choose the structure's inner width so that it has about so many weights.
    placement : {"final", "pooled", "layers"}
        After the last layer, on token states (the paper); on the pooled state; or after each of
        the top `adapted_layers` layers. Low-rank methods live in layers.
    adapted_layers : int or "all"
        With ``placement="layers"``.
    tuned_layers : int or "all"
        Top layers of the encoder that are tuned: 0 is frozen, all includes the embeddings.
    pooling : {"auto", "mean", "first", "last", "max"}
        "auto" is the mean, or the last token for a decoder.
    max_tokens : int
    cut : {"head", "tail", "head+tail", "windows"}
        What is kept of longer notes.
    inner : int
        Units of the head's hidden layer; 0 for a linear head.
    dropout : float
        Of the head.
    epochs : int, optional
        Default 20 if the encoder is frozen, 5 if any of it is tuned.
    batch_size, patience : int
    learning_rate : float
        Of structure and head.
    encoder_learning_rate : float
        Of tuned layers.
    class_weight : {"balanced", "none"}
    precision : {"auto", "fp32", "bf16"}
        "auto" is bf16 where the machine is fast at it.
    backend : {"auto", "torch", "openvino"}
        Who runs the frozen layers; "auto" is who is measured to be fastest on this machine.
    device : str
    seed : int
    """

    def __init__(
        self,
        encoder: str = "camembert-bio",
        structure: str = "none",
        structure_options: dict[str, Any] | None = None,
        match_parameters: Annotated[int, Ge(1)] | None = None,
        placement: Literal["final", "pooled", "layers"] = "final",
        adapted_layers: Annotated[int, Ge(1)] | Literal["all"] = "all",
        tuned_layers: Annotated[int, Ge(0)] | Literal["all"] = 0,
        pooling: Pooling | Literal["auto"] = "auto",
        max_tokens: Annotated[int, Ge(4)] = 256,
        cut: Cut = "head",
        inner: Annotated[int, Ge(0)] = 0,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        epochs: Annotated[int, Ge(1)] | None = None,
        batch_size: Annotated[int, Ge(1)] = 16,
        learning_rate: Annotated[float, Gt(0)] = 1e-3,
        encoder_learning_rate: Annotated[float, Gt(0)] = 5e-5,
        patience: Annotated[int, Ge(1)] = 3,
        class_weight: ClassWeight = "balanced",
        precision: Precision = "auto",
        backend: BackendChoice = "auto",
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.structure = structure
        self.structure_options = structure_options
        self.match_parameters = match_parameters
        self.placement = placement
        self.adapted_layers = adapted_layers
        self.tuned_layers = tuned_layers
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.cut: Cut = cut
        self.inner = inner
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.patience = patience
        self.class_weight: ClassWeight = class_weight
        self.precision: Precision = precision
        self.backend: BackendChoice = backend
        self.device = device
        self.seed = seed

    def setting_problems(self) -> list[str]:
        """Say what is wrong with the structure, its options and its place."""
        options = self.structure_options or {}
        if self.structure in lora.LOW_RANK:
            found = lora.option_problems(self.structure, options)
            if self.placement != "layers":
                found.append(f"{self.structure} lives inside layers: say placement = 'layers'")
            if self.match_parameters is not None:
                found.append(f"{self.structure} has no inner width to match: set its rank instead")
            return found
        if self.structure not in adapters.STRUCTURES:
            known = ", ".join([*adapters.STRUCTURES, *lora.LOW_RANK])
            return [f"unknown structure {self.structure!r}; known: {known}"]
        found = adapters.option_problems(self.structure, options)
        if self.structure == "tiny_attention" and self.placement == "pooled":
            found.append("tiny_attention on one pooled state has nothing to attend to")
        if self.placement == "pooled" and self.tuned_layers != 0:
            found.append("placement 'pooled' is for frozen encoders: tuned_layers must be 0")
        if self.match_parameters is not None and self.structure == "none":
            found.append("structure 'none' has no weights to match")
        if self.match_parameters is not None and "inner" in options:
            found.append("give either match_parameters or inner, not both")
        return found

    # ------------------------------------------------------------------ what is frozen, what not

    def _layers(self, value: int | str, name: str) -> int:
        total = self.encoder_.layers
        if value == "all":
            return total
        if int(value) > total:
            raise InputError(f"{name}={value}, but {self.encoder} has {total} layers")
        return int(value)

    def _resolve(self) -> None:
        """Work out boundary and regime for the encoder at hand."""
        param_validation.raise_if(self.setting_problems())
        encoder = self.encoder_
        if self.max_tokens > encoder.max_tokens:
            raise InputError(
                f"max_tokens={self.max_tokens}, but {self.encoder} reads at most "
                f"{encoder.max_tokens} tokens; use cut='windows' for longer notes"
            )
        self.tuned_ = self._layers(self.tuned_layers, "tuned_layers")
        in_layers = self.placement == "layers" and self.structure != "none"
        self.adapted_ = self._layers(self.adapted_layers, "adapted_layers") if in_layers else 0
        # States below the lowest layer that changes; 0: nothing is worth caching, ids go in.
        self.boundary_ = encoder.layers - max(self.tuned_, self.adapted_)
        self.suffix_ = self.boundary_ < encoder.layers
        self.prefix_ = FrozenPrefix(
            encoder, self.boundary_, self.max_tokens, self.cut, self.precision, self.backend
        )
        causal_or_mean: Pooling = "last" if self.pooling == "auto" and encoder.causal else "mean"
        self.pooling_: Pooling = causal_or_mean if self.pooling == "auto" else self.pooling

    @property
    def after_pooling(self) -> bool:
        """Whether nothing that trains looks at single tokens."""
        no_tokens = self.placement == "pooled" or self.structure == "none"
        return no_tokens and not self.suffix_

    def _make_structure(self) -> nn.Module:
        width = self.encoder_.width
        options = dict(self.structure_options or {})
        if self.match_parameters is not None:
            options["inner"] = adapters.match_inner(
                self.structure, width, self.match_parameters, **options
            )
        return adapters.STRUCTURES[self.structure](width, **options)

    def _inserted(self, classes: int) -> nn.ModuleList:
        """Head and structures, but for low-rank weights, whose rank is bounded."""
        number = self.adapted_ if self.placement == "layers" else 1
        if self.structure in lora.LOW_RANK:
            number = 0
        head = Head(self.encoder_.width, classes, self.inner, self.dropout)
        return nn.ModuleList([head, *(self._make_structure() for _ in range(number))])

    def _build(self, task: Task, classes: int, model: Any) -> None:
        """Put the network together around a whole encoder model (None if all is frozen)."""
        self.task_: Task = task
        width = self.encoder_.width
        self.suffix_module_: Suffix | None = None
        with local_randomness(self.seed, stream=2**32):
            encoder: nn.Module = StatesAsTheyAre()
            final: nn.Module = Identity(width)
            if model is not None:
                model.requires_grad_(False)
                if pick_device(self.device).type == "cpu":
                    # The fused kernel's backward pass takes twice as long as all the rest there.
                    model.set_attn_implementation("eager")
                self.suffix_module_ = Suffix(model, self.encoder_.layers, self.boundary_)
                encoder = self._adapt(self.suffix_module_)
                replace_dropout(encoder)
            if self.placement != "layers":
                final = self._make_structure()
            head = Head(width, classes, self.inner, self.dropout)
        pooling: Pooling = "mean" if self.after_pooling else self.pooling_
        self.network_ = NoteNetwork(encoder, final, head, pooling)
        trained = neural_base.trainable(self.network_)
        self.history_: list[dict[str, Any]] = []
        self.trainable_parameters_ = sum(weight.numel() for weight in trained.values())

    def _adapt(self, suffix: Suffix) -> Suffix:
        if self.structure in lora.LOW_RANK:
            top = nn.ModuleList(list(suffix.stack)[len(suffix.stack) - self.adapted_ :])
            options = self.structure_options or {}
            suffix.tune(self.tuned_)
            tuned = neural_base.trainable(suffix)
            lora.insert(self.structure, suffix.model, top, options)
            for weight in tuned.values():  # the library froze them
                weight.requires_grad_(True)
            return suffix
        if self.adapted_:
            suffix.adapt([self._make_structure() for _ in range(self.adapted_)])
        suffix.tune(self.tuned_)
        return suffix

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Train what is not frozen on training notes, stopping early on validation notes.

        Raises
        ------
        EncoderNotFoundError
            The encoder is not on this machine.
        InputError
            Settings that do not fit each other or the encoder.
        """
        self._open()
        context = context or Context()
        device = pick_device(self.device)
        self._build(
            labels.task, len(labels.classes), self.encoder_.load() if self.suffix_ else None
        )
        self.total_parameters_ = self._count_total()
        self.encoder_fingerprint_ = self.encoder_.fingerprint
        held_texts = validation[0] if validation is not None else []
        # One call for both parts: one pass over the encoder.
        sources = self._sources([texts, held_texts], context, device)
        economy = self._economize(context, device)
        held = None if validation is None else validation[1]
        self.history_ = self._train(sources, labels, held, metric, economy, device, context)
        return self

    def _train(
        self,
        sources: Sequence[Source],
        labels: Labels,
        held: Labels | None,
        metric: str | None,
        economy: Economy,
        device: torch.device,
        context: Context,
    ) -> list[dict[str, Any]]:
        """Train the built network on the first source; the second is of the validation notes."""
        return neural_base.fit_classifier(
            self.network_,
            sources[0],
            labels,
            None if held is None else (sources[1], held),
            metric,
            self.class_weight,
            Recipe(
                epochs=self.epochs or (TUNED_EPOCHS if self.suffix_ else FROZEN_EPOCHS),
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                encoder_learning_rate=self.encoder_learning_rate,
                patience=self.patience,
                max_batch_tokens=economy.batch_tokens,
                lean_optimizer=economy.lean_optimizer,
                seed=self.seed,
                dtype=compute_dtype(self.precision, device),
            ),
            device,
            context,
            pretrained=self._is_pretrained_weight,
        )

    def _economize(self, context: Context, device: torch.device) -> Economy:
        """Choose what to give up for the memory limit, and give it up."""
        if context.memory is None:
            return Economy()
        give_back_freed(always=True)
        economy = choose_economy(self.footprint(device), context.memory)
        suffix = self.suffix_module_
        if suffix is not None:
            for layer in suffix.running:
                set_recompute(layer, economy.recompute)
            if economy.frozen_embeddings:
                for weight in suffix.embeddings():
                    weight.requires_grad_(False)
        context.ledger.economies = economy.words()
        return economy

    def footprint(self, device: torch.device) -> Footprint:
        """Count the bytes that training the built network needs, with two made-up notes."""
        suffix = self.suffix_module_
        dtype = compute_dtype(self.precision, device)
        return measure(
            self.network_,
            [] if suffix is None else suffix.running,
            [] if suffix is None else suffix.embeddings(),
            lambda notes: self._made_up(notes, dtype),
            self.batch_size,
            device,
            dtype,
        )

    def _made_up(self, notes: int, dtype: torch.dtype) -> Batch:
        """Notes of the greatest length, as the network gets them."""
        longest = 1 if self.after_pooling else self.max_tokens
        mask = torch.ones(notes, longest, dtype=torch.bool)
        if not self.boundary_:
            inputs = torch.ones(notes, longest, dtype=torch.int64)
        else:
            inputs = torch.zeros(notes, longest, self.encoder_.width, dtype=dtype)
        return Batch(inputs, mask, torch.arange(notes), notes)

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the frozen states of notes into the cache, if there is a frozen prefix."""
        self._open()
        if self.boundary_:
            self.prefix_.cached([texts], context, pick_device(self.device))

    def _open(self) -> None:
        param_validation.check(self)
        self.encoder_ = open_encoder(self.encoder)
        self._resolve()

    def _count_total(self) -> int:
        if self.suffix_module_ is not None and not self.boundary_:
            return adapters.count_parameters(self.network_)
        with torch.device("meta"):
            whole = adapters.count_parameters(self.encoder_.empty())
        new = [
            weight
            for name, weight in self.network_.named_parameters()
            if not self._is_pretrained_weight(name)
        ]
        return whole + sum(weight.numel() for weight in new)

    def _is_pretrained_weight(self, name: str) -> bool:
        """Whether a weight of the network, by name, came with the encoder."""
        inserted = (".structure.", "lora_", "ia3_")
        return name.startswith("encoder.") and not any(mark in name for mark in inserted)

    def _tokens(self, texts: Sequence[str], context: Context) -> Tokens:
        return neural_base.tokenize_notes(
            self.encoder_.tokenizer, texts, self.max_tokens, self.cut, context
        )

    def _sources(
        self, parts: list[Sequence[str]], context: Context, device: torch.device
    ) -> list[Source]:
        """One source a part, through the cache of frozen states if there is a frozen prefix."""
        if not self.boundary_:
            return [TokenSource(self._tokens(part, context)) for part in parts if len(part)]
        return [self._pooled(source) for source in self.prefix_.cached(parts, context, device)]

    def _pooled(self, source: StateSource) -> Source:
        return source.pooled(self.pooling_) if self.after_pooling else source

    # ------------------------------------------------------------------ prediction

    def predict_proba(
        self, texts: Sequence[str], context: Context | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [note, class]; memory does not grow with the number of notes."""
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
    ) -> Iterator[Source]:
        if self.boundary_ and context.cache is None:
            for source in self.prefix_.passing(texts, context, device):
                yield self._pooled(source)
            return
        for start in range(0, len(texts), NOTES_AT_ONCE):
            yield from self._sources([texts[start : start + NOTES_AT_ONCE]], context, device)

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write the trained weights, and the encoder unless all of it is among them."""
        weights = neural_base.trainable(self.network_)
        if self._encoder_is_trained and self.suffix_module_ is not None:
            # Embeddings frozen to save memory among them: the encoder's own file is not written.
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
        return self.tuned_ == self.encoder_.layers

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote; the encoder's own folder is not needed."""
        self.encoder_ = PretrainedEncoder(folder / ENCODER_FOLDER)
        with torch.device("meta"):  # of the size that the settings imply, without the memory
            safe_files.require_room(folder, self.encoder_.empty())
        self._resolve()
        with torch.device("meta"):
            safe_files.require_room(folder, self._inserted(classes))
        model = None
        if self.suffix_:
            trained = self._encoder_is_trained
            model = self.encoder_.empty() if trained else self.encoder_.load()
        self._build(task, classes, model)
        self.total_parameters_ = self._count_total()
        neural_base.fill(self.network_, folder, set(neural_base.trainable(self.network_)))
        return self
