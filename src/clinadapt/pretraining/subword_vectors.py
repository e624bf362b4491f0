r"""Sub-word vectors from co-occurrence counts, trained in minutes on a CPU.

Sub-words in similar contexts get similar vectors. With $n_{wc}$ the weighted count of sub-word $w$
within five tokens of $c$, the positive pointwise mutual information

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
from clinadapt.core.output_guard import Output, check_outputs
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.text_store import Texts
from clinadapt.pretraining.corpus import Corpus
from clinadapt.pretraining.tokenizer_training import learn_vocabulary

WINDOW = 5
SMOOTHING = 0.75
EXPONENT = 0.5  # of the singular values
TEXTS_AT_ONCE = 1024
TOKENS_AT_ONCE = 2**20
UNLIMITED = 10**30  # transformers' maximum length of a tokenizer without truncation
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
    """Train a vector for each sub-word, and write them as a folder that `Vectors` opens.

    The memory needed is about three times 12 bytes for each pair of sub-words that occurs, plus the
    pairs of one block of texts, whatever the number of texts.

    Parameters
    ----------
    corpus : Corpus
    out : Path
        New or empty folder, written atomically.
    vocabulary : int
        Number of sub-words of the tokenizer.
    width : int
        Dimensions of a vector.
    seed : int
        Seed of the start vector of the factorisation.
    progress : callable

    Returns
    -------
    dict
        Content of ``pretraining.json``: settings, counts and speed, but no text.

    Raises
    ------
    InputError
        The folder is not empty, or there is too little text for the number of sub-words and
        dimensions.
    """
    check_outputs([Output(out, "--out", lambda path: False, folder=True)])
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
    # In C order, because safetensors ignores strides when it writes an array.
    stored = np.ascontiguousarray(vectors, dtype=np.float16)
    text = json.dumps(record, ensure_ascii=False, indent=1)
    with atomic_folder(out) as partial:
        tokenizer.save_pretrained(partial)
        save_file({"vectors": stored}, partial / VECTORS_FILE)
        (partial / RECORD).write_text(text, encoding="utf-8")
    return record


def learn_vectors(texts: Texts, tokenizer: Any, width: int, seed: int) -> NDArray[np.float32]:
    """Return vectors [sub-word, width] of a tokenizer's sub-words."""
    return factor(positive_information(count_pairs(texts, tokenizer)[0]), width, seed)


def count_pairs(
    texts: Texts, tokenizer: Any, progress: Progress = no_progress
) -> tuple[sparse.csr_matrix, int]:
    """Count how often sub-words occur within `WINDOW` tokens of each other in a text.

    Parameters
    ----------
    texts : Texts
    tokenizer : transformers.PreTrainedTokenizerFast
    progress : callable

    Returns
    -------
    csr_matrix of int64, shape [sub-word, sub-word]
        Symmetric counts; neighbours count `WINDOW`, the most distant pair 1.
    int
        Number of tokens read.

    Raises
    ------
    InputError
        No text has two sub-words.
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
        following = following + sparse.csr_matrix(
            (np.concatenate(weight), places), shape=(size, size)
        )
        read += len(ids)
        progress("counting", texts_read, len(texts))
    if not following.nnz:
        raise InputError("no text has two sub-words: give more text")
    return following + following.T.tocsr(), read


def _blocks(
    texts: Texts, tokenizer: Any
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], int]]:
    """Yield token ids of some texts, the text of each token, and the number of texts read."""
    ids: list[NDArray[np.int32]] = []
    pending = read = 0
    for block in texts.blocks(TEXTS_AT_ONCE):
        encoded = tokenizer(
            block, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        read += len(block)
        ids += [np.array(text, dtype=np.int32) for text in encoded["input_ids"]]
        pending += sum(map(len, encoded["input_ids"]))
        if pending >= TOKENS_AT_ONCE or read == len(texts):
            owner = np.repeat(np.arange(len(ids), dtype=np.int32), [len(text) for text in ids])
            yield np.concatenate(ids), owner, read
            ids, pending = [], 0


def positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the positive pointwise mutual information of pairs, with smoothed contexts.

    Parameters
    ----------
    counts : csr_matrix, shape [sub-word, context]
        Symmetric counts of pairs.

    Returns
    -------
    csr_matrix of float32, shape [sub-word, context]
    """
    pairs = counts.tocoo()
    each = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    contexts = each**SMOOTHING
    expected = each[pairs.row] * contexts[pairs.col] / contexts.sum()
    information = np.log(pairs.data / expected).clip(min=0).astype(np.float32)
    matrix = sparse.csr_matrix((information, (pairs.row, pairs.col)), shape=counts.shape)
    matrix.eliminate_zeros()
    return matrix


def factor(information: sparse.csr_matrix, width: int, seed: int) -> NDArray[np.float32]:
    """Factor the information into vectors, with the most important dimensions first.

    Parameters
    ----------
    information : csr_matrix of float32, shape [sub-word, context]
    width, seed : int

    Returns
    -------
    ndarray of float32, shape [sub-word, width]
        Zero for sub-words that never occurred.
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
        Folder that `make_vectors` wrote.

    Raises
    ------
    InputError
        The folder is missing or has no vectors.
    """

    folder: Path

    @classmethod
    def of(cls, folder: str) -> "Vectors":
        """Open the folder that a setting names."""
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
        return InputError(
            f"{self.folder}: tokenizer and vectors do not match: make the folder again"
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the sub-words."""
        try:
            return Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))
        except Exception:  # the library raises no narrower class
            raise self._damaged() from None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of sub-words, and width."""
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
        """Return a message if the vectors are too narrow for an encoder of this width."""
        if width <= self.shape[1]:
            return []
        return [
            f"{self.folder}: vectors of width {self.shape[1]} are too narrow for an encoder of "
            f"width {width}: make wider ones (--width), or set a smaller width"
        ]

    def put_into(self, embeddings: nn.Parameter) -> None:
        """Set the embeddings of the sub-words that occurred, see the function `put_into`."""
        with safe_open(self.folder / VECTORS_FILE, "pt") as file:
            put_into(embeddings, file.get_slice("vectors")[:, : embeddings.shape[1]].float())


def put_into(embeddings: nn.Parameter, vectors: Tensor) -> None:
    """Replace the random embeddings of the sub-words that occurred by vectors.

    The vectors are scaled to the standard deviation of the random embeddings, for which the rest of
    the network is initialised.

    Parameters
    ----------
    embeddings : nn.Parameter, shape [sub-word, width]
        Random embeddings, modified in place.
    vectors : Tensor, shape [sub-word, width]
        Zero for sub-words that never occurred.
    """
    occurring = vectors.any(dim=1)
    with torch.no_grad():
        scale = embeddings.std() / vectors[occurring].std()
        embeddings[occurring] = vectors[occurring] * scale
