"""Pretrained encoders, opened from a folder of configuration, weights and tokenizer."""

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

from clinadapt.core.errors import InputError, UnusableEncoderError
from clinadapt.features.encoders import config_checks, weight_files
from clinadapt.features.encoders.architecture import Architecture, measure
from clinadapt.features.encoders.catalog import CATALOG, resolve
from clinadapt.features.encoders.config_reading import read_config
from clinadapt.features.tokenization import read_tokenizer, require_usable

TOKENIZER_FILE = "tokenizer.json"


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

    def require_weights(self) -> None:
        """Raise if there are no safetensors weights, or not all of them.

        Raises
        ------
        UnusableEncoderError
            The message says what is there, and what to do.
        """
        if problems := weight_files.problems(self.folder):
            raise UnusableEncoderError(problems)

    def check(self) -> None:
        """Compare the parts of the folder with each other, without reading the weights.

        Raises
        ------
        UnusableEncoderError
            Something is missing, or does not fit the rest; all problems are named.
        """
        self.require_weights()
        problems: list[str] = []
        try:
            model, report = self._from_files("meta")
        except InputError as error:
            raise UnusableEncoderError(error.problems) from None
        for check in (
            lambda: self._require_all(model, report),
            lambda: self._require_tokenizer(model),
            lambda: self.architecture,
        ):
            try:
                check()
            except InputError as error:
                problems += error.problems
        if problems:
            raise UnusableEncoderError(problems)

    def check_tokenizer(self) -> None:
        """Raise `InputError` unless the tokenizer can be used with the model's embeddings."""
        with torch.device("meta"):
            self._require_tokenizer(self.empty())

    def _require_tokenizer(self, model: Any) -> None:
        try:
            embeddings = len(model.get_input_embeddings().weight)
        except (AttributeError, NotImplementedError):
            raise InputError(f"{self.folder}: the model has no table of token embeddings") from None
        try:
            require_usable(self.tokenizer, embeddings)
        except InputError as error:
            own = [one.removeprefix(f"{self.folder}: ") for one in error.problems]
            raise InputError([f"{self.folder}: {problem}" for problem in own]) from None

    @cached_property
    def config(self) -> Any:
        """Configuration object of the transformers library."""
        return read_config(self.folder)

    @cached_property
    def architecture(self) -> Architecture:
        """What the architecture can do, measured."""
        try:
            with quiet():
                return measure(self.config)
        except InputError as error:
            raise InputError([f"{self.folder}: {problem}" for problem in error.problems]) from None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.get_text_config().num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the features after the last layer."""
        return self.architecture.width

    def width_at(self, split_layer: int) -> int:
        """Return the width of the features after some of the layers."""
        return self.width if split_layer == self.layers else self.architecture.layer_width

    @property
    def causal(self) -> bool:
        """True if a token attends only to those before it, as in decoders."""
        return self.architecture.causal

    @property
    def max_tokens(self) -> int:
        """Maximum sequence length that the position embeddings allow."""
        declared = getattr(self.config.get_text_config(), "max_position_embeddings", None) or 0
        # XLNet, whose positions are relative, declares -1.
        return self.architecture.positions or (declared if declared > 0 else 10**9)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the folder, without truncation and padding."""
        file = self.folder / TOKENIZER_FILE
        tokenizer = read_tokenizer(file) if file.is_file() else self._convert_tokenizer()
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
        except Exception as error:  # each tokenizer's class has errors of its own
            raise InputError(
                f"{self.folder}: no tokenizer could be opened ({type(error).__name__}); expected "
                f"{TOKENIZER_FILE}, or the vocabulary files of its class"
            ) from None
        if not getattr(loaded, "is_fast", False):
            raise InputError(
                f"{self.folder}: {type(loaded).__name__} exists in Python only, and tokenizers "
                f"backed by the library tokenizers ({TOKENIZER_FILE}) are supported"
            )
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
            Some of the model's weights are missing from the files and would be random, or are not
            finite numbers.
        """
        self.require_weights()
        model, report = self._from_files()
        self._require_all(model, report)
        for name, weight in model.named_parameters():
            if not bool(torch.isfinite(torch.stack(torch.aminmax(weight))).all()):
                raise InputError(
                    f"{self.folder}: the weight {name} has numbers that are not finite"
                )
        return _without_pooler(model)

    def _from_files(self, device: str | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the library's model and its report; on the device "meta" no tensor is read."""
        from transformers import AutoModel

        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        options |= {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        options |= {"ignore_mismatched_sizes": True}  # they are in the report
        if device is not None:
            options["device_map"] = device
        try:
            with quiet():
                model, report = AutoModel.from_pretrained(
                    self.folder, config=self.config, **options
                )
        except Exception as error:
            if device is None or isinstance(error, (InputError, MemoryError)):
                raise  # the folder was checked before: this is the machine's fault
            raise InputError(
                f"{self.folder}: transformers cannot open the weights as "
                f"{self.config.model_type!r} ({type(error).__name__}): config.json and weights do "
                "not belong together"
            ) from None
        return model, report

    def _require_all(self, model: Any, report: dict[str, Any]) -> None:
        """Raise unless the files have every weight of the model, in its shape."""
        # The pooler of BERT-like models, missing from masked language models, is never used here.
        missing = sorted(name for name in report["missing_keys"] if not _in_pooler(name))
        if missing:
            raise InputError(
                f"{self.folder}: {len(missing)} weights of the model are not in its files (first: "
                f"{missing[0]}) and would be random. Is the download complete?"
            )
        wrong = sorted(entry for entry in report["mismatched_keys"] if not _in_pooler(entry[0]))
        if wrong:
            name, stored, expected = wrong[0]
            raise InputError(
                f"{self.folder}: {len(wrong)} weights have another shape than config.json "
                f"describes (first: {name} is {tuple(stored)}, expected {tuple(expected)})"
            )
        # Weights of heads are left over as well; those within layers belong to another model.
        layers = [
            f"{path}." for path, part in model.named_modules() if isinstance(part, nn.ModuleList)
        ]
        further = sorted(
            name
            for name in report["unexpected_keys"]
            if name.endswith(".weight") and any(path in name for path in layers)
        )
        if further:
            raise InputError(
                f"{self.folder}: its files have {len(further)} weights of layers that config.json "
                f"does not describe (first: {further[0]}), which would be left out"
            )

    def empty(self) -> nn.Module:
        """Return the model with random weights, to be replaced by those of a bundle."""
        from transformers import AutoModel

        with quiet(), torch.random.fork_rng():
            return _without_pooler(AutoModel.from_config(self.config))


def _in_pooler(name: str) -> bool:
    return name.startswith("pooler.")


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
    """Return the encoder of a name, checked, opened once per process without keeping its weights.

    Raises
    ------
    EncoderNotFoundError
        It is not on this machine and cannot be downloaded.
    UnusableEncoderError
        There is no such encoder, or its parts do not fit each other.
    """
    entry = CATALOG.get(name)
    encoder = PretrainedEncoder(resolve(name), entry.lower_case if entry else None)
    encoder.check()
    return encoder


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
