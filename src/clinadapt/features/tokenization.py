"""Token ids of notes, truncated to a maximum length, with truncated notes counted.

Pretrained and learned tokenizers are both `tokenizers.Tokenizer`, which is fast, parallel, and
one JSON file on disk.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from clinadapt.core.errors import InputError
from clinadapt.features.long_notes import Excerpt, excerpt

Truncation = Literal["head", "tail", "head+tail", "windows"]
UNKNOWN, PAD = "[UNK]", "[PAD]"
TRIED = 20
MOST_LEARNED = 2**17


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of a list of notes, without padding.

    A note is one sequence, or several with `truncation="windows"`.

    Attributes
    ----------
    ids : ndarray of int32, shape [token]
        Token ids of all sequences, concatenated.
    starts : ndarray of int64, shape [sequence + 1]
        Sequence i is ``ids[starts[i]:starts[i + 1]]``.
    first : ndarray of int64, shape [note + 1]
        Note i consists of the sequences ``first[i]`` to ``first[i + 1] - 1``.
    truncated : int
        Number of notes longer than allowed (with windows: split without loss).
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    first: NDArray[np.int64]
    truncated: int

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each sequence."""
        return np.diff(self.starts)

    @cached_property
    def longest(self) -> int:
        """Number of tokens of the longest sequence."""
        return int(self.lengths.max())

    def sequence(self, number: int) -> NDArray[np.int32]:
        """Return the token ids of one sequence."""
        return self.ids[self.starts[number] : self.starts[number + 1]]


def tokenize(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_tokens: int = 256,
    truncation: Truncation = "head",
) -> Tokens:
    """Return the token ids of notes, in sequences of at most `max_tokens` tokens.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    texts : sequence of str
    max_tokens : int
        Maximum length of a sequence, special tokens included; 256 in the paper.
    truncation : {"head", "tail", "head+tail", "windows"}
        The part of a longer note to keep: its start, its end, half of each, or all of it in windows
        that overlap by a quarter.
    """
    before, after = special_ids(tokenizer)
    room = max_tokens - len(before) - len(after)
    if room < 1:
        raise InputError(
            f"max_tokens={max_tokens} leaves no room for text besides the special tokens"
        )
    excerpts = [excerpt_of(tokenizer, text, room, truncation).text for text in texts]
    encoded = tokenizer.encode_batch_fast(excerpts, add_special_tokens=False)
    sequences: list[list[int]] = []
    first = [0]
    shortened = 0
    for encoding in encoded:
        bare = encoding.ids
        shortened += len(bare) > room
        sequences += [before + piece + after for piece in pieces(bare, room, truncation)]
        first.append(len(sequences))
    lengths = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
    return Tokens(
        ids=np.fromiter(chain.from_iterable(sequences), dtype=np.int32, count=lengths.sum()),
        starts=np.r_[0, np.cumsum(lengths)],
        first=np.array(first, dtype=np.int64),
        truncated=shortened,
    )


def excerpt_of(tokenizer: Tokenizer, text: str, room: int, truncation: Truncation) -> Excerpt:
    """Return the part of a very long note that has all the tokens to keep; else all of it."""
    if truncation == "windows":
        return Excerpt.of(text)
    return excerpt(tokenizer, text, room, "head" in truncation, "tail" in truncation)


def pieces(ids: list[int], room: int, truncation: Truncation) -> list[list[int]]:
    """Split or truncate a note's ids (or their positions) into sequences of at most `room`."""
    if len(ids) <= room:
        return [ids]
    if truncation == "head":
        return [ids[:room]]
    if truncation == "tail":
        return [ids[-room:]]
    if truncation == "head+tail":
        head = (room + 1) // 2
        return [ids[:head] + ids[len(ids) - (room - head) :]]
    step = max(1, room - room // 4)
    starts = range(0, len(ids) - room + step, step)
    return [ids[start : start + room] for start in starts]


def special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and after every text.

    Raises
    ------
    InputError
        It puts none of its own tokens for a text, or special tokens within it.
    """
    # A vocabulary of one script reads nothing in the letters of another.
    for text in ("a", *islice(_own_words(tokenizer), TRIED)):
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        full = tokenizer.encode(text, add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1) if bare else ():
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        if bare:
            raise InputError("the tokenizer's special tokens do not surround the text")
    raise InputError("the tokenizer finds no token in any text")


def _own_words(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the texts of tokens with letters or digits, special ones excepted."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    special.add(getattr(tokenizer.model, "unk_token", None) or "")
    for token, number in tokenizer.get_vocab().items():
        if token not in special and any(map(str.isalnum, token)):
            yield tokenizer.decode([number]) or token


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``, without truncation and padding.

    Raises
    ------
    InputError
        The file is not that of a tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # the library panics on some files, which is no Exception
        raise InputError(
            f"{path.name} is not a tokenizer's file ({type(error).__name__}): expected one that "
            "the library tokenizers wrote"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def require_usable(tokenizer: Tokenizer, embeddings: int) -> None:
    """Raise unless a tokenizer has words, and a model an embedding for each of its tokens.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    embeddings : int
        Number of the model's token embeddings.

    Raises
    ------
    InputError
        It knows no word, cannot read a text, or knows more tokens than the model.
    """
    if next(_own_words(tokenizer), None) is None:
        raise InputError("the tokenizer has no vocabulary: it knows nothing but special tokens")
    try:
        added = special_ids(tokenizer)
    except InputError:
        raise
    except Exception as error:  # such as a vocabulary without the unknown token
        raise InputError(f"the tokenizer cannot read a text ({type(error).__name__})") from None
    # Tokens that are put around every text need not be in the vocabulary.
    largest = max(chain(tokenizer.get_vocab().values(), *added))
    if largest >= embeddings:
        raise InputError(
            f"the tokenizer knows tokens up to number {largest:,}, but the model has "
            f"{embeddings:,} embeddings (numbers from 0): they do not belong together. If tokens "
            "were added, the model must be resized (resize_token_embeddings) and trained"
        )


def learn_tokenizer(texts: Sequence[str], vocabulary: int = 8192) -> Tokenizer:
    """Learn a sub-word tokenizer (WordPiece, lower case, accents kept) on training texts.

    Parameters
    ----------
    texts : sequence of str
        Texts of the training part only; of each, the first `MOST_LEARNED` characters.
    vocabulary : int
        Maximum number of sub-words.

    Returns
    -------
    tokenizers.Tokenizer
        ``[PAD]`` is 0 and ``[UNK]`` is 1; it adds no special tokens to a text.
    """
    texts = [text[:MOST_LEARNED] for text in texts]
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # The trainer numbers the pieces "##x" in the order of a random hash, and breaks ties between
    # merges by number. Listed beforehand, they have a fixed order, so the result is reproducible.
    letters = sorted(set().union(*map(tokenizer.normalizer.normalize_str, texts)))
    inner = [f"##{letter}" for letter in letters if not letter.isspace()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, UNKNOWN, *inner],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] in (PAD, UNKNOWN)
    ]
    return Tokenizer.from_str(json.dumps(content))
