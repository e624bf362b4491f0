"""Notes, split and encoder that all contestants of a part share."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from clinadapt.core.errors import InputError
from clinadapt.data.notes import Notes
from clinadapt.data.split import PARTS, make_split, partition
from clinadapt.features.encoders.catalog import resolve
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import tokenize

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = 30_000
SCRATCH_WORDS = 200


@dataclass(frozen=True)
class Workload:
    """Notes on disk, the encoder, and the amount of work.

    Attributes
    ----------
    table : str
        Parquet file: text, label (class code), part.
    source, encoder, encoder_folder : str
        Origin of the notes; name of the encoder for readers; its folder.
    classes, layers, width, inner, max_tokens : int
    notes, tokens, words : dict of str to int
        Per part: notes; sub-words without padding, at most `max_tokens` per note; words, at most
        200 per note.
    encode_flops : float
        Operations of one pass of the encoder over all notes, without padding.
    """

    table: str
    source: str
    encoder: str
    encoder_folder: str
    classes: int
    layers: int
    width: int
    inner: int
    max_tokens: int
    notes: dict[str, int]
    tokens: dict[str, int]
    words: dict[str, int]
    encode_flops: float

    @property
    def epoch_tokens(self) -> int:
        """Sub-words per epoch: those of the training and validation notes."""
        return self.tokens["train"] + self.tokens["validation"]

    @property
    def epoch_words(self) -> int:
        """Words per epoch of a model trained from scratch."""
        return self.words["train"] + self.words["validation"]

    def record(self) -> dict[str, Any]:
        """Return the values for the record, without paths of this machine."""
        kept = asdict(self)
        del kept["table"], kept["encoder_folder"]
        most = {"tokens": self.max_tokens, "words": SCRATCH_WORDS}
        epoch = {"epoch_tokens": self.epoch_tokens, "epoch_words": self.epoch_words}
        return kept | epoch | {"most": most}


def prepare(
    notes: Notes, train_notes: int | None, encoder_folder: Path, encoder: str, folder: Path
) -> Workload:
    """Split the notes, reduce them to a number of training notes, and write them.

    Parameters
    ----------
    notes : Notes
        Notes with one label each.
    train_notes : int, optional
        Number of training notes; all parts are reduced in the same proportion, by class.
        Default: all.
    encoder_folder : Path
    encoder : str
    folder : Path

    Raises
    ------
    InputError
        If the task is multi-label or too few notes are left.
    """
    if notes.labels.task == "multilabel":
        raise InputError(
            "expected one label per note, got a multi-label table: not all contestants support it"
        )
    rows = make_split(notes).parts()
    share = min(1.0, (train_notes or len(rows["train"])) / len(rows["train"]))
    frames = []
    for part in PARTS:
        kept = rows[part]
        if share < 1.0:
            matrix = notes.labels.matrix[kept]
            chosen = partition(matrix, np.arange(len(kept)), (share, 1.0 - share), seed=0) == 0
            kept = kept[chosen]
        labels = notes.labels.target[kept]
        if len(np.unique(labels)) < len(notes.labels.classes) and part == "train":
            raise InputError(f"--notes {train_notes} leaves a class without a training note")
        texts = [notes.texts[row] for row in kept]
        frames.append(
            pl.DataFrame({"text": texts, "label": labels}).with_columns(part=pl.lit(part))
        )
    table = folder / "notes.parquet"
    pl.concat(frames).write_parquet(table)

    opened = PretrainedEncoder(encoder_folder)
    limit = min(256, opened.max_tokens)
    lengths = {
        part: tokenize(opened.tokenizer, frame["text"].to_list(), limit).lengths
        for part, frame in zip(PARTS, frames, strict=True)
    }
    width, inner = opened.width, int(opened.config.intermediate_size)
    every = np.concatenate(list(lengths.values())).astype(np.float64)
    matrices = 2.0 * (4 * width**2 + 2 * width * inner) * every.sum()
    attention = 4.0 * width * (every**2).sum()
    return Workload(
        table=str(table),
        source=notes.source if notes.synthetic else Path(notes.source).name,
        encoder=encoder,
        encoder_folder=str(encoder_folder),
        classes=len(notes.labels.classes),
        layers=opened.layers,
        width=width,
        inner=inner,
        max_tokens=limit,
        notes={part: len(frame) for part, frame in zip(PARTS, frames, strict=True)},
        tokens={part: int(counts.sum()) for part, counts in lengths.items()},
        words={
            part: sum(min(SCRATCH_WORDS, len(re.findall(r"\w+", text))) for text in frame["text"])
            for part, frame in zip(PARTS, frames, strict=True)
        },
        encode_flops=opened.layers * (matrices + attention),
    )


def find_encoder(name: str | None, layers: int, texts: list[str], folder: Path) -> tuple[Path, str]:
    """Return folder and name of an encoder; one with random weights is created if name is None."""
    if name is not None:
        return resolve(name), Path(name).name
    return make_encoder(layers, texts, folder), "BERT with random weights"


def make_encoder(layers: int, texts: list[str], folder: Path) -> Path:
    """Write a BERT of base width with random weights, and a WordPiece tokenizer for the notes.

    It is as fast as any encoder of its size; its scores are meaningless.
    """
    from transformers import BertConfig, BertModel, BertTokenizerFast
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    around = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=around
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    fast = BertTokenizerFast(
        tokenizer_object=tokenizer, **{f"{role}_token": name for role, name in names.items()}
    )
    fast.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(BertConfig(vocab_size=VOCABULARY, num_hidden_layers=layers))
    model.save_pretrained(folder)
    return folder
