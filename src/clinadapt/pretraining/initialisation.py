"""Start of a training: a tokenizer and a masked language model, new or existing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clinadapt.core.atomic_files import atomic_folder
from clinadapt.core.errors import InputError
from clinadapt.features.encoders.pretrained import open_encoder
from clinadapt.pretraining.corpus import Corpus
from clinadapt.pretraining.distillation import same_tokens
from clinadapt.pretraining.model_sizes import new_config
from clinadapt.pretraining.special_tokens import open_tokenizer
from clinadapt.pretraining.subword_vectors import learn_vectors, put_into
from clinadapt.pretraining.tokenizer_training import learn_vocabulary
from clinadapt.pretraining.vocabulary_extension import extend


@dataclass(frozen=True)
class Beginning:
    """An existing encoder, or the architecture of a new one.

    Attributes
    ----------
    start : str, optional
        Known name, hub id or folder of an encoder to continue from.
    size : str
        Size of a new encoder, see `clinadapt.pretraining.model_sizes.SIZES`.
    vocabulary : int
        Number of sub-words of a new tokenizer.
    length : int
        Number of tokens of a sequence.
    teacher : str, optional
        Known name, hub id or folder; a new encoder takes its tokenizer.
    add_words : int
        Maximum number of words to add to the tokenizer of `start`.
    """

    start: str | None
    size: str
    vocabulary: int
    length: int
    teacher: str | None
    add_words: int

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the result, without paths of this machine."""
        new_words = self.start is None and self.teacher is None
        return {
            "start": None if self.start is None else Path(self.start).name,
            "size": None if self.start else self.size,
            "vocabulary": self.vocabulary if new_words else None,
            "teacher": None if self.teacher is None else _identity(self.teacher),
            "add_words": self.add_words,
            "length": self.length,
        }

    def problems(self) -> list[str]:
        """Return a message for each invalid combination of settings."""
        problems = []
        if self.add_words and self.start is None:
            problems.append(
                "--add-words extends the tokenizer of an existing encoder: give --from, or a "
                "larger --vocabulary for a new one"
            )
        if self.add_words and self.teacher:
            problems.append(
                "a teacher does not know added words: distil without --add-words, and add them "
                "afterwards with --from"
            )
        return problems

    def begin(self, corpus: Corpus, work: Path, seed: int) -> tuple[Any, Any, Any]:
        """Create or open the tokenizer and the model.

        Parameters
        ----------
        corpus : Corpus
        work : Path
            Folder of the training; a new tokenizer is saved there.
        seed : int

        Returns
        -------
        (tokenizer, model, dict or None)
            The last describes how the tokenizer was extended, see
            `clinadapt.pretraining.vocabulary_extension.extend`.
        """
        if self.start is not None:
            return self._existing(corpus, work / "tokenizer")
        if self.teacher is not None:
            tokenizer = open_tokenizer(open_encoder(self.teacher), self.length)
        else:
            tokenizer = self._own_tokenizer(corpus, work / "tokenizer")
        return tokenizer, self._new(tokenizer, corpus, work, seed), None

    def _existing(self, corpus: Corpus, kept: Path) -> tuple[Any, Any, Any]:
        from transformers import AutoModelForMaskedLM

        encoder = open_encoder(str(self.start))
        tokenizer = open_tokenizer(encoder, self.length)
        if self.teacher is not None:
            taught = open_tokenizer(open_encoder(self.teacher), self.length)
            if not same_tokens(tokenizer, taught, corpus.train):
                raise InputError(
                    f"expected an encoder with the tokenizer of its teacher {self.teacher}, got "
                    f"{self.start}, which splits texts differently, so that their features belong "
                    "to different tokens. Without --from, a new encoder takes the teacher's "
                    "tokenizer"
                )
        model = AutoModelForMaskedLM.from_pretrained(
            encoder.folder, local_files_only=True, dtype=torch.float32
        )
        if not self.add_words:
            return tokenizer, model, None
        extended, extension = extend(tokenizer, model, corpus.train, self.add_words, kept)
        return extended, model, extension

    def _own_tokenizer(self, corpus: Corpus, kept: Path) -> Any:
        from transformers import PreTrainedTokenizerFast

        if kept.is_dir():
            return PreTrainedTokenizerFast.from_pretrained(kept)
        tokenizer = learn_vocabulary(corpus.train, self.vocabulary, self.length)
        with atomic_folder(kept) as partial:
            tokenizer.save_pretrained(partial)
        return tokenizer

    def _new(self, tokenizer: Any, corpus: Corpus, work: Path, seed: int) -> Any:
        """Create a model whose token embeddings start from quickly trained sub-word vectors."""
        from transformers import AutoModelForMaskedLM

        config = new_config(self.size, tokenizer, self.length)
        model = AutoModelForMaskedLM.from_config(config)
        width = config.hidden_size
        # A resumed training has better ones; factoring needs more sub-words than dimensions.
        if not (work / "checkpoint.pt").is_file() and width < len(tokenizer):
            vectors = learn_vectors(corpus.train, tokenizer, width, seed)
            put_into(model.get_input_embeddings().weight, torch.from_numpy(vectors))
        return model


def _identity(teacher: str) -> dict[str, str]:
    return {"name": Path(teacher).name, "fingerprint": open_encoder(teacher).fingerprint}
