"""Pretrained encoders, cut at a boundary: a prefix that is frozen, a suffix that trains.

Any architecture with a list of layers is served. The library's own forward runs on a model in
which the layers beyond the boundary are replaced by stand-ins: above it, they pass states through
and the first one records what it is given (the prefix); below it, the first one returns the
recorded states (the suffix). Masks, positions and local or global attention stay the model's own.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from clinadapt.encoders.catalog import WEIGHTS
from clinadapt.errors import EncoderNotFoundError, InputError
from clinadapt.network import Batch

PICKLED_WEIGHTS = "pytorch_model.bin"
TOKENIZER_FILE = "tokenizer.json"
# Dropout of attention weights is left out where layers are tuned: drawing it took two fifths of a
# training step on a CPU, and encoders since ModernBERT do without. Dropout of states stays.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# Layers' own plain attributes that a model's forward reads (ModernBERT picks its mask by one).
PLAIN = (str, int, float, bool)


class StandIn(nn.Module):
    """Takes the place of a layer: passes states through, or returns given ones.

    Parameters
    ----------
    layer : nn.Module
        The layer that it replaces; its plain attributes are kept, its weights are not.
    outputs : int
        0 if such layers return a tensor, else the length of the tuple they return.
    """

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        for name, value in vars(layer).items():
            if isinstance(value, PLAIN) and name != "training":
                setattr(self, name, value)
        self.outputs = outputs
        self.given: Tensor | None = None
        self.seen: Tensor | None = None

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the given states if there are any, else what came in."""
        self.seen = hidden_states
        states = hidden_states if self.given is None else self.given
        return (states,) + (None,) * (self.outputs - 1) if self.outputs else states


class AdaptedLayer(nn.Module):
    """A layer of the encoder with a structure after it.

    Parameters
    ----------
    layer, structure : nn.Module
    """

    def __init__(self, layer: nn.Module, structure: nn.Module) -> None:
        super().__init__()
        for name, value in vars(layer).items():
            if isinstance(value, PLAIN) and name != "training":
                setattr(self, name, value)
        self.layer = layer
        self.structure = structure
        self.mask: Tensor | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layer, then the structure on its states [sequence, token, width]."""
        output = self.layer(*args, **kwargs)
        if isinstance(output, tuple):
            return (self.structure(output[0], self.mask), *output[1:])
        return self.structure(output, self.mask)


def layer_list(model: nn.Module, count: int) -> tuple[str, nn.ModuleList]:
    """Path and module of the model's list of `count` layers.

    Raises
    ------
    InputError
        The model has no such list.
    """
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise InputError(
        f"{type(model).__name__} has no list of {count} layers; encoders of one stack are served"
    )


class PretrainedEncoder:
    """An encoder folder, opened lazily.

    Parameters
    ----------
    folder : Path
        With ``config.json``, safetensors weights and tokenizer files.
    lower_case : bool, optional
        Passed to the tokenizer, for repositories that do not state it.

    """

    def __init__(self, folder: Path, lower_case: bool | None = None) -> None:
        self.folder = folder
        self.lower_case = lower_case

    @property
    def has_weights(self) -> bool:
        """Whether the folder holds safetensors weights."""
        return any((self.folder / name).is_file() for name in WEIGHTS)

    def require_weights(self) -> None:
        """Raise if there are no safetensors weights.

        Raises
        ------
        EncoderNotFoundError
            With what to do.
        """
        if self.has_weights:
            return
        if (self.folder / PICKLED_WEIGHTS).is_file():
            remedy = (
                f"Its {PICKLED_WEIGHTS} is pickled, which can run code: convert it once with "
                f"`clinadapt encoders --convert {self.folder}`"
            )
        else:
            remedy = "Expected model.safetensors beside config.json"
        raise EncoderNotFoundError(f"no safetensors weights in {self.folder}. {remedy}")

    @cached_property
    def config(self) -> Any:
        """The library's configuration object."""
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except (ValueError, KeyError, OSError) as error:
            raise InputError(
                f"{self.folder}: config.json is not of a model that this version of transformers "
                f"knows without the repository's own code ({type(error).__name__})"
            ) from None
        if getattr(config, "is_encoder_decoder", False):
            raise InputError(f"{self.folder}: encoder-decoder models are not served, use one stack")
        for name in ATTENTION_DROPOUT:
            if getattr(config, name, 0):
                setattr(config, name, 0.0)
        return config

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.get_text_config().num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the states."""
        return int(self.config.get_text_config().hidden_size)

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the position scheme allows."""
        positions = int(getattr(self.config, "max_position_embeddings", 0) or 10**9)
        # RoBERTa and its kin start counting positions after the padding index.
        offset = self.config.model_type in ("roberta", "camembert", "xlm-roberta")
        return positions - 2 if offset else positions

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The folder's own tokenizer, without truncation and padding."""
        file = self.folder / TOKENIZER_FILE
        tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else self._convert_tokenizer()
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _convert_tokenizer(self) -> Tokenizer:
        """Fast tokenizer from vocabulary files of its class (vocab.txt, sentencepiece model)."""
        from transformers import AutoTokenizer

        options = {} if self.lower_case is None else {"do_lower_case": self.lower_case}
        try:
            with _quiet():
                loaded = AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False, **options
                )
        except (ValueError, KeyError, OSError, ImportError) as error:
            raise InputError(
                f"{self.folder}: no tokenizer could be opened ({type(error).__name__}); expected "
                f"{TOKENIZER_FILE}, or the vocabulary files of its class"
            ) from None
        if not getattr(loaded, "is_fast", False):
            raise InputError(f"{self.folder}: only tokenizers backed by `tokenizers` are served")
        return loaded.backend_tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration and the weights."""
        digest = hashlib.sha256((self.folder / "config.json").read_bytes())
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def load(self) -> nn.Module:
        """Load the whole model, in fp32 and evaluation mode, fresh at every call.

        Raises
        ------
        InputError
            Some of the model's weights are not in the files: they would be random.
        """
        from transformers import AutoModel

        self.require_weights()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        options |= {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        with _quiet():
            model, report = AutoModel.from_pretrained(self.folder, config=self.config, **options)
        # The pooler of BERT-like models, absent from masked language models, is never used here.
        missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise InputError(
                f"{self.folder}: {len(missing)} weights of the model are not in its files (first: "
                f"{missing[0]}): they would be random. Is the download whole?"
            )
        return _without_pooler(model)

    def empty(self) -> nn.Module:
        """Return the model without its weights, to be filled from a bundle."""
        from transformers import AutoModel

        with _quiet(), torch.random.fork_rng():
            return _without_pooler(AutoModel.from_config(self.config))

    @cached_property
    def causal(self) -> bool:
        """Whether a token sees only what stands before it, as in decoders; measured."""
        model = self.load() if self.has_weights else self.empty()
        vocabulary = int(self.config.get_text_config().vocab_size)
        ids = torch.tensor([[5, 6, 7], [5, 6, 8]]) % vocabulary
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return bool(torch.equal(states[0, :2], states[1, :2]))


def _without_pooler(model: Any) -> nn.Module:
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's loading reports and bars off the terminal; what matters is checked."""
    from transformers.utils import logging as library_logging

    level = library_logging.get_verbosity()
    bars = library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity(logging.CRITICAL)
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(level)
        if bars:
            library_logging.enable_progress_bar()


def _outputs_of_layers(model: nn.Module, layers: nn.ModuleList) -> int:
    """0 if the layers return a tensor, else the length of their tuple; seen on a tiny input."""
    found: list[int] = []
    hook = layers[0].register_forward_hook(
        lambda module, args, output: found.append(len(output) if isinstance(output, tuple) else 0)
    )
    ids = torch.ones((1, 2), dtype=torch.int64, device=next(model.parameters()).device)
    with hook, torch.inference_mode():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return found[0]


class Prefix(nn.Module):
    """The frozen part of an encoder, up to a boundary.

    Parameters
    ----------
    model : nn.Module
        A whole model; changed in place.
    layers : int
        How many it has.
    boundary : int
        Layers that belong to the prefix, from 1 to `layers`. With all of them the states are the
        model's own output, after any last norm.
    """

    def __init__(self, model: nn.Module, layers: int, boundary: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.recorder: StandIn | None = None
        if boundary < layers:
            _, stack = layer_list(model, layers)
            outputs = _outputs_of_layers(model, stack)
            for number in range(boundary, layers):
                stack[number] = StandIn(stack[number], outputs)
            recorder = stack[boundary]
            assert isinstance(recorder, StandIn)
            self.recorder = recorder

    @torch.inference_mode()
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [sequence, token, width] at the boundary, for ids and mask [sequence, token]."""
        output = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self.recorder is None:
            return output
        assert self.recorder.seen is not None
        return self.recorder.seen


class Suffix(nn.Module):
    """The part of an encoder above a boundary, fed with states; or all of it, fed with ids.

    Parameters
    ----------
    model : nn.Module
        A whole model; changed in place.
    layers : int
        How many it has.
    boundary : int
        Layers whose work was done before; 0 if the input is token ids.
    """

    def __init__(self, model: nn.Module, layers: int, boundary: int) -> None:
        super().__init__()
        self.model = model
        path, self.stack = layer_list(model, layers)
        self.path = path
        self.boundary = boundary
        self.source: StandIn | None = None
        if boundary:
            outputs = _outputs_of_layers(model, self.stack)
            for number in range(boundary):
                self.stack[number] = StandIn(self.stack[number], outputs)
            source = self.stack[0]
            assert isinstance(source, StandIn)
            self.source = source

    def adapt(self, structures: list[nn.Module]) -> None:
        """Put one structure after each of the top layers, the last after the last."""
        start = len(self.stack) - len(structures)
        for number, structure in enumerate(structures, start=start):
            self.stack[number] = AdaptedLayer(self.stack[number], structure)

    def tune(self, layers: int) -> None:
        """Freeze all but the top `layers` layers and what follows them; all of them frees all.

        Weights inserted before (structures, low-rank) are left as they are.
        """
        inserted = {
            id(weight)
            for layer in self.stack
            if isinstance(layer, AdaptedLayer)
            for weight in layer.structure.parameters()
        }
        top = list(self.stack)[len(self.stack) - layers :]
        tuned = {id(weight) for layer in top for weight in layer.parameters()}
        # Weights are listed in the order of the forward pass: what comes after the last layer's
        # (a last norm) is tuned with it, what comes before the first (embeddings) only with all.
        after_first = layers == len(self.stack)
        for weight in self.model.parameters():
            after_first = after_first or (layers > 0 and id(weight) in tuned)
            weight.requires_grad_(after_first or id(weight) in inserted)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden [sequence, token, width], mask, and an auxiliary loss of zero."""
        mask = batch.mask.long()
        for layer in self.stack:
            if isinstance(layer, AdaptedLayer):
                layer.mask = batch.mask
        if self.source is None:
            output = self.model(input_ids=batch.inputs, attention_mask=mask)
        else:
            states = batch.inputs.to(next(self.model.parameters()).dtype)
            self.source.given = states
            output = self.model(inputs_embeds=states, attention_mask=mask)
            self.source.given = None
        hidden = output.last_hidden_state
        return hidden, batch.mask, hidden.new_zeros((), dtype=torch.float32)


def convert_to_safetensors(folder: Path) -> Path:
    """Write ``model.safetensors`` from a folder's pickled weights, reading tensors only.

    Parameters
    ----------
    folder : Path
        With ``pytorch_model.bin``.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    InputError
        No such file, or it holds more than tensors.
    """
    from safetensors.torch import save_file

    source = folder / PICKLED_WEIGHTS
    if not source.is_file():
        raise InputError(f"no {PICKLED_WEIGHTS} in {folder}: nothing to convert")
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that wants to run code, or a damaged file
        raise InputError(
            f"{source} could not be read as plain tensors ({type(error).__name__})"
        ) from None
    # Tied weights are stored once each: safetensors knows no shared memory.
    plain = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    target = folder / WEIGHTS[0]
    partial = target.with_suffix(".tmp")
    save_file(plain, partial, metadata={"format": "pt"})
    partial.rename(target)
    return target


def save_encoder_files(encoder: PretrainedEncoder, folder: Path) -> None:
    """Write what rebuilds the empty model and tokenizer: ``config.json``, ``tokenizer.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((encoder.folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)  # a path of the machine that made it
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    encoder.tokenizer.save(str(folder / TOKENIZER_FILE))
