"""What every contestant of a part gets: the same notes, split and encoder."""

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
    """Notes on disk, the encoder, and how much work they are.

    Attributes
    ----------
    table : str
        Parquet file: text, label (class code), part.
    source, encoder, encoder_folder : str
        Where the notes come from; the encoder's name for people, and its folder.
    classes, layers, width, inner, max_tokens : int
    notes, tokens, words : dict of str to int
        Of each part: notes; real sub-words, cut at `max_tokens`; words, cut at 200.
    encode_flops : float
        Of one pass of the encoder over all notes, padding left out.
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
        """Sub-words that an epoch reads: those of the training and the validation notes."""
        return self.tokens["train"] + self.tokens["validation"]

    @property
    def epoch_words(self) -> int:
        """Words that an epoch of a from-scratch model reads."""
        return self.words["train"] + self.words["validation"]

    def record(self) -> dict[str, Any]:
        """Everything that is worth keeping, and no path of this machine."""
        kept = asdict(self)
        del kept["table"], kept["encoder_folder"]
        most = {"tokens": self.max_tokens, "words": SCRATCH_WORDS}
        epoch = {"epoch_tokens": self.epoch_tokens, "epoch_words": self.epoch_words}
        return kept | epoch | {"most": most}


def prepare(
    notes: Notes, train_notes: int | None, encoder_folder: Path, encoder: str, folder: Path
) -> Workload:
    """Split the notes, leave so many for training, and write them for the contestants.

    Parameters
    ----------
    notes : Notes
        One label a note.
    train_notes : int, optional
        All parts are thinned in the same proportion, by class. Default: all.
    encoder_folder : Path
    encoder : str
    folder : Path

    Raises
    ------
    InputError
        The task is multi-label, or too few notes are left.
    """
    if notes.labels.task == "multilabel":
        raise InputError(
            "expected one label a note, got a multi-label table: not every contestant does those"
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
        tokens={part: int(found.sum()) for part, found in lengths.items()},
        words={
            part: sum(min(SCRATCH_WORDS, len(re.findall(r"\w+", text))) for text in frame["text"])
            for part, frame in zip(PARTS, frames, strict=True)
        },
        encode_flops=opened.layers * (matrices + attention),
    )


def find_encoder(name: str | None, layers: int, texts: list[str], folder: Path) -> tuple[Path, str]:
    """Folder and name of the encoder that is asked for, or of one made for the purpose."""
    if name is not None:
        return resolve(name), Path(name).name
    return make_encoder(layers, texts, folder), "BERT with random weights"


def make_encoder(layers: int, texts: list[str], folder: Path) -> Path:
    """Write a BERT of base width with random weights, and a WordPiece tokenizer of the notes.

    Its speed is that of any encoder of its size; its scores mean nothing.
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
