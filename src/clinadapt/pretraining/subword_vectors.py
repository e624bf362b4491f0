r"""Sub-word vectors from co-occurrence counts: what minutes on a CPU can learn from texts.

Sub-words that stand in like contexts come close. With $n_{wc}$ the weighted count of sub-word $w$
within five tokens of $c$, positive pointwise mutual information

$$ M_{wc} = \max\Big(0, \log \frac{n_{wc} \sum_{c'} n_{c'}^{.75}}{n_w \, n_c^{.75}}\Big) $$

is factored as $M \approx U \Sigma V^\top$, and $U \Sigma^{.5}$ are the vectors (Levy, Goldberg &
Dagan 2015, "Improving distributional similarity with lessons learned from word embeddings": the
smoothed contexts and the exponent are theirs). A token at distance $d$ counts $6 - d$, as in
word2vec.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import sparse
from scipy.sparse.linalg import svds
from tokenizers import Tokenizer
from torch import Tensor, nn

from clinadapt.core.atomic_files import atomic_folder
from clinadapt.core.device import environment
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.text_store import Texts
from clinadapt.pretraining.corpus import Corpus
from clinadapt.pretraining.tokenizer_training import learn_vocabulary

WINDOW = 5
SMOOTHING = 0.75
EXPONENT = 0.5  # of the singular values
TEXTS_AT_ONCE = 1024
TOKENS_AT_ONCE = 2**20
UNLIMITED = 10**30  # transformers' length of a tokenizer that cuts nothing
VECTORS_FILE = "vectors.safetensors"
TOKENIZER_FILE = "tokenizer.json"
RECORD = "pretraining.json"


def make_vectors(
    corpus: Corpus,
    out: Path,
    vocabulary: int = 8192,
    width: int = 256,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Learn a vector of each sub-word, and write them as a folder that `Vectors` opens.

    Memory holds an entry of 12 bytes for each pair of sub-words that was met, some three times
    over, and the pairs of one block of texts, however many texts there are.

    Parameters
    ----------
    corpus : Corpus
    out : Path
        New, or empty; it appears whole.
    vocabulary : int
        Sub-words of the tokenizer that is learned.
    width : int
        Numbers of a vector.
    seed : int
        Of the vector that the factorisation begins with.
    progress : callable

    Returns
    -------
    dict
        What ``pretraining.json`` holds: settings, counts, pace; no text.

    Raises
    ------
    InputError
        The folder holds something, or there is too little text for so many sub-words and numbers.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something already: choose another --out, or delete it")
    started = time.perf_counter()
    tokenizer = learn_vocabulary(corpus.train, vocabulary, UNLIMITED)
    if width >= len(tokenizer):
        raise InputError(
            f"expected a width below the number of sub-words, got {width} for {len(tokenizer)}: "
            "give more text or a larger --vocabulary, or a smaller --width"
        )
    learned = time.perf_counter()
    counts, tokens = count_pairs(corpus.train, tokenizer, progress)
    counted = time.perf_counter()
    vectors = factor(positive_information(counts), width, seed)
    ended = time.perf_counter()
    record = {
        "strength": "fast",
        "vocabulary": len(tokenizer),
        "width": width,
        "window": WINDOW,
        "seed": seed,
        "corpus": corpus.to_json(),
        "result": {
            "tokens": tokens,
            "pairs": int(counts.nnz),
            "seconds": ended - started,
            "seconds_of": {
                "vocabulary": learned - started,
                "counts": counted - learned,
                "vectors": ended - counted,
            },
            "tokens_per_second": round(tokens / (ended - started)),
        },
        "environment": environment(),
    }
    # In C order: safetensors writes bytes as they lie, whatever the strides.
    stored = np.ascontiguousarray(vectors, dtype=np.float16)
    text = json.dumps(record, ensure_ascii=False, indent=1)
    with atomic_folder(out) as partial:
        tokenizer.save_pretrained(partial)
        save_file({"vectors": stored}, partial / VECTORS_FILE)
        (partial / RECORD).write_text(text, encoding="utf-8")
    return record


def learn_vectors(texts: Texts, tokenizer: Any, width: int, seed: int) -> NDArray[np.float32]:
    """Vectors [sub-word, width] of a tokenizer's sub-words."""
    return factor(positive_information(count_pairs(texts, tokenizer)[0]), width, seed)


def count_pairs(
    texts: Texts, tokenizer: Any, progress: Progress = no_progress
) -> tuple[sparse.csr_matrix, int]:
    """Count how often sub-words stand within `WINDOW` tokens of each other, in one text.

    Parameters
    ----------
    texts : Texts
    tokenizer : transformers.PreTrainedTokenizerFast
    progress : callable

    Returns
    -------
    csr_matrix of int64, shape [sub-word, sub-word]
        Symmetric; neighbours count `WINDOW`, the farthest pair 1.
    int
        Tokens that were read.

    Raises
    ------
    InputError
        No two sub-words stand together.
    """
    size = len(tokenizer)
    # The stubs do not know that a shape alone makes an empty matrix.
    following: Any = sparse.csr_matrix((size, size), dtype=np.int64)  # type: ignore[arg-type]
    read = 0
    for ids, owner, texts_read in _blocks(texts, tokenizer):
        first, second, weight = [], [], []
        for distance in range(1, WINDOW + 1):
            together = np.flatnonzero(owner[:-distance] == owner[distance:])
            first.append(ids[together])
            second.append(ids[together + distance])
            weight.append(np.full(len(together), WINDOW + 1 - distance, dtype=np.int64))
        places = np.concatenate(first), np.concatenate(second)
        following += sparse.csr_matrix((np.concatenate(weight), places), shape=(size, size))
        read += len(ids)
        progress("counting", texts_read, len(texts))
    if not following.nnz:
        raise InputError("no text holds two sub-words: give more text")
    return following + following.T.tocsr(), read


def _blocks(
    texts: Texts, tokenizer: Any
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], int]]:
    """Token ids of some texts, the text that each is of, and how many texts have been read."""
    ids: list[NDArray[np.int32]] = []
    held = read = 0
    for block in texts.blocks(TEXTS_AT_ONCE):
        encoded = tokenizer(
            block, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        read += len(block)
        ids += [np.array(text, dtype=np.int32) for text in encoded["input_ids"]]
        held += sum(map(len, encoded["input_ids"]))
        if held >= TOKENS_AT_ONCE or read == len(texts):
            owner = np.repeat(np.arange(len(ids), dtype=np.int32), [len(text) for text in ids])
            yield np.concatenate(ids), owner, read
            ids, held = [], 0


def positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Positive pointwise mutual information of pairs, contexts smoothed by `SMOOTHING`.

    Parameters
    ----------
    counts : csr_matrix, shape [sub-word, context]
        Symmetric.

    Returns
    -------
    csr_matrix of float32, shape [sub-word, context]
    """
    pairs = counts.tocoo()
    each = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    contexts = each**SMOOTHING
    expected = each[pairs.row] * contexts[pairs.col] / contexts.sum()
    information = np.log(pairs.data / expected).clip(min=0).astype(np.float32)
    found = sparse.csr_matrix((information, (pairs.row, pairs.col)), shape=counts.shape)
    found.eliminate_zeros()
    return found


def factor(information: sparse.csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
    """Vectors of which the first numbers matter most.

    Parameters
    ----------
    information : csr_matrix of float32, shape [sub-word, context]
    width, seed : int

    Returns
    -------
    ndarray of float32, shape [sub-word, width]
        Zero for what was never met.
    """
    start = np.random.default_rng(seed).normal(size=information.shape[0]).astype(np.float32)
    left, singular, _ = svds(information, k=width, v0=start)
    order = np.argsort(-singular)
    kept = left[:, order] * singular[order].clip(min=0) ** EXPONENT
    vectors = np.asarray(kept, dtype=np.float32)
    vectors[np.asarray(information.sum(axis=1)).ravel() == 0] = 0
    return vectors


@dataclass(frozen=True, eq=False)
class Vectors:
    """A folder of sub-word vectors.

    Parameters
    ----------
    folder : Path
        That `make_vectors` wrote.

    Raises
    ------
    InputError
        It is not here, or no such folder.
    """

    folder: Path

    @classmethod
    def of(cls, folder: str) -> "Vectors":
        """Those of a folder as a setting names it."""
        return cls(Path(folder).expanduser())

    def __post_init__(self) -> None:
        missing = [
            name for name in (TOKENIZER_FILE, VECTORS_FILE) if not (self.folder / name).is_file()
        ]
        if missing:
            raise InputError(
                f"no vectors in {self.folder} ({' and '.join(missing)} missing): expected a folder "
                "that `clinadapt pretrain TEXTS --strength fast` made"
            )
        if len(self.shape) != 2 or self.shape[0] != self.tokenizer.get_vocab_size():
            raise self._damaged()

    def _damaged(self) -> InputError:
        return InputError(f"{self.folder}: tokenizer and vectors do not fit: make the folder again")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Of the sub-words."""
        try:
            return Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))
        except Exception:  # the library raises nothing narrower
            raise self._damaged() from None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Sub-words and width."""
        try:
            with safe_open(self.folder / VECTORS_FILE, "pt") as file:
                return tuple(file.get_slice("vectors").get_shape())
        except (SafetensorError, OSError):
            raise self._damaged() from None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer and vectors."""
        digest = hashlib.sha256()
        for name in (TOKENIZER_FILE, VECTORS_FILE):
            with (self.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def problems(self, width: int) -> list[str]:
        """Say whether they are too narrow for an encoder."""
        if width <= self.shape[1]:
            return []
        return [
            f"{self.folder}: vectors of {self.shape[1]} numbers are too narrow for an encoder of "
            f"width {width}: make wider ones (--width), or set a smaller width"
        ]

    def put_into(self, embeddings: nn.Parameter) -> None:
        """Replace the random vectors of the sub-words that were met, see `put_into`."""
        with safe_open(self.folder / VECTORS_FILE, "pt") as file:
            put_into(embeddings, file.get_slice("vectors")[:, : embeddings.shape[1]].float())


def put_into(embeddings: nn.Parameter, vectors: Tensor) -> None:
    """Replace the random vectors of the sub-words that were met.

    They are scaled to the standard deviation of the random ones, which the rest of a network is
    made for.

    Parameters
    ----------
    embeddings : nn.Parameter, shape [sub-word, width]
        Random.
    vectors : Tensor, shape [sub-word, width]
        Zero for what was never met.
    """
    met = vectors.any(dim=1)
    with torch.no_grad():
        embeddings[met] = vectors[met] * (embeddings.std() / vectors[met].std())
