"""The model of an exported bundle, in place of a pretrained or from-scratch model.

It reads notes with the tokenizer and settings of the original model, and runs the network as an
ONNX file. It cannot be fitted, and gradients cannot pass through it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from sklearn.base import clone
from tokenizers import Tokenizer

from clinadapt.core import safe_files
from clinadapt.core.arrays import Floats
from clinadapt.core.device import compute_dtype
from clinadapt.core.errors import ClinadaptError, InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Task
from clinadapt.features.encoder_inference import reading_batches, side_by_side, token_chunks
from clinadapt.features.note_sources import TokenSource
from clinadapt.features.readable_tokens import readable
from clinadapt.features.tokenization import Tokens, read_tokenizer, require_usable
from clinadapt.models import neural_base
from clinadapt.models.contract import Model
from clinadapt.models.files import ABOUT_BYTES, ABOUT_FILE, NETWORK_FILE
from clinadapt.models.from_scratch import TOKENIZER_FILE
from clinadapt.models.onnx_runtime import Runtime, open_network
from clinadapt.models.token_network import TokenNetwork
from clinadapt.neural.note_network import Batch

MOST_TOKENS = 2**17  # more than any encoder reads
CPU = torch.device("cpu")


class About(BaseModel):
    """Runtime, weight type and size of an exported network; the content of ``export.json``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    runtime: Runtime
    weights: Literal["fp32", "int8"]
    parameters: NonNegativeInt


class ExportedModel(Model):
    """An exported network from token ids to class scores, with its tokenizer.

    Parameters
    ----------
    original : Model
        The exported model, unfitted: its settings are used.
    about : About
    task : {"binary", "multiclass", "multilabel"}
    classes : int
    tokenizer : tokenizers.Tokenizer
    folder : Path
        Folder of the network file and its licences.
    """

    explained_by = None  # gradients cannot pass through an exported network

    def __init__(
        self,
        original: Any,
        about: About,
        task: Task,
        classes: int,
        tokenizer: Tokenizer,
        folder: Path,
    ) -> None:
        self.original, self.about, self.task_, self.classes = original, about, task, classes
        self._tokenizer, self.folder = tokenizer, folder
        self.total_parameters_ = about.parameters
        dtype = compute_dtype(original.precision, CPU)
        self._run = open_network(folder / NETWORK_FILE, about.runtime, dtype)

    @classmethod
    def of(cls, model: Any, classes: int, about: About, folder: Path) -> Self:
        """Return the exported model of a fitted one, from the network file in a folder."""
        for path in model.licence_files():
            shutil.copyfile(path, folder / path.name)
        return cls(clone(model), about, model.task_, classes, model.tokenizer, folder)

    @property
    def configured(self) -> Model:
        """The model that was exported."""
        original: Model = self.original
        return original

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the model that was exported."""
        return self._tokenizer

    def token_network(self) -> TokenNetwork:
        """Raise an error: an export cannot be exported again.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("this bundle is already an export: export the bundle it was made from")

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether a token that is read of each note is a known one [note]."""
        model = self.original
        return readable(self.tokenizer, texts, model.max_tokens, model.truncation)

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [note, class]; memory does not grow with the number of notes."""
        context = context or Context()
        scores = []
        model = self.original
        for tokens in token_chunks(self.tokenizer, texts, model.max_tokens, model.truncation):
            context.ledger.truncated_notes += tokens.truncated
            scores.append(self._scores(tokens))
        return neural_base.probabilities(self.task_, torch.from_numpy(np.concatenate(scores)))

    def _scores(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return class scores [note, class], read in batches of similar length."""
        source = TokenSource(tokens)
        order = np.argsort(source.lengths, kind="stable")
        batches = list(reading_batches(order, source.lengths, CPU))
        read = side_by_side(lambda notes: self._read(source.batch(notes)), batches, CPU)
        scores = np.empty((len(order), self.classes), dtype=np.float32)
        scores[order] = np.concatenate(list(read))
        return scores

    def _read(self, batch: Batch) -> NDArray[np.float32]:
        shares = np.arange(batch.notes)[:, None] == batch.note.numpy()
        windows = shares / shares.sum(axis=1, keepdims=True)
        mask = batch.mask.numpy().astype(np.int64)
        scores: NDArray[np.float32] = self._run(
            batch.inputs.numpy(), mask, windows.astype(np.float32)
        )
        return scores

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write network, tokenizer, runtime and licences."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.folder / NETWORK_FILE, *self.folder.glob("LICENSE*")):
            shutil.copyfile(path, folder / path.name)
        self.tokenizer.save(str(folder / TOKENIZER_FILE))
        (folder / ABOUT_FILE).write_text(self.about.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def open(cls, original: Any, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        original : Model
            Model with the settings of the exported one.
        folder : Path
        task : {"binary", "multiclass", "multilabel"}
        classes : int

        Raises
        ------
        InputError
            The files do not match each other or the settings.
        MissingExtraError
            The runtime is not installed.
        """
        if not original.reads_tokens:
            raise InputError(f"{ABOUT_FILE}: a model of this kind has no network to export")
        if original.max_tokens > MOST_TOKENS:
            raise InputError(f"max_tokens: expected at most {MOST_TOKENS}")
        try:
            about = About.model_validate(safe_files.read_json(folder / ABOUT_FILE, ABOUT_BYTES))
        except ValidationError:
            raise InputError(f"{ABOUT_FILE} is not the description of an export") from None
        tokenizer = read_tokenizer(folder / TOKENIZER_FILE)
        # The network's own table is tried below, with the token of the largest number.
        require_usable(tokenizer, max(tokenizer.get_vocab().values(), default=0) + 1)
        try:
            model = cls(original, about, task, classes, tokenizer, folder)
            model._try()
        except ClinadaptError:
            raise
        except Exception as error:  # the runtimes' errors are not specified
            raise InputError(
                f"{NETWORK_FILE} does not run ({type(error).__name__}): it does not match the "
                "tokenizer or the settings, or the installed runtime is too old for it"
            ) from error
        return model

    def _try(self) -> None:
        """Run the longest sequence, made of the token with the largest id."""
        largest = max(self.tokenizer.get_vocab().values())
        ids = np.full((1, self.original.max_tokens), largest, dtype=np.int64)
        scores = self._run(ids, np.ones_like(ids), np.ones((1, 1), dtype=np.float32))
        if scores.shape != (1, self.classes) or not np.isfinite(scores).all():
            raise InputError(f"{NETWORK_FILE}: expected {self.classes} finite scores per note")


def load_fitted(model: Any, folder: Path, task: Task, classes: int) -> Any:
    """Return the fitted model of a bundle's folder, exported or not.

    Parameters
    ----------
    model : Model
        Unfitted, with the settings of the saved model.
    folder : Path
    task : {"binary", "multiclass", "multilabel"}
    classes : int
    """
    if (folder / ABOUT_FILE).is_file():
        return ExportedModel.open(model, folder, task, classes)
    return model.load(folder, task, classes)
