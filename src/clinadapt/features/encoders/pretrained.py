"""Pretrained encoders, opened from a folder of configuration, weights and tokenizer."""

import copy
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.errors import EncoderNotFoundError, InputError
from clinadapt.features.encoders import config_checks
from clinadapt.features.encoders.catalog import CATALOG, WEIGHTS, resolve

PICKLED_WEIGHTS = "pytorch_model.bin"
TOKENIZER_FILE = "tokenizer.json"
# Dropout of attention weights is disabled where layers are tuned: it took two fifths of a training
# step on a CPU, and encoders since ModernBERT do not use it. Dropout of features remains.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


class PretrainedEncoder:
    """An encoder folder, opened lazily.

    Parameters
    ----------
    folder : Path
        Folder with ``config.json``, safetensors weights and tokenizer files.
    lower_case : bool, optional
        Passed to the tokenizer, for repositories that do not state it.

    """

    def __init__(self, folder: Path, lower_case: bool | None = None) -> None:
        self.folder = folder
        self.lower_case = lower_case

    @property
    def has_weights(self) -> bool:
        """True if the folder has safetensors weights."""
        return any((self.folder / name).is_file() for name in WEIGHTS)

    def require_weights(self) -> None:
        """Raise if there are no safetensors weights.

        Raises
        ------
        EncoderNotFoundError
            There are none; the message says what to do.
        """
        if self.has_weights:
            return
        if (self.folder / PICKLED_WEIGHTS).is_file():
            remedy = (
                f"Its {PICKLED_WEIGHTS} is pickled, which can run code: convert it once with "
                f"`clinadapt encoders --convert {self.folder}`"
            )
        else:
            remedy = "Expected model.safetensors next to config.json"
        raise EncoderNotFoundError(f"no safetensors weights in {self.folder}. {remedy}")

    @cached_property
    def config(self) -> Any:
        """Configuration object of the transformers library."""
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except (ValueError, KeyError, OSError) as error:
            raise InputError(
                f"{self.folder}: config.json does not describe a model that this version of "
                f"transformers supports without the repository's own code ({type(error).__name__})"
            ) from None
        if getattr(config, "is_encoder_decoder", False):
            raise InputError(
                f"{self.folder}: encoder-decoder models are not supported, use an encoder"
            )
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
        """Width of the features."""
        return int(self.config.get_text_config().hidden_size)

    @property
    def max_tokens(self) -> int:
        """Maximum sequence length that the position embeddings allow."""
        positions = int(getattr(self.config, "max_position_embeddings", 0) or 10**9)
        # RoBERTa and related models start counting positions after the padding index.
        offset = self.config.model_type in ("roberta", "camembert", "xlm-roberta")
        return positions - 2 if offset else positions

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the folder, without truncation and padding."""
        file = self.folder / TOKENIZER_FILE
        tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else self._convert_tokenizer()
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _convert_tokenizer(self) -> Tokenizer:
        """Build a fast tokenizer from vocabulary files (vocab.txt, sentencepiece model)."""
        from transformers import AutoTokenizer

        options = {} if self.lower_case is None else {"do_lower_case": self.lower_case}
        try:
            with quiet():
                loaded = AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False, **options
                )
        except (ValueError, KeyError, OSError, ImportError) as error:
            raise InputError(
                f"{self.folder}: no tokenizer could be opened ({type(error).__name__}); expected "
                f"{TOKENIZER_FILE}, or the vocabulary files of its class"
            ) from None
        if not getattr(loaded, "is_fast", False):
            raise InputError(f"{self.folder}: only tokenizers backed by `tokenizers` are supported")
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
        """Load the complete model, in fp32 and evaluation mode, anew at every call.

        Raises
        ------
        InputError
            Some of the model's weights are missing from the files and would be random.
        """
        from transformers import AutoModel

        self.require_weights()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        options |= {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        with quiet():
            model, report = AutoModel.from_pretrained(self.folder, config=self.config, **options)
        # The pooler of BERT-like models, missing from masked language models, is never used here.
        missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise InputError(
                f"{self.folder}: {len(missing)} weights of the model are not in its files (first: "
                f"{missing[0]}) and would be random. Is the download complete?"
            )
        return _without_pooler(model)

    def empty(self) -> nn.Module:
        """Return the model with random weights, to be replaced by those of a bundle."""
        from transformers import AutoModel

        with quiet(), torch.random.fork_rng():
            return _without_pooler(AutoModel.from_config(self.config))

    @cached_property
    def causal(self) -> bool:
        """True if a token attends only to those before it, as in decoders; measured.

        This depends on the architecture and not on the weights, so one layer with random weights is
        tested, with a tiny vocabulary (a full one took most of the time of opening a bundle).
        """
        from transformers import AutoModel

        config = copy.deepcopy(self.config)
        text = config.get_text_config()
        text.num_hidden_layers = 1
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:1]
        text.vocab_size, text.pad_token_id = 9, 0
        ids = torch.tensor([[5, 6, 7], [5, 6, 8]])
        with quiet(), torch.random.fork_rng(), torch.inference_mode():
            model = AutoModel.from_config(config).eval()
            features = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return bool(torch.equal(features[0, :2], features[1, :2]))


def _without_pooler(model: Any) -> nn.Module:
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the library's loading reports and progress bars; real problems are checked here."""
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


@lru_cache(maxsize=8)
def open_encoder(name: str) -> PretrainedEncoder:
    """Return the encoder of a name, opened once per process without keeping its weights."""
    entry = CATALOG.get(name)
    encoder = PretrainedEncoder(resolve(name), entry.lower_case if entry else None)
    encoder.require_weights()
    return encoder


def convert_to_safetensors(folder: Path) -> Path:
    """Write ``model.safetensors`` from a folder's pickled weights, reading tensors only.

    Parameters
    ----------
    folder : Path
        Folder with ``pytorch_model.bin``.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    InputError
        The file is missing, or contains more than tensors.
    """
    from safetensors.torch import save_file

    source, target = folder / PICKLED_WEIGHTS, folder / WEIGHTS[0]
    if not source.is_file():
        raise InputError(f"no {PICKLED_WEIGHTS} in {folder}: nothing to convert")
    if target.exists():
        raise InputError(f"{target} exists already: nothing is converted; delete it to do it again")
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that wants to run code, or a damaged file
        raise InputError(
            f"{source} could not be read as plain tensors ({type(error).__name__})"
        ) from None
    # Tied weights are copied, because safetensors does not support shared memory.
    plain = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    with atomic_path(target) as partial:
        save_file(plain, partial, metadata={"format": "pt"})
    return target


def save_encoder_files(encoder: PretrainedEncoder, folder: Path) -> None:
    """Write the files that rebuild the model without weights, its tokenizer and its licence."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((encoder.folder / "config.json").read_text(encoding="utf-8"))
    config = config_checks.plain(config)
    config.pop("_name_or_path", None)  # a path on the machine that made it
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    encoder.tokenizer.save(str(folder / TOKENIZER_FILE))
    for path in encoder.folder.glob("LICENSE*"):
        shutil.copyfile(path, folder / path.name)
